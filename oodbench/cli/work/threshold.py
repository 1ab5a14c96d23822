"""`oodbench threshold`: operating points, printed."""

from typing import Any

import click
import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import in_full
from oodbench.cli.terminal import warn
from oodbench.cli.threshold import ThresholdOptions
from oodbench.registry import discover
from oodbench.results.folder import find_results, select_cells
from oodbench.results.tables import json_text, operating_notes, select_tasks, tidy
from oodbench.results.tables.operating import operating_points
from oodbench.results.tables.summary import SUITE
from oodbench.statistics.conformal import Threshold


def threshold(options: ThresholdOptions) -> None:
    """Print the operating points of the results that were chosen."""
    results = find_results(options.results)
    for line in results.left_out:
        warn(line)
    cells = select_cells(select_cells(results.cells, "suite", options.suites), "detector", options.detectors)
    kept_shares = sorted(dict.fromkeys(options.keeps))
    registry = discover(options.plugins)
    measured = select_tasks(tidy(cells, registry), options.tasks)
    frames = [
        operating_points(cells, kept_shares, options.delta, prevalence, registry, measured)
        for prevalence in sorted(dict.fromkeys(options.prevalences))
    ]
    frame = pd.concat(frames, ignore_index=True)
    if options.tasks:
        frame = frame[frame["task"].isin(["", *options.tasks])]  # rows without a task say what could not be done
    missing = [
        line for _, part in frame.groupby(SUITE, sort=False) for line in operating_notes.absent_notes(part, measured)
    ]
    if (frame["ood"] == "").all():
        why = f"no OOD image has a score yet in {options.results}: let `oodbench run` finish one task at least"
        raise OodbenchError("\n".join([why, *missing]))
    if options.form in ("csv", "json"):
        for line in missing:
            warn(line)
        csv = options.form == "csv"
        click.echo(frame.to_csv(index=False) if csv else json_text(frame), nl=not csv)
    else:
        several = frame.groupby("suite")["suite_fingerprint"].nunique() > 1
        parts = [part for _, part in frame.groupby([*SUITE, "keep"], sort=False)]
        click.echo("\n\n".join(_text(part, measured, bool(several[part["suite"].iloc[0]])) for part in parts))


def _text(frame: pd.DataFrame, measured: pd.DataFrame, several: bool) -> str:
    """Return the operating points of one suite and promise, for people.

    Args:
        frame: from `operating_points`.
        measured: the tidy frame of its cells.
        several: whether there are other suites of this one's name.
    """
    first = frame.iloc[0]
    suite = first["suite"]
    suite += f" (version {first['suite_version']}, fingerprint {first['suite_fingerprint'][:8]})" if several else ""
    shown = frame[frame["ood"] != ""]
    outdated = list(dict.fromkeys(frame.loc[frame["current"] == "no", "line"]))
    notes = [*operating_notes.flagged_notes(shown, measured), *operating_notes.absent_notes(frame, measured)]
    notes += [f"Made by other code than the method has today: {', '.join(outdated)}."] if outdated else []
    table = [_table(shown), "", *_column_notes(shown)] if len(shown) else []
    return "\n".join([f"{suite}, {100 * first['keep']:g} % of ID images kept", "", *table, *notes])


def _table(frame: pd.DataFrame) -> str:
    """Return the table of `_text`, with the signs of what is flagged."""
    shares = list(dict.fromkeys(frame["prevalence"]))
    by_share = [frame[frame["prevalence"] == share].reset_index(drop=True) for share in shares]
    rows = [
        [
            row["line"] if change else "",
            in_full(row["threshold"]) if change else "",
            row["task"],
            row["ood"],
            f"{100 * row['id_rejected']:.2f}{_id_sign(row)}",
            f"{100 * row['ood_accepted']:.2f}{row['flag']}",
            *(
                text
                for part in by_share
                for text in (
                    f"{part['alarms'][at]:.1f}{row['flag']}",
                    f"{part['false_alarms'][at]:.1f}{_id_sign(row)}",
                )
            ),
        ]
        for (at, row), change in zip(
            by_share[0].iterrows(), by_share[0]["cell"] != by_share[0]["cell"].shift(), strict=True
        )
    ]
    headings = ["detector", "threshold", "task", "OOD set", "ID rejected", "OOD accepted"]
    for share in shares:
        at = f" at {100 * share:g} %" if len(shares) > 1 else ""
        headings += [f"alarms{at}", f"false{at}"]
    sides = ["left", "right", "left", "left", *["right"] * (2 + 2 * len(shares))]
    return tabulate(rows, headings, tablefmt="simple", disable_numparse=True, colalign=sides)


def _id_sign(row: "pd.Series[Any]") -> str:
    """Return the sign behind a figure of ID images alone: a task's flag is about them only where it attacks them."""
    return str(row["flag"]) if row["id_attacked"] == "yes" else ""


def _column_notes(frame: pd.DataFrame) -> list[str]:
    """Return what the columns of `_table` mean, a line each."""
    first, shares = frame.iloc[0], list(dict.fromkeys(frame["prevalence"]))
    promised = Threshold(first["threshold"], first["keep"], first["delta"], int(first["n_chosen_on"]))
    counts = sorted({int(count) for count in frame["n_chosen_on"]})
    return [
        f"Promised: {promised.promise if len(counts) == 1 else promised.promise.partition(' over')[0]}. It holds for "
        "ID images drawn as those of the test set are, as they are; under an attack nothing is promised, and 'ID "
        "rejected' is what came of it.",
        f"Each threshold was chosen on a random half of the ID test images ({' or '.join(map(str, counts))}) and is "
        "held against the others: an image with a lower score is rejected.",
        "Percent; alarms, and false ones (ID images), are expected of 1,000 images of which "
        f"{' or '.join(f'{100 * share:g}' for share in shares)} % are OOD, images of this set.",
    ]
