"""Compute: how networks calculate, where that is a choice between speed and exactness."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Network, Representation
from oodbench.networks.of_module import ModuleNetwork
from oodbench.networks.precision import PRECISIONS, Compute


def choose(precision: str, tf32: bool, compiled: bool, device: torch.device) -> Compute:
    """Choose how to compute on `device`, as it was asked for; see `PRECISIONS`.

    Raises:
        OodbenchError: no such precision, or torch cannot compile here.
    """
    if precision not in PRECISIONS:
        raise OodbenchError(f"precision {precision!r} is not known: choose one of {', '.join(PRECISIONS)}")
    if compiled:
        _try_to_compile(device)
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return Compute(bf16=precision == "bf16" or (precision == "auto" and has_bf16), tf32=tf32, compiled=compiled)


def require_for_tf32(tf32: bool, device: torch.device) -> None:
    """Refuse TF32 where there is none, since results would be called what they are not.

    Raises:
        OodbenchError: it is asked for on something else than an NVIDIA GPU.
    """
    if tf32 and (device.type != "cuda" or torch.version.hip is not None):
        raise OodbenchError(f"--tf32 is a rounding of NVIDIA GPUs, and this run is on {device.type}: leave it out")


def _try_to_compile(device: torch.device) -> None:
    """Compile something small, to find out in seconds rather than after hours of training."""
    try:
        torch.compile(lambda numbers: numbers.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # whatever the compiler's many parts raise
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        raise OodbenchError(f"--compile: torch.compile does not work here ({reason}): leave it out") from error


def prepare(network: Network, compute: Compute) -> Network:
    """Set `network` to calculate in this way where it attacks and scores."""
    network.tf32 = compute.tf32
    if compute.compiled:
        network.represent = torch.compile(network.represent)  # type: ignore[method-assign]
    return network


@contextmanager
def repeatable() -> Iterator[None]:
    """Inside, the same work gives the same bits time and again, on a GPU too.

    Left to itself, cuDNN also chooses algorithms that add up gradients in whatever order their threads end.
    """
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@contextmanager
def training_precision(network: Network, compute: Compute) -> Iterator[None]:
    """Inside, `network` represents images as `compute` has it for training; what it gives is float32 all the same."""
    if not compute.bf16:
        yield
        return
    exact = network.represent
    # A module of somebody's own may flatten its maps with view(), which takes the usual order alone.
    wraps_module = any(isinstance(part, ModuleNetwork) for part in network.modules())
    layout = torch.contiguous_format if wraps_module else torch.channels_last

    def represent(images: Any) -> Representation:
        if not isinstance(images, Tensor):  # boxes, whose bounds would not hold if they were rounded
            return exact(images)
        with torch.autocast(images.device.type, torch.bfloat16):
            representation = exact(images.contiguous(memory_format=layout))
        logits, features, taps = representation  # by place: where one of them is missing, its name says so
        return representation._replace(
            logits=logits.float(), features=features.float(), taps=tuple(tap.float() for tap in taps)
        )

    network.to(memory_format=layout)
    network.represent = represent  # type: ignore[method-assign]
    try:
        yield
    finally:
        network.represent = exact  # type: ignore[method-assign]
