"""Reading a detector's file: nothing in it is run, and what is not as `DeployedDetector.save` wrote it is refused."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

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
    CALIBRATION,
    DIGEST,
    HEADER,
    NETWORK,
    NOTHING,
    SCHEMA,
    TOLERATED,
    TRIED_SCORES,
    Built,
    DeployedDetector,
    Floats,
    Input,
    content_digest,
)

LONGEST_HEADER = 64 * 2**20
"""Bytes of a file's header; a longer one is none that a detector writes, and would fill memory several times over."""

LARGEST_SIDE = 10_000
"""Pixels of an image's side."""

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
            the name of what builds that, where it is code of somebody's own.
        registry: where its method is looked for.
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
        taken, built = _input(head["input"]), None
        if not isinstance(network, nn.Module):
            built = _made_by(path, _built(head.get("network"), network, tensors), network)
            network = _with_weights(built, detector, taken, tensors, device)
        used = taken.network(network, device)
        if weights_digest(used) != head["network_digest"]:
            raise OodbenchError(
                f"{path} was fitted on another network than this {type(network).__name__}, or on other weights "
                f"(SHA-256 {head['network_digest'][:12]}): give the one that it was fitted on, or fit it again"
            )
        detector.attach(used, head["classes"])
        state.put(state.State(head["state"], tensors), detector)
        known = _scores(tensors[CALIBRATION], "ID images") if CALIBRATION in tensors else None
        loaded = DeployedDetector(detector, taken, head["about"], known, built)
        if not _says_the_same(loaded.tried(), tensors.get(TRIED_SCORES)):
            raise OodbenchError(
                f"{path} was fitted on a network that gave other scores than this {type(network).__name__}, which has "
                "the same weights: its code, a hook or what it keeps beside its weights has changed; give the network "
                "as it was, or fit the detector again"
            )
    except _DAMAGE as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise OodbenchError(f"{path} is damaged: {said}; save the detector again") from error
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
"""What a detector may say of a state, or a network of weights, that nobody wrote."""


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    foreign = f"{path} is no detector that oodbench saved"
    try:
        if not path.is_file():  # a folder, or a device that never ends
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
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:  # of a type that torch does not know
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


def _row(values: Sequence[Any] | None) -> Any:
    return None if values is None else tuple(values)


def _input(found: Mapping[str, Any]) -> Input:
    """An input as JSON has it."""
    prepared = found["preprocessing"]
    (height, width) = found["side"]
    sides = (height, width) if prepared is None else (height, width, prepared["side"])
    if not all(type(one) is int and 0 < one < LARGEST_SIDE for one in sides):
        raise ValueError("the size of its images is none")
    return Input(
        (height, width),
        _row(found["mean"]),
        _row(found["std"]),
        found["head"],
        _row(found["taps"]),
        None if prepared is None else Preprocessing(**prepared),
    )


def _made_by(path: str | Path, built: Built | None, given: str | None) -> Built:
    """How the network in a file is made, if it is in there and nothing is run that only the file names."""
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
    """A network of this name is made by code that is installed, and neither by a file nor from a folder or the net."""
    return _NAME.fullmatch(name.rpartition(AT)[2]) is not None and not named.is_place(name)


def _built(found: Any, given: str | None, tensors: Mapping[str, Tensor]) -> Built | None:
    """How the network in the file is made, by the name that is `given` if one is; None where none is in there."""
    if found is None:
        return None
    name, outputs, mean, std, beside = (found[key] for key in ("name", "outputs", "mean", "std", "beside"))
    weights = [one for key, one in tensors.items() if key.startswith(NETWORK)]
    if not isinstance(name, str):
        raise ValueError("the name of its network is none")
    # A layer is made before it is filled, so nothing may be larger than what is there.
    if type(outputs) is not int or not any(outputs in one.shape for one in weights):
        raise ValueError("its network has other outputs than its weights")
    numbers = [*mean, *std]
    if len(mean) not in (0, 3) or len(std) not in (0, 3) or not all(isinstance(one, int | float) for one in numbers):
        raise ValueError("the normalisation of its network is none")
    head, taps = found.get("head", ""), found.get("taps", [])  # files of before have neither
    if not isinstance(head, str) or not all(isinstance(tap, str) for tap in taps):
        raise ValueError("the parts of its network are none")
    return Built(given or name, outputs, _row(mean), _row(std), beside is True, head, tuple(taps))


def _with_weights(
    built: Built, detector: Detector, taken: Input, tensors: Mapping[str, Tensor], device: torch.device
) -> Network:
    """The network of a file, on the device."""
    network = built.network(detector.objective(), taken.side)
    weights = {name.removeprefix(NETWORK): one for name, one in tensors.items() if name.startswith(NETWORK)}
    network.load_state_dict(weights)
    return network.to(device)


def _says_the_same(now: Floats | None, before: Tensor | None) -> bool:
    """Scores (N,) of the same images are those of `before`, as far as anything is known of these."""
    if now is None or before is None:
        return True
    then = _scores(before, "made-up images")
    return len(now) == len(then) and bool(np.abs(now - then).max() <= NOTHING + TOLERATED * np.abs(then).max())


def _scores(scores: Tensor, of: str) -> Floats:
    if scores.dtype != torch.float64 or scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
        raise ValueError(f"its scores of {of} are none")
    return np.array(scores.numpy())
