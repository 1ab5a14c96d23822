"""What a table says below itself: what it rests on, and how far it can be believed."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from oodbench.metrics import AT_CLEAN
from oodbench.results.tables.comparable import OF_ID, OTHER_CODE, OTHER_IMAGES
from oodbench.results.tables.conditions import measured_on
from oodbench.results.tables.flags import averaged, flagged, shown
from oodbench.results.tables.lines import LIKE_SEEDS, network_from, one_cell, precision, tuned
from oodbench.results.tables.smoothed import about_smoothed
from oodbench.results.tables.summary import ASIDE, Entry, aside, behind, means
from oodbench.statistics import honesty, severity
from oodbench.tasks import Clean, Compositional


def footnotes(frame: pd.DataFrame, summary: Sequence[Entry], called: Mapping[str, str]) -> list[str]:
    """What must be known of a table, a sentence or two each.

    Args:
        frame: tidy, of one suite and convention.
        summary: of `frame`, what the table shows.
        called: what the line of each cell is called.
    """
    scores = frame[frame.metric != OF_ID]
    cells = frame.drop_duplicates("cell")
    notes = [about_counts(frame, summary), *about_images(cells), about_convention(frame)]
    notes += [
        f"{task}: {threat}." for task, threat in scores[["task", "threat"]].drop_duplicates().itertuples(index=False)
    ]
    notes += [*about_smoothed(scores), *about_attacked_id(scores)]
    said = _flags(shown(summary, scores), called)
    notes += [*upside_down(scores, called), *said, *(averaged(summary) if said else [])]
    notes += missing(frame, summary, called)
    notes += [*about_stale(cells, called), *about_outdated(cells, summary, called)]
    notes += [*about_apart(summary), *about_repeated(cells, called)]
    notes += [*about_unlabelled(frame), *about_labels(frame)]
    notes += about_seeds(cells, summary, called)
    notes += about_operating_points(cells, called)
    notes += about_printed(scores, called)
    if scores["low"].notna().any():
        notes.append(
            "95 % intervals are for endless images of these kinds, of which the ones scored are a sample. The interval "
            "of a mean over several sets or seeds is the mean of their intervals, as if all erred in one direction. "
            "What another training would give is not in them."
        )
    attacks = scores[scores["looks"] > 0].drop_duplicates(["cell", "task", "ood"])
    notes += [f"{task}: {about_cost(part)}." for task, part in attacks.groupby("task", sort=False)]
    notes += [
        f"{_cell(cell, called)}: {about_tuning(tuned(cell), bool(cell['checkpoint']))}."
        for _, cell in cells.iterrows()
        if tuned(cell)
    ]
    return notes + measured_on(frame, called)


def _flags(parts: Sequence[tuple[str, pd.DataFrame]], called: Mapping[str, str]) -> list[str]:
    """A line for all that is flagged of one cell and task, the worst first, and what the signs in the table mean.

    Args:
        parts: of `shown`.
        called: what the line of each cell is called.
    """
    lines = []
    for name, scores in parts:
        cells = {str(cell["cell"]): cell for _, cell in scores.drop_duplicates("cell").iterrows()}
        about = f", {name}" if name else ""
        lines += [f"FLAG {_cell(cells[one.cell], called)}, {one.about}{about}: {one.text}." for one in flagged(scores)]
    return [*lines, *([severity.MARKS] if lines else [])]


def about_attacked_id(scores: pd.DataFrame) -> list[str]:
    """How to read the figures of tasks that attack ID images, from their rows of a tidy frame; nothing without any."""
    tasks = list(dict.fromkeys(scores.loc[scores["metric"].isin(AT_CLEAN), "task"]))
    if not tasks:
        return []
    return [
        f"{', '.join(tasks)}: ID images are attacked, and OOD images are held against the attacked ID scores. FPR@95 "
        "there takes its threshold from attacked ID images (95 % of those are kept), which nobody can do who sets a "
        "threshold beforehand. 'Clean threshold' is the one that keeps 95 % of the ID images as they are: FPR@95 there "
        "is the share of OOD images accepted at it, ID rejected the share of attacked ID images rejected at it (5 % or "
        "less without an attack). ID accuracy is of the images as they are."
    ]


def about_unlabelled(frame: pd.DataFrame) -> list[str]:
    """Whose ID accuracy is unknown."""
    sets = sorted({str(name) for name in frame[(frame.metric == OF_ID) & frame["value"].isna()]["id_set"]})
    return [f"ID accuracy is unknown on {', '.join(sets)}, whose images carry no labels."] if sets else []


def about_labels(frame: pd.DataFrame) -> list[str]:
    """Whose labels may not mean what the network thinks."""
    notes = dict.fromkeys(frame.loc[frame.metric == OF_ID, "labels_note"])
    return [said if said.endswith("?") else f"{said}." for said in notes if said]


def about_seeds(cells: pd.DataFrame, summary: Sequence[Entry], called: Mapping[str, str]) -> list[str]:
    """What the deviation behind a mean over seeds is of; nothing where there is none."""
    if all(len(entry.cells) == 1 for entry in summary):
        return []
    said = "±: standard deviation over training seeds (n - 1), of the means over OOD sets; not over images."
    return [said, *one_network(cells, summary, called)]


def about_operating_points(cells: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Whose FPR@95 is at a threshold of its own."""
    return [
        f"FPR@95 of {called[str(cell['cell'])]} is at its own threshold {cell['operating_point']}, not at 95 % of ID."
        for _, cell in cells[cells["operating_point"].notna()].iterrows()
    ]


