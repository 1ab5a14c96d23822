"""`python -m tests.kill`: disturb commands at random moments; the same command must then end as if nothing had been."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.kill import process
from tests.kill.commands import COMMANDS, Command, Made, archive_of, many_photos, publish, told
from tests.kill.process import Ended, start

LEAST = 1024
"""Bytes that any file may have, so that there is room for a message."""

UNREADABLE = "Traceback (most recent call last)"


class Trial:
    """One command in a copy of the world, and what it comes to undisturbed."""

    def __init__(self, command: Command, place: Path) -> None:
        self.command, self.place, self.world = command, place, place / "world"
        ended = self.copy("calm").run()
        assert ended.code == 0, f"undisturbed: {ended}"
        self.seconds, self.said, self.wanted = ended.seconds, ended.out, self.made()
        self.size = max((file.stat().st_size for file in self.written().rglob("*") if file.is_file()), default=0)

    def copy(self, name: str) -> "Trial":
        """Work in a fresh copy of the world from now on."""
        self.folder = self.place / name
        shutil.copytree(self.world, self.folder)
        for gone in self.command.empty:
            shutil.rmtree(self.folder / gone)
        return self

    def written(self) -> Path:
        """Where the command writes."""
        return self.folder / (self.command.writes or "made")

    def begin(self, name: str = "call", limit: int | None = None) -> process.Running:
        """The command, at work."""
        return start(self.command.arguments, self.folder, self.place / name, limit)

    def run(self) -> Ended:
        """The command, to its end."""
        return self.begin().wait()

    def made(self) -> Made:
        """What it left."""
        return self.command.made(self.written())


def killed(trial: Trial, random: random.Random) -> str:
    """Killed once or several times, early or late."""
    moments = [random.uniform(0, 1.1 * trial.seconds) for _ in range(random.choice([1, 1, 2, 3]))]
    for moment in moments:
        running = trial.begin()
        _pause(running, moment)
    return f"killed after {', '.join(f'{moment:.3f}' for moment in moments)} s"


def _pause(running: process.Running, seconds: float) -> None:
    time.sleep(seconds)
    running.kill()
    running.wait()


def starved(trial: Trial, random: random.Random) -> str:
    """No file may grow beyond a size, as where a quota or a file system ends."""
    limit = random.randrange(LEAST, max(LEAST + 1, trial.size, len(trial.said)))
    ended = trial.begin(limit=limit).wait()
    _require_said(ended)
    return f"files of at most {limit} of {trial.size} bytes, code {ended.code}"


def full(trial: Trial, random: random.Random) -> str:
    """The disk fills up: a small file system where the system lets us have one, else a limit to each file."""
    trial.written().mkdir(parents=True, exist_ok=True)
    before = trial.place / "aside"
    shutil.copytree(trial.written(), before)
    taken = sum(file.stat().st_size + 4096 for file in before.rglob("*"))
    size = taken + random.randrange(4096, 4096 + 2 * trial.size + 4096)
    if os.system(f"mount -t tmpfs -o size={size} tmpfs '{trial.written()}' 2> /dev/null"):
        shutil.rmtree(before)
        return starved(trial, random)
    try:
        shutil.copytree(before, trial.written(), dirs_exist_ok=True)
        ended = trial.run()
        _require_said(ended)
        shutil.rmtree(before)
        shutil.copytree(trial.written(), before)
    finally:
        os.system(f"umount '{trial.written()}'")
    shutil.rmtree(trial.written())
    shutil.copytree(before, trial.written())
    shutil.rmtree(before)
    return f"a file system of {size} bytes, code {ended.code}"


def forbidden(trial: Trial, random: random.Random) -> str:
    """Nothing may be written anywhere below the folder: mounted to be read only, or by its permissions."""
    folder = trial.folder
    mounted = not os.system(f"mount --bind '{folder}' '{folder}' 2> /dev/null && mount -o remount,ro,bind '{folder}'")
    folders = [] if mounted else [folder, *(each for each in folder.rglob("*") if each.is_dir())]
    try:
        for each in folders:
            each.chmod(0o555)
        ended = trial.run()
        _require_said(ended)
    finally:
        for each in folders:
            each.chmod(0o755)
        if mounted:
            os.system(f"umount '{folder}'")
    return f"a folder that may not be written to, code {ended.code}"


def twice(trial: Trial, random: random.Random) -> str:
    """Two at once on the same files, and one of them killed perhaps."""
    first, second = trial.begin("first"), trial.begin("second")
    if random.random() < 0.5:
        moment = random.uniform(0, 1.5 * trial.seconds)
        _pause(first, moment)
        said = f"killed after {moment:.3f} s"
    else:
        _require_said(first.wait())
        said = "left alone"
    _require_said(second.wait(), well=True)
    return f"two at once, the first {said}"


def _require_said(ended: Ended, well: bool = False) -> None:
    """It ended well, or with a message and code 2 unless it had to be `well`."""
    assert UNREADABLE not in ended.out + ended.err, ended.err
    assert ended.code == 0 or (ended.code == 2 and ended.err.strip() and not well), f"code {ended.code}: {ended.err}"


DISTURBANCES: Mapping[str, Callable[[Trial, random.Random], str]] = {
    "killed": killed,
    "starved": starved,
    "full": full,
    "forbidden": forbidden,
    "twice": twice,
}
WEIGHTS = (6, 1, 1, 0.3, 2)


def disturb(trial: Trial, how: str, random: random.Random) -> tuple[str, str]:
    """Disturb, then run the command in peace: how it was disturbed, and what is wrong afterwards; "" if nothing is."""
    trial.copy("case")
    done = how
    try:
        done = DISTURBANCES[how](trial, random)
        ended = trial.run()
        assert ended.code == 0, f"afterwards code {ended.code}: {ended.err}"
        assert not trial.command.writes or not (odd := told(trial.made(), trial.wanted)), (
            f"other than undisturbed: {odd}"
        )
        assert trial.command.writes or ended.out == trial.said, f"printed something else: {ended.out}"
        left = [str(file.relative_to(trial.folder)) for file in trial.folder.rglob("*.tmp")]
        assert not left, f"half-written files stay behind: {left}"
    except AssertionError as error:
        return done, str(error)
    except Exception as error:
        return done, f"what it left cannot be read: {error!r}"
    finally:
        shutil.rmtree(trial.folder)
    return done, ""


def main() -> int:
    """Exit code 0 where nothing was lost, 1 where something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="how often (100)")
    parser.add_argument("--seed", type=int, default=0, help="the first of as many seeds (0)")
    parser.add_argument("--command", action="append", choices=[*COMMANDS], help="only this one; repeatable")
    parser.add_argument("--how", action="append", choices=[*DISTURBANCES], help="only this disturbance; repeatable")
    asked = parser.parse_args()
    found, server = 0, 0
    with tempfile.TemporaryDirectory(prefix="oodbench-kill-") as name:
        place = Path(name)
        place.chmod(0o755)
        try:
            server = _prepare(place)
            names = asked.command or [*COMMANDS]
            trials = {each: Trial(COMMANDS[each], _own(place, each)) for each in names}
            for seed in range(asked.seed, asked.seed + asked.times):
                random_ = random.Random(seed)
                how = random_.choice(asked.how) if asked.how else random_.choices([*DISTURBANCES], WEIGHTS)[0]
                each = random_.choice(names)
                done, wrong = disturb(trials[each], how, random_)
                found += bool(wrong)
                print(f"{'FOUND' if wrong else 'well '} --seed {seed} --times 1: {each}: {done} {wrong}", flush=True)
        finally:
            if server:
                os.kill(server, signal.SIGKILL)
                os.waitpid(server, 0)
    print(f"{asked.times} times, {found} of them not as undisturbed")
    return int(found > 0)


def _prepare(place: Path) -> int:
    """The world, the archive that is fetched, and its server, whose process is returned."""
    from tests.fuzz.calling import inside
    from tests.fuzz.example import make

    world = place / "world"
    world.mkdir()
    maker = os.fork()  # so that this process has no threads when it forks again
    if not maker:
        with inside(world):
            process.call(lambda: bool(make(world)) and many_photos(world / "many"))
    assert os.waitpid(maker, 0)[1] == 0, "the world could not be made"
    (world / "made").mkdir()
    content = archive_of(world / "many")
    url, server = process.serve(content)
    publish(url, content)
    return server


def _own(place: Path, name: str) -> Path:
    folder = place / name.replace(" ", "-")
    folder.mkdir()
    (folder / "world").symlink_to(place / "world")
    return folder


if __name__ == "__main__":
    sys.exit(main())
