"""The facts of each metric for tables, figures and comparisons: its names, its meaning, and which values are better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LOW: Literal["↓"] = "↓"
HIGH: Literal["↑"] = "↑"


@dataclass(frozen=True)
class MetricFacts:
    """One metric, as people read of it.

    Attributes:
        name: in columns and options, as `oodbench.metrics` has it.
        title: in a wide table and on the axis of a figure.
        short: in a narrow column.
        better: which values are, `LOW` or `HIGH`: the arrow of a heading.
        meaning: a sentence or two; metrics that are explained together have the same one.
    """

    name: str
    title: str
    short: str
    better: Literal["↓", "↑"]
    meaning: str

    @property
    def heading(self) -> str:
        """Its title with the arrow towards better values."""
        return f"{self.title} {self.better}"

    @property
    def lower_is_better(self) -> bool:
        return self.better == LOW


_AUPR = "AUPR-in, AUPR-out: high is good."

FACTS: Mapping[str, MetricFacts] = {
    facts.name: facts
    for facts in (
        MetricFacts(
            "accuracy", "ID accuracy", "ID acc.", HIGH, meaning="ID acc.: ID images whose class is recognised."
        ),
        MetricFacts(
            "fpr95",
            "FPR@95",
            "FPR@95",
            LOW,
            meaning="FPR@95: OOD images accepted where 95 % of ID images are kept, low is good.",
        ),
        MetricFacts(
            "fpr95_oodpos",
            "FPR@95 OOD+",
            "OOD+ FPR@95",
            LOW,
            meaning="OOD+ FPR@95: ID images rejected where 95 % of OOD images are caught, low is good.",
        ),
        MetricFacts(
            "fpr95_clean",
            "FPR@95, clean threshold",
            "FPR@95 cl.",
            LOW,
            meaning="FPR@95 cl.: OOD images accepted at the threshold that keeps 95 % of the ID images as they are.",
        ),
        MetricFacts(
            "fnr_clean",
            "ID rejected, clean threshold",
            "ID rej. cl.",
            LOW,
            meaning="ID rej. cl.: attacked ID images rejected at that threshold, low is good.",
        ),
        MetricFacts("auroc", "AUROC", "AUROC", HIGH, meaning="AUROC: high is good."),
        MetricFacts("aupr_in", "AUPR-in", "AUPR-in", HIGH, meaning=_AUPR),
        MetricFacts("aupr_out", "AUPR-out", "AUPR-out", HIGH, meaning=_AUPR),
        MetricFacts("detection_error", "detection error", "error", LOW, meaning="error: detection error, low is good."),
    )
}
"""By name, in table order."""
