"""Transfer of attacked images: which detectors have not been tried yet on images that others were attacked with.

Only stored results are read, so it does not matter when a detector was attacked: in this run, in one that was
interrupted, or in an earlier one that had other detectors.
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
"""Attribute of a group: the results whose attacked images its detector was tried on, JSON {file: SHA-256 of images}."""

Untried = Mapping[Path, Mapping[Pair, Mapping[str, Path]]]
"""By the file of a cell and by its attack: the files of results whose images it is to be tried on, by their names."""


@dataclass(frozen=True)
class _Attacked:
    """An image set that was attacked, by the attributes of its group.

    Attributes:
        path: of the cell that has it.
        pair: its task and its image set.
        of: fingerprint of the images before the attack, and the attack's constants; attacks that share both compare.
        key: of the group; a copy of a result has the same key.
        sha256: of the attacked images.
        transferred_from: SHA-256 of the images that its detector was tried on, by file; None before that was done.
    """

    path: Path
    pair: Pair
    of: tuple[str, str]
    key: str
    sha256: str
    transferred_from: Mapping[str, str] | None

    @property
    def name(self) -> str:
        """The file's path within the suite's folder."""
        return f"{self.path.parent.name}/{self.path.name}"


def untried(plan: SuitePlan) -> Untried:
    """The results that are left to try for a plan whose attacks are checked in full; nothing for any other plan.

    These are all results of the suite and seed in the folder that kept the images of the same attack.
    """
    cells = {cell.cell.path: cell for cell in plan.cells}
    if not plan.demands.thorough or not cells:
        return {}
    folder = next(iter(cells)).parents[1]
    paths = sorted(folder.glob(f"*/seed{plan.seed}-*.h5"))
    attacked = [group for path in paths for group in _attacked_groups(path, path in cells)]
    donors: dict[Path, dict[Pair, dict[str, Path]]] = {}
    for own in attacked:
        if own.path not in cells or not (
            own.pair in plan.wanted_pairs(cells[own.path]) and plan.checked_in_full(own.pair)
        ):
            continue
        others = [other for other in attacked if (other.pair, other.of) == (own.pair, own.of) and other.key != own.key]
        tried = own.transferred_from
        if tried is None or {other.name: other.sha256 for other in others}.items() - tried.items():
            donors.setdefault(own.path, {})[own.pair] = {other.name: other.path for other in others}
    return donors


def images(path: Path, pair: Pair) -> npt.NDArray[np.uint8]:
    """The images after the attack `pair` that the cell at `path` keeps, uint8 (N, H, W, C).

    Raises:
        OodbenchError: the file is damaged, or its images are not those that were scored.
    """
    cell = Cell(path)
    return verified_images(cell, cell.group(*pair))


def _attacked_groups(path: Path, planned: bool) -> Sequence[_Attacked]:
    """The attacked image sets that a cell keeps; none of a broken file that the run does not ask for."""
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
