"""Builder: makes a network that has a name. Everybody's networks come in by one, those of oodbench too."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oodbench.basics.errors import OodbenchError
from oodbench.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

COUNTS = ("outputs", "num_outputs", "classes", "num_classes", "n_classes")
"""Names that a builder may have for the number of logits that it is asked for."""

Channels = tuple[float, ...]
"""A number for each RGB channel, in [0, 1] units; () where nobody has said any."""

NONE: tuple[Channels, Channels] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Mean and deviation that leave images as they are."""


@dataclass(frozen=True)
class Builder:
    """A function or class that makes a network, with defaults for how images go into it.

    A suite may say otherwise of all but `make`.

    Attributes:
        make: gives an `nn.Module` that maps images, float (N, 3, H, W), to logits; see `built` for what it is given.
        description: one line for people.
        mean: subtracted from each RGB channel before the module sees images; () for nothing.
        std: divides each RGB channel; () for nothing.
        head: name of the last linear layer; "" to find it.
        taps: names of the parts whose outputs are feature maps; () for the usual ones.
        preprocessing: how image files become its input; None where nobody knows.
    """

    make: Callable[..., nn.Module]
    description: str = ""
    mean: Channels = ()
    std: Channels = ()
    head: str = ""
    taps: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None

    @classmethod
    def of(cls, made: object, called: str) -> Builder:
        """Return the builder that `made` is, or that a function or class becomes.

        Raises:
            OodbenchError: it is neither a builder, a function nor a class.
        """
        if isinstance(made, Builder):
            return made
        if not callable(made) or _is_module(made):
            what = "a network that is built already" if _is_module(made) else f"of the type {type(made).__name__}"
            raise OodbenchError(
                f"network {called!r} is {what}: name a function, or a class of nn.Module, that builds one: "
                "def build(outputs): return ..."
            )
        return cls(made, inspect.cleandoc(made.__doc__ or "").partition("\n")[0])

    @property
    def normalises(self) -> bool:
        """Whether it takes mean and deviation, and makes networks that normalise images themselves."""
        return {"mean", "std"} <= set(_parameters(self.make))

    def built(self, called: str, outputs: int, mean: Channels, std: Channels) -> nn.Module:
        """Make the network.

        `make` is given what it has parameters for, by their names: the number of logits (`COUNTS`), `mean` and `std`.
        Where none has such a name the first one that must be given is the number of logits.

        Args:
            called: the network's name, for messages.
            outputs: number of logits, a reject class included.
            mean: of each RGB channel.
            std: likewise.

        Raises:
            OodbenchError: it wants something else, fails, or makes something else.
        """
        parameters = _parameters(self.make)
        given: dict[str, Any] = {name: outputs for name in COUNTS if name in parameters}
        needed = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
        if not given and needed and needed[0] not in ("mean", "std"):
            given[needed[0]] = outputs
        given |= {name: value for name, value in (("mean", mean), ("std", std)) if name in parameters}
        if lacking := [name for name in needed if name not in given]:
            raise OodbenchError(
                f"network {called!r} is built from {', '.join(lacking)} as well, which nobody gives: let its builder "
                "take the number of logits and, if it likes, mean and std"
            )
        try:
            made = self.make(**given)
        except OodbenchError:
            raise
        except Exception as error:
            raise OodbenchError(f"network {called!r} cannot be built: {error_line(error)}") from error
        if not _is_module(made):
            raise OodbenchError(
                f"the builder of network {called!r} gives something of the type {type(made).__name__}: let it return "
                "an nn.Module that maps images to logits"
            )
        return made


def error_line(error: BaseException) -> str:
    """The error that somebody's code raised, in one line."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"


def _parameters(made: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that can be given by name; none where Python does not tell."""
    try:
        every = inspect.signature(made).parameters
    except (ValueError, TypeError):
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: parameter for name, parameter in every.items() if parameter.kind in named}


def _is_module(made: object) -> bool:
    # Where nobody has imported torch there is no module either, and to import it takes seconds.
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and isinstance(made, torch.nn.Module)
