"""A report as plain data: a board is one suite on the same images, a row is one cell of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oodbench.results.report.curves import Histogram, Roc
from oodbench.results.report.sheets import Sheet
from oodbench.results.tables import percent_text


@dataclass(frozen=True)
class Value:
    """A metric as a fraction in [0, 1]; `low` and `high` bound its 95 % interval where a subset was measured.

    Its texts are what a table prints, so that the page rounds as tables do.
    """

    value: float
    low: float | None = None
    high: float | None = None
    text: str = field(init=False)
    interval: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", percent_text(self.value))
        bounded = self.low is not None and self.high is not None
        bounds = f"{percent_text(self.low)} to {percent_text(self.high)}" if bounded else ""  # type: ignore[arg-type]
        object.__setattr__(self, "interval", bounds)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold that promises to keep a share of ID images, and what it delivers.

    It is chosen on one half of the ID images and held against the other; see `oodbench.results.tables.operating`.

    Attributes:
        keep: share of ID images that is promised to be kept, in expectation.
        threshold: a score; an image is rejected if its own is lower.
        n_chosen_on: ID images that it was chosen on.
        id_rejected: share of the other ID images, as they are, that is rejected; None where no task leaves them so.
        id_rejected_attacked: the same by task, where the task attacks ID images.
        caught: share of OOD images that is rejected, by task and view; None where the row lacks one of the view's sets.
        note: why there is no threshold; "" where there is one.
    """

    keep: float
    threshold: float = 0.0
    n_chosen_on: int = 0
    id_rejected: Value | None = None
    id_rejected_attacked: Mapping[str, Value] = field(default_factory=dict)
    caught: Mapping[str, Mapping[str, Value | None]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One task against one OOD set, for one row.

    Attributes:
        task: how images were altered.
        ood: the image set.
        n_ood: its images.
        metrics: every metric by name.
        threshold: the score that keeps 95 % of ID.
        roc: of ID against OOD under the task.
        histogram: series "id", "ood" (under the task) and, where it was measured too, "clean" (OOD as it is).
    """

    task: str
    ood: str
    n_ood: int
    metrics: Mapping[str, Value]
    threshold: float
    roc: Roc
    histogram: Histogram


@dataclass(frozen=True)
class Flag:
    """A warning from the attacks' own measurements.

    Attributes:
        text: what was seen, what it can do, whether to believe the figure and what to run next.
        effect: the most that a figure may be off by, a fraction.
        belief: which of `oodbench.statistics.severity.BELIEFS` that leaves; `LEFT_OUT` of scores that are not shown.
    """

    text: str
    effect: float
    belief: str


LEFT_OUT = "left out"
"""The belief of a flag that is about stored scores which are not shown."""


@dataclass(frozen=True)
class Signs:
    """The signs beside the figures of a row that are means over the same OOD sets.

    Attributes:
        marks: by task, the sign beside a figure.
        doubted: tasks whose figures are not to be believed, or are known to be too good: the best of no column.
    """

    marks: Mapping[str, str]
    doubted: Sequence[str]


@dataclass(frozen=True)
class Row:
    """One cell: a detector with a seed and settings.

    Attributes:
        name: the detector, and whatever sets it apart from the others of its board.
        detector: its name.
        paper: where it comes from.
        outliers: it trains with outliers; None where nobody knows, since its method is not at hand.
        accuracy: of the classifier on ID images; NaN where they carry no labels.
        accuracy_text: the same as tables print it.
        apart: by task, why the row is held against no other, such as "other code".
        id_set: the ID image set.
        n_id: its images.
        constants: what each task is, as stored.
        threats: the same in words.
        means: FPR@95 and AUROC by task and view; None where the row lacks one of the view's sets.
        panels: everything measured.
        operating: thresholds with a promise, and what they deliver.
        flags: by task or curve over radii, what its means over all OOD sets are warned of, the worst first.
        signs: by view, since an attack may have failed on one set alone.
        sheets: images that passed, by task.
        provenance: what it rests on, in words, by heading.
    """

    name: str
    detector: str
    paper: str
    outliers: bool | None
    accuracy: float
    accuracy_text: str
    apart: Mapping[str, str]
    id_set: str
    n_id: int
    constants: Mapping[str, Mapping[str, Any]]
    threats: Mapping[str, str]
    means: Mapping[str, Mapping[str, Mapping[str, Value] | None]]
    panels: Sequence[Panel]
    operating: Sequence[OperatingPoint]
    flags: Mapping[str, Sequence[Flag]]
    signs: Mapping[str, Signs]
    sheets: Mapping[str, Sheet]
    provenance: Mapping[str, str]

    def mark(self, task: str, view: str) -> str:
        """The sign beside the figure of a task; "" where nothing is flagged."""
        return self.signs[view].marks.get(task, "") if view in self.signs else ""

    def doubts(self, task: str, view: str) -> bool:
        """True if the figure of a task may be the best of no column."""
        return view in self.signs and task in self.signs[view].doubted


@dataclass(frozen=True)
class Task:
    """A column of a board.

    Attributes:
        name: of the task.
        threats: in words; more than one where rows differ, and then their values are not to be compared.
        clean: images are as they are.
        attack: images were moved inside a ball.
        curve: the task without its radius, where it is one of a curve over radii; else empty.
        point: of which curve it is a point, also as the suite's own task at its own radius; else empty.
        radius: in 1/255; 0 elsewhere.
    """

    name: str
    threats: Sequence[str]
    clean: bool
    attack: bool
    curve: str
    point: str
    radius: int


@dataclass(frozen=True)
class Sentence:
    """The outcome of a board under tasks of one threat, and the figures that were not counted, if that matters."""

    text: str
    aside: str = ""


@dataclass(frozen=True)
class Delta:
    """The difference of a metric, here less there, with its 95 % interval; all three are 0 of the very same scores."""

    value: float
    low: float
    high: float
    text: str = field(init=False)
    interval: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _signed(self.value))
        object.__setattr__(self, "interval", f"{_signed(self.low)} to {_signed(self.high)}")


def _signed(value: float) -> str:
    """A difference in points, with its sign and as many digits as a table has."""
    text = percent_text(abs(value))
    return text if not text.strip("0.") else f"{'−' if value < 0 else '+'}{text}"


@dataclass(frozen=True)
class ComparedRow:
    """A row beside the same one of other results.

    Attributes:
        name: of the row.
        means: what the other one has, as `Row.means`.
        deltas: what this one has more, by task and view; None where the images are not the same in both.
        changed: heading, text here and text there of what both rest on, where it differs.
        left_out: why something of it was not compared.
        signs: of the other one, as `Row.signs`.
        flags: likewise, as `Row.flags`.
    """

    name: str
    means: Mapping[str, Mapping[str, Mapping[str, Value] | None]]
    deltas: Mapping[str, Mapping[str, Mapping[str, Delta] | None]]
    changed: Sequence[tuple[str, str, str]]
    left_out: Sequence[str]
    signs: Mapping[str, Signs] = field(default_factory=dict)
    flags: Mapping[str, Sequence[Flag]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A board beside other results.

    Attributes:
        name: of the folder with the other results.
        rows: those that are in both.
        only_here: names of rows that are not there.
        only_there: what results are called that are not here.
    """

    name: str
    rows: Sequence[ComparedRow]
    only_here: Sequence[str]
    only_there: Sequence[str]


@dataclass(frozen=True)
class Board:
    """Rows over the same images.

    Attributes:
        suite: by name.
        extent: its version, how much of it, and what every row changed.
        changed: it is not the whole suite as it is.
        troubled: what each detector is called that failed or whose scores are all stale, and what is the matter.
        summary: what was measured, a sentence.
        verdicts: by view, what the rows come to in a few sentences, the most telling first.
        basis: what the values rest on, by heading.
        views: OOD sets by what values may be averaged over: the suite's means, such as all, near and far, as far as
            their sets were measured, and each.
        tasks: in the order in which they were first added.
        rows: in the order of their files.
        against: the same rows of other results, where some were asked for and are of the same suite and images.
    """

    suite: str
    extent: str
    changed: bool
    troubled: Sequence[tuple[str, str]]
    summary: str
    verdicts: Mapping[str, Sequence[Sentence]]
    basis: Mapping[str, str]
    views: Mapping[str, Sequence[str]]
    tasks: Sequence[Task]
    rows: Sequence[Row]
    against: Comparison | None = None
