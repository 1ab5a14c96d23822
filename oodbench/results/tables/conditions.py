"""What a table says of the conditions (`oodbench.results.conditions`) behind its numbers, where they differ."""

from collections.abc import Mapping

import pandas as pd

from oodbench.results.conditions import place
from oodbench.results.tables.lines import one_cell


def measured_on(frame: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """On what each row was measured, and which networks were trained elsewhere, or nobody knows where.

    Args:
        frame: tidy, of one suite and convention.
        called: what the line of each cell is called.
    """
    rows = frame.drop_duplicates(["cell", "task", "hardware", "torch"])
    machines = pd.Series([place(str(row.hardware), str(row.torch)) for row in rows.itertuples()], rows.index)
    by_machine = {str(machine): part for machine, part in rows.groupby(machines, sort=True)}
    if len(by_machine) == 1:
        notes = [f"Measured on {next(iter(by_machine))}."]
    else:
        parts = (f"on {machine}: {_rows(part, rows, called)}" for machine, part in by_machine.items())
        notes = [f"Rows of different machines, which round differently. Measured {'; '.join(parts)}."]
    return notes + _kept(frame, called) + trained_elsewhere(frame, called)


def _kept(frame: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Which networks were not trained in the run but taken from those that are kept for everybody."""
    found: dict[str, list[str]] = {}
    for row in frame[frame["pretrained"] != ""].drop_duplicates("cell").itertuples():
        what = f"{row.pretrained}, trained with seed {row.seed} on {str(row.trained_on) or 'an unknown machine'}"
        weights = f"SHA-256 of its weights {str(row.network_digest)[:16]}..."
        found.setdefault(f"{what} ({weights})", []).append(one_cell(str(row.cell), row.seed, called))
    return [
        f"Pretrained, not trained in this run: network {what}: {', '.join(names)}." for what, names in found.items()
    ]


def trained_elsewhere(frame: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Which networks were trained under other conditions than they were scored, or nobody knows under which."""
    cells = frame[frame["pretrained"] == ""].drop_duplicates("cell")
    here = {
        str(cell): {place(str(row.hardware), str(row.torch)) for row in part.itertuples()}
        for cell, part in frame.groupby("cell", sort=False)
    }
    found: dict[str, list[str]] = {}
    for row in cells.itertuples():
        said = str(row.trained_on)
        if said and here[str(row.cell)] != {said}:
            found.setdefault(said, []).append(one_cell(str(row.cell), row.seed, called))
        elif not said and row.checkpoint:
            found.setdefault("", []).append(one_cell(str(row.cell), row.seed, called))
    return [
        f"Networks trained under other conditions than scored, on {said}: {', '.join(names)}."
        if said
        else f"Where these networks were trained is not known: {', '.join(names)}."
        for said, names in found.items()
    ]


def _rows(part: pd.DataFrame, rows: pd.DataFrame, called: Mapping[str, str]) -> str:
    """The lines of a table that `part` is of, with their tasks where others of theirs were measured elsewhere."""
    names = []
    for (cell, seed), own in part.groupby(["cell", "seed"], sort=False):
        name, every = one_cell(str(cell), seed, called), rows[rows["cell"] == cell]
        whole = every.drop_duplicates(["hardware", "torch"]).shape[0] == 1
        names.append(name if whole else f"{name} ({', '.join(own['task'])})")
    return ", ".join(names)
