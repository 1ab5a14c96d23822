"""A detector that goes to work: fitted on somebody's network, called on images, kept in a file and read again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.basics.sourcecode import code_digest
from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.detector import Detector
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.checkpoints import weights_digest
from oodbench.networks.network import Network
from oodbench.networks.of_module import ModuleNetwork
from oodbench.registry import Registry
from oodbench.scoring import benchmarking, state
from oodbench.scoring.benchmarking import Learned
from oodbench.scoring.clean import score_floats, score_versions
from oodbench.scoring.user_input import as_given
from oodbench.sources.handed import handed
from oodbench.tasks.versions import Versions
from oodbench.version import __version__

SCHEMA = 1
"""Of the file; a newer one is refused."""

HEADER = "oodbench_detector"
"""The entry of the metadata that tells our files from other safetensors files."""

TRIED = 2
"""Images that a network is tried on when a file is read."""


@dataclass(frozen=True)
class Input:
    """How images become what the network takes, said once and kept with the detector.

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
        """What must be known of a network to have it again."""
        if not isinstance(network, ModuleNetwork):
            return cls(side, preprocessing=preprocessing)
        mean, std = (tuple(one.double().flatten().tolist()) for one in (network.mean, network.std))
        return cls(side, mean, std, network.head_name, network.tap_names, preprocessing)

    def network(self, module: nn.Module, device: torch.device) -> Network:
        """The network that `module` is with this input.

        Raises:
            OodbenchError: the module cannot be used so.
        """
        if isinstance(module, Network):
            return module.to(device).eval()
        tried = torch.rand((TRIED, 3, *self.side), generator=torch.Generator().manual_seed(0)).to(device)
        if self.mean is None or self.std is None:
            raise OodbenchError(
                f"{type(module).__name__} is not the network that the detector was fitted on, which is one of oodbench"
            )
        return ModuleNetwork(module.to(device), tried, mean=self.mean, std=self.std, head=self.head, taps=self.taps)


@dataclass(frozen=True, eq=False)
class DeployedDetector:
    """A fitted detector with its network: images in, scores out.

    Attributes:
        detector: fitted.
        input: of the network.
        about: where it comes from: version, digests, what it was fitted and tuned on.
    """

    detector: Detector
    input: Input
    about: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, images: Any) -> npt.NDArray[np.float64]:
        """Scores (N,) of images, whatever holds them, see `oodbench.benchmark`; higher = more in-distribution.

        Raises:
            OodbenchError: the images are of another kind or size, or a score is not finite.
        """
        found = handed(images, "images", "images", self.input.preprocessing)
        given = as_given(found.images, "images", "images")
        height, width = given.images.images.shape[1:3]
        if (height, width) != self.input.side:
            raise OodbenchError(
                f"images are {height} x {width}, and the detector was fitted on {self.input.side[0]} x "
                f"{self.input.side[1]}: bring them to that size"
            )
        device = next(self.detector.network.parameters()).device
        if given.floats is not None:
            return score_floats(self.detector, given.floats, "images", device).scores
        (scored,) = score_versions([self.detector], given.images, Versions(), "images", device)
        return scored.scores

    def save(self, path: str | Path) -> None:
        """Write all that was learned to `path`, whole or not at all: safetensors and JSON, no code, no network.

        Raises:
            OodbenchError: the detector keeps something that no file can hold, or the file cannot be written.
        """
        learned = state.of(self.detector)
        head = {
            "schema": SCHEMA,
            "detector": self.detector.name,
            "code": code_digest(type(self.detector), root=Detector),
            "parameters": asdict(self.detector.parameters),
            "classes": self.detector.classes,
            "network_digest": weights_digest(self.detector.network),
            "input": asdict(self.input),
            "about": {"oodbench": __version__, **self.about},
            "state": learned.tree,
        }
        write_atomic(Path(path), safetensors.torch.save(learned.tensors, {HEADER: json.dumps(head)}))


