"""What somebody's builder made as a network, tried on images before anything is done with it."""

import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcetext import in_harness
from oodbench.networks.builder import Channels
from oodbench.networks.network import Network
from oodbench.networks.of_module import ModuleNetwork, channels
from oodbench.networks.tapped import TappedNetwork

TRIED = 2
"""Images that a network is tried on."""


def trial(shape: tuple[int, int, int]) -> Tensor:
    """Images (C, H, W), the same every time, float (TRIED, C, H, W) in [0, 1]."""
    return torch.rand((TRIED, *shape), generator=torch.Generator().manual_seed(0))


def as_network(
    module: nn.Module,
    name: str,
    outputs: int,
    shape: tuple[int, int, int],
    mean: Channels = (),
    std: Channels = (),
    head: str = "",
    taps: tuple[str, ...] = (),
) -> Network:
    """A module as a network, in train mode.

    Args:
        module: as its builder made it, on the CPU; a `Network` is taken as it is.
        name: that the network has, for messages.
        outputs: number of logits that it must give.
        shape: (C, H, W) of the images.
        mean: subtracted from each RGB channel; () where the module does that itself.
        std: divides each RGB channel.
        head: name of the last linear layer; "" to find it.
        taps: names of parts whose outputs are feature maps; () for the usual ones.

    Raises:
        OodbenchError: it cannot be used so, or has another number of outputs.
    """
    if isinstance(module, Network):
        if head:
            raise OodbenchError(f"network {name!r} says itself what its last layer is: leave head out")
        network = _normalised(module, mean, std)
        if not in_harness(type(module).__module__):
            with torch.no_grad():
                _require_outputs(name, network.eval().represent(trial(shape)).logits.shape[1], outputs)
            network.train()
        if taps:
            training = network.training
            network = TappedNetwork(network.eval(), taps, trial(shape)).train(training)
        return network
    found = ModuleNetwork(
        module.eval(), trial(shape), mean=mean or None, std=std or None, head=head or None, taps=taps or None
    )
    _require_outputs(name, found.head.out_features, outputs)
    return found.train()


def _require_outputs(name: str, given: int, needed: int) -> None:
    if given != needed:
        raise OodbenchError(
            f"network {name!r} gives {given} outputs, and {needed} are needed: the suite's classes, and a reject class "
            "if and only if the detector trains one; let its builder take the number of logits"
        )


def _normalised(network: Network, mean: Channels, std: Channels) -> Network:
    """The network with the mean and deviation that somebody says; with its own where nobody does."""
    if mean and std:
        for name, values in zip(("mean", "std"), channels(mean, std), strict=True):
            getattr(network, name).copy_(torch.tensor(values).view(1, -1, 1, 1))
    return network
