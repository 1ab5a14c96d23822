"""The notes below a table of differences."""

from collections.abc import Mapping, Sequence

import pandas as pd

from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.flags import find_flags
from oodbench.results.tables.notes import convention_note, counts_note, one_network_notes, outdated_notes
from oodbench.results.tables.summary import Entry
from oodbench.statistics import severity

BASE = "against"
"""The column of a frame of differences: the detector that was taken off, see
`oodbench.results.tables.paired_differences`."""

NETWORKS = "networks"
"""Its column that says whose network is which, where the two sides have not the same one."""


def difference_notes(frame: pd.DataFrame, summary: Sequence[Entry]) -> list[str]:
    """Return what a reader must know of a table of differences, a sentence or two each.

    Args:
        frame: of `oodbench.results.tables.paired_differences`, of one suite.
        summary: what the table shows of it.
    """
    base = frame[BASE].iloc[0]
    scores, cells = frame[frame.metric != OF_ID], frame.drop_duplicates("cell")
    titles = {cell: entry.line for entry in summary for cell in entry.cells}
    notes = [
        f"Differences in percentage points: each detector's value less that of {base} of the same seed, on the same "
        f"images. Above zero the detector has more than {base}, which is better where the arrow points up.",
        "95 % intervals are of the difference, for endless images of these kinds: both detectors meet the same images, "
        "so it is known better than the values are. One that holds zero leaves open which detector is better. 0.00 to "
        "0.00 says that both gave the same scores. The interval of a mean over several sets or seeds is the mean of "
        "their intervals, as if all erred in one direction. What another training would give is not in it.",
        counts_note(frame, summary),
        convention_note(frame),
    ]
    for task, threat in scores[["task", "threat"]].drop_duplicates().itertuples(index=False):
        notes.append(f"{task}: {threat}.")
    if (scores["epsilon"] > 0).any():
        notes.append("An attack moves each image against the detector's own score, so attacked images differ.")
    notes += [*_network_lines(cells, titles), *_flag_lines(scores), *outdated_notes(cells, summary, titles)]
    if any(len(entry.cells) > 1 for entry in summary):
        notes.append("±: standard deviation of the difference over training seeds (n - 1).")
        notes += one_network_notes(cells, summary, titles)
    return notes


def _network_lines(cells: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """A note for each line whose differences are of two networks, too, with their names."""
    networks_of_line: dict[str, list[str]] = {}
    for _, cell in cells[cells[NETWORKS] != ""].iterrows():
        line = titles.get(str(cell["cell"]), str(cell["detector"]))
        networks_of_line.setdefault(line, []).append(f"seed {cell['seed']}: {cell[NETWORKS]}")
    return [
        f"Not one network: {line}: {'; '.join(of_seeds)}. The difference is that of detector and network together."
        for line, of_seeds in networks_of_line.items()
    ]


def _flag_lines(scores: pd.DataFrame) -> list[str]:
    """A line for all that is flagged of a value behind the differences, the worst first, and what the signs mean."""
    lines = dict.fromkeys(f"FLAG value of {flag.of}, {flag.about}: {flag.text}." for flag in find_flags(scores))
    sides_note = (
        "A difference has the sign of the worse one of its two values, and is the best of no column if that is."
    )
    return [*lines, *([severity.MARKS, sides_note] if lines else [])]