def fitted(
    detector: Detector,
    network: Network,
    classes: int,
    learned: Learned,
    images: torch.Tensor,
    preprocessing: Preprocessing | None,
) -> DeployedDetector:
    """A detector fitted on `network`.

    Args:
        detector: to be fitted.
        network: on its device.
        classes: of ID images, its first outputs.
        learned: what there is to learn from.
        images: of the size that the network takes, float (N, 3, H, W).
        preprocessing: of image files.

    Raises:
        OodbenchError: it cannot be fitted.
    """
    benchmarking.fitted([detector], network, classes, learned, images.device, None)
    sets = {"train": learned.train, "heldout": learned.heldout, "outliers": learned.outliers}
    about = {name: {"images": len(one), "fingerprint": one.fingerprint} for name, one in sets.items() if one}
    height, width = images.shape[2:]
    return DeployedDetector(detector, Input.of(network, (height, width), preprocessing), about)


def load(path: str | Path, network: nn.Module, registry: Registry, device: torch.device) -> DeployedDetector:
    """The detector in a file that `DeployedDetector.save` wrote, over the network that it was fitted on.

    Args:
        path: of the file.
        network: with the weights that the detector was fitted on, in evaluation mode.
        registry: where its method is looked for.
        device: where network and detector are put.

    Raises:
        OodbenchError: there is no such file, it is damaged, foreign, of a newer version, of another network, or of
            another state of the method's code.
    """
    head, tensors = _read(Path(path))
    name = head["detector"]
    if name not in registry.names():
        raise OodbenchError(f"{path} holds a detector {name!r}, which is not known here: give its file by plugins=")
    kind = registry[name]
    if head["code"] != code_digest(kind, root=Detector):
        raise OodbenchError(
            f"{path} was made by another state of the code of {name!r} (oodbench {head['about'].get('oodbench')}): "
            "fit it again, or go back to that version"
        )
    try:
        detector = kind(build(kind.Parameters, head["parameters"]))
        taken = _input(head["input"])
        used = taken.network(network, device)
        if weights_digest(used) != head["network_digest"]:
            raise OodbenchError(
                f"{path} was fitted on another network than this {type(network).__name__}, or on other weights "
                f"(SHA-256 {head['network_digest'][:12]}): give the one that it was fitted on, or fit it again"
            )
        detector.attach(used, head["classes"])
        for attribute in [one for one in vars(detector) if one not in state.OWN]:
            del vars(detector)[attribute]  # what it begins to learn with
        state.put(state.State(head["state"], tensors), detector)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, DeclarationError) as error:
        raise OodbenchError(f"{path} is damaged: {str(error).splitlines()[0]}; save the detector again") from error
    return DeployedDetector(detector, taken, head["about"])


_HEAD = {
    "schema": int,
    "detector": str,
    "code": str,
    "parameters": dict,
    "classes": int,
    "network_digest": str,
    "input": dict,
    "about": dict,
    "state": dict,
}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    foreign = f"{path} is no detector that oodbench saved"
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise OodbenchError(f"cannot read {path}: {error.strerror or 'there is no such file'}") from error
    except SafetensorError as error:
        raise OodbenchError(f"{foreign}, or it is cut off ({error}): save it again") from error
    try:
        head = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise OodbenchError(f"{foreign}: give the file that save() wrote") from error
    if isinstance(head, dict) and isinstance(head.get("schema"), int) and head["schema"] > SCHEMA:
        raise OodbenchError(
            f"{path} was saved by a newer oodbench (schema {head['schema']}, this one reads {SCHEMA}): upgrade oodbench"
        )
    if not isinstance(head, dict) or any(not isinstance(head.get(name), kind) for name, kind in _HEAD.items()):
        raise OodbenchError(f"{foreign}, or it is damaged: save it again")
    return head, tensors


def _input(found: Mapping[str, Any]) -> Input:
    """An input as JSON has it."""

    def row(values: Sequence[Any] | None) -> Any:
        return None if values is None else tuple(values)

    prepared = found["preprocessing"]
    (height, width) = found["side"]
    if not all(isinstance(one, int) and 0 < one < 10_000 for one in (height, width)):
        raise ValueError("the size of its images is none")
    return Input(
        (height, width),
        row(found["mean"]),
        row(found["std"]),
        found["head"],
        row(found["taps"]),
        None if prepared is None else Preprocessing(**prepared),
    )
