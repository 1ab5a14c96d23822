"""The conditions of a number: the one list of what is part of a key and what a table only shows.

A key (a hash in the name of a result or a network) holds what makes a number another number: the suite's images,
network, training recipe and outliers, the detector's parameters and code, the task's constants, the seed, `--limit` and
`--images`, the weights of a given network, the version numbers of the harness, and of the machinery whatever below says
`IN_WEIGHTS` or `IN_SCORES`. A result with another key is another result, stands in a file of its own, and is never
averaged with the first.

Everything else below is a condition: the same numbers are meant and rounding alone differs, so a result is not done
again because a GPU took over or torch was updated, and results can be made on one machine and read on another. Rounding
can add up over a training to other weights. Therefore tables name the conditions of every row where they differ, and
where a network was trained if that is not where it was scored.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.networks.precision import EXACT, Compute
from oodbench.version import __version__

if TYPE_CHECKING:
    import torch

SCORED_IN_TF32 = "scored in TF32"
"""What the attribute "hardware" of such a result says."""

IN_WEIGHTS, IN_SCORES, SHOWN = "key of networks", "key of results", "shown"
"""The uses of a condition. Those in a key are shown as well."""


@dataclass(frozen=True)
class Setup:
    """The device, processes and precision that calculate.

    Attributes:
        device: of this process.
        processes: that work together.
        compute: precision and compilation.
    """

    device: torch.device
    processes: int = 1
    compute: Compute = EXACT


@dataclass(frozen=True)
class Condition:
    """One thing that may differ between two runs of the same command.

    Attributes:
        name: for people.
        becomes: `IN_WEIGHTS`, `IN_SCORES` or `SHOWN`.
        stored: the attribute of a result that says it; several may share one.
        value: in words; "" where it is as usual.
    """

    name: str
    becomes: str
    stored: str
    value: Callable[[Setup], str]


def _hardware(setup: Setup) -> str:
    import torch  # as below: what results say can be read without it

    if setup.device.type == "cuda":
        return str(torch.cuda.get_device_name(setup.device))
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' * (threads > 1)} on {os.cpu_count()} cores"


def _torch(_: Setup) -> str:
    import torch

    return str(torch.__version__)


CONDITIONS = (
    Condition("version of oodbench", SHOWN, "oodbench", lambda _: __version__),
    Condition("version of torch", SHOWN, "torch", _torch),
    Condition("version of Python", SHOWN, "python", lambda _: platform.python_version()),
    Condition("device", SHOWN, "device", lambda setup: setup.device.type),
    Condition("GPU, or CPU and threads", SHOWN, "hardware", _hardware),
    Condition(
        "processes", IN_WEIGHTS, "hardware", lambda setup: f"{setup.processes} processes" * (setup.processes > 1)
    ),
    Condition("training in bf16", IN_WEIGHTS, "hardware", lambda setup: "trained in bf16" * setup.compute.bf16),
    Condition("scoring in TF32", IN_SCORES, "hardware", lambda setup: SCORED_IN_TF32 * setup.compute.tf32),
    Condition("compilation", SHOWN, "hardware", lambda setup: "compiled" * setup.compute.compiled),
)
"""In the order in which they are said."""


def key_parts(setup: Setup, key: str) -> list[str]:
    """The values of `setup` that belong into a key, `IN_WEIGHTS` or `IN_SCORES`; none where all is as usual."""
    return [text for condition in CONDITIONS if condition.becomes == key and (text := condition.value(setup))]


def condition_attributes(setup: Setup) -> dict[str, str]:
    """All of it, as a result's attributes: oodbench, torch, python, device, hardware."""
    values_of: dict[str, list[str]] = {}
    for condition in CONDITIONS:
        values_of.setdefault(condition.stored, []).extend(filter(None, [condition.value(setup)]))
    return {name: ", ".join(values) for name, values in values_of.items()}


def place_text(hardware: str, version: str) -> str:
    """Name a place of measuring or training for people, from the attributes "hardware" and "torch"."""
    return f"{hardware}, torch {version}"
