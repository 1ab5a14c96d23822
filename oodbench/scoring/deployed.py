"""A detector that goes to work: fitted on a network, called on images, saved to a file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import nn

from oodbench import networks
from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest, write_atomic
from oodbench.detector import Detector
from oodbench.images.imageset import image_digests
from oodbench.images.preprocessing import Preprocessing
from oodbench.images.tensors import channels_first
from oodbench.networks.checkpoints import tensor_parts, weights_digest
from oodbench.networks.network import Network, as_input
from oodbench.networks.of_module import ModuleNetwork, wrap_module
from oodbench.networks.user_network import trial
from oodbench.networks.wrapping import Wrapping
from oodbench.objective import Objective
from oodbench.scoring import state
from oodbench.scoring.batches import ImageBatch, Purpose, exact
from oodbench.scoring.clean import score_batch, score_floats, score_versions
from oodbench.scoring.user_input import Given, as_given
from oodbench.sources.handed import take_images
from oodbench.statistics import conformal
from oodbench.statistics.conformal import Threshold
from oodbench.tasks.versions import Versions
from oodbench.version import __version__

SCHEMA = 1
"""Version of the file format; a newer one is refused."""

HEADER = "oodbench_detector"
"""The entry of the metadata that tells our files from other safetensors files."""

DIGEST = "oodbench_sha256"
"""The entry of the metadata with the `content_digest` of the file; older files have none."""

PROBE_IMAGES = 2
"""Made-up images whose scores are compared when a file is read."""

PROBE_SCORES = "tried"
"""The tensor of a file with the scores of these images when it was written."""

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.01, 1e-6
"""How far such scores may lie from the stored ones: a share of the largest of these, and a little where all are 0."""

CALIBRATION = "calibration"
"""The tensor of a file with the scores of ID images that neither network nor detector has seen."""

NETWORK = "network."
"""Prefix of the names of a network's weights, in a file that holds them."""

HASHED_TOGETHER = 256
"""Images that are read and hashed at a time."""

GIVEN_IMAGES = "images"
"""The name of the images that a detector is given in messages."""

PURPOSE = Purpose(GIVEN_IMAGES)
"""The purpose of the draws of a random score: they depend on the content of an image, and on no seed."""


