"""Which attacks have not yet been held against what other detectors were attacked with.

Files alone are asked, so that it does not matter when a detector was attacked: in this run, in one that was ended
before its time, or in one long ago that had other detectors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.results.attacked_images import KEPT_IMAGES, verified
from oodbench.results.store import Cell
from oodbench.running.plan import CellPlan, Pair, SuitePlan

JUDGED_BY = "judged_by"
"""Attribute of a group: whose attacked images its detector was tried on, as JSON {file: SHA-256 of the images}."""

Unjudged = Mapping[Path, Mapping[Pair, Mapping[str, Path]]]
"""By the file of a cell and by its attack: the results whose images it is to be held against, by their names there."""


@dataclass(frozen=True)
class _Attacked:
    """An image set as one attack left it, by what is noted of it.

    Attributes:
        path: of the cell that has it.
        pair: its task and its image set.
        of: the images before the attack, and the attack's constants: where two are alike, the attacks compare.
        sha256: of the images after it.
        judged_by: what its detector was tried on; None before that was done.
    """

    path: Path
    pair: Pair
    of: tuple[str, str]
    sha256: str
    judged_by: Mapping[str, str] | None


def unjudged(plan: SuitePlan) -> Unjudged:
    """What is left to hold against others of a plan whose attacks are to be judged so; nothing of any other.

    The others are all results of the suite and seed in the folder that kept the images of the same attack.
    """
    cells = {cell.cell.path: cell for network in plan.networks for cell in network.cells}
    if not plan.demands.thorough or not cells:
        return {}
    folder = next(iter(cells)).parents[1]
    there = [one for path in sorted(folder.glob(f"*/seed{plan.seed}-*.h5")) for one in _attacked(path, path in cells)]
    left: dict[Path, dict[Pair, dict[str, Path]]] = {}
    for own in there:
        if own.path not in cells or own.pair not in _judged(plan, cells[own.path]):
            continue
        others = [one for one in there if (one.pair, one.of) == (own.pair, own.of) and one.path != own.path]
        donors = {f"{one.path.parent.name}/{one.path.name}": one for one in others}
        if own.judged_by is None or {name: one.sha256 for name, one in donors.items()}.items() - own.judged_by.items():
            left.setdefault(own.path, {})[own.pair] = {name: one.path for name, one in donors.items()}
    return left


def images(path: Path, pair: Pair) -> npt.NDArray[np.uint8]:
    """What the attack `pair` left in the cell at `path`, uint8 (N, H, W, C).

    Raises:
        OodbenchError: the file is damaged, or its images are not those that were scored.
    """
    cell = Cell(path)
    return verified(cell, cell.group(*pair))


def _judged(plan: SuitePlan, cell: CellPlan) -> Sequence[Pair]:
    """The attacks on a cell that are judged by others; ID images are not: they have no scores to pass."""
    return [pair for pair in plan.wanted(cell) if plan.task(pair).attacks() and pair[1] != plan.suite.id.test]


def _attacked(path: Path, planned: bool) -> Sequence[_Attacked]:
    """What a cell has of attacked images; nothing of a broken file that the run does not ask for."""
    try:
        return [
            _Attacked(
                path,
                pair,
                (str(about.get("fingerprint", "")), str(about.get("constants", ""))),
                str(about.get("images_sha256", "")),
                json.loads(str(about[JUDGED_BY])) if JUDGED_BY in about else None,
            )
            for pair, about in Cell(path).about().items()
            if KEPT_IMAGES in Cell(path).names(*pair)
        ]
    except (OodbenchError, ValueError):
        if planned:
            raise
        return []
