"""What a result was computed on and with."""

import os
import platform

import torch

from oodbench import __version__


def machine(device: torch.device) -> dict[str, str]:
    """Versions and hardware, for people and for comparisons across machines."""
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "oodbench": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device.type,
        "hardware": hardware,
    }


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
