"""Reads a detector's file: nothing in it is run, and a file that `DeployedDetector.save` did not write is refused."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.basics.words import printable
from oodbench.detector import Detector
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks import named
from oodbench.networks.checkpoints import weights_digest
from oodbench.networks.named import AT
from oodbench.networks.network import Network
from oodbench.registry import Registry
from oodbench.scoring import state
from oodbench.scoring.deployed import (
    ABSOLUTE_TOLERANCE,
    CALIBRATION,
    DIGEST,
    HEADER,
    NETWORK,
    PROBE_SCORES,
    RELATIVE_TOLERANCE,
    SCHEMA,
    Built,
    DeployedDetector,
    Input,
    content_digest,
)

LONGEST_HEADER = 64 * 2**20
"""Bytes of a file's header; no detector writes a longer one, and reading it would fill memory several times over."""

LARGEST_SIDE = 10_000
"""Bound of the pixels of an image's side."""

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


def load(
    path: str | Path, network: nn.Module | str | None, registry: Registry, device: torch.device
) -> DeployedDetector:
    """The detector in a file that `DeployedDetector.save` wrote, over the network that it was fitted on.

    Args:
        path: of the file.
        network: with the weights that the detector was fitted on, in evaluation mode; None for the one in the file, or
            the name of the builder of that, where it is a user's own code.
        registry: that has its method.
        device: where network and detector are put.

    Raises:
        OodbenchError: there is no such file, it is damaged, foreign, of a newer version, of another network, or of
            another state of the method's code; or no network is given and the file holds none.
    """
    head, tensors = _read(Path(path))
    name = head["detector"]
    if name not in registry.names():
        raise OodbenchError(
            f"{path} holds a detector {name[:60]!r}, which is not known here: give the file that defines it as a plugin"
        )
    kind = registry[name]
    try:
        detector = kind(build(kind.Parameters, head["parameters"]))
        if head["code"] != state.code_behind(detector):
            raise OodbenchError(
                f"{path} was made by another state of the code of {name!r} (oodbench {head['about'].get('oodbench')}): "
                "fit it again, or go back to that version"
            )
        network_input, built = _input(head["input"]), None
        if not isinstance(network, nn.Module):
            built = _require_built(path, _built(head.get("network"), network, tensors), network)
            network = _with_weights(built, detector, network_input, tensors, device)
        wrapped = network_input.network(network, device)
        if weights_digest(wrapped) != head["network_digest"]:
            raise OodbenchError(
                f"{path} was fitted on another network than this {type(network).__name__}, or on other weights "
                f"(SHA-256 {head['network_digest'][:12]}): give the one that it was fitted on, or fit it again"
            )
        detector.attach(wrapped, head["classes"])
        state.restore(state.State(head["state"], tensors), detector)
        calibration = _scores(tensors[CALIBRATION], "ID images") if CALIBRATION in tensors else None
        loaded = DeployedDetector(detector, network_input, head["about"], calibration, built)
        if not _scores_agree(loaded.probe_scores(), tensors.get(PROBE_SCORES)):
            raise OodbenchError(
                f"{path} was fitted on a network that gave other scores than this {type(network).__name__}, which has "
                "the same weights: its code, a hook or what it keeps beside its weights has changed; give the network "
                "as it was, or fit the detector again"
            )
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OodbenchError(f"{path} is damaged: {reason}; save the detector again") from error
    return loaded


