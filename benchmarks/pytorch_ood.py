"""pytorch-ood, each detector on the same network and images, its parameters those of the harness's.

As its documentation does it: `fit` on a loader, then the detector called on each batch. The loader yields float tensors
in the harness's batch size. Together, it makes one pass for logits and one for features and scores these, which is what
the caches of its own benchmarks do; ODIN goes by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_ood.detector import KNN, ODIN, EnergyBased, Mahalanobis, MaxSoftmax, ViM
from pytorch_ood.utils import extract_features
from scipy.special import expit
from scipy.stats import spearmanr
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.compare import Ratio, Row, Work, interleaved
from benchmarks.setting import CLASSES, OOD, TRAIN, Setting, images
from oodbench.basics.arrays import Floats
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.images.resident import resident
from oodbench.networks.network import Network, batch_size
from oodbench.scoring.batches import Purpose
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import FittingImages, fit
from oodbench.tasks.versions import Versions

MAGNITUDE, TEMPERATURE, NEIGHBOURS = 0.0014, 1000.0, 50
TUNED_ON = 20
"""Images from which Mahalanobis's regression is made, which the other side lacks: the fewest that it takes."""

AGREE = 0.999
"""Rank correlation below which two scores are not one method."""


@dataclass(frozen=True)
class Pair:
    """One method on both sides.

    Attributes:
        name: in oodbench.
        parameters: of oodbench's.
        peer: makes pytorch-ood's, for a network.
    """

    name: str
    parameters: dict[str, Any]
    peer: Callable[[Network], Any]


def _pairs(network: Network) -> list[Pair]:
    head, last = network.head, len(tuple(network.taps(torch.zeros(1, 3, 32, 32, device=network.mean.device)))) - 1
    principal = head.in_features // 2
    return [
        Pair("msp", {}, MaxSoftmax),
        Pair(
            "odin",
            {"magnitude": MAGNITUDE, "temperature": TEMPERATURE},
            lambda network: ODIN(network, eps=MAGNITUDE, temperature=TEMPERATURE),
        ),
        Pair("mahalanobis", {"taps": (last,), "magnitude": 0.0}, lambda network: Mahalanobis(_last_tap(network))),
        Pair("energy", {}, EnergyBased),
        Pair("knn", {"k": NEIGHBOURS}, lambda network: KNN(_features(network), k=NEIGHBOURS)),
        Pair(
            "vim",
            {"dimensions": principal},
            lambda network: ViM(_features(network), d=principal, w=head.weight, b=head.bias),
        ),
    ]


def measure(setting: Setting) -> Iterator[Row]:
    """Each method alone, fitting included, then all six together, on each network."""
    sizes = setting.sizes
    for name, count in sizes.scored.items():
        sides = _Sides(setting, setting.network(name), images(OOD, count, seed=2), images(TRAIN, sizes.fitted, seed=3))
        pairs = _pairs(sides.network)
        note = f"fit on {sizes.fitted}, score {count} images"
        for pair in pairs:
            yield _alone(sides, pair, name, note)
        works: list[Work] = [partial(sides.theirs_together, pairs), partial(sides.ours, pairs)]
        ratio = Ratio.of(*interleaved(works, sizes.repetitions, setting.device))
        against = "pytorch-ood, logits and features kept"
        yield Row("pytorch-ood", f"all six together, {name}", against, "speed-up", ratio, 1.0, note)


def _alone(sides: "_Sides", pair: Pair, name: str, note: str) -> Row:
    agreement = _agreement(pair.name, sides.ours([pair])[0], sides.theirs(pair))
    works: list[Work] = [partial(sides.theirs, pair), partial(sides.ours, [pair])]
    ratio = Ratio.of(*interleaved(works, sides.setting.sizes.repetitions, sides.setting.device))
    note = f"{note}; rank correlation of the scores {agreement:.5f}"
    return Row("pytorch-ood", f"{pair.name}, {name}", "pytorch-ood", "speed-up", ratio, 1.0, note)


class _Sides:
    """Both libraries over one network, the same test images and the same training images."""

    def __init__(self, setting: Setting, network: Network, tested: ImageSet, train: ImageSet) -> None:
        self.setting, self.network, self.tested, self.train = setting, network, tested, train
        self.loaders = [self._loader(each) for each in (train, tested)]

    def _loader(self, some: ImageSet) -> DataLoader[tuple[Tensor, ...]]:
        # On the device from the start, as the harness's images are.
        data = TensorDataset(torch.cat(self.setting.tensors(some)), torch.from_numpy(some.labels))
        return DataLoader(data, batch_size(self.setting.device, 32))

    def ours(self, pairs: list[Pair]) -> list[Floats]:
        """Scores (N,) of each."""
        device = self.setting.device
        detectors = [self._detector(pair) for pair in pairs]
        heldout = resident(self.train.first(TUNED_ON), device)
        fit(detectors, self.network, CLASSES, FittingImages(train=resident(self.train, device), heldout=heldout))
        scored = score_versions(detectors, self.tested, Versions(), Purpose("benchmark"), device)
        return [each.scores for each in scored]

    def _detector(self, pair: Pair) -> Detector:
        kind = self.setting.registry[pair.name]
        return kind(kind.Parameters(**pair.parameters))

    def theirs(self, pair: Pair) -> Floats:
        """Outlier scores (N,)."""
        detector = pair.peer(self.network).to(self.setting.device)
        train, tested = self.loaders
        detector.fit(train)
        scores = []
        for batch, _ in tested:
            with torch.set_grad_enabled(isinstance(detector, ODIN)):
                scores.append(detector(batch).cpu())
        return np.asarray(torch.cat(scores).double())

    def theirs_together(self, pairs: list[Pair]) -> dict[str, Floats]:
        """Outlier scores (N,) of each, one pass for those that see logits, one for those that see features."""
        device, (train, tested) = str(self.setting.device), self.loaders
        logits, _ = extract_features(tested, self.network, device)
        features, labels = extract_features(train, _features(self.network), device)
        seen, _ = extract_features(tested, _features(self.network), device)
        found = {}
        for pair in pairs:
            detector = pair.peer(self.network).to(device)
            if isinstance(detector, ODIN):
                scores = torch.cat([detector(batch).cpu() for batch, _ in tested])
            elif isinstance(detector, MaxSoftmax | EnergyBased):
                scores = detector.predict_logits(logits)
            else:
                scores = detector.fit_features(features, labels).predict_features(seen)
            found[pair.name] = np.asarray(scores.cpu().double())
        return found


def _agreement(name: str, ours: Floats, theirs: Floats) -> float:
    """Rank correlation of scores (N,) with outlier scores (N,).

    Raises:
        RuntimeError: they are not the same score, so their times say nothing.
    """
    ranked = expit(ours).astype(np.float32) if name in ("msp", "odin") else ours
    correlation = float(spearmanr(ranked, -theirs).statistic)
    if correlation < AGREE:
        raise RuntimeError(f"{name}: rank correlation {correlation:.4f} with pytorch-ood: not the same score")
    return correlation


def _features(network: Network) -> Callable[[Tensor], Tensor]:
    return lambda images: network.represent(images).features


def _last_tap(network: Network) -> Callable[[Tensor], Tensor]:
    return lambda images: network.represent(images).taps[-1].mean((2, 3))