def one_network(cells: pd.DataFrame, summary: Sequence[Entry], called: Mapping[str, str]) -> list[str]:
    """Lines whose seeds share a trained network, so that their deviation says nothing of training."""
    digests = dict(zip(cells["cell"].astype(str), cells["network_digest"].astype(str), strict=True))
    lines: dict[str, set[str]] = {}
    for entry in summary:
        if len(entry.cells) > 1:
            lines.setdefault(called[str(entry.cells[0])], set()).update(str(cell) for cell in entry.cells)
    found = {line: {digests[cell] for cell in several} for line, several in lines.items()}
    alone = [line for line, several in found.items() if len(several) == 1 and several != {""}]
    return [
        f"{line}: all seeds are of one and the same network, so ± is of what an attack or a corruption draws, not of "
        "training, and 0.00 where nothing is drawn."
        for line in alone
    ]


def about_counts(frame: pd.DataFrame, summary: Sequence[Entry]) -> str:
    """Means over which sets, of how many images, of how much of them."""
    scores = frame[frame.metric != OF_ID]
    asked = {name for entry in summary for name in behind(frame, entry.ood)}
    shown = asked & set(scores["ood"]) or asked
    averaged = shown - set(aside(frame)) if len(shown) > 1 else shown
    sets = []
    for ood, part in scores[scores["ood"].isin(shown)].groupby("ood", sort=False):
        sets.append(f"{ood} ({part['distance'].iloc[0]}, {_counts(part['n_ood'])} images)")
    said = f"Percent; mean over {len(averaged)} OOD sets, unweighted: " if len(averaged) > 1 else "Percent; "
    said += f"{', '.join(sets)}; {_counts(frame['n_id'])} ID images."
    said += "".join(f" {one}" for one in about_left_out(frame, shown))
    limits = sorted({int(limit) for limit in frame["limit"] if limit})
    return said + (
        f" Only {' or '.join(map(str, limits))} images of each set, evenly over the classes (--limit)."
        if limits
        else ""
    )


