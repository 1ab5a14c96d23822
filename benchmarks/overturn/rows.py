"""What was reached, a row for an image and a means, in a CSV file that grows; and the table made of it."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.statistics.intervals import share

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "attack-on-the-table.md"
CSV = DOCS / "attack-on-the-table.csv"

STANDARD, CONTINUED, PLUS = "standard", "continued", "plus"
"""The tier as it is stored, the harness's own climb on from there, and the tier's highest level."""

RESAMPLES = 10_000
"""Of the images, behind an interval."""


@dataclass(frozen=True)
class Row:
    """One image under one means.

    Attributes:
        suite: name.
        detector: name.
        ood: the set.
        epsilon: radius, in 1/255.
        n_id: ID images whose scores it is held against.
        image: its number in the set.
        means: what was tried.
        score: of what was found, as a run would store it.
        above: share of the ID scores above that, ties counting half; its mean over images is the AUROC.
        looks: images looked at for this one, a gradient counting as one look.
    """

    suite: str
    detector: str
    ood: str
    epsilon: int
    n_id: int
    image: int
    means: str
    score: float
    above: float
    looks: int

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What there is one row of."""
        return self.suite, self.detector, self.ood, self.image, self.means


def read(file: Path) -> list[Row]:
    """The rows of a file; none where it is not there yet.

    Raises:
        OodbenchError: it holds something else.
    """
    if not file.is_file():
        return []
    kinds = {field.name: {"int": int, "float": float}.get(str(field.type), str) for field in fields(Row)}
    kinds |= {field.name: field.type for field in fields(Row) if isinstance(field.type, type)}
    with file.open(newline="", encoding="utf-8") as text:
        try:
            return [Row(**{name: kind(one[name]) for name, kind in kinds.items()}) for one in csv.DictReader(text)]
        except (KeyError, TypeError, ValueError) as error:
            raise OodbenchError(
                f"{file} is no table of this benchmark ({type(error).__name__}: {error}): name another file, or bring "
                "the right one back"
            ) from error


def append(file: Path, rows: Iterable[Row]) -> None:
    """Add rows to a file, which is on disk afterwards."""
    fresh = not file.is_file()
    with file.open("a", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        text.flush()
        os.fsync(text.fileno())


@dataclass(frozen=True)
class Beaten:
    """How far the tier was beaten on the images of one detector and set by one means, or by the best of all.

    Attributes:
        count: images.
        standard: AUROC that the tier left of them, a fraction.
        alone: what the means left.
        best: what the better of both leaves, image by image: what evidence would hand in.
        low: of standard - best, the lower end of a 95 % interval over images.
        high: the upper end.
        raised: images whose score the means brought above what the tier reached.
        looks: at an image, on average.
    """

    count: int
    standard: float
    alone: float
    best: float
    low: float
    high: float
    raised: int
    looks: float

    @classmethod
    def of(cls, standard: pd.DataFrame, other: pd.DataFrame) -> "Beaten":
        """From the rows of both, indexed by image, the same images."""
        before, after = standard["above"].to_numpy(), other["above"].to_numpy()
        gain = np.maximum(before - after, 0)
        low, high = _interval(gain)
        raised = int((other["score"].to_numpy() > standard["score"].to_numpy()).sum())
        best = float(np.minimum(before, after).mean())
        return cls(
            len(gain), float(before.mean()), float(after.mean()), best, low, high, raised, float(other["looks"].mean())
        )

    @property
    def lowered(self) -> float:
        """By how much the AUROC falls with what the means found, a fraction."""
        return self.standard - self.best


def _interval(gain: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the means of images drawn anew from these; seeded."""
    draws = np.random.default_rng(0).integers(0, len(gain), (RESAMPLES, len(gain)))
    low, high = np.quantile(gain[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)


EVERYTHING = "all of these"


def beaten(rows: Sequence[Row]) -> dict[tuple[str, str, str], dict[str, Beaten]]:
    """By (suite, detector, set) and means, over the images on which every means was tried."""
    frame = pd.DataFrame([asdict(row) for row in rows])
    found = {}
    for name, part in frame.groupby(["suite", "detector", "ood"], sort=False):
        tried = part.groupby("image")["means"].nunique()
        part = part[part["image"].isin(tried[tried == part["means"].nunique()].index)]
        by_means = {str(means): own.set_index("image").sort_index() for means, own in part.groupby("means", sort=False)}
        standard = by_means.pop(STANDARD)
        everything = standard.assign(
            score=np.max([own["score"] for own in by_means.values()], axis=0),
            above=np.min([own["above"] for own in by_means.values()], axis=0),
            looks=np.sum([own["looks"] for own in by_means.values()], axis=0),
        )
        found[tuple(map(str, name))] = {
            means: Beaten.of(standard, own) for means, own in {**by_means, EVERYTHING: everything}.items()
        }
    return found  # type: ignore[return-value]  # three columns make names of three parts


HEADERS = (
    "detector",
    "means",
    "AUROC: standard",
    "the means alone",
    "best of both",
    "lowered by, points",
    "images raised",
    "looks an image",
)


def table(found: dict[tuple[str, str, str], dict[str, Beaten]], suite: str) -> str:
    """Markdown, of one suite; AUROC in percent."""
    lines = []
    for (where, detector, ood), by_means in found.items():
        if where != suite:
            continue
        for means, one in by_means.items():
            least, most = (100 * end for end in share(one.raised, one.count))
            lines.append(
                [
                    f"{detector}, {ood}",
                    means,
                    *(f"{100 * value:.2f}" for value in (one.standard, one.alone, one.best)),
                    f"{100 * one.lowered:.2f} ({100 * one.low:.2f} to {100 * one.high:.2f})",
                    f"{one.raised} of {one.count} ({least:.0f} to {most:.0f} %)",
                    f"{one.looks:,.0f}",
                ]
            )
    return tabulate(lines, HEADERS, "github", disable_numparse=True)


def replaced(page: str, found: dict[tuple[str, str, str], dict[str, Beaten]]) -> str:
    """The page with the table of each suite between that suite's marks."""
    for suite in dict.fromkeys(suite for suite, _, _ in found):
        begin, end = f"<!-- {suite}: begin -->", f"<!-- {suite}: end -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{table(found, suite)}\n{end}{rest.split(end)[1]}"
    return page
