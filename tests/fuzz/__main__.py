"""`python -m tests.fuzz`: feed the command mutated input for some minutes, and say which seeds found something."""

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

STARTED = "now: "
"""In front of the round that a worker begins, so that the one that killed it is known."""


def main() -> int:
    """Exit code 0 where nothing was found, 1 where something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--target", action="append", help="only this target; repeatable, all if left out")
    parser.add_argument("--seed", type=int, help="only this seed, once for each target")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--worker", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    return _work(asked) if asked.worker else _watch(asked)


def _watch(asked: argparse.Namespace) -> int:
    """Keep a worker going until the time is up: one that crashes the interpreter is a finding, and not the end."""
    until, found, first = time.time() + 60 * asked.minutes, 0, asked.first
    targets = [word for target in asked.target or [] for word in ("--target", target)]
    single = ["--seed", str(asked.seed)] if asked.seed is not None else []
    while True:
        command = [sys.executable, "-u", "-m", "tests.fuzz", "--worker", str(until), "--from", str(first)]
        worker = subprocess.Popen([*command, *targets, *single], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        now = ""
        for line in worker.stdout:
            if line.startswith(STARTED):
                now = line.removeprefix(STARTED).strip()
            else:
                print(line, end="", flush=True)
            found += line.startswith("FOUND")
        if worker.wait() in (0, 1):
            break
        found += 1
        print(f"FOUND {now}: the interpreter ended with {worker.returncode}", flush=True)
        first = int(now.rpartition(" ")[2]) + 1
        if single or time.time() > until:
            break
    print(f"{found} rounds found something" if found else "nothing found")
    return int(found > 0)


def _work(asked: argparse.Namespace) -> int:
    from tests.fuzz.calling import inside
    from tests.fuzz.example import make
    from tests.fuzz.rounds import EXAMPLES, attempt
    from tests.fuzz.targets import TARGETS

    names = asked.target or [*TARGETS]
    if unknown := sorted({*names} - {*TARGETS}):
        print(f"FOUND no target {', '.join(unknown)}: choose from {', '.join(TARGETS)}")
        return 1
    found = rounds = 0
    with tempfile.TemporaryDirectory(prefix="oodbench-fuzz-") as place:
        folder = Path(place)
        (folder / "world").mkdir()
        with inside(folder / "world") as world:
            make(world)
        for seed in [asked.seed] if asked.seed is not None else count(asked.first):
            for name in names:
                if time.time() > asked.worker and asked.seed is None:
                    print(f"{rounds} rounds of {EXAMPLES} cases, seeds {asked.first} to {seed}, {len(names)} targets")
                    return int(found > 0)
                print(f"{STARTED}--target {name} --seed {seed}", flush=True)
                said = attempt(name, seed, world, folder / "case")
                rounds += 1
                if said:
                    found += 1
                    print(f"FOUND --target {name} --seed {seed}\n{said}", flush=True)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
