"""Which attacks were not yet tried on other detectors' images: those that other detectors were attacked with.

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
from oodbench.results.attacked_images import KEPT_IMAGES, verified_images
from oodbench.results.store import Cell
from oodbench.running.plan import Pair, SuitePlan

TRANSFERRED_FROM = "transferred_from"
"""Attribute of a group: whose attacked images its detector was tried on, as JSON {file: SHA-256 of the images}."""

Untried = Mapping[Path, Mapping[Pair, Mapping[str, Path]]]
"""By the file of a cell and by its attack: the results whose images it is to be tried on, by their names there."""


@dataclass(frozen=True)
class _Attacked:
    """An image set as one attack left it, by what is noted of it.

    Attributes:
        path: of the cell that has it.
        pair: its task and its image set.
        of: the images before the attack, and the attack's constants: where two are alike, the attacks compare.
        key: of the group; a copy of a result has the same.
        sha256: of the images after it.
        transferred_from: what its detector was tried on; None before that was done.
    """

    path: Path
    pair: Pair
    of: tuple[str, str]
    key: str
    sha256: str
    transferred_from: Mapping[str, str] | None

    @property
    def name(self) -> str:
        """Of the file, within the suite's folder."""
        return f"{self.path.parent.name}/{self.path.name}"


def untried(plan: SuitePlan) -> Untried:
    """What is left to try for a plan whose attacks are checked in full; nothing for any other.

    The other detectors are all results of the suite and seed in the folder that kept the images of the same attack.
    """
    cells = {cell.cell.path: cell for network in plan.networks for cell in network.cells}
    if not plan.demands.thorough or not cells:
        return {}
    folder = next(iter(cells)).parents[1]
    there = [one for path in sorted(folder.glob(f"*/seed{plan.seed}-*.h5")) for one in _attacked(path, path in cells)]
    left: dict[Path, dict[Pair, dict[str, Path]]] = {}
    for own in there:
        if own.path not in cells or not (own.pair in plan.wanted(cells[own.path]) and plan.checked_in_full(own.pair)):
            continue
        others = [one for one in there if (one.pair, one.of) == (own.pair, own.of) and one.key != own.key]
        known = own.transferred_from
        if known is None or {one.name: one.sha256 for one in others}.items() - known.items():
            left.setdefault(own.path, {})[own.pair] = {one.name: one.path for one in others}
    return left


def images(path: Path, pair: Pair) -> npt.NDArray[np.uint8]:
    """What the attack `pair` left in the cell at `path`, uint8 (N, H, W, C).

    Raises:
        OodbenchError: the file is damaged, or its images are not those that were scored.
    """
    cell = Cell(path)
    return verified_images(cell, cell.group(*pair))


def _attacked(path: Path, planned: bool) -> Sequence[_Attacked]:
    """What a cell has of attacked images; nothing of a broken file that the run does not ask for."""
    cell = Cell(path)
    try:
        return [
            _Attacked(
                path,
                pair,
                (str(about.get("fingerprint", "")), str(about.get("constants", ""))),
                str(about.get("key", "")),
                str(about.get("images_sha256", "")),
                json.loads(str(about[TRANSFERRED_FROM])) if TRANSFERRED_FROM in about else None,
            )
            for pair, about in cell.group_attributes(extra=KEPT_IMAGES).items()
        ]
    except (OodbenchError, ValueError):
        if planned:
            raise
        return []