def about_left_out(frame: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """Which OOD sets of the suite are not among those that are shown."""
    gone = [name for name in means(frame)["all"] if name not in shown]
    return [f"Left out of the suite's OOD sets: {', '.join(gone)}."] if gone else []


def about_images(cells: pd.DataFrame) -> list[str]:
    """Which image sets only have the name of a public one, and where there were no images but a feature pack."""
    said = dict.fromkeys(one for text in cells["unlike"] for one in str(text).split("; ") if one)
    notes = [f"Other images: {'; '.join(said)}: compare with no figure of those sets."] if said else []
    packs = dict.fromkeys(str(text) for text in cells["features"] if text)
    return notes + [
        f"Not scored from images, but from what a network made of them before: feature pack {one}." for one in packs
    ]


def _counts(numbers: "pd.Series[int]") -> str:
    return " or ".join(str(number) for number in sorted(set(numbers)))


def about_printed(scores: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Where figures of the published convention are not what the paper's code would print, to the last tie."""
    rows = scores[scores["convention"] == "published"]
    notes = []
    for _, part in rows[rows["derived"].astype(bool)].groupby("cell", sort=False):
        tasks = ", ".join(dict.fromkeys(part["task"]))
        notes.append(
            f"{_cell(part.iloc[0], called)}, {tasks}: what the paper prints is derived from the scores, whose ties "
            "at the ends are not exactly those of a softmax in float32: bounds have no other, and results of before "
            "that was kept get it by --rerun all."
        )
    kinds = {json.loads(str(text) or "{}").get("kind") for text in rows["constants"].unique()}
    if Compositional.kind in kinds:
        notes.append(
            "compositional: each image is attacked from the version with the highest stored score; the code behind "
            "published figures searches by the scores that it prints, and takes the first of those that tie."
        )
    return notes


def about_convention(frame: pd.DataFrame) -> str:
    return (
        f"Convention {frame['convention'].iloc[0]!r}; FPR@95 is the share of OOD accepted where 95 % of ID is kept, "
        "OOD+ the share of ID rejected where 95 % of OOD is caught."
    )


def missing(frame: pd.DataFrame, summary: Sequence[Entry], called: Mapping[str, str]) -> list[str]:
    """Which OOD sets rows lack that others have, and detectors that have no OOD scores at all."""
    there = set(frame["ood"])
    gaps: dict[tuple[str, str], dict[str, None]] = {}
    partial = False
    for entry in summary:
        if gone := [name for name in entry.missing if name in there] or [*entry.missing] * entry.incomplete:
            gaps.setdefault((entry.line, entry.task), {}).update(dict.fromkeys(gone))
            partial |= not entry.incomplete
    again = "the same run again goes on there"
    notes = [f"Missing: {line}, {task}: {', '.join(names)}; {again}." for (line, task), names in gaps.items()]
    if partial:
        rows = frame[frame["ood"] != ""].groupby(["cell", "task"], sort=False)["ood"]
        common = [name for name in dict.fromkeys(frame["ood"]) if name and all(name in set(part) for _, part in rows)]
        how = f": {' '.join(f'--sets {name}' for name in common)} shows all over what each has" if common else ""
        notes.append(
            "A row that lacks OOD sets has its mean over those that it has, is called so and is compared with no row "
            f"over others{how}."
        )
    measured = {cell: frame[(frame["cell"] == cell)] for cell in called}
    bare = [
        called[cell]
        for cell, part in measured.items()
        if (part["metric"] == OF_ID).all() and not (part["failed"] != "").any() and len(part)
    ]
    return notes + [f"Missing: {name}: all OOD sets; {again}." for name in bare]


def about_stale(cells: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """What is stored and left out, a line a cell."""
    return [
        f"Stale and left out: {_cell(cell, called)}, {cell['stale']}; run it again."
        for _, cell in cells.iterrows()
        if cell["stale"]
    ]


def about_outdated(cells: pd.DataFrame, summary: Sequence[Entry], called: Mapping[str, str]) -> list[str]:
    """Whose code has changed since, though no newer result stands beside it."""
    apart = {cell for entry in summary if OTHER_CODE in entry.apart for cell in entry.cells}
    old = cells[(cells["current"] == "no") & cells["cell"].isin(set(called) - apart)]
    names = [_cell(cell, called) for _, cell in old.iterrows()]
    return [
        f"Made by other code than the method has today: {', '.join(names)}. The same run again measures today's."
    ] * bool(names)


def about_apart(summary: Sequence[Entry]) -> list[str]:
    """Why lines stand apart from others of their task."""
    tasks: dict[tuple[str, str], dict[str, None]] = {}
    for entry in summary:
        if entry.apart:
            tasks.setdefault((entry.line, entry.apart), {})[entry.task] = None
    said = {
        OTHER_CODE: "the method's code has changed since, or how oodbench scores or trains, so this is averaged with "
        "no other seed and is never the best",
        OTHER_IMAGES: "image sets of the same names held other images, so this is held against no other line",
    }
    return [
        f"Apart: {line}, {', '.join(names)}: {'; '.join(said[why] for why in apart.split(', '))}."
        for (line, apart), names in tasks.items()
    ]


def about_repeated(cells: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Seeds that were measured more than once, to other scores."""
    alike = [name for name in LIKE_SEEDS if name != "tuning_source"]
    cells = cells.assign(network_from=network_from(cells), precision=precision(cells))
    twice = cells[cells.duplicated([*alike, "seed"], keep=False)]
    notes = []
    for _, part in twice.groupby([*alike, "seed"], sort=False, dropna=False):
        where = "; ".join(f"{cell['cell']} on {cell['hardware']}, torch {cell['torch']}" for _, cell in part.iterrows())
        first = part.iloc[0]
        notes.append(
            f"Apart: seed {first['seed']} of {first['detector']} was measured {len(part)} times, to other scores "
            f"({where}): it is not averaged."
        )
    return notes


def _cell(row: "pd.Series[Any]", called: Mapping[str, str]) -> str:
    return one_cell(str(row["cell"]), row["seed"], called)


def upside_down(scores: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """A line for each cell whose scores, without any attack, put OOD images above ID images."""
    rows = scores[(scores["metric"] == "auroc") & (scores["distance"] != ASIDE)]
    kinds = [json.loads(str(constants) or "{}").get("kind") for constants in rows["constants"]]
    clean = rows[pd.Series(kinds, rows.index, dtype=object) == Clean.kind]
    found = []
    for _, part in clean.groupby("cell", sort=False):
        said = honesty.upside_down(list(part[["value", "n_id", "n_ood"]].itertuples(index=False, name=None)))
        found += [f"FLAG {_cell(part.iloc[0], called)}: {said}."] if said else []
    return found


def about_cost(attack: pd.DataFrame) -> str:
    """What an attack cost, and how much its early stops may hide: over the cells of `attack`, rows of a tidy frame."""
    averages = attack.groupby("cell")[["looks", "retired", "hidden"]].mean()
    least, most = round(averages["looks"].min()), round(averages["looks"].max())
    said = f"attacked with {least if least == most else f'{least} to {most}'} passes an image on average"
    if averages["retired"].max() > 0:
        said += (
            f"; up to {averages['retired'].max():.0%} of the images were left alone when they had passed enough ID "
            f"scores, so an AUROC could be {100 * averages['hidden'].max():.2f} points lower at most"
        )
    return said


ABOUT_TUNING = ("source", "id_images", "outliers", "tried", "perhaps_seen")
"""What a result says of tuning besides what was chosen."""


def about_doubted_tuning(cells: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """A line for each cell that was tuned on test images, or on images that its network may have been trained on."""
    found = []
    for _, cell in cells.iterrows():
        chosen, given = tuned(cell), bool(cell["checkpoint"])
        if chosen and (chosen.get("source") == "id-test" or perhaps_seen(chosen, given)):
            found.append(f"{_cell(cell, called)}: {about_tuning(chosen, given).partition(':')[0]}.")
    return found


def perhaps_seen(found: Mapping[str, Any], given: bool) -> list[str]:
    """Which of the images that decided are not known to have been kept from training; arguments of `about_tuning`."""
    return list(found.get("perhaps_seen", ["id_images", "outliers"] if given else []))


def about_tuning(found: Mapping[str, Any], given: bool) -> str:
    """What was tuned, on what, with which result.

    Args:
        found: the attribute "tuned" of a result.
        given: the network came as a checkpoint; of such networks, older results do not say what they had seen.
    """
    perhaps = perhaps_seen(found, given)
    doubt, count = "not known to be held out of the network's training", found.get("id_images", "some")
    outliers = f" and {found['outliers']} reserved outliers" if found.get("outliers") else ""
    doubted = bool(outliers) and "outliers" in perhaps
    if found.get("source") == "id-test":
        said = f"{count} images of the ID test set, which is a leak{',' * bool(outliers)}{outliers}"
    elif "id_images" not in perhaps:
        said = f"{count} images held out of training{outliers}"
    elif doubted or not outliers:
        said, doubted = f"{count} ID training images{outliers}, {doubt}", False
    else:
        said = f"{count} ID training images, {doubt},{outliers}"
    said += f", these {doubt}" if doubted else ""
    chosen = [f"{name} {_short(value)}" for name, value in found.items() if name not in ABOUT_TUNING]
    return f"tuned on {said}: {', '.join(chosen)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
