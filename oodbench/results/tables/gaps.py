"""The OOD sets behind a mean where rows do not all have the same ones."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Gaps:
    """The OOD sets that rows of a table rest on.

    Attributes:
        known: by what is averaged, those of its OOD sets that any row of the table has.
        bases: by what is averaged, how many different choices of that many sets rows rest on.
    """

    known: Mapping[str, Sequence[str]]
    bases: Mapping[str, Mapping[int, int]]

    @classmethod
    def of(cls, frame: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> "Gaps":
        """The gaps of a tidy frame of one suite, where sets are averaged in `groups`."""
        scores = frame[frame["ood"] != ""]
        rows = {frozenset(part) for _, part in scores.groupby(["cell", "task"], sort=False)["ood"]}
        known = {of: [name for name in names if any(name in row for row in rows)] for of, names in groups.items()}
        bases = {of: Counter(map(len, {row & frozenset(names) for row in rows})) for of, names in known.items()}
        return cls(known, bases)

    def sets_text(self, mean: str, measured_sets: frozenset[str]) -> str:
        """Say on which sets a row with `measured_sets` rests, no two choices in the same words; "" if it lacks none."""
        known = self.known[mean]
        row_sets = [name for name in known if name in measured_sets]
        if len(row_sets) == len(known):
            return ""
        if not row_sets:
            return "not measured"
        return (
            f"only {', '.join(row_sets)}"
            if self.bases[mean][len(row_sets)] > 1
            else f"{len(row_sets)} of {len(known)} OOD sets"
        )
