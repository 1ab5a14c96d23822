"""Results that may stand together have equal threats, images and code; others are told apart, and say why."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from oodbench.results.attributes import json_object
from oodbench.tasks import STORED, constants

OF_ID = "accuracy"
"""The metric that knows no OOD set."""

OTHER_CODE, OTHER_IMAGES = "other code", "other images"
"""Reasons why results of one detector, or of one task, stand apart."""

VERSIONS = ("scoring_version", "training_version")
"""Attributes of a result that name the harness, see `oodbench.scoring.VERSION` and `oodbench.training.VERSION`."""

LONGEST = 40
"""Letters of a constant that a task's name may hold."""


def tell_threats_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with what each task does in its name, where it did several things: `linf (epsilon=1)`.

    A task of one name may have other constants in another row, since somebody edited the suite between two runs.

    Args:
        frame: tidy, of one suite.

    Returns:
        The same rows; the column `named` holds the task as it is stored.
    """
    full = [_full_constants(str(text)) for text in frame["constants"]]
    variants_of_task: dict[str, dict[str, Mapping[str, Any]]] = {}
    for task, metric, constant in zip(frame["task"], frame["metric"], full, strict=True):
        if metric != OF_ID:
            variants_of_task.setdefault(task, {})[json.dumps(constant, sort_keys=True)] = constant
    names = {
        (task, text): name
        for task, variants in variants_of_task.items()
        for text, name in _variant_names(task, variants).items()
    }
    texts = [json.dumps(constant, sort_keys=True) for constant in full]
    tasks = [names.get((task, text), task) for task, text in zip(frame["task"], texts, strict=True)]
    return frame.assign(named=frame["task"], task=tasks)


def _full_constants(text: str) -> dict[str, Any]:
    """Constants as stored; what an older version did not store had its default."""
    stored: dict[str, Any] = json_object(text)
    kind = STORED.get(str(stored.get("kind", "")))
    return {**(constants(kind()) if kind else {}), **stored}


def _variant_names(task: str, variants: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The name of a task in each of its variants, by their constants as JSON."""
    if len(variants) < 2:
        return dict.fromkeys(variants, task)
    names = dict.fromkeys(name for constant in variants.values() for name in constant)
    differing = [
        name
        for name in names
        if len({json.dumps(constant.get(name), sort_keys=True) for constant in variants.values()}) > 1
    ]
    name_of_variant: dict[str, str] = {}
    for text, constant in variants.items():
        differences_text = ", ".join(f"{name}={_shortened(constant.get(name))}" for name in differing)
        name = f"{task} ({differences_text})"
        name_of_variant[text] = (
            name if name not in name_of_variant.values() else f"{task} ({differences_text}; {len(name_of_variant) + 1})"
        )
    return name_of_variant


def _shortened(value: Any) -> str:
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


@dataclass(frozen=True)
class Standing:
    """The place of one cell beside others under one task.

    Attributes:
        rivals: equal where values may be held against each other; None where they may be held against none.
        images: equal where images are the same ones.
        apart: why it is not among the task's main results; empty if it is.
    """

    rivals: Hashable | None
    images: Hashable
    apart: str


def standings(frame: pd.DataFrame) -> dict[tuple[str, str], Standing]:
    """Return the standing of each (cell, task) of a frame.

    Cells share images where no set has another fingerprint, of those that a network learned from as well, and where as
    many were taken. Of two states of a detector's
    code, today's counts where that is known, else the one that was run last.

    Args:
        frame: from `tell_threats_apart`.
    """
    other_code = _cells_of_other_code(frame)
    ids = frame[frame["metric"] == OF_ID].set_index("cell")["fingerprint"].to_dict()
    standing_of: dict[tuple[str, str], Standing] = {}
    scores = frame[(frame["metric"] != OF_ID) & (frame["task"] != "")]
    for task, of_task in scores.groupby("task", sort=False):
        members: list[tuple[str, tuple[Any, ...], dict[str, str]]] = []
        for cell, part in of_task.groupby("cell", sort=False):
            first = part.iloc[0]
            taken = (str(first["unlike"]), first["limit"], first["images"])
            prints = dict(zip(part["ood"], map(str, part["fingerprint"]), strict=True)) | {"": str(ids.get(cell, ""))}
            prints |= {f"learned from: {kind}": text for kind, text in json_object(first["learned_from"]).items()}
            members.append((str(cell), taken, {name: text for name, text in prints.items() if text}))
        classes = _image_classes([(taken, prints) for _, taken, prints in members])
        main = _main_class(classes, [taken for _, taken, _ in members])
        for number, (cell, taken, _) in zip(classes, members, strict=True):
            # Where fewer were taken, or a set is not the public one, the line says so itself.
            taken_alike = {other for other, (_, theirs, _) in zip(classes, members, strict=True) if theirs == taken}
            is_told_apart = number != (main if main in taken_alike else min(taken_alike))
            reasons = [OTHER_CODE] * (cell in other_code) + [OTHER_IMAGES] * is_told_apart
            images = (str(task), number)
            standing_of[cell, str(task)] = Standing(None if cell in other_code else images, images, ", ".join(reasons))
    return standing_of


def _image_classes(members: Sequence[tuple[Hashable, Mapping[str, str]]]) -> list[int]:
    """A number for each member: equal where nothing that both know of differs."""
    known: list[tuple[Hashable, dict[str, str]]] = []
    numbers = []
    for taken, prints in members:
        for number, (known_taken, known_prints) in enumerate(known):
            if known_taken == taken and all(known_prints.get(name, text) == text for name, text in prints.items()):
                known_prints.update(prints)
                numbers.append(number)
                break
        else:
            known.append((taken, dict(prints)))
            numbers.append(len(known) - 1)
    return numbers


def _main_class(classes: Sequence[int], taken: Sequence[tuple[Any, ...]]) -> int:
    """The images that most results are about: whole public sets before others."""

    def rank(number: int) -> tuple[bool, bool, bool, int, int]:
        unlike, limit, images = taken[classes.index(number)]
        return unlike != "", limit != 0, images != 0, -classes.count(number), number

    return min(set(classes), key=rank)


def _cells_of_other_code(frame: pd.DataFrame) -> set[str]:
    """Cells whose code is not what counts for their detector, or that an older harness scored or trained."""
    other_cells: set[str] = set()
    for name in VERSIONS:
        known = frame[name].astype(int)  # 0 where there is nothing to tell, such as a network that was given
        other_cells |= set(frame.loc[(known > 0) & (known < known.max()), "cell"])
    with_code = frame.assign(code=frame["code"].astype(str) + " over " + frame["over_code"].astype(str))
    for _, part in with_code.groupby(["detector", "over"], sort=False):
        cells = part.groupby("cell", sort=False).agg({"code": "first", "current": "max", "date": "max"})
        if cells["code"].nunique() > 1:
            today = cells.loc[cells["current"] == "yes", "code"]
            counts = today.iloc[0] if len(today) else cells.sort_values("date", kind="stable")["code"].iloc[-1]
            other_cells |= set(cast("list[str]", cells.index[cells["code"] != counts]))
    return other_cells
