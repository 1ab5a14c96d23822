"""Results into bundles: the scores behind the figures of a reference, in one small file for each suite."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest, update_alone, without_folders
from oodbench.results import bundle
from oodbench.results.store import Cell, Scores, bundle_bytes
from oodbench.tasks import ID_TASK

NAMED_BY = ("suite", "detector", "settings", "checkpoint", "seed", "limit", "images")
"""Attributes that a reference calls a result by."""

FILES = ("checkpoint", "plugin")
"""Attributes that are paths of files: who passes a bundle on tells their names, and not in which folders they lie."""

ResultName = tuple[object, ...]


def write_bundles(cells: Iterable[Cell], folder: Path) -> list[Path]:
    """The scores of `cells` as bundles, one for each suite, `folder`/SUITE.zip.

    What a bundle holds already of a result of the same name is replaced task by task and set by set; all else stays.
    Folders of the machine that a result was made on are left out.

    Returns:
        The bundles.

    Raises:
        OodbenchError: a cell or a present bundle cannot be read, or a bundle not be written.
    """
    by_target: dict[Path, list[Cell]] = {}
    for cell in cells:
        attributes = cell.attributes()
        suite, detector = str(attributes["suite"]), str(attributes["detector"])
        if not bundle.is_member(f"{suite}/{detector}/x.h5"):
            raise OodbenchError(
                f"{cell.path} cannot be kept: it says that it is of suite {suite[:80]!r} and detector "
                f"{detector[:80]!r}, and names in a file of scores are a-z, 0-9, - _ . alone; leave it out with "
                "--suite or --detector"
            )
        by_target.setdefault(folder / f"{suite}{bundle.SUFFIX}", []).append(cell)
    for target, own_cells in by_target.items():
        with update_alone(target):
            _write_bundle(own_cells, target)
    return list(by_target)


def _write_bundle(cells: Sequence[Cell], target: Path) -> None:
    contents: dict[str, bytes] = {}
    replaced: dict[ResultName, set[tuple[str, str]]] = {}
    for cell in cells:
        groups, attributes = cell.scores(), _without_folders(cell.attributes())
        _add_member(contents, cell, attributes, bundle_bytes(groups, attributes))
        replaced.setdefault(_result_name(attributes), set()).update((group.task, group.image_set) for group in groups)
    for stored in map(Cell, bundle.member_paths(target) if target.is_file() else []):
        stored_attributes, groups = stored.attributes(), stored.read()
        attributes = _without_folders(stored_attributes)
        replaced_groups = replaced.get(_result_name(attributes), set())
        remaining = [group for group in groups if (group.task, group.image_set) not in replaced_groups]
        if len(remaining) == len(groups) and attributes == stored_attributes:
            _add_member(contents, stored, attributes, bundle.read(stored.path))
        elif len(remaining) == len(groups) or any(group.task != ID_TASK for group in remaining):
            _add_member(contents, stored, attributes, bundle_bytes(_with_id_scores(remaining, groups), attributes))
    bundle.write(target, contents)


def _without_folders(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a cell with files by name alone where a machine's folders lead to them, and data as usual."""
    names = {name: without_folders(str(attributes[name])) for name in FILES if attributes.get(name)}
    return {**attributes, **names, **({"data": "data"} if "data" in attributes else {})}


def _with_id_scores(remaining: Sequence[Scores], groups: Sequence[Scores]) -> list[Scores]:
    """The `remaining` groups, and the scores of ID images without which they would say nothing."""
    return [group for group in groups if group in remaining or group.task == ID_TASK]


def _add_member(contents: dict[str, bytes], cell: Cell, attributes: Mapping[str, Any], content: bytes) -> None:
    """Put a file beside the others, under its own name if it may have that and no other one does."""
    folder = f"{attributes['suite']}/{attributes['detector']}"
    name = f"{folder}/{cell.path.name}"
    if not bundle.is_member(name) or contents.get(name, content) != content:
        name = f"{folder}/seed{attributes['seed']}-{digest(content)[:12]}.h5"
    contents[name] = content


def _result_name(attributes: Mapping[str, Any]) -> ResultName:
    return tuple(attributes.get(name, "") for name in NAMED_BY)
