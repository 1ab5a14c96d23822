"""What a score must leave as it was: its networks, found in evaluation mode, and what detectors are shown together."""

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
"""How many objects deep networks are looked for."""


@contextmanager
def unwritten(who: str, images: Sequence[Tensor], representation: Representation) -> Iterator[None]:
    """Sees to it that a detector does not write into what it is shown, which the next one is shown as well.

    Args:
        who: what it is called.
        images: that were made a representation of.
        representation: of them.

    Raises:
        OodbenchError: it wrote into one of them.
    """
    logits, features, taps = representation  # by place: where one of them is missing, its name says so
    shared = [*images, logits, features, *taps]
    counted = [one for one in shared if not one.is_inference()]  # others refuse to be written into
    versions = [one._version for one in counted]
    # An array that shares its memory with a tensor is written into without being counted.
    small = [one.detach() for one in (logits, features)]
    before = [one.clone() for one in small]
    yield
    if versions != [one._version for one in counted] or not all(map(_same, small, before)):
        raise OodbenchError(
            f"{who} writes into the images, the logits or the features that it is shown, which other detectors are "
            "shown as well: work on a copy, for instance with clamp(...) in place of clamp_(...)"
        )


@contextmanager
def unmoved(who: str, network: nn.Module) -> Iterator[None]:
    """Sees to it that a detector leaves the network as it is, which it shares with others.

    Args:
        who: what it is called.
        network: that it was given.

    Raises:
        OodbenchError: it wrote into weights or buffers; they have been put back.
    """
    kept = _Kept([network])
    moved: list[str] = []
    try:
        yield
    finally:
        moved += kept.put_back()
    if moved:
        raise OodbenchError(
            f"{who} changes {moved[0]}, which other detectors score with as well (put back now): let it "
            "change a copy, such as weight.clone()"
        )


class _Kept:
    """The weights and buffers of networks as they are now."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._held = [
            (f"{name} of {type(network).__name__}", one.detach(), one.detach().clone())
            for network in networks
            for name, one in (*network.named_buffers(), *network.named_parameters())
        ]

    def put_back(self) -> list[str]:
        """What was changed since, by name."""
        moved = [(name, one, was) for name, one, was in self._held if not _same(one, was)]
        for _, one, was in moved:
            one.copy_(was)
        return [name for name, _, _ in moved]


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal, where what is no number equals itself."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def networks_behind(score: Any) -> list[nn.Module]:
    """The networks that can be seen behind a score: itself, what its function refers to, what its object holds."""
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()

    def look(thing: Any, depth: int) -> None:
        if id(thing) in seen or depth > DEPTH or isinstance(thing, type):
            return
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            found[id(thing)] = thing
            return
        for part in _parts(thing):
            look(part, depth + 1)

    look(score, 0)
    return list(found.values())


def _parts(thing: Any) -> list[Any]:
    """What something is made of or refers to, as far as that can hold a network."""
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
def untouched(score: Any) -> Iterator[None]:
    """Sees to it that what happens inside leaves the networks behind a score as they were.

    A network may be held where nobody finds it; its batch norm is met at the latest when it is called.

    Raises:
        OodbenchError: batch norm of one of them would take the statistics of the test images, or its buffers or weights
            were changed all the same; they have been put back.
    """
    networks = networks_behind(score)
    for network in networks:
        _refuse_training(network)
    kept = _Kept(networks)
    moved: list[str] = []
    watch = register_module_forward_pre_hook(_refuse_taking)
    try:
        yield
    finally:
        watch.remove()
        moved += kept.put_back()
    if moved:
        raise OodbenchError(
            f"the score changed {', '.join(moved[:3])}{' and more' if len(moved) > 3 else ''} while it was looked at "
            "(put back now): call .eval() on the network first, or keep the score from writing into it"
        )


def _refuse_training(network: nn.Module) -> None:
    learning = [name for name, part in network.named_modules() if _takes_statistics(part)]
    if learning:
        raise OodbenchError(
            f"{type(network).__name__} stands in train mode ({len(learning)} layers of batch norm, such as "
            f"{learning[0] or 'itself'!r}): its scores would depend on the batch, and test images would move its "
            "statistics; call .eval() on it first"
        )


def _refuse_taking(part: nn.Module, given: object) -> None:
    """Called before any module is."""
    if _takes_statistics(part):
        _refuse_training(part)


def _takes_statistics(part: nn.Module) -> bool:
    return isinstance(part, _NormBase) and part.training and part.running_mean is not None
