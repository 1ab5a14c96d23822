"""The sizes of images that a network can take."""

import torch

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Network

SIDES = (4, 8, 16, 24, 28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 512)
"""Sides that data sets and networks have, in pixels."""


def require_takes(network: Network, name: str, shape: tuple[int, int, int]) -> None:
    """Check that `network` takes images (C, H, W), before hours are spent.

    Raises:
        OodbenchError: it does not; with the smallest of the usual sizes that it takes.
    """
    if _can_take(network, shape):
        return
    channels, height, width = shape
    smallest = next((side for side in SIDES if _can_take(network, (channels, side, side))), None)
    usual = f"the smallest of the usual sizes that it takes is {smallest} x {smallest}; " if smallest else ""
    resized = f"resize them (oodbench data pack ... --size {smallest}), " if smallest else ""
    raise OodbenchError(
        f"network {name!r} cannot take images of {height} x {width} pixels: {usual}{resized}or name another network"
    )


def _can_take(network: Network, shape: tuple[int, int, int]) -> bool:
    try:
        with torch.no_grad():
            network.represent(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, AssertionError, IndexError):
        return False
    return True
