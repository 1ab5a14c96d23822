"""`oodbench threshold`: operating points, printed."""

from pathlib import Path
from typing import Any

import click
import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import in_full
from oodbench.registry import discover
from oodbench.results.folder import find, only
from oodbench.results.tables import as_json, operating_notes, tidy
from oodbench.results.tables.operating import operating_points
from oodbench.results.tables.summary import SUITE
from oodbench.statistics.conformal import Threshold


def threshold(
    results: Path,
    keeps: tuple[float, ...],
    delta: float,
    prevalences: tuple[float, ...],
    detectors: tuple[str, ...],
    form: str,
) -> None:
    """See `oodbench.cli.thresholds.threshold`."""
    there = find(results)
    for line in there.left_out:
        click.echo(f"WARNING: {line}", err=True)
    cells = only(there.cells, "detector", detectors)
    promised = sorted(dict.fromkeys(keeps))
    known = discover([])
    measured = tidy(cells, known)
    frames = [
        operating_points(cells, promised, delta, share, known, measured) for share in sorted(dict.fromkeys(prevalences))
    ]
    frame = pd.concat(frames, ignore_index=True)
    absent = [line for _, part in frame.groupby(SUITE, sort=False) for line in operating_notes.absent(part, measured)]
    if (frame["ood"] == "").all():
        why = f"no OOD image has a score yet in {results}: let `oodbench run` finish one task at least"
        raise OodbenchError("\n".join([why, *absent]))
    if form in ("csv", "json"):
        for line in absent:
            click.echo(f"WARNING: {line}", err=True)
        click.echo(frame.to_csv(index=False) if form == "csv" else as_json(frame), nl=form != "csv")
    else:
        several = frame.groupby("suite")["suite_fingerprint"].nunique() > 1
        parts = [part for _, part in frame.groupby([*SUITE, "keep"], sort=False)]
        click.echo("\n\n".join(_text(part, measured, bool(several[part["suite"].iloc[0]])) for part in parts))


def _text(frame: pd.DataFrame, measured: pd.DataFrame, several: bool) -> str:
    """The operating points of one suite and promise, for people.

    Args:
        frame: from `operating_points`.
        measured: the tidy frame of its cells.
        several: there are other suites of this one's name.
    """
    first = frame.iloc[0]
    suite = first["suite"]
    suite += f" (version {first['suite_version']}, fingerprint {first['suite_fingerprint'][:8]})" if several else ""
    shown = frame[frame["ood"] != ""]
    outdated = list(dict.fromkeys(frame.loc[frame["current"] == "no", "line"]))
    notes = [*operating_notes.flagged(shown, measured), *operating_notes.absent(frame, measured)]
    notes += [f"Made by other code than the method has today: {', '.join(outdated)}."] if outdated else []
    table = [_table(shown), "", *_about(shown)] if len(shown) else []
    return "\n".join([f"{suite}, {100 * first['keep']:g} % of ID images kept", "", *table, *notes])


def _table(frame: pd.DataFrame) -> str:
    """The rows of `_text`, with the signs of what is flagged."""
    shares = list(dict.fromkeys(frame["prevalence"]))
    by_share = [frame[frame["prevalence"] == share].reset_index(drop=True) for share in shares]
    rows = [
        [
            row["line"] if change else "",
            in_full(row["threshold"]) if change else "",
            row["task"],
            row["ood"],
            f"{100 * row['id_rejected']:.2f}{_sign(row)}",
            f"{100 * row['ood_accepted']:.2f}{row['flag']}",
            *(
                text
                for part in by_share
                for text in (
                    f"{part['alarms'][at]:.1f}{row['flag']}",
                    f"{part['false_alarms'][at]:.1f}{_sign(row)}",
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


def _sign(row: "pd.Series[Any]") -> str:
    """Behind what is of ID images alone: a flag of the task is about them where it attacks them."""
    return str(row["flag"]) if row["id_attacked"] == "yes" else ""


def _about(frame: pd.DataFrame) -> list[str]:
    """What the columns of `_table` mean."""
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
