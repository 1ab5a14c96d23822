"""The notes below a table: what its figures rest on, and how far they can be believed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from oodbench.metrics import AT_CLEAN
from oodbench.results.attributes import json_object
from oodbench.results.tables.comparable import OF_ID, OTHER_CODE, OTHER_IMAGES
from oodbench.results.tables.conditions import machine_notes
from oodbench.results.tables.flags import averaging_notes, find_flags, shown_parts
from oodbench.results.tables.lines import LIKE_SEEDS, cell_name, network_from, precision, tuning_record
from oodbench.results.tables.smoothed import smoothed_notes
from oodbench.results.tables.summary import ASIDE, Entry, mean_sets, other_means, sets_aside, sets_behind
from oodbench.statistics import honesty, severity
from oodbench.tasks import Clean, Compositional


def footnotes(frame: pd.DataFrame, summary: Sequence[Entry], titles: Mapping[str, str]) -> list[str]:
    """Return what a reader must know of a table, a sentence or two each.

    Args:
        frame: tidy, of one suite and convention.
        summary: of `frame`, what the table shows.
        titles: what the line of each cell is called.
    """
    scores = frame[frame.metric != OF_ID]
    cells = frame.drop_duplicates("cell")
    notes = [counts_note(frame, summary), *image_notes(cells), *shared_image_notes(frame), convention_note(frame)]
    notes += [
        f"{task}: {threat}." for task, threat in scores[["task", "threat"]].drop_duplicates().itertuples(index=False)
    ]
    notes += [*smoothed_notes(scores), *attacked_id_notes(scores)]
    flag_lines = _flag_lines(shown_parts(summary, scores), titles)
    notes += [*upside_down_notes(scores, titles), *flag_lines, *(averaging_notes(summary) if flag_lines else [])]
    notes += missing_notes(frame, summary, titles)
    notes += [*stale_notes(cells, titles), *outdated_notes(cells, summary, titles)]
    notes += [*apart_notes(summary), *mean_notes(frame, titles), *repeated_notes(cells, titles)]
    notes += [*unlabelled_notes(frame), *label_notes(frame)]
    notes += seed_notes(cells, summary, titles)
    notes += operating_point_notes(cells, titles)
    notes += published_notes(scores, titles)
    if scores["low"].notna().any():
        notes.append(
            "95 % intervals are for endless images of these kinds, of which the ones scored are a sample. The interval "
            "of a mean over several sets or seeds is the mean of their intervals, as if all erred in one direction. "
            "What another training would give is not in them."
        )
    attacks = scores[scores["looks"] > 0].drop_duplicates(["cell", "task", "ood"])
    notes += [f"{task}: {cost_text(part)}." for task, part in attacks.groupby("task", sort=False)]
    notes += [
        f"{_cell_name(cell, titles)}: {tuning_text(tuning_record(cell), bool(cell['checkpoint']))}."
        for _, cell in cells.iterrows()
        if tuning_record(cell)
    ]
    return notes + machine_notes(frame, titles)


def _flag_lines(parts: Sequence[tuple[str, pd.DataFrame]], titles: Mapping[str, str]) -> list[str]:
    """A line for all that is flagged of one cell and task, the worst first, and what the signs in the table mean.

    Args:
        parts: of `shown_parts`.
        titles: what the line of each cell is called.
    """
    lines = []
    for name, scores in parts:
        cells = {str(cell["cell"]): cell for _, cell in scores.drop_duplicates("cell").iterrows()}
        set_text = f", {name}" if name else ""
        lines += [
            f"FLAG {_cell_name(cells[flag.cell], titles)}, {flag.about}{set_text}: {flag.text}."
            for flag in find_flags(scores)
        ]
    return [*lines, *([severity.MARKS] if lines else [])]


def attacked_id_notes(scores: pd.DataFrame) -> list[str]:
    """Explain the figures of tasks that attack ID images, from rows of a tidy frame; empty if there are none."""
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


def unlabelled_notes(frame: pd.DataFrame) -> list[str]:
    """Name the ID sets on which accuracy is unknown."""
    sets = sorted({str(name) for name in frame[(frame.metric == OF_ID) & frame["value"].isna()]["id_set"]})
    return [f"ID accuracy is unknown on {', '.join(sets)}, whose images carry no labels."] if sets else []


def label_notes(frame: pd.DataFrame) -> list[str]:
    """Notes on labels that may not mean what the network thinks."""
    notes = dict.fromkeys(frame.loc[frame.metric == OF_ID, "labels_note"])
    return [note if note.endswith("?") else f"{note}." for note in notes if note]


def seed_notes(cells: pd.DataFrame, summary: Sequence[Entry], titles: Mapping[str, str]) -> list[str]:
    """Explain the deviation behind means over seeds; empty where there are none."""
    if all(len(entry.cells) == 1 for entry in summary):
        return []
    note = "±: standard deviation over training seeds (n - 1), of the means over OOD sets; not over images."
    return [note, *one_network_notes(cells, summary, titles)]


def operating_point_notes(cells: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Name the lines whose FPR@95 is at a threshold of its own."""
    return [
        f"FPR@95 of {titles[str(cell['cell'])]} is at its own threshold {cell['operating_point']}, not at 95 % of ID."
        for _, cell in cells[cells["operating_point"].notna()].iterrows()
    ]


