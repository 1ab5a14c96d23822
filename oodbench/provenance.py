"""What a result was computed on and with."""

import os
import platform

import torch

from oodbench import __version__


def machine(device: torch.device, processes: int = 1, compute: str = "") -> dict[str, str]:
    """Versions and hardware, for people and for comparisons across machines.

    Args:
        device: of this process.
        processes: how many worked together.
        compute: what is out of the ordinary about how they calculated.
    """
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    hardware += f", {processes} processes" * (processes > 1) + f", {compute}" * bool(compute)
    return {
        "oodbench": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device.type,
        "hardware": hardware,
    }


def _processor() -> str:
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' * (threads > 1)} on {os.cpu_count()} cores"
