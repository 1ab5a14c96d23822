"""Which OOD sets a mean rests on where rows do not all have the same ones."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Gaps:
    """What rows of a table rest on.

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

    def told(self, of: str, there: frozenset[str]) -> str:
        """Which sets a row that has `there` rests on, no two choices in the same words; empty if no row has more."""
        known = self.known[of]
        own = [name for name in known if name in there]
        if len(own) == len(known):
            return ""
        if not own:
            return "not measured"
        return f"only {', '.join(own)}" if self.bases[of][len(own)] > 1 else f"{len(own)} of {len(known)} OOD sets"
