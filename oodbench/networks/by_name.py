"""Networks by name: what is known of one before it is built, and its building.

`oodbench.networks` has these functions as its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oodbench.basics.errors import OodbenchError
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks import named
from oodbench.networks.builder import NONE, Builder, Channels

if TYPE_CHECKING:
    from torch import nn

    from oodbench.networks.network import Network

Normalisation = tuple[Channels, Channels]
"""Channel mean and deviation, in [0, 1] units."""

USUAL_SHAPE = (3, 32, 32)
"""(C, H, W) of the images that a network is tried on where nobody says of which it is."""


def require(name: str) -> None:
    """Check that there is a network `name`.

    Raises:
        OodbenchError: `build` knows none.
    """
    named.find(name)


def normalisation(name: str) -> Normalisation:
    """Return the channel mean and deviation of the network `name`, as its builder declares them.

    A suite may say otherwise. Code in a file or package of the user's own is not imported for this: () and () then.

    Raises:
        OodbenchError: no such network.
    """
    if named.AT in name:
        return (), ()
    builder = named.find(name).builder
    return builder.mean, builder.std


def preprocessing(name: str) -> Preprocessing | None:
    """Return how image files become the input of the network `name`; None where nobody has said it.

    Raises:
        OodbenchError: no such network.
    """
    if name.startswith(f"{named.IN_MEMORY}{named.AT}"):
        return None
    return named.find(name).builder.preprocessing


def describe(name: str) -> str:
    """Describe the network `name` in one line; of a plugin that does not load, say why.

    Raises:
        OodbenchError: no such network is registered.
    """
    named.require_registered(name)
    try:
        builder = named.find(name).builder
    except OodbenchError as error:
        return str(error)
    return builder.description or "no description"


def code(name: str) -> str:
    """Digest of the code behind the network `name`, see `oodbench.networks.named.Found.code`.

    Raises:
        OodbenchError: no such network, or its code cannot be read.
    """
    return named.find(name).code


def made(name: str, outputs: int, mean: Channels = (), std: Channels = (), seed: int | None = None) -> nn.Module:
    """Call the builder of the network `name`: the result is an untrained `Network`, or a module that becomes one.

    Args:
        name: one that `oodbench.networks.named` finds.
        outputs: number of logits, a reject class included.
        mean: subtracted from each RGB channel, in [0, 1] units; () for what the builder says.
        std: divides each RGB channel, likewise.
        seed: makes the weights a function of the seed alone and leaves the global generators as they were;
            None draws from torch's global generator.

    Raises:
        OodbenchError: no such network, or it cannot be built.
    """
    import torch

    builder = named.find(name).builder
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            # Not torch.manual_seed: that one also seeds the accelerators, whose state is not put back here.
            torch.default_generator.manual_seed(seed)
        return builder.built(name, outputs, *_channels(builder, mean, std))


def build(
    name: str,
    outputs: int,
    mean: Channels = NONE[0],
    std: Channels = NONE[1],
    seed: int | None = None,
    *,
    head: str = "",
    taps: tuple[str, ...] = (),
    shape: tuple[int, int, int] = USUAL_SHAPE,
) -> Network:
    """Build the untrained network `name`, in train mode, on the CPU.

    Args:
        name: see `made`, as for all up to `seed`.
        outputs: number of logits, a reject class included.
        mean: subtracted from each RGB channel, in [0, 1] units; () for what the builder says.
        std: divides each RGB channel.
        seed: of the weights.
        head: name of the last linear layer of a module; "" for what the builder says, or to find it.
        taps: names of the parts whose outputs are feature maps; () for what the builder says, or the usual ones.
        shape: (C, H, W) of the images.

    Raises:
        OodbenchError: no such network, or it cannot be built or used.
    """
    from oodbench.networks.user_network import as_network
    from oodbench.networks.wrapping import wrapping_of

    builder = named.find(name).builder
    module = made(name, outputs, mean, std, seed)
    # A builder that takes mean and deviation makes networks that normalise images themselves.
    channels = ((), ()) if builder.normalises else _channels(builder, mean, std)
    how = wrapping_of(*channels, head or builder.head, taps or builder.taps)
    return as_network(module, name, outputs, shape, how)


def _channels(builder: Builder, mean: Channels, std: Channels) -> Normalisation:
    """The channel mean and deviation to use: the given ones, else the builder's, else those that change nothing."""
    return mean or builder.mean or NONE[0], std or builder.std or NONE[1]
