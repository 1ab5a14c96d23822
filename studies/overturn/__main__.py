"""The attack on our own table.

    python -m studies.overturn --detector atom --images 24            # attacks, and adds rows to the CSV file
    python -m studies.overturn --page                                 # writes the tables of the page from it

A detector with its kept network is attacked by the adaptive tier at its levels "standard" and "plus", and then by means
that the tier lacks, in the same ball and on the same grid. What is in the file is not done again, and twice as many
images hold those that were asked for before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal
from oodbench.basics.errors import OodbenchError
from oodbench.cli.options import precision_option
from oodbench.images.imageset import ImageSet
from oodbench.running.config import RunConfig
from oodbench.scoring.attacking import Attack, score_attacked
from oodbench.scoring.batches import exact
from oodbench.tasks import LinfAdaptive
from studies.overturn import rows
from studies.overturn.means import MEANS, Effort, Search
from studies.overturn.rows import CONTINUED, CSV, PAGE, PLUS, STANDARD, Row
from studies.overturn.subject import SEED, TASK, Scores, Subject, at_hand, inputs

TOGETHER = 50
"""Images attacked at a time: what an interruption costs."""

DONORS = (
    "msp",
    "oe",
    "energy-ft",
    "logitnorm",
    "ntom",
    "sofl",
    "acet",
    "atom",
    "rowl-fixed",
    "at",
    "aloe",
    "kplus1-at",
)
"""One of each network that is kept for either suite; `msp` stands for all detectors over the plain one."""

LEVELS = {STANDARD: (STANDARD, CONTINUED), PLUS: (PLUS,)}
"""Of the tier, and which rows each makes."""

Found = tuple[str, Scores, int]
"""A means, the scores (B,) that it reached, and its looks at an image."""


def tier(subject: Subject, which: ImageSet, level: str) -> Iterator[Found]:
    """The adaptive tier through a run's own door; at "standard" with what the harness reaches from there, too."""
    task, device = replace(subject.task, level=level), subject.lures.device
    to_continue = np.full(len(which), level == STANDARD)
    attack = Attack(
        subject.detector, task, subject.goal(level), subject.purpose, keep_images=True, to_continue=to_continue
    )
    found = score_attacked(attack, which, device)
    yield level, found.scores, found.looks // len(which)
    if level == STANDARD:
        climbed = np.maximum(found.extras["continued"], found.scores)
        yield CONTINUED, climbed, convergence.COST.forward


def given(subject: Subject, images: Tensor, indices: npt.NDArray[np.int64]) -> list[Tensor]:
    """The same images as the tier's level "quick" attacks them for each donor."""
    task = LinfAdaptive(epsilon=subject.task.epsilon, level="quick")
    attacked = []
    for donor in subject.donors:
        with exact(donor.network):
            attacked.append(task.alter(Goal.of(donor), images, indices, str(subject.purpose)).images)
    return attacked


def other(subject: Subject, which: ImageSet, name: str, effort: Effort) -> Found:
    """One of the other means on some images."""
    images = inputs(which, subject.lures.device)
    others = given(subject, images, which.indices) if name == "transfer" else ()
    search = Search.on(subject, which, effort, others)
    with exact(subject.detector.network):
        MEANS[name](search)
    _, scores = subject.rescored(search.reducer.images, which)
    return name, scores, search.looks // len(which)


def attacked(subject: Subject, done: set[tuple[str, str, str, int, str]], effort: Effort) -> Iterator[list[Row]]:
    """Rows that are missing, a few images and one means at a time."""

    def key(image: int, means: str) -> tuple[str, str, str, int, str]:
        return subject.suite, subject.detector.name, subject.images.name, image, means

    numbers = subject.images.indices
    wanted = [*LEVELS, *MEANS]
    lacking = [row for row, image in enumerate(numbers) if any(key(int(image), means) not in done for means in wanted)]
    for start in range(0, len(lacking), TOGETHER):
        for means in wanted:
            places = [row for row in lacking[start : start + TOGETHER] if key(int(numbers[row]), means) not in done]
            if not places:
                continue
            which = _only(subject.images, np.array(places))
            found = [*tier(subject, which, means)] if means in LEVELS else [other(subject, which, means, effort)]
            yield [row for one in found for row in _rows(subject, which, *one)]


def _only(images: ImageSet, places: npt.NDArray[np.int64]) -> ImageSet:
    return replace(images, images=images.pixels(places), labels=images.labels[places], indices=images.indices[places])


def _rows(subject: Subject, which: ImageSet, means: str, scores: Scores, looks: int) -> Iterator[Row]:
    for image, score, above in zip(which.indices, scores, subject.above(scores), strict=True):
        yield Row(
            subject.suite,
            subject.detector.name,
            which.name,
            subject.task.epsilon,
            len(subject.id_scores),
            int(image),
            means,
            float(score),
            float(above),
            looks,
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--detector", help="A detector whose network is kept for the suite, such as atom, or was trained.")
@click.option("--images", "count", default=24, show_default=True, type=click.IntRange(1), help="OOD images.")
@click.option("--suite", default="cifar10-small-adv", show_default=True, help="A suite that attacks.")
@click.option("--set", "ood", default="svhn-test-10k", show_default=True, help="The OOD set.")
@click.option("--data", default="data", show_default=True, type=click.Path(path_type=Path), help="Image packs.")
@click.option(
    "--results",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Of `oodbench run`: networks that were trained there, where none is kept.",
)
@precision_option
@click.option("--donor", "donors", multiple=True, default=DONORS, show_default=True, help="Attacked in its place.")
@click.option("--to", "file", default=CSV, type=click.Path(path_type=Path), help="The CSV file.")
@click.option("--page", is_flag=True, help="Write the tables of docs/attack-on-the-table.md from the file, no more.")
def main(
    detector: str | None,
    count: int,
    suite: str,
    ood: str,
    data: Path,
    results: Path,
    precision: str,
    donors: Sequence[str],
    file: Path,
    page: bool,
) -> None:
    """Try to lower what the adaptive tier leaves of a detector, by means that it lacks."""
    try:
        if detector:
            torch.set_num_threads(1)
            names = [detector, *(name for name in donors if name != detector)]
            run = partial(RunConfig, seed=SEED, device="cpu", jobs=1, pretrained=True, tasks=[TASK])
            subject = at_hand(run(suite, names, only=[ood], images=count, data=data, out=results, precision=precision))
            done = {row.key for row in rows.read(file)}
            for found in attacked(subject, done, Effort()):
                rows.append(file, found)
                first = found[0]
                click.echo(f"{first.detector}: {first.means}, {len(found)} rows, {first.looks:,} looks an image")
        summary, lacking = rows.beaten(rows.read(file))
    except OodbenchError as error:
        raise click.ClickException(str(error)) from error
    for (_, whose, where), left in lacking.items():
        click.echo(f"{whose}: {left} images of {where} are left out, since not every means was tried on them", err=True)
    for name in dict.fromkeys(where for where, _, _ in summary):
        click.echo(f"{name}\n{rows.tables(summary, name)}")
    if page:
        PAGE.write_text(rows.replaced(PAGE.read_text(encoding="utf-8"), summary), encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m studies.overturn")
