"""The command: what is to be done, what it costs, what is done, and one slice of it."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from filelock import FileLock, Timeout

from benchmarks.gpu.costs import ASSUMED, STARTS, Left, left, slower, there
from benchmarks.gpu.slices import DONE, FAILED, UNFINISHED, Say, Stop, carry_out, read, traces
from benchmarks.gpu.steps import Place, Step, steps, tiny
from oodbench.basics import words
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import require_writable
from oodbench.images import pieces
from oodbench.registry import Registry, discover
from oodbench.running.request import choose_device

MORE = 75
"""Exit code where more is left: the same command goes on. (EX_TEMPFAIL, as mail programs have it.)"""

RESERVE = 40.0
"""Seconds before the end of a slice in which what is at work is interrupted: it ends in these."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--minutes", type=click.FloatRange(min=2), default=9, show_default=True, help="Of this slice.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("gpu-run"),
    show_default=True,
    help="All that is left behind, and what the next slice goes on from.",
)
@click.option("--data", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Image packs.")
@click.option(
    "--pieces", "folder", type=click.Path(path_type=Path), help="Put packs together from the pieces in this folder."
)
@click.option("--only", multiple=True, metavar="STEP", help="Only this step; repeatable.")
@click.option("--device", default="cuda", show_default=True, help="Where networks run: cuda, cuda:0, or cpu to try it.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Trainings, and attacks, side by side: a small network leaves a large GPU waiting.",
)
@click.option("--tiny", "tiny_", is_flag=True, help="A few digits, to try it: the figures mean nothing.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what is left and what it costs, and do nothing.")
def main(
    minutes: float,
    out: Path,
    data: Path,
    folder: Path | None,
    only: Sequence[str],
    device: str,
    jobs: int,
    tiny_: bool,
    plan_only: bool,
) -> None:
    """Everything that is to be measured on one CUDA GPU, a slice of a few minutes at a time.

    The tests that need a GPU; the table of ratios; then suites cifar10-small-adv and cifar10-resnet18-adv, trained,
    attacked and scored. Each slice ends by itself in time, and the same command goes on where it stopped, also on
    another machine to which --out was carried. Nothing is downloaded. Exit code 0 when all is done, 75 when more is
    left, 1 when a step failed or a slice was too short for anything.
    """
    end = time.monotonic() + 60 * minutes - RESERVE
    place = Place(device, data.absolute(), out.absolute(), jobs)
    try:
        choose_device(device)
        require_writable(place.out, "--out")
        registry = discover()
        if folder is not None:
            put_together(folder, place, click.echo)
        methods = [name for name in registry.names() if not registry[name].only_by_name]
        wanted = chosen(tiny(place) if tiny_ else steps(place, methods), only)
        found = survey(wanted, place, registry, click.echo)
        stop = lambda: time.monotonic() > end  # noqa: E731
        if plan_only:
            sys.exit(0)
        with alone(place.out):
            code = work(wanted, found, place, registry, stop, click.echo)
    except OodbenchError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(code)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """One slice at a time: two would train one network twice and count each other's minutes.

    Raises:
        OodbenchError: another one is at work in this folder.
    """
    lock = FileLock(out / ".slice.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OodbenchError(
            f"another slice is at work in {out}: wait until it has ended, or give this one another folder with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def chosen(every: Sequence[Step], only: Sequence[str]) -> list[Step]:
    """Those of the steps that are named; all if none is.

    Raises:
        OodbenchError: a name is none of theirs.
    """
    names = [step.name for step in every]
    if unknown := [name for name in only if name not in names]:
        raise OodbenchError(f"there is no step {unknown[0]!r}: choose of {', '.join(names)}")
    return [step for step in every if not only or step.name in only]


def put_together(folder: Path, place: Place, say: Say) -> None:
    """Join what has all its pieces in `folder`, and say what has not."""
    for one in pieces.pieces_in(folder):
        pack = place.data / f"{one.name}.h5"
        if not pack.is_file() and (lacking := one.missing_files(folder)):
            say(f"{one.name}: not put together yet, {', '.join(lacking)} is still to come")
        else:
            say(f"{pieces.join(one, folder, place.data)}: whole")


def survey(wanted: Sequence[Step], place: Place, registry: Registry, say: Say) -> dict[str, Left | str]:
    """Say of each step what is done, what is left and what that costs.

    Returns:
        By the name of each evaluation what is left of it, or in words why it cannot begin.
    """
    records, total = read(place.out), 0.0
    found: dict[str, Left | str] = {}
    counted: set[str] = set()
    for step in wanted:
        known = records.get(step.name)
        took = f", {known.seconds / 60:.1f} minutes in {words.counted(known.slices, 'slice')} so far" if known else ""
        if step.evaluation is None:
            say(f"{step.name}: {step.about}: {known.outcome if known else 'to be done'}{took}")
            continue
        try:
            kept, one = there(step.evaluation, place), left(step.evaluation, place, registry)
        except OodbenchError as error:
            found[step.name] = str(error)
            say(f"{step.name}: {step.about}: cannot begin: {error}")
            continue
        found[step.name] = one
        factor = slower(step, records, wanted)
        total += (factor or 1) * one.assumed(counted)
        counted |= set(one.trainings)
        basis = "assumed, not measured" if factor is None else f"{factor:.3g} times what is assumed, as measured here"
        cost = "" if one.done else f"; left: {(factor or 1) * one.assumed() / 60:.1f} minutes, {basis}"
        sets = f" [OOD sets {', '.join(kept)}]" if kept else ""
        say(f"{step.name}: {step.about}{sets}: {one}{took}{cost}")
    say(
        f"left of all that can begin: about {total / 60:.0f} minutes, trainings that steps share counted once. Assumed "
        f"are {ASSUMED / 1e12:.0f} TFLOP/s, and {1000 * STARTS:.0f} ms for each pass over a batch in training"
    )
    return found


def work(
    wanted: Sequence[Step], found: Mapping[str, Left | str], place: Place, registry: Registry, stop: Stop, say: Say
) -> int:
    """One slice: step after step until `stop`; the exit code of the command.

    Args:
        wanted: the steps.
        found: by `survey`.
        place: where.
        registry: of detectors.
        stop: the time is up.
        say: told what is done.
    """
    before, records, ended = traces(place.results), read(place.out), False
    todo = [step for step in wanted if not _done(step, found, place)]
    able = [step for step in todo if not isinstance(found.get(step.name), str)]
    # What failed before is tried again, behind all that has not been tried yet.
    for step in sorted(able, key=lambda step: step.name in records and records[step.name].outcome == FAILED):
        if stop():
            break
        say(f"\n{step.name}: {step.about}")
        kept, assumed = [], 0.0
        if step.evaluation:  # counted once more: a step before this one may have done a part of it
            kept, assumed = there(step.evaluation, place), left(step.evaluation, place, registry).assumed()
        record = carry_out(step, kept, place, assumed, stop, say)
        ended = ended or record.outcome != UNFINISHED
        say(f"{step.name}: {record.outcome} ({record.seconds:.0f} seconds in {words.counted(record.slices, 'slice')})")
    return _verdict(todo, able, place, ended or traces(place.results) != before, say)


def _verdict(todo: Sequence[Step], able: Sequence[Step], place: Place, moved: bool, say: Say) -> int:
    """The exit code, and what is to be said with it."""
    records = read(place.out)
    outcomes = {step.name: records[step.name].outcome if step.name in records else UNFINISHED for step in able}
    failed = [name for name, outcome in outcomes.items() if outcome == FAILED]
    unfinished = [name for name, outcome in outcomes.items() if outcome == UNFINISHED]
    for name in failed:
        say(f"FAILED: {name}: what it printed is in {place.out / name}.txt, and above")
    if unfinished and not moved:
        say("this slice finished nothing, no epoch and no set of scores: give the next one more --minutes")
        return 1
    if unfinished:
        say(f"left: {', '.join(unfinished)}: the same command goes on")
        return MORE
    if lacking := [step.name for step in todo if step not in able]:
        say(f"left: {', '.join(lacking)}: cannot begin for want of what is said above")
        return 1
    if not failed:
        say(f"all is done. For the reference: oodbench check {place.results} --reference FILE.csv --update")
    return 1 if failed else 0


def _done(step: Step, found: Mapping[str, Left | str], place: Place) -> bool:
    known, records = found.get(step.name), read(place.out)
    if known is not None:
        return isinstance(known, Left) and known.done
    return step.name in records and records[step.name].outcome == DONE


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.gpu")