_DAMAGE = (
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    RuntimeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    DeclarationError,
)
"""The errors that a detector may raise for a damaged state, or a network for damaged weights."""


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header and the tensors of a file, and check that they are whole."""
    foreign = f"{path} is no detector that oodbench saved"
    try:
        if not path.is_file():  # but a folder, or a device that can be read forever
            raise OodbenchError(f"cannot read {path}: {'it is no file' if path.exists() else 'there is no such file'}")
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
        if length > LONGEST_HEADER:
            raise OodbenchError(f"{foreign}, or it is cut off: give the file that `oodbench fit` or save() wrote")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            text = metadata.get(HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if text else {}  # noqa: SIM118
    except OSError as error:
        raise OodbenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (
        SafetensorError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # the last two for a type that torch does not know
        raise OodbenchError(f"{foreign}, or it is cut off ({str(error)[:200]}): save it again") from error
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
    if DIGEST in metadata and content_digest(text or "", tensors) != metadata[DIGEST]:
        raise OodbenchError(
            f"{path} is damaged: its content is no longer what was saved; copy it again from where it came, or save "
            "the detector again"
        )
    return head, tensors


def _tuple(values: Sequence[Any] | None) -> Any:
    return None if values is None else tuple(values)


def _input(stored: Mapping[str, Any]) -> Input:
    """The input that JSON describes."""
    preprocessing = stored["preprocessing"]
    (height, width) = stored["side"]
    sides = (height, width) if preprocessing is None else (height, width, preprocessing["side"])
    if not all(type(side) is int and 0 < side < LARGEST_SIDE for side in sides):
        raise ValueError("the size of its images is not valid")
    return Input(
        (height, width),
        _tuple(stored["mean"]),
        _tuple(stored["std"]),
        stored["head"],
        _tuple(stored["taps"]),
        None if preprocessing is None else Preprocessing(**preprocessing),
    )


def _require_built(path: str | Path, built: Built | None, given: str | None) -> Built:
    """Require that a file holds its network, and that no code is run that only the file names."""
    if built is None:
        raise OodbenchError(
            f"{path} holds no network, since it was fitted on a module of somebody's own: read it in Python, "
            "oodbench.load_detector(path, module)"
        )
    if given is None and not _is_installed(built.name):
        raise OodbenchError(
            f"the network of {path} is built by {printable(built.name[:100])!r}, and code that a file names is not "
            "run: say yourself what builds it, with --network FILE.py:BUILDER or network="
        )
    return built


_NAME = re.compile(r"[\w.+-]+")


def _is_installed(name: str) -> bool:
    """True where a network of this name is built by installed code, not by a file, a folder or from the internet."""
    return _NAME.fullmatch(name.rpartition(AT)[2]) is not None and not named.is_place(name)


def _built(stored: Any, given: str | None, tensors: Mapping[str, Tensor]) -> Built | None:
    """How the network in the file is built, under the name that is `given` if one is; None if the file holds none."""
    if stored is None:
        return None
    name, outputs, mean, std, beside = (stored[key] for key in ("name", "outputs", "mean", "std", "beside"))
    weights = [weight for key, weight in tensors.items() if key.startswith(NETWORK)]
    if not isinstance(name, str):
        raise ValueError("the name of its network is not a text")
    # A layer is built before its weights are read, so it must not be larger than these.
    if type(outputs) is not int or not any(outputs in weight.shape for weight in weights):
        raise ValueError("its network has other outputs than its weights")
    numbers = [*mean, *std]
    if (
        len(mean) not in (0, 3)
        or len(std) not in (0, 3)
        or not all(isinstance(number, int | float) for number in numbers)
    ):
        raise ValueError("the normalisation of its network is not valid")
    head, taps = stored.get("head", ""), stored.get("taps", [])  # older files have neither
    if not isinstance(head, str) or not all(isinstance(tap, str) for tap in taps):
        raise ValueError("the names of parts of its network are not texts")
    return Built(given or name, outputs, _tuple(mean), _tuple(std), beside is True, head, tuple(taps))


def _with_weights(
    built: Built, detector: Detector, network_input: Input, tensors: Mapping[str, Tensor], device: torch.device
) -> Network:
    """The network of a file with its weights, on the device."""
    network = built.network(detector.objective(), network_input.side)
    weights = {name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)}
    network.load_state_dict(weights)
    return network.to(device)


def _scores_agree(now: Floats | None, before: Tensor | None) -> bool:
    """True where scores (N,) of the same images are those of `before`, or where one of the two is not known."""
    if now is None or before is None:
        return True
    stored = _scores(before, "made-up images")
    return len(now) == len(stored) and bool(
        np.abs(now - stored).max() <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(stored).max()
    )


def _scores(scores: Tensor, of: str) -> Floats:
    if scores.dtype != torch.float64 or scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
        raise ValueError(f"its scores of {of} are not finite numbers")
    return np.array(scores.numpy())