def one_network_notes(cells: pd.DataFrame, summary: Sequence[Entry], titles: Mapping[str, str]) -> list[str]:
    """Lines whose seeds share a trained network, so that their deviation says nothing of training."""
    digests = dict(zip(cells["cell"].astype(str), cells["network_digest"].astype(str), strict=True))
    lines: dict[str, set[str]] = {}
    for entry in summary:
        if len(entry.cells) > 1:
            lines.setdefault(titles[str(entry.cells[0])], set()).update(str(cell) for cell in entry.cells)
    digests_of_line = {line: {digests[cell] for cell in line_digests} for line, line_digests in lines.items()}
    one_network_lines = [
        line for line, line_digests in digests_of_line.items() if len(line_digests) == 1 and line_digests != {""}
    ]
    return [
        f"{line}: all seeds are of one and the same network, so ± is of what an attack or a corruption draws, not of "
        "training, and 0.00 where nothing is drawn."
        for line in one_network_lines
    ]


def counts_note(frame: pd.DataFrame, summary: Sequence[Entry]) -> str:
    """Means over which sets, of how many images, of how much of them."""
    scores = frame[frame.metric != OF_ID]
    wanted_sets = {name for entry in summary for name in sets_behind(frame, entry.ood)}
    shown_sets = wanted_sets & set(scores["ood"]) or wanted_sets
    averaged_sets = shown_sets - set(sets_aside(frame)) if len(shown_sets) > 1 else shown_sets
    sets = []
    for ood, part in scores[scores["ood"].isin(shown_sets)].groupby("ood", sort=False):
        sets.append(f"{ood} ({part['distance'].iloc[0]}, {_counts_text(part['n_ood'])} images)")
    text = f"Percent; mean over {len(averaged_sets)} OOD sets, unweighted: " if len(averaged_sets) > 1 else "Percent; "
    text += f"{', '.join(sets)}; {_counts_text(frame['n_id'])} ID images."
    text += "".join(f" {one}" for one in left_out_notes(frame, shown_sets))
    limits = sorted({int(limit) for limit in frame["limit"] if limit})
    return text + (
        f" Only {' or '.join(map(str, limits))} images of each set, evenly over the classes (--limit)."
        if limits
        else ""
    )


