"""Clean scoring through the harness, results stored, against the bare network over the same images."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.compare import Ratio, Row, interleaved
from benchmarks.setting import CLASSES, OOD, TEST, TRAIN, Setting, images
from oodbench.basics.passes import Passes
from oodbench.detector import Detector
from oodbench.images.resident import IDImages, resident
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.scoring.batches import Purpose, exact
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import FittingImages, fit
from oodbench.statistics.repeatability import SECOND_LOOKS
from oodbench.tasks import Clean

POST_HOC = ("msp", "energy", "ash", "knn", "vim")
"""Two from the logits, three from the features; the last two learn from ID training images first."""


TUNED_ON = 350
"""Images that detectors are tuned on where all of them score."""

SLOW = "densenet-bc-100-12"
"""The network whose pass is long enough for a promise on what all detectors together add to it."""


def measure(setting: Setting) -> Iterator[Row]:
    """For each network, one detector that learns nothing, then five that share a pass, then all that do."""
    for name, count in setting.sizes.scored.items():
        yield from _measure(setting, name, count)
        if setting.sizes.fitted > setting.network(name).head.in_features + CLASSES:  # covariances need as many
            yield _all_at_once(setting, name, count)


def _measure(setting: Setting, name: str, count: int) -> Iterator[Row]:
    sizes = setting.sizes
    tests = [images(TEST, count // 2, seed=1), images(OOD, count // 2, seed=2)]
    train = images(TRAIN, sizes.fitted, seed=3)
    data, checkpoint = setting.write_packs(*tests, train), setting.write_checkpoint(name)
    network = setting.network(name)
    tested = [batch for each in tests for batch in setting.tensors(each)]
    learned = setting.tensors(train)
    works = [
        lambda: setting.run(name, checkpoint, data, ["msp"]),
        lambda: forward(network, tested),
        lambda: setting.run(name, checkpoint, data, POST_HOC),
        lambda: forward(network, [*learned, *tested]),
    ]
    alone, bare, together, bare_fitted = interleaved(works, sizes.repetitions, setting.device)
    note = f"{count} images: plan, read, score, store"
    yield Row("scoring", f"msp, {name}", "forward passes alone", "cost", Ratio.of(alone, bare), 1.10, note)
    note = f"{count} images; both sides also pass {sizes.fitted} training images"
    ratio = Ratio.of(together, bare_fitted)
    yield Row("scoring", f"{', '.join(POST_HOC)}, {name}", "forward passes alone", "cost", ratio, 1.30, note)


def one_pass(registry: Registry) -> list[Detector]:
    """Every detector of `registry` that a pass over a plainly trained network is enough for, as it is by default."""
    made = [registry[name]() for name in registry.names() if not registry[name].only_by_name]
    plain = [detector for detector in made if detector.objective() == Objective()]
    return [detector for detector in plain if detector.own_passes() == Passes() and not detector.draws()]


def _all_at_once(setting: Setting, name: str, count: int) -> Row:
    """Fitted beforehand: what is measured is a shared pass with all scores, against the pass."""
    sizes, network, detectors = setting.sizes, setting.network(name), one_pass(setting.registry)
    test = images(TEST, count, seed=1)
    learned, heldout = images(TRAIN, sizes.fitted, seed=3), images(TRAIN, TUNED_ON, seed=4)
    predicted = _spread(network, setting.tensors(learned))
    train = IDImages(resident(learned, setting.device).images, predicted)
    fit(detectors, network, CLASSES, FittingImages(train=train, heldout=resident(heldout, setting.device)))
    tested = setting.tensors(test)

    def scored() -> object:
        return score_versions(detectors, test, Clean().versions(), Purpose(1, TEST), setting.device)

    times = interleaved([scored, lambda: forward(network, tested)], sizes.repetitions, setting.device)
    note = f"{count} images and {SECOND_LOOKS} second looks; {len(detectors)} detectors, fitted beforehand"
    what, target = f"all one-pass detectors, {name}", 1.50 if name == SLOW else None
    return Row("scoring", what, "forward passes alone", "cost", Ratio.of(*times), target, note)


def _spread(network: Network, batches: Sequence[Tensor]) -> Tensor:
    """Classes that random weights predict of images, (N,), once every logit has the mean 0 and the deviation 1 of them.

    Without that they predict one class alone, and detectors that learn from recognised images have none of the others.
    """
    logits = forward(network, batches).to(network.head.weight.device)
    centre, deviation = logits.mean(0), logits.std(0)
    with torch.no_grad():
        network.head.bias.sub_(centre).div_(deviation)
        network.head.weight.div_(deviation[:, None])
    return ((logits - centre) / deviation).argmax(1)


def forward(network: Network, batches: Sequence[Tensor]) -> Tensor:
    """Logits (N, outputs) on the CPU: what no harness can do without."""
    with exact(network), torch.no_grad():
        return torch.cat([network(batch).cpu() for batch in batches])
