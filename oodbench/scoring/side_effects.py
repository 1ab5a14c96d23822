"""Networks behind a score: a measurement must leave them as they were, and find them in evaluation mode."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.module import register_module_forward_pre_hook

from oodbench.basics.errors import OodbenchError

DEPTH = 4
"""How many objects deep networks are looked for."""


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
        OodbenchError: batch norm of one of them would take the statistics of the test images, or its buffers were
            changed all the same; they have been put back.
    """
    networks = networks_behind(score)
    for network in networks:
        _refuse_training(network)
    buffers = [(network, name, buffer) for network in networks for name, buffer in network.named_buffers()]
    before = [buffer.detach().clone() for _, _, buffer in buffers]
    moved: list[str] = []
    watch = register_module_forward_pre_hook(_refuse_taking)
    try:
        yield
    finally:
        watch.remove()
        for (network, name, buffer), was in zip(buffers, before, strict=True):
            if not torch.equal(buffer, was):
                moved.append(f"{name} of {type(network).__name__}")
                with torch.no_grad():
                    buffer.copy_(was)
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
