"""Notes of a table on the conditions (`oodbench.results.conditions`) behind its numbers, where they differ."""

from collections.abc import Mapping

import pandas as pd

from oodbench.results.conditions import place_text
from oodbench.results.tables.lines import cell_name


def machine_notes(frame: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Name the machines of the rows, and the networks that were trained elsewhere or nobody knows where.

    Args:
        frame: tidy, of one suite and convention.
        titles: what the line of each cell is called.
    """
    rows = frame.drop_duplicates(["cell", "task", "hardware", "torch"])
    machines = pd.Series([place_text(str(row.hardware), str(row.torch)) for row in rows.itertuples()], rows.index)
    by_machine = {str(machine): part for machine, part in rows.groupby(machines, sort=True)}
    if len(by_machine) == 1:
        notes = [f"Measured on {next(iter(by_machine))}."]
    else:
        parts = (f"on {machine}: {_rows_text(part, rows, titles)}" for machine, part in by_machine.items())
        notes = [f"Rows of different machines, which round differently. Measured {'; '.join(parts)}."]
    return notes + _pretrained_notes(frame, titles) + training_place_notes(frame, titles)


def _pretrained_notes(frame: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Name the networks that were not trained in the run but taken from those that are kept for everybody."""
    lines_of_network: dict[str, list[str]] = {}
    for row in frame[frame["pretrained"] != ""].drop_duplicates("cell").itertuples():
        network_text = (
            f"{row.pretrained}, trained with seed {row.seed} on {str(row.trained_on) or 'an unknown machine'}"
        )
        weights = f"SHA-256 of its weights {str(row.network_digest)[:16]}..."
        lines_of_network.setdefault(f"{network_text} ({weights})", []).append(
            cell_name(str(row.cell), row.seed, titles)
        )
    return [
        f"Pretrained, not trained in this run: network {network_text}: {', '.join(names)}."
        for network_text, names in lines_of_network.items()
    ]


def training_place_notes(frame: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Name the networks that were trained under other conditions than they were scored, or under unknown ones."""
    cells = frame[frame["pretrained"] == ""].drop_duplicates("cell")
    scoring_places = {
        str(cell): {place_text(str(row.hardware), str(row.torch)) for row in part.itertuples()}
        for cell, part in frame.groupby("cell", sort=False)
    }
    lines_of_place: dict[str, list[str]] = {}
    for row in cells.itertuples():
        place = str(row.trained_on)
        if place and scoring_places[str(row.cell)] != {place}:
            lines_of_place.setdefault(place, []).append(cell_name(str(row.cell), row.seed, titles))
        elif not place and row.checkpoint:
            lines_of_place.setdefault("", []).append(cell_name(str(row.cell), row.seed, titles))
    return [
        f"Networks trained under other conditions than scored, on {place}: {', '.join(names)}."
        if place
        else f"Where these networks were trained is not known: {', '.join(names)}."
        for place, names in lines_of_place.items()
    ]


def _rows_text(part: pd.DataFrame, rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """List the lines of `part`, with their tasks where other tasks of theirs were measured elsewhere."""
    names = []
    for (cell, seed), own in part.groupby(["cell", "seed"], sort=False):
        name, every = cell_name(str(cell), seed, titles), rows[rows["cell"] == cell]
        whole = every.drop_duplicates(["hardware", "torch"]).shape[0] == 1
        names.append(name if whole else f"{name} ({', '.join(own['task'])})")
    return ", ".join(names)
