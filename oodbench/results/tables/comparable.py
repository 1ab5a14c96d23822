"""Which results may stand together: equal threats, images and code. What may not is told apart, and says why."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from oodbench.tasks import STORED, constants

OF_ID = "accuracy"
"""The metric that knows no OOD set."""

OTHER_CODE, OTHER_IMAGES = "other code", "other images"
"""Why results of one detector, or of one task, stand apart."""

VERSIONS = ("scoring_version", "training_version")
"""What a result says of the harness that made it, see `oodbench.scoring.VERSION` and `oodbench.training.VERSION`."""

LONGEST = 40
"""Letters of a constant that a task's name may hold."""


def threats_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with what each task does in its name, where it did several things: `linf (epsilon=1)`.

    A task of one name may have other constants in another row, since somebody edited the suite between two runs.

    Args:
        frame: tidy, of one suite.

    Returns:
        The same rows; the column `named` holds the task as it is stored.
    """
    meant = [_meaning(str(text)) for text in frame["constants"]]
    several: dict[str, dict[str, Mapping[str, Any]]] = {}
    for task, metric, constant in zip(frame["task"], frame["metric"], meant, strict=True):
        if metric != OF_ID:
            several.setdefault(task, {})[json.dumps(constant, sort_keys=True)] = constant
    called = {
        (task, text): name for task, variants in several.items() for text, name in _called(task, variants).items()
    }
    texts = [json.dumps(constant, sort_keys=True) for constant in meant]
    tasks = [called.get((task, text), task) for task, text in zip(frame["task"], texts, strict=True)]
    return frame.assign(named=frame["task"], task=tasks)


def _meaning(text: str) -> dict[str, Any]:
    """Constants as stored; what an older version did not store had its default."""
    stored: dict[str, Any] = json.loads(text or "{}")
    kind = STORED.get(str(stored.get("kind", "")))
    return {**(constants(kind()) if kind else {}), **stored}


def _called(task: str, variants: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What a task is called in each of its variants."""
    if len(variants) < 2:
        return dict.fromkeys(variants, task)
    names = dict.fromkeys(name for constant in variants.values() for name in constant)
    differing = [
        name
        for name in names
        if len({json.dumps(constant.get(name), sort_keys=True) for constant in variants.values()}) > 1
    ]
    found: dict[str, str] = {}
    for text, constant in variants.items():
        said = ", ".join(f"{name}={_short(constant.get(name))}" for name in differing)
        called = f"{task} ({said})"
        found[text] = called if called not in found.values() else f"{task} ({said}; {len(found) + 1})"
    return found


def _short(value: Any) -> str:
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


@dataclass(frozen=True)
class Standing:
    """How one cell stands beside others under one task.

    Attributes:
        rivals: equal where values may be held against each other; None where they may be held against none.
        images: equal where images are the same ones.
        apart: why it is not among the task's main results; empty if it is.
    """

    rivals: Hashable | None
    images: Hashable
    apart: str


def standings(frame: pd.DataFrame) -> dict[tuple[str, str], Standing]:
    """How each (cell, task) of a frame stands.

    Cells share images where no set has another fingerprint, and where as many were taken. Of two states of a detector's
    code, today's counts where that is known, else the one that was run last.

    Args:
        frame: from `threats_apart`.
    """
    other_code = _other_code(frame)
    ids = frame[frame["metric"] == OF_ID].set_index("cell")["fingerprint"].to_dict()
    found: dict[tuple[str, str], Standing] = {}
    scores = frame[(frame["metric"] != OF_ID) & (frame["task"] != "")]
    for task, of_task in scores.groupby("task", sort=False):
        members: list[tuple[str, tuple[Any, ...], dict[str, str]]] = []
        for cell, part in of_task.groupby("cell", sort=False):
            first = part.iloc[0]
            taken = (str(first["unlike"]), first["limit"], first["images"])
            prints = dict(zip(part["ood"], map(str, part["fingerprint"]), strict=True)) | {"": str(ids.get(cell, ""))}
            members.append((str(cell), taken, {name: text for name, text in prints.items() if text}))
        classes = _classes([(taken, prints) for _, taken, prints in members])
        main = _main(classes, [taken for _, taken, _ in members])
        for number, (cell, taken, _) in zip(classes, members, strict=True):
            # Where fewer were taken, or a set is not the public one, the line says so itself.
            alike = {other for other, (_, theirs, _) in zip(classes, members, strict=True) if theirs == taken}
            told = number != (main if main in alike else min(alike))
            why = [OTHER_CODE] * (cell in other_code) + [OTHER_IMAGES] * told
            images = (str(task), number)
            found[cell, str(task)] = Standing(None if cell in other_code else images, images, ", ".join(why))
    return found


def _classes(members: Sequence[tuple[Hashable, Mapping[str, str]]]) -> list[int]:
    """A number for each member: equal where nothing that both know of differs."""
    known: list[tuple[Hashable, dict[str, str]]] = []
    numbers = []
    for taken, prints in members:
        for number, (theirs, others) in enumerate(known):
            if theirs == taken and all(others.get(name, text) == text for name, text in prints.items()):
                others.update(prints)
                numbers.append(number)
                break
        else:
            known.append((taken, dict(prints)))
            numbers.append(len(known) - 1)
    return numbers


def _main(classes: Sequence[int], taken: Sequence[tuple[Any, ...]]) -> int:
    """The images that most results are about: whole public sets before others."""

    def rank(number: int) -> tuple[bool, bool, bool, int, int]:
        unlike, limit, images = taken[classes.index(number)]
        return unlike != "", limit != 0, images != 0, -classes.count(number), number

    return min(set(classes), key=rank)


def _other_code(frame: pd.DataFrame) -> set[str]:
    """Cells whose code is not what counts for their detector, or that an older harness scored or trained."""
    other: set[str] = set()
    for name in VERSIONS:
        known = frame[name].astype(int)  # 0 where there is nothing to tell, such as a network that was given
        other |= set(frame.loc[(known > 0) & (known < known.max()), "cell"])
    behind = frame.assign(code=frame["code"].astype(str) + " over " + frame["over_code"].astype(str))
    for _, part in behind.groupby(["detector", "over"], sort=False):
        cells = part.groupby("cell", sort=False).agg({"code": "first", "current": "max", "date": "max"})
        if cells["code"].nunique() > 1:
            today = cells.loc[cells["current"] == "yes", "code"]
            counts = today.iloc[0] if len(today) else cells.sort_values("date", kind="stable")["code"].iloc[-1]
            other |= set(cast("list[str]", cells.index[cells["code"] != counts]))
    return other
