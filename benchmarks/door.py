"""What a command costs before it does anything: CPU-seconds over those of `python -c pass`, and the peak of memory."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import Ratio, Row
from benchmarks.setting import OOD, TEST, TRAIN, Setting, images
from benchmarks.spent import Spent

NETWORK = "small-cnn"
NOTHING = (sys.executable, "-c", "pass")
READING = (sys.executable, "-c", "import pandas, h5py")

OPENS = (0.35, 80.0)
"""CPU-seconds and megabytes that help, a mistake and completion may take."""

LISTS = 1.2
"""CPU-seconds that a list may take."""

READS = 2.0
"""CPU-seconds that stored results may take over pandas and h5py alone."""

SPEAKS = 1.0
"""CPU-seconds after which a run says its first line."""

VERBS = ("", "run", "tune", "table", "threshold", "check", "report", "list", "keep", "data", "data list", "data fetch")
TYPED = (
    "run --detector ato",
    "run --suite digits-",
    "run --task linf-",
    "run --only lette",
    "run --checkpoint dense",
    "data show frost-",
)


@dataclass(frozen=True)
class Bound:
    """What a command may take.

    Attributes:
        cpu: seconds over those of `base`.
        megabytes: None where nothing is promised.
        base: a command whose seconds do not count.
        spoke: seconds count until the first line alone.
    """

    cpu: float
    megabytes: float | None = None
    base: Sequence[str] = NOTHING
    spoke: bool = False


def measure(setting: Setting) -> Iterator[Row]:
    """Each command several times in a process of its own, between those that it is measured against."""
    for what, command, bound in _commands(setting):
        _spent(command)  # what is kept for the next time is not counted
        done = [(_spent(command), _spent(bound.base)) for _ in range(setting.sizes.repetitions)]
        cpu = [(one.spoke if bound.spoke else one.cpu) - base.cpu for one, base in done]
        memory = [one.megabytes for one, _ in done]
        against = f"{bound.cpu:g} CPU-seconds over `{_short(bound.base)}`"
        note = f"{sorted(cpu)[len(cpu) // 2]:.2f} CPU-seconds, {min(memory):.0f} MB"
        yield Row("door", what, against, "cost", Ratio.of(cpu, [bound.cpu] * len(cpu)), 1.0, note)
        if bound.megabytes:
            ratio = Ratio.of(memory, [bound.megabytes] * len(memory))
            yield Row("door", f"{what}: memory", f"{bound.megabytes:g} MB", "cost", ratio, 1.0, note)


def _commands(setting: Setting) -> Iterator[tuple[str, list[str], Bound]]:
    """What is measured: in words, as a command, and within which bounds."""
    opens, lists, reads = Bound(*OPENS), Bound(LISTS), Bound(READS, base=READING)
    yield "--version", _oodbench("--version"), opens
    for verb in VERBS:
        yield f"{verb} --help".strip(), _oodbench(*verb.split(), "--help"), opens
    yield "run --sute", _oodbench("run", "--sute", "digits"), opens
    for typed in TYPED:
        words = f"oodbench {typed}"
        asked = ["env", f"COMP_WORDS={words}", f"COMP_CWORD={len(typed.split())}", "_OODBENCH_COMPLETE=bash_complete"]
        yield f"TAB behind {typed}", [*asked, *_oodbench()], opens
    for kind in ("detectors", "suites", "tasks", "networks"):
        yield f"list {kind}", _oodbench("list", kind), lists
    yield "data list", _oodbench("data", "list"), lists
    checkpoint = setting.write_checkpoint(NETWORK)
    packs = setting.write_packs(images(TRAIN, 128, seed=3), images(TEST, 128, seed=1), images(OOD, 128, seed=2))
    results = setting.run(NETWORK, checkpoint, packs, ["msp"])
    yield "table", _oodbench("table", str(results)), reads
    reference = str(results / "reference.csv")
    _spent(_oodbench("check", str(results), "--reference", reference, "--update"))
    yield "check", _oodbench("check", str(results), "--reference", reference), reads
    run = _oodbench("run", "--suite", "digits", "--detector", "msp", "--dry-run", "--out", str(results))
    yield "run, until its first line", run, Bound(SPEAKS, spoke=True)


def _oodbench(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("oodbench")), *words]


def _short(command: Sequence[str]) -> str:
    return f"python {' '.join(command[1:])}"


def _spent(command: Sequence[str]) -> Spent:
    """Measured from a small process, see `benchmarks.spent`."""
    small = [sys.executable, "-m", "benchmarks.spent", *command]
    done = subprocess.run(small, cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True)
    return Spent(**json.loads(done.stdout))