@dataclass(frozen=True)
class Input:
    """How images become the network's input; kept with the detector.

    Attributes:
        side: height and width of the images.
        mean: see `oodbench.networks.of_module.ModuleNetwork`; as the others, None for a network of oodbench's own.
        std: likewise.
        head: name of the last linear layer.
        taps: names of the parts whose outputs are feature maps.
        preprocessing: of image files; None leaves them as they are.
    """

    side: tuple[int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    head: str | None = None
    taps: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None

    @classmethod
    def of(cls, network: Network, side: tuple[int, int], preprocessing: Preprocessing | None) -> "Input":
        """The input of a network, with all that is needed to wrap its module again."""
        if not isinstance(network, ModuleNetwork):
            return cls(side, preprocessing=preprocessing)
        mean, std = (tuple(values.double().flatten().tolist()) for values in (network.mean, network.std))
        return cls(side, mean, std, network.head_name, network.tap_names, preprocessing)

    def network(self, module: nn.Module, device: torch.device) -> Network:
        """The module wrapped as a network with this input.

        Raises:
            OodbenchError: the module cannot be used with this input.
        """
        if isinstance(module, Network):
            return module.to(device).eval()
        if self.mean is None or self.std is None:
            raise OodbenchError(
                f"{type(module).__name__} is not the network that the detector was fitted on, which is one of oodbench"
            )
        return wrap_module(
            module,
            trial((3, *self.side)).to(device),
            Wrapping(mean=self.mean, std=self.std, head=self.head, taps=self.taps),
        )


@dataclass(frozen=True)
class Built:
    """How a network that has a name is built again, so that a file can hold its weights.

    Attributes:
        name: see `oodbench.networks.build`, also for the other attributes.
        outputs: number of logits.
        mean: of the RGB channels.
        std: of the RGB channels.
        beside: the weights include the modules that its detector's objective keeps beside a network.
        head: name of the last linear layer.
        taps: names of the parts whose outputs are feature maps.
    """

    name: str
    outputs: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    beside: bool = False
    head: str = ""
    taps: tuple[str, ...] = ()

    def network(self, objective: Objective, side: tuple[int, int]) -> Network:
        """The network without its weights, for images of `side`, in evaluation mode.

        Raises:
            OodbenchError: no such network.
        """
        shape = (3, *side)
        plain = networks.build(
            self.name, self.outputs, self.mean, self.std, 0, head=self.head, taps=self.taps, shape=shape
        )
        return (objective.adapt(plain, shape) if self.beside else plain).eval()


@dataclass(frozen=True, eq=False)
class DeployedDetector:
    """A fitted detector with its network: images in, scores out.

    Attributes:
        detector: fitted.
        input: of the network.
        about: where it comes from: version, digests, what it was fitted, tuned and calibrated on.
        calibration: scores (n,) of ID images that neither network nor detector has seen, for thresholds and p-values;
            None where there are none.
        built: how its network is built again; None for a user's own module, which a file cannot hold.
    """

    detector: Detector
    input: Input
    about: Mapping[str, Any] = field(default_factory=dict)
    calibration: Floats | None = None
    built: Built | None = None

    def __call__(self, images: Any) -> Floats:
        """Scores (N,) of images, whatever holds them, see `oodbench.benchmark`; higher = more in-distribution.

        Raises:
            OodbenchError: the images are of another kind or size, or a score is not finite.
        """
        found = take_images(images, "images", "images", self.input.preprocessing)
        given = as_given(found.images, "images", "images", "the detector's network does itself")
        height, width = given.images.images.shape[1:3]
        if (height, width) != self.input.side:
            raise OodbenchError(
                f"images are {height} x {width}, and the detector was fitted on {self.input.side[0]} x "
                f"{self.input.side[1]}: bring them to that size"
            )
        return scores_of(self.detector, given)

    @property
    def device(self) -> torch.device:
        """The device of its network."""
        return next(self.detector.network.parameters()).device

    def score_batch(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """Scores (N,) of a batch as it is, uint8 (N, H, W, 3), which goes through the network at once.

        Raises:
            OodbenchError: the batch does not fit into memory, or a score is not finite.
        """
        batch = channels_first(pixels, self.device)
        with exact(self.detector.network), torch.no_grad():
            images = ImageBatch(as_input(batch), content_numbers(pixels), PURPOSE, GIVEN_IMAGES)
            return score_batch(self.detector, images).scores

    def probe_scores(self) -> Floats | None:
        """Scores (PROBE_IMAGES,) of made-up images, always the same ones; None where one of them has no score."""
        pixels = np.random.default_rng(0).integers(0, 256, (PROBE_IMAGES, *self.input.side, 3), dtype=np.uint8)
        try:
            return self.score_batch(pixels)
        except OodbenchError:
            return None  # a score need not be finite on made-up images

    def threshold(self, keep: float = 0.95, delta: float = 0.0) -> Threshold:
        """The score below which an image is to be rejected so that a share of `keep` of ID images is kept.

        Args:
            keep: share of ID images, in (0, 1).
            delta: probability with which less may be kept; 0 for a promise in expectation. See
                `oodbench.statistics.conformal.threshold`.

        Raises:
            OodbenchError: it has seen too few ID images to promise that, or none.
        """
        return conformal.threshold(self._calibration_scores(), keep, delta)

    def p_values(self, scores: npt.ArrayLike) -> Floats:
        """How unusual `scores` (N,) are among those of ID images, see `oodbench.statistics.conformal.p_values`.

        Raises:
            OodbenchError: it knows no scores of ID images, or a score is not a number.
        """
        return conformal.p_values(self._calibration_scores(), scores)

    def _calibration_scores(self) -> Floats:
        if self.calibration is None:
            raise OodbenchError(
                f"this {self.detector.name} knows no scores of ID images that it has not seen, so it has neither "
                "threshold nor p-values: fit it with calibrate=, ID images that neither network nor detector has seen"
            )
        return self.calibration

    def save(self, path: str | Path) -> None:
        """Write all that was learned to `path`, whole or not at all: safetensors and JSON, no code.

        The network's weights are in it where the network has a name by which it is made again; a module of somebody's
        own is not, and is known by the digest of its weights.

        Raises:
            OodbenchError: the detector keeps something that no file can hold, or the file cannot be written.
        """
        learned = state.learned_state(self.detector)
        head = {
            "schema": SCHEMA,
            "detector": self.detector.name,
            "code": state.code_behind(self.detector),
            "parameters": asdict(self.detector.parameters),
            "classes": self.detector.classes,
            "network_digest": weights_digest(self.detector.network),
            "input": asdict(self.input),
            "about": {"oodbench": __version__, **self.about},
            "state": learned.tree,
        }
        tensors = dict(learned.tensors)
        if (probe_scores := self.probe_scores()) is not None:
            tensors[PROBE_SCORES] = torch.from_numpy(probe_scores)
        if self.calibration is not None:
            tensors[CALIBRATION] = torch.from_numpy(self.calibration.copy())
        if self.built is not None:
            head["network"] = asdict(self.built)
            weights = self.detector.network.state_dict()
            tensors |= {
                f"{NETWORK}{name}": weight.detach().cpu().contiguous().clone() for name, weight in weights.items()
            }
        text = json.dumps(head)
        metadata = {HEADER: text, DIGEST: content_digest(text, tensors)}
        write_atomic(Path(path), safetensors.torch.save(tensors, metadata))


def content_digest(header: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) over a file's header and the names, types, shapes and bytes of its tensors, in order of names."""
    parts: list[bytes | str] = [header]
    for name in sorted(tensors):
        parts += [name, *tensor_parts(tensors[name])]
    return digest(*parts)


def scores_of(detector: Detector, images: Given) -> Floats:
    """Scores (N,) of images by a fitted detector, on the device of its network.

    The draws of a random score depend on the content of the image, and not on other images or on its place.

    Raises:
        OodbenchError: a score is not finite.
    """
    device = next(detector.network.parameters()).device
    if images.floats is not None:
        numbers = content_numbers(images.floats.permute(0, 2, 3, 1).contiguous().numpy().view(np.uint8))
        return score_floats(detector, ImageBatch(images.floats, numbers, PURPOSE, GIVEN_IMAGES), device).scores
    named = images.images
    if detector.draws():
        parts = [
            content_numbers(named.pixels(slice(at, at + HASHED_TOGETHER)))
            for at in range(0, len(named), HASHED_TOGETHER)
        ]
        named = replace(named, indices=np.concatenate(parts))
    (scored,) = score_versions([detector], named, Versions(), PURPOSE, device)
    return scored.scores


def content_numbers(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """A number for each of `pixels`, uint8 (N, H, W, bytes), that depends on its content alone; int64 (N,)."""
    digests = np.ascontiguousarray(image_digests(pixels)[:, :8]).view("<i8").ravel()
    return (digests & np.iinfo(np.int64).max).astype(np.int64)
