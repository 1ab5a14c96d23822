"""What a network costs, counted before it is used."""

import logging
from contextlib import suppress

import torch

from oodbench.networks.network import Network

# Where torch has come without Triton, as for CPUs, it would warn of kernels that none of these networks has.
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402


def operations(network: Network, shape: tuple[int, int, int]) -> int:
    """Floating-point operations of a forward pass of `network` over one image, (C, H, W), as torch counts them.

    Images that it cannot take are not refused here; what was counted until then is given.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter, suppress(RuntimeError, ValueError):
        network.represent(torch.zeros(1, *shape))
    counted: int = counter.get_total_flops()
    return counted