def left_out_notes(frame: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """Name the OOD sets of the suite that are not shown."""
    left_out = [name for name in mean_sets(frame)["all"] if name not in shown]
    return [f"Left out of the suite's OOD sets: {', '.join(left_out)}."] if left_out else []


def mean_notes(frame: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Name the results that have a mean over other sets than the table has it over, from a tidy frame."""
    known = mean_sets(frame)
    return [
        f"Other means: stored with {', '.join(dict.fromkeys(titles[cell] for cell in cells))}, the mean {name!r} is "
        f"over {', '.join(sets) or 'no set'}; every row here has it over {', '.join(known[name])}."
        for (name, sets), cells in other_means(frame).items()
    ]


def image_notes(cells: pd.DataFrame) -> list[str]:
    """Name image sets that only have the name of a public one, and feature packs that were scored for images."""
    unlike_sets = dict.fromkeys(name for text in cells["unlike"] for name in str(text).split("; ") if name)
    notes = [f"Other images: {'; '.join(unlike_sets)}: compare with no figure of those sets."] if unlike_sets else []
    packs = dict.fromkeys(str(text) for text in cells["features"] if text)
    return notes + [
        f"Not scored from images, but from what a network made of them before: feature pack {text}." for text in packs
    ]


def shared_image_notes(frame: pd.DataFrame) -> list[str]:
    """Say which images of the sets in a tidy frame are in two sets, or more than once in one."""
    return [f"{text}." for text in dict.fromkeys("; ".join(dict.fromkeys(frame["images_note"])).split("; ")) if text]


def _counts_text(numbers: "pd.Series[int]") -> str:
    return " or ".join(str(number) for number in sorted(set(numbers)))


def published_notes(scores: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Say where figures of the published convention may differ from what the paper's code prints, by ties."""
    rows = scores[scores["convention"] == "published"]
    notes = []
    for _, part in rows[rows["derived"].astype(bool)].groupby("cell", sort=False):
        name, tasks = _cell_name(part.iloc[0], titles), ", ".join(dict.fromkeys(part["task"]))
        notes.append(
            f"{name}, {tasks}: what the paper prints is derived from the scores, whose ties at the ends are not "
            "exactly those of a softmax in float32: bounds have no other, and results of before that was kept get it "
            "by --rerun all."
        )
    kinds = {json_object(text).get("kind") for text in rows["constants"].unique()}
    if Compositional.kind in kinds:
        notes.append(
            "compositional: each image is attacked from the version with the highest stored score; the code behind "
            "published figures searches by the scores that it prints, and takes the first of those that tie."
        )
    return notes


def convention_note(frame: pd.DataFrame) -> str:
    return (
        f"Convention {frame['convention'].iloc[0]!r}; FPR@95 is the share of OOD accepted where 95 % of ID is kept, "
        "OOD+ the share of ID rejected where 95 % of OOD is caught."
    )


def missing_notes(frame: pd.DataFrame, summary: Sequence[Entry], titles: Mapping[str, str]) -> list[str]:
    """Name the OOD sets that rows lack and others have, and detectors that have no OOD scores at all."""
    measured_sets = set(frame["ood"])
    gaps: dict[tuple[str, str], dict[str, None]] = {}
    partial = False
    for entry in summary:
        if (
            missing_sets := [name for name in entry.missing if name in measured_sets]
            or [*entry.missing] * entry.incomplete
        ):
            gaps.setdefault((entry.line, entry.task), {}).update(dict.fromkeys(missing_sets))
            partial |= not entry.incomplete
    advice = "the same run again, without --only, goes on there"
    notes = [f"Missing: {line}, {task}: {', '.join(names)}; {advice}." for (line, task), names in gaps.items()]
    if partial:
        rows = frame[frame["ood"] != ""].groupby(["cell", "task"], sort=False)["ood"]
        common = [name for name in dict.fromkeys(frame["ood"]) if name and all(name in set(part) for _, part in rows)]
        command = f": {' '.join(f'--sets {name}' for name in common)} shows all over what each has" if common else ""
        notes.append(
            "A row that lacks OOD sets has its mean over those that it has, is called so and is compared with no row "
            f"over others{command}."
        )
    measured = {cell: frame[(frame["cell"] == cell)] for cell in titles}
    unscored_lines = [
        titles[cell]
        for cell, part in measured.items()
        if (part["metric"] == OF_ID).all() and not (part["failed"] != "").any() and len(part)
    ]
    return notes + [f"Missing: {name}: all OOD sets; {advice}." for name in unscored_lines]


def stale_notes(cells: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Name the scores that are stored and left out, a line a cell."""
    return [
        f"Stale and left out: {_cell_name(cell, titles)}, {cell['stale']}; run it again."
        for _, cell in cells.iterrows()
        if cell["stale"]
    ]


def outdated_notes(cells: pd.DataFrame, summary: Sequence[Entry], titles: Mapping[str, str]) -> list[str]:
    """Name the cells whose code has changed since, though no newer result stands beside them."""
    cells_apart = {cell for entry in summary if OTHER_CODE in entry.apart for cell in entry.cells}
    outdated = cells[(cells["current"] == "no") & cells["cell"].isin(set(titles) - cells_apart)]
    names = [_cell_name(cell, titles) for _, cell in outdated.iterrows()]
    return [
        f"Made by other code than the method has today: {', '.join(names)}. The same run again measures today's."
    ] * bool(names)


def apart_notes(summary: Sequence[Entry]) -> list[str]:
    """Say why lines stand apart from others of their task."""
    tasks: dict[tuple[str, str], dict[str, None]] = {}
    for entry in summary:
        if entry.apart:
            tasks.setdefault((entry.line, entry.apart), {})[entry.task] = None
    reasons = {
        OTHER_CODE: "the method's code has changed since, or how oodbench scores or trains, so this is averaged with "
        "no other seed and is never the best",
        OTHER_IMAGES: "image sets of the same names held other images, or its network was trained on others, so this "
        "is held against no other line",
    }
    return [
        f"Apart: {line}, {', '.join(names)}: {'; '.join(reasons[reason] for reason in apart.split(', '))}."
        for (line, apart), names in tasks.items()
    ]


def repeated_notes(cells: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Seeds that were measured more than once, to other scores."""
    alike = [name for name in LIKE_SEEDS if name != "tuning_source"]
    cells = cells.assign(network_from=network_from(cells), precision=precision(cells))
    repeated = cells[cells.duplicated([*alike, "seed"], keep=False)]
    notes = []
    for _, part in repeated.groupby([*alike, "seed"], sort=False, dropna=False):
        where = "; ".join(f"{cell['cell']} on {cell['hardware']}, torch {cell['torch']}" for _, cell in part.iterrows())
        first = part.iloc[0]
        notes.append(
            f"Apart: seed {first['seed']} of {first['detector']} was measured {len(part)} times, to other scores "
            f"({where}): it is not averaged."
        )
    return notes


def _cell_name(row: "pd.Series[Any]", titles: Mapping[str, str]) -> str:
    return cell_name(str(row["cell"]), row["seed"], titles)


def upside_down_notes(scores: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """A line for each cell whose scores, without any attack, put OOD images above ID images."""
    rows = scores[(scores["metric"] == "auroc") & (scores["distance"] != ASIDE)]
    kinds = [json_object(constants).get("kind") for constants in rows["constants"]]
    clean = rows[pd.Series(kinds, rows.index, dtype=object) == Clean.kind]
    notes = []
    for _, part in clean.groupby("cell", sort=False):
        warning = honesty.upside_down_text(list(part[["value", "n_id", "n_ood"]].itertuples(index=False, name=None)))
        notes += [f"FLAG {_cell_name(part.iloc[0], titles)}: {warning}."] if warning else []
    return notes


def cost_text(attack: pd.DataFrame) -> str:
    """The cost of an attack and what its early stops may hide, over the cells of `attack`, rows of a tidy frame."""
    averages = attack.groupby("cell")[["looks", "retired", "hidden"]].mean()
    least, most = round(averages["looks"].min()), round(averages["looks"].max())
    text = f"attacked with {least if least == most else f'{least} to {most}'} passes an image on average"
    if averages["retired"].max() > 0:
        text += (
            f"; up to {averages['retired'].max():.0%} of the images were left alone when they had passed enough ID "
            f"scores, so an AUROC could be {100 * averages['hidden'].max():.2f} points lower at most"
        )
    return text


TUNING_FACTS = ("source", "id_images", "outliers", "tried", "perhaps_seen")
"""Names in a record of tuning besides the values that were chosen."""


def doubted_tuning_notes(cells: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """A line for each cell that was tuned on test images, or on images that its network may have been trained on."""
    notes = []
    for _, cell in cells.iterrows():
        chosen, given = tuning_record(cell), bool(cell["checkpoint"])
        if chosen and (chosen.get("source") == "id-test" or possibly_seen_images(chosen, given)):
            notes.append(f"{_cell_name(cell, titles)}: {tuning_text(chosen, given).partition(':')[0]}.")
    return notes


def possibly_seen_images(record: Mapping[str, Any], given: bool) -> list[str]:
    """The images that decided and may have been trained on: "id_images", "outliers"; arguments as `tuning_text`."""
    return list(record.get("perhaps_seen", ["id_images", "outliers"] if given else []))


def tuning_text(record: Mapping[str, Any], given: bool) -> str:
    """Say in words on which images a detector was tuned, and with which result.

    Args:
        record: the attribute "tuned" of a result.
        given: the network came as a checkpoint; of such networks, older results do not say what they had seen.
    """
    possibly_seen = possibly_seen_images(record, given)
    doubt, count = "not known to be held out of the network's training", record.get("id_images", "some")
    outliers = f" and {record['outliers']} reserved outliers" if record.get("outliers") else ""
    doubted = bool(outliers) and "outliers" in possibly_seen
    if record.get("source") == "id-test":
        text = f"{count} images of the ID test set, which is a leak{',' * bool(outliers)}{outliers}"
    elif "id_images" not in possibly_seen:
        text = f"{count} images held out of training{outliers}"
    elif doubted or not outliers:
        text, doubted = f"{count} ID training images{outliers}, {doubt}", False
    else:
        text = f"{count} ID training images, {doubt},{outliers}"
    text += f", these {doubt}" if doubted else ""
    chosen = [f"{name} {_rounded(value)}" for name, value in record.items() if name not in TUNING_FACTS]
    return f"tuned on {text}: {', '.join(chosen)}"


def _rounded(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_rounded, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
