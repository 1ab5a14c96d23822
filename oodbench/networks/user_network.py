"""Makes a network of what somebody's builder made, and tries it on images before anything is done with it."""

import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcetext import in_harness
from oodbench.networks.network import Network
from oodbench.networks.of_module import ModuleNetwork, channels
from oodbench.networks.tapped import TappedNetwork
from oodbench.networks.wrapping import Wrapping

TRIED = 2
"""Images that a network is tried on."""


def trial(shape: tuple[int, int, int]) -> Tensor:
    """Return random images, the same ones every time: float (TRIED, C, H, W) in [0, 1] for the `shape` (C, H, W)."""
    return torch.rand((TRIED, *shape), generator=torch.Generator().manual_seed(0))


def as_network(module: nn.Module, name: str, outputs: int, shape: tuple[int, int, int], how: Wrapping) -> Network:
    """Make a network of what a builder made, in train mode.

    Args:
        module: as its builder made it, on the CPU; a `Network` is taken as it is.
        name: that the network has, for messages.
        outputs: number of logits that it must give.
        shape: (C, H, W) of the images.
        how: mean and deviation, if the module does not normalise images itself; its head and its taps.

    Raises:
        OodbenchError: it cannot be used so, or has another number of outputs.
    """
    if isinstance(module, Network):
        if how.head:
            raise OodbenchError(f"network {name!r} says itself what its last layer is: leave head out")
        network = _with_channels(module, how)
        if not in_harness(type(module).__module__):
            with torch.no_grad():
                _require_outputs(name, network.eval().represent(trial(shape)).logits.shape[1], outputs)
            network.train()
        if how.taps:
            training = network.training
            network = TappedNetwork(network.eval(), how.taps, trial(shape)).train(training)
        return network
    wrapped = ModuleNetwork(module.eval(), trial(shape), mean=how.mean, std=how.std, head=how.head, taps=how.taps)
    _require_outputs(name, wrapped.outputs, outputs)
    return wrapped.train()


def _require_outputs(name: str, given: int, needed: int) -> None:
    if given != needed:
        raise OodbenchError(
            f"network {name!r} gives {given} outputs, and {needed} are needed: the suite's classes, and a reject class "
            "if and only if the detector trains one; let its builder take the number of logits"
        )


def _with_channels(network: Network, how: Wrapping) -> Network:
    """Give the network the mean and deviation of `how`; it keeps its own where one of them is left out."""
    if how.mean and how.std:
        for name, values in zip(("mean", "std"), channels(how.mean, how.std), strict=True):
            getattr(network, name).copy_(torch.tensor(values).view(1, -1, 1, 1))
    return network
