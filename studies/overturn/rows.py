"""What was reached, a row for an image and a means, in a CSV file that grows; and the tables made of it."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.statistics.intervals import share_interval

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
        standard: AUROC that the tier left of them, a fraction.
        alone: what the means left.
        gains: by how much each image lowers the AUROC of one that is all like it, where the means did better: (N,).
        raised: images whose score the means brought above what the tier reached.
        looks: at an image, on average.
    """

    standard: float
    alone: float
    gains: npt.NDArray[np.float64]
    raised: int
    looks: float

    @classmethod
    def of(cls, standard: pd.DataFrame, other: pd.DataFrame) -> "Beaten":
        """From the rows of both, indexed by image, the same images."""
        before, after = standard["above"].to_numpy(), other["above"].to_numpy()
        raised = int((other["score"].to_numpy() > standard["score"].to_numpy()).sum())
        looks = float(other["looks"].mean())
        return cls(float(before.mean()), float(after.mean()), np.maximum(before - after, 0), raised, looks)

    @property
    def lowered(self) -> float:
        """By how much the AUROC falls with the better of both, image by image: what evidence would hand in."""
        return float(self.gains.mean())


def interval(parts: Sequence[Beaten]) -> tuple[float, float]:
    """95 % of the mean over sets of what was gained, each set's images drawn anew from these; seeded."""
    generator, means = np.random.default_rng(0), np.zeros(RESAMPLES)
    for one in parts:
        draws = generator.integers(0, len(one.gains), (RESAMPLES, len(one.gains)))
        means += one.gains[draws].mean(1) / len(parts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


EVERYTHING = "all of these"


Key = tuple[str, str, str]
"""Suite, detector and set."""


def beaten(rows: Sequence[Row]) -> tuple[dict[Key, dict[str, Beaten]], dict[Key, int]]:
    """By (suite, detector, set) and means, over the images on which every means of the rows was tried.

    Returns:
        These, and how many images of a set had to be left out, where there are such.
    """
    frame = pd.DataFrame([asdict(row) for row in rows])
    wanted = frame["means"].nunique()
    found: dict[Key, dict[str, Beaten]] = {}
    lacking: dict[Key, int] = {}
    for name, part in frame.groupby(["suite", "detector", "ood"], sort=False):
        suite, detector, ood = map(str, name)
        tried = part.groupby("image")["means"].nunique()
        whole = part[part["image"].isin(tried[tried == wanted].index)]
        if left := int((tried < wanted).sum()):
            lacking[suite, detector, ood] = left
        if len(whole):
            found[suite, detector, ood] = _by_means(whole)
    return found, lacking


def _by_means(rows: pd.DataFrame) -> dict[str, Beaten]:
    """Of one detector and set, each image of which was attacked by every means."""
    by_means = {str(means): own.set_index("image").sort_index() for means, own in rows.groupby("means", sort=False)}
    standard = by_means.pop(STANDARD)
    everything = standard.assign(
        score=np.max([own["score"] for own in by_means.values()], axis=0),
        above=np.min([own["above"] for own in by_means.values()], axis=0),
        looks=np.sum([own["looks"] for own in by_means.values()], axis=0),
    )
    return {means: Beaten.of(standard, own) for means, own in {**by_means, EVERYTHING: everything}.items()}


def tables(found: Mapping[Key, Mapping[str, Beaten]], suite: str) -> str:
    """Two of one suite, Markdown, in percent: by how much each means lowers the AUROC, and what it leaves by itself."""
    own = {(detector, ood): by_means for (where, detector, ood), by_means in found.items() if where == suite}
    means = [name for name in next(iter(own.values())) if name != EVERYTHING]
    gains, alone = [], []
    for detector in dict.fromkeys(detector for detector, _ in own):
        sets = {ood: by_means for (whose, ood), by_means in own.items() if whose == detector}
        gains += [_gained(f"{detector}, {ood}", [by_means], means) for ood, by_means in sets.items()]
        if len(sets) > 1:
            gains.append(_gained(f"**{detector}, mean of the sets**", [*sets.values()], means))
        for ood, by_means in sets.items():
            left = (f"{100 * by_means[name].alone:.2f}" for name in means)
            alone.append([f"{detector}, {ood}", f"{100 * by_means[EVERYTHING].standard:.2f}", *left])
    looks = [f"{np.mean([by_means[name].looks for by_means in own.values()]):,.0f}" for name in means]
    gains.append(["*looks an image*", "", "", "", "", *looks])
    parts = [
        LOWERED,
        tabulate(gains, [DETECTOR, *HEADERS, *means], "github", disable_numparse=True),
        ALONE,
        tabulate(alone, [DETECTOR, STANDARD, *means], "github", disable_numparse=True),
    ]
    return "\n\n".join(parts)


LOWERED, ALONE = "How far each lowers the AUROC, in points:", "What each leaves by itself, AUROC in percent:"
DETECTOR, HEADERS = "detector, OOD set", (STANDARD, "with all of these", "lowered by", "images raised")


def _gained(title: str, parts: Sequence[Mapping[str, Beaten]], means: Sequence[str]) -> list[str]:
    """A row of the first table: of one set, or the mean of several."""
    every = [by_means[EVERYTHING] for by_means in parts]
    standard, lowered = (100 * np.mean([[one.standard, one.lowered] for one in every], axis=0)).tolist()
    low, high = (100 * end for end in interval(every))
    raised, count = sum(one.raised for one in every), sum(len(one.gains) for one in every)
    least, most = (100 * end for end in share_interval(raised, count))
    return [
        title,
        f"{standard:.2f}",
        f"{standard - lowered:.2f}",
        f"{lowered:.2f} ({low:.2f} to {high:.2f})",
        f"{raised} of {count} ({least:.0f} to {most:.0f} %)",
        *(f"{100 * np.mean([by_means[name].lowered for by_means in parts]):.2f}" for name in means),
    ]


def replaced(page: str, found: Mapping[Key, Mapping[str, Beaten]]) -> str:
    """The page with the tables of each suite between that suite's marks."""
    for suite in dict.fromkeys(suite for suite, _, _ in found):
        begin, end = f"<!-- {suite}: begin -->", f"<!-- {suite}: end -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{tables(found, suite)}\n{end}{rest.split(end)[1]}"
    return page
