"""What a command takes: CPU-seconds, the peak of its memory, and CPU-seconds until it says its first line.

Run as `python -m benchmarks.spent COMMAND...`, from a small process: on Linux the peak of a process lives through exec,
so one that a large process started would have that one's.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """What one command took.

    Attributes:
        cpu: seconds of processor time, its own and the system's for it.
        megabytes: the most memory that was resident, in 10^6 bytes.
        spoke: seconds of processor time until its first line; all of it where it says none.
        code: its exit code.
    """

    cpu: float
    megabytes: float
    spoke: float
    code: int


def measured(command: list[str]) -> Spent:
    """Carry out `command`; what it prints is dropped."""
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert started.stdout is not None
    first = started.stdout.readline()
    spoke = _cpu_so_far(started.pid)
    started.stdout.read()
    _, status, usage = os.wait4(started.pid, 0)
    cpu = usage.ru_utime + usage.ru_stime
    return Spent(cpu, usage.ru_maxrss * 1024 / 1e6, spoke if first else cpu, os.waitstatus_to_exitcode(status))


def _cpu_so_far(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measured(sys.argv[1:]))))
