"""What a network costs, counted before it is used."""

from contextlib import suppress

import torch
from torch.utils.flop_counter import FlopCounterMode

from oodbench.networks.network import Network


def operations(network: Network, shape: tuple[int, int, int]) -> int:
    """Floating-point operations of a forward pass of `network` over one image, (C, H, W), as torch counts them.

    Images that it cannot take are not refused here; what was counted until then is given.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter, suppress(RuntimeError, ValueError):
        network(torch.zeros(1, *shape))
    counted: int = counter.get_total_flops()
    return counted
