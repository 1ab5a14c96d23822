"""Refuses scores with side effects: on their networks, or on tensors that several detectors are shown."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.module import register_module_forward_pre_hook

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Representation

DEPTH = 4
"""How many objects deep networks are searched for."""


@contextmanager
def forbid_writing(name: str, images: Sequence[Tensor], representation: Representation) -> Iterator[None]:
    """Refuse a detector that writes into tensors that it is shown: the next detector is shown them as well.

    Args:
        name: of the detector.
        images: that it is shown.
        representation: of the images.

    Raises:
        OodbenchError: it wrote into one of them.
    """
    logits, features, taps = (
        representation  # by position: a part that is missing raises an error when it is asked for by name
    )
    shared = [*images, logits, features, *taps]
    counting = [tensor for tensor in shared if not tensor.is_inference()]  # inference tensors cannot be written into
    versions = [tensor._version for tensor in counting]
    # Writing into an array that shares its memory with a tensor does not change the tensor's version.
    small = [tensor.detach() for tensor in (logits, features)]
    before = [tensor.clone() for tensor in small]
    yield
    if versions != [tensor._version for tensor in counting] or not all(map(_equal, small, before)):
        raise OodbenchError(
            f"{name} writes into the images, the logits or the features that it is shown, which other detectors are "
            "shown as well: work on a copy, for instance with clamp(...) in place of clamp_(...)"
        )


@contextmanager
def forbid_network_changes(name: str, network: nn.Module) -> Iterator[None]:
    """Refuse a detector that changes the network, which it shares with others.

    Args:
        name: of the detector.
        network: that it was given.

    Raises:
        OodbenchError: it wrote into weights or buffers; they have been restored.
    """
    saved = _SavedTensors([network])
    changed: list[str] = []
    try:
        yield
    finally:
        changed += saved.restore()
    if changed:
        raise OodbenchError(
            f"{name} changes {changed[0]}, which other detectors score with as well (put back now): let it "
            "change a copy, such as weight.clone()"
        )


class _SavedTensors:
    """Copies of the weights and buffers of networks."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._tensors = [
            (f"{name} of {type(network).__name__}", tensor.detach(), tensor.detach().clone())
            for network in networks
            for name, tensor in (*network.named_buffers(), *network.named_parameters())
        ]

    def restore(self) -> list[str]:
        """Restore the tensors that have changed since; their names."""
        changed = [(name, tensor, saved) for name, tensor, saved in self._tensors if not _equal(tensor, saved)]
        for _, tensor, saved in changed:
            tensor.copy_(saved)
        return [name for name, _, _ in changed]


def _equal(one: Tensor, other: Tensor) -> bool:
    """True where both are equal; a NaN equals a NaN."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def find_networks(score: Any) -> list[nn.Module]:
    """Find the networks behind a score: the score itself, what its function refers to, and what its object holds."""
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()

    def search(thing: Any, depth: int) -> None:
        if id(thing) in seen or depth > DEPTH or isinstance(thing, type):
            return
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            found[id(thing)] = thing
            return
        for part in _parts(thing):
            search(part, depth + 1)

    search(score, 0)
    return list(found.values())


def _parts(thing: Any) -> list[Any]:
    """The objects that something is made of or refers to, as far as they can hold a network."""
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, FunctionType):
        try:
            known = inspect.getclosurevars(thing)
        except ValueError:  # a variable that is not bound yet
            return []
        return [*known.nonlocals.values(), *known.globals.values(), *(thing.__defaults__ or ())]
    if isinstance(thing, list | tuple):
        return list(thing[:100])
    if isinstance(thing, Mapping):
        return list(thing.values())[:100]
    module = type(thing).__module__ or ""
    if inspect.ismodule(thing) or module.split(".")[0] in ("builtins", "torch", "numpy"):
        return []
    return list(getattr(thing, "__dict__", {}).values())


@contextmanager
def keep_networks_unchanged(score: Any) -> Iterator[None]:
    """Refuse whatever changes the networks behind a score inside.

    A network may be held where it is not found; its batch norm is checked at the latest when it is called.

    Raises:
        OodbenchError: batch norm of one of them would take the statistics of the test images, or its buffers or weights
            were changed; they have been restored.
    """
    networks = find_networks(score)
    for network in networks:
        _refuse_training(network)
    saved = _SavedTensors(networks)
    changed: list[str] = []
    hook = register_module_forward_pre_hook(_refuse_statistics)
    try:
        yield
    finally:
        hook.remove()
        changed += saved.restore()
    if changed:
        raise OodbenchError(
            f"the score changed {', '.join(changed[:3])}{' and more' if len(changed) > 3 else ''} while it was looked "
            "at (put back now): call .eval() on the network first, or keep the score from writing into it"
        )


def _refuse_training(network: nn.Module) -> None:
    """Raise OodbenchError for a network whose batch norm is in train mode."""
    learning = [name for name, part in network.named_modules() if _takes_statistics(part)]
    if learning:
        raise OodbenchError(
            f"{type(network).__name__} stands in train mode ({len(learning)} layers of batch norm, such as "
            f"{learning[0] or 'itself'!r}): its scores would depend on the batch, and test images would move its "
            "statistics; call .eval() on it first"
        )


def _refuse_statistics(part: nn.Module, args: object) -> None:
    """Refuse batch norm in train mode; torch calls this before each module."""
    if _takes_statistics(part):
        _refuse_training(part)


def _takes_statistics(part: nn.Module) -> bool:
    return isinstance(part, _NormBase) and part.training and part.running_mean is not None
