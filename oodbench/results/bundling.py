"""Results into bundles: the scores behind the figures of a reference, in one small file for each suite."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest, update_alone, without_folders
from oodbench.results import bundle
from oodbench.results.store import Cell, Scores, in_small
from oodbench.tasks import ID_TASK

NAMED_BY = ("suite", "detector", "settings", "checkpoint", "seed", "limit", "images")
"""Attributes that a reference calls a result by."""

FILES = ("checkpoint", "plugin")
"""Attributes that are paths of files: who passes a bundle on tells their names, and not in which folders they lie."""

Named = tuple[object, ...]


def bundled(cells: Iterable[Cell], folder: Path) -> list[Path]:
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
        about = cell.attributes()
        if not bundle.is_member(f"{about['suite']}/{about['detector']}/x.h5"):
            raise OodbenchError(
                f"{cell.path} cannot be kept: it says that it is of suite {str(about['suite'])[:80]!r} and detector "
                f"{str(about['detector'])[:80]!r}, and names in a file of scores are a-z, 0-9, - _ . alone; leave it "
                "out with --suite or --detector"
            )
        by_target.setdefault(folder / f"{about['suite']}{bundle.SUFFIX}", []).append(cell)
    for target, own in by_target.items():
        with update_alone(target):
            _put(own, target)
    return list(by_target)


def _put(cells: Sequence[Cell], target: Path) -> None:
    contents: dict[str, bytes] = {}
    replaced: dict[Named, set[tuple[str, str]]] = {}
    for cell in cells:
        groups, about = cell.scores(), _without_folders(cell.attributes())
        _add(contents, cell, about, in_small(groups, about))
        replaced.setdefault(_named(about), set()).update((group.task, group.image_set) for group in groups)
    for there in map(Cell, bundle.members(target) if target.is_file() else []):
        told, groups = there.attributes(), there.read()
        about = _without_folders(told)
        done = replaced.get(_named(about), set())
        left = [group for group in groups if (group.task, group.image_set) not in done]
        if len(left) == len(groups) and about == told:
            _add(contents, there, about, bundle.read(there.path))
        elif len(left) == len(groups) or any(group.task != ID_TASK for group in left):
            _add(contents, there, about, in_small(_with_id(left, groups), about))
    bundle.write(target, contents)


def _without_folders(about: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a cell with files by name alone where a machine's folders lead to them, and data as usual."""
    names = {name: without_folders(str(about[name])) for name in FILES if about.get(name)}
    return {**about, **names, **({"data": "data"} if "data" in about else {})}


def _with_id(left: Sequence[Scores], groups: Sequence[Scores]) -> list[Scores]:
    """What is left of `groups`, and the scores of ID images without which it would say nothing."""
    return [group for group in groups if group in left or group.task == ID_TASK]


def _add(contents: dict[str, bytes], cell: Cell, about: Mapping[str, Any], content: bytes) -> None:
    """Put a file beside the others, under its own name if it may have that and no other one does."""
    folder = f"{about['suite']}/{about['detector']}"
    name = f"{folder}/{cell.path.name}"
    if not bundle.is_member(name) or contents.get(name, content) != content:
        name = f"{folder}/seed{about['seed']}-{digest(content)[:12]}.h5"
    contents[name] = content


def _named(about: Mapping[str, Any]) -> Named:
    return tuple(about.get(name, "") for name in NAMED_BY)
