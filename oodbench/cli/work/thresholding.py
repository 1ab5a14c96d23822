"""`oodbench threshold`: operating points, printed."""

from pathlib import Path

import click
import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import in_full
from oodbench.registry import discover
from oodbench.results.folder import find, only
from oodbench.results.tables import as_json
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
    frames = [operating_points(cells, promised, delta, share, known) for share in sorted(dict.fromkeys(prevalences))]
    frame = pd.concat(frames, ignore_index=True)
    if frame.empty:
        raise OodbenchError(f"no OOD image has a score yet in {results}: let `oodbench run` finish one task at least")
    if form == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        click.echo(as_json(frame))
    else:
        several = frame.groupby("suite")["suite_fingerprint"].nunique() > 1
        parts = [part for _, part in frame.groupby([*SUITE, "keep"], sort=False)]
        click.echo("\n\n".join(_text(part, bool(several[part["suite"].iloc[0]])) for part in parts))


def _text(frame: pd.DataFrame, several: bool) -> str:
    """The operating points of one suite and promise, for people.

    Args:
        frame: from `operating_points`.
        several: there are other suites of this one's name.
    """
    first, shares = frame.iloc[0], list(dict.fromkeys(frame["prevalence"]))
    by_share = [frame[frame["prevalence"] == share].reset_index(drop=True) for share in shares]
    rows = [
        [
            row["line"] if change else "",
            in_full(row["threshold"]) if change else "",
            row["task"],
            row["ood"],
            f"{100 * row['id_rejected']:.2f}",
            f"{100 * row['ood_accepted']:.2f}",
            *(f"{part[column][at]:.1f}" for part in by_share for column in ("alarms", "false_alarms")),
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
    promised = Threshold(first["threshold"], first["keep"], first["delta"], int(first["n_chosen_on"]))
    counts = sorted({int(count) for count in frame["n_chosen_on"]})
    notes = [
        f"Promised: {promised.promise if len(counts) == 1 else promised.promise.partition(' over')[0]}. It holds for "
        "ID images drawn as those of the test set are, as they are; under an attack nothing is promised, and 'ID "
        "rejected' is what came of it.",
        f"Each threshold was chosen on a random half of the ID test images ({' or '.join(map(str, counts))}) and is "
        "held against the others: an image with a lower score is rejected.",
        "Percent; alarms, and false ones (ID images), are expected of 1,000 images of which "
        f"{' or '.join(f'{100 * share:g}' for share in shares)} % are OOD, images of this set.",
    ]
    table = tabulate(rows, headings, tablefmt="simple", disable_numparse=True, colalign=sides)
    suite = first["suite"]
    suite += f" (version {first['suite_version']}, fingerprint {first['suite_fingerprint'][:8]})" if several else ""
    outdated = list(dict.fromkeys(frame.loc[frame["current"] == "no", "line"]))
    notes += [f"Made by other code than the method has today: {', '.join(outdated)}."] if outdated else []
    return "\n".join([f"{suite}, {100 * first['keep']:g} % of ID images kept", "", table, "", *notes])
