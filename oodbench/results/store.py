"""Scores on disk: one HDF5 file a cell, one group a (task, image set), whole or absent."""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import h5py
import numpy as np
import numpy.typing as npt
from filelock import FileLock

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import require_writable, write_atomic
from oodbench.basics.hdf5 import own_dataset, refuse_links
from oodbench.basics.words import in_one_line
from oodbench.results import bundle
from oodbench.sources.archives import refuse_bomb

SCHEMA = 1
"""Bumped when the layout of a file changes; its presence is what tells our files from other HDF5 files."""

Role = Literal["id", "ood"]
Attributes: TypeAlias = Mapping[str, str | int | float | bool]

_SCHEMA_ATTRIBUTE = "oodbench_schema"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TYPES: Mapping[str, npt.DTypeLike] = {
    "scores": np.float64,
    "predictions": np.int64,
    "labels": np.int64,
    "indices": np.int64,
}
_BUNDLE_TYPES: Mapping[str, npt.DTypeLike] = {
    "scores": np.float32,
    "predictions": np.int16,
    "labels": np.int32,
    "indices": np.int32,
}
"""The same in a bundle."""
_BUNDLE_LAYOUT: Mapping[str, Any] = {"shuffle": True}
"""The layout of arrays in a bundle: the first bytes of all numbers, then all second ones, which saves a seventh."""
# What h5py raises, depending on where a file is broken, and what `Scores` raises if its content is.
_READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one detector on one image set under one task.

    Attributes:
        task: how the images were altered; like the other names it matches [a-z0-9][a-z0-9._-]*.
        image_set: whose images they are.
        role: "id" or "ood".
        scores: float64 (N,), finite, higher = more in-distribution.
        predictions: int64 (N,), among the ID classes.
        labels: int64 (N,), as the image set has them.
        indices: int64 (N,), positions in the image set.
        extras: what the task left about each image, float64 or uint8 (N, ...), by name.
        attributes: where the numbers come from; "key" hashes everything that moved them, "role" is taken.

    Raises:
        ValueError: an array of another type or length, scores that are not finite, or a bad name or role.
    """

    task: str
    image_set: str
    role: Role
    scores: npt.NDArray[np.float64]
    predictions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    extras: Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]] = field(default_factory=dict)
    attributes: Attributes = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.task, self.image_set, *self.extras):
            if not _NAME.fullmatch(name):
                raise ValueError(f"bad name {name!r}: expected {_NAME.pattern}")
        if self.role not in get_args(Role) or "role" in self.attributes:
            raise ValueError(f"role is {self.role!r}: expected 'id' or 'ood', and none among the attributes")
        for name, dtype in _TYPES.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != (self.scores.size,):
                raise ValueError(f"{name} are {array.dtype} {array.shape}: expected {np.dtype(dtype)} (N,)")
        for name, array in self.extras.items():
            if array.dtype not in (np.float64, np.uint8) or array.shape[:1] != self.scores.shape:
                raise ValueError(f"extra {name!r} is {array.dtype} {array.shape}: expected float64 or uint8 (N, ...)")
        if not np.isfinite(self.scores).all():
            raise ValueError("scores are not all finite")


@dataclass(frozen=True)
class Cell:
    """The file of one (suite, detector, seed, variant); it need not exist before the first `add`.

    It may lie in a bundle, whose scores are float32, and is then only read.
    """

    path: Path

    def key(self, task: str, image_set: str) -> str | None:
        """The key stored with this group; None where there is no such file or group."""
        if not self.path.is_file():
            return None
        with self._open() as file:
            group = file.get(f"{task}/{image_set}")
            key: str | None = group.attrs.get("key") if group else None
            return key

    def attributes(self) -> dict[str, str | int | float | bool]:
        """The attributes of the cell that were last given to `add` or `note`.

        Raises:
            OodbenchError: the file is missing, damaged, foreign or of a newer schema.
        """
        with self._open() as file:
            return {name: value for name, value in _attributes(file).items() if name != _SCHEMA_ATTRIBUTE}

    def read(self) -> list[Scores]:
        """Every group, in the order in which tasks, and image sets within them, were first added.

        Raises:
            OodbenchError: as `attributes`.
        """
        with self._open() as file:
            _require_sizes(self.path, file)
            return [_read_group(task, image_set, group, group["extras"]) for task, image_set, group in _groups(file)]

    def scores(self) -> list[Scores]:
        """Every group as `read` has it, without extras that hold more than a number an image: kept images are large.

        Raises:
            OodbenchError: as `attributes`.
        """
        with self._open() as file:
            _require_sizes(self.path, file)
            return [
                _read_group(task, image_set, group, _small_extras(group)) for task, image_set, group in _groups(file)
            ]

    def group(self, task: str, image_set: str) -> Scores:
        """One group, which must be there.

        Raises:
            OodbenchError: as `attributes`, and where there is no such group.
        """
        with self._open() as file:
            _require_sizes(self.path, file)
            group = file[f"{task}/{image_set}"]
            return _read_group(task, image_set, group, group["extras"])

    def stored_names(self, task: str, image_set: str) -> frozenset[str]:
        """Names of the extras and attributes of a group; none where there is no such file or group."""
        if not self.path.is_file():
            return frozenset()
        with self._open() as file:
            group = file.get(f"{task}/{image_set}")
            return frozenset([*group["extras"], *group.attrs]) if group else frozenset()

    def group_attributes(self, extra: str) -> dict[tuple[str, str], Attributes]:
        """The attributes of each group that has the named `extra`, by task and image set; no array is read.

        Raises:
            OodbenchError: as `attributes`.
        """
        with self._open() as file:
            return {
                (task, image_set): _attributes(group)
                for task, image_set, group in _groups(file)
                if extra in group["extras"]
            }

    def add(self, scores: Scores, attributes: Attributes) -> None:
        """Land one group, in place of an earlier one of its name, and the `attributes` of the whole cell.

        Safe against kills and against other processes that add to the same cell.

        Raises:
            OodbenchError: the folder cannot be written, the disk is full or the present file is damaged; what
                was stored before stays as it was.
        """
        self._rewrite([scores], lambda _: attributes)

    def note(self, attributes: Attributes, otherwise: Attributes) -> None:
        """Add `attributes` to those of the cell, which are `otherwise` where it is not there yet; groups stay.

        The next `add` replaces them all.

        Raises:
            OodbenchError: as `add`.
        """
        self._rewrite([], lambda present: {**(present or otherwise), **attributes})

    def _rewrite(self, scores: Sequence[Scores], attributes: Callable[[Attributes], Attributes]) -> None:
        """The file with `scores` added to its groups, and what `attributes` makes of its present attributes."""
        require_writable(self.path.parent, "--out")
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            exists = self.path.is_file()
            stored, present_attributes = (self.read(), self.attributes()) if exists else ([], {})
            groups = {(group.task, group.image_set): group for group in (*stored, *scores)}
            write_atomic(self.path, _file_bytes(groups.values(), attributes(present_attributes)))

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        try:
            with _open_hdf5(self.path) as file:
                schema = file.attrs.get(_SCHEMA_ATTRIBUTE)
                if schema is None:
                    raise ValueError("HDF5, but not written by oodbench")
                if schema > SCHEMA:
                    raise OodbenchError(
                        f"{self.path} was written by a newer oodbench (schema {schema}, this one reads {SCHEMA}): "
                        "upgrade oodbench"
                    )
                refuse_links(file)
                yield file
        except _READ_ERRORS as error:
            raise OodbenchError(
                f"cannot read {self.path} as scores ({error}): move it away; if it was a result, run it again"
            ) from error


def cells(folder: Path) -> list[Cell]:
    """Every file below a results folder, or in a bundle, that may be a cell, sorted by path; none is opened.

    Files of its `reference` folder are left out, and hidden files and folders: they belong to programs and systems,
    which keep locks, resource forks and earlier versions there.

    Raises:
        OodbenchError: there is none.
    """
    if folder.is_file() and folder.suffix == bundle.SUFFIX:
        return [Cell(path) for path in bundle.member_paths(folder)]
    if folder.is_file():
        raise OodbenchError(f"{folder} is a file: name the folder that holds it")
    # A link that leads nowhere is found, too, so that it can be named.
    files = [path for path in _hdf5_files_below(folder) if path.is_file() or (path.is_symlink() and not path.exists())]
    inside = {path: path.relative_to(folder).parts for path in files}
    paths = sorted(
        path
        for path, parts in inside.items()
        if parts[0] != "reference" and not any(part.startswith(".") for part in parts)
    )
    if not paths:
        raise OodbenchError(
            f"there are no results in {folder}: make some with `oodbench run --suite digits-adv --detector msp`"
        )
    return [Cell(path) for path in paths]


def _hdf5_files_below(folder: Path) -> Iterator[Path]:
    """Every HDF5 file below a folder and below folders that are linked there, as results on another disk may be.

    What several links lead to is found once.
    """
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        links = [name for name in sorted(folders) if Path(place, name).is_symlink()]
        folders[:] = [*sorted(set(folders) - set(links)), *links]
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in names if name.endswith(".h5"))


def bundle_bytes(scores: Iterable[Scores], attributes: Attributes) -> bytes:
    """The file of a cell as a bundle holds it: numbers made small as far as they lose nothing, and no images.

    Raises:
        ValueError: as `Scores`.
    """
    kept = [_without_images(group) for group in scores]
    numbers = [np.asarray(array, np.float64) for group in kept for array in (group.scores, *group.extras.values())]
    types_of_scores = {} if bundle.fits_float32(numbers) else {"scores": np.float64}
    return _file_bytes(kept, attributes, {**_BUNDLE_TYPES, **types_of_scores}, _BUNDLE_LAYOUT)


def _without_images(scores: Scores) -> Scores:
    kept = {name: array for name, array in scores.extras.items() if array.ndim == 1}
    return replace(scores, extras=kept)


def _open_hdf5(path: Path) -> h5py.File:
    if bundle.containing_bundle(path) is not None:
        return h5py.File(io.BytesIO(bundle.read(path)), "r")
    # Files are replaced, never written to: no need of HDF5's own lock, which some file systems refuse.
    return h5py.File(path, "r", locking=False)


def _groups(file: h5py.File) -> Iterator[tuple[str, str, h5py.Group]]:
    """Every group with its task and image set."""
    for task, image_sets in file.items():
        for image_set, group in image_sets.items():
            yield task, image_set, group


def _small_extras(group: h5py.Group) -> list[str]:
    """The extras of a group that hold a number an image; whose numbers are elsewhere counts, so that it is refused."""
    extras = group["extras"]
    datasets = {name: own_dataset(extras, name) for name in extras}
    return [name for name, dataset in datasets.items() if dataset is None or len(dataset.shape) == 1]


def _read_group(task: str, image_set: str, group: h5py.Group, extra_names: Iterable[str]) -> Scores:
    attributes = _attributes(group)
    role = attributes.pop("role")
    columns = {name: _widened(_own_array(group, name), _BUNDLE_TYPES[name], _TYPES[name]) for name in _TYPES}
    extras = {name: _widened(_own_array(group["extras"], name), np.float32, np.float64) for name in extra_names}
    return Scores(task, image_set, role, **columns, extras=extras, attributes=attributes)  # type: ignore[arg-type]


def _own_array(group: h5py.Group, name: str) -> npt.NDArray[Any]:
    """Read a dataset that lies in the file itself: files come from anywhere, and may point elsewhere on the disk."""
    dataset = own_dataset(group, name)
    if dataset is None:
        raise ValueError(f"{name!r} points elsewhere instead of holding its numbers, or is not there")
    array: npt.NDArray[Any] = dataset[()]
    return array


def _require_sizes(path: Path, file: h5py.File) -> None:
    """Datasets may say that they are of any size without taking any room."""

    def count(_: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            sizes.append(prod(node.shape) * node.dtype.itemsize)

    sizes: list[int] = []
    file.visititems(count)
    refuse_bomb(path, sum(sizes), file.id.get_filesize())


def _widened(array: npt.NDArray[Any], bundle_type: npt.DTypeLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array in its usual type where a bundle made it small; else as it is."""
    return array.astype(dtype) if array.dtype == np.dtype(bundle_type) else array


def _is_valid_attribute(value: object) -> bool:
    """A number, or a text that is whole: HDF5 hands out bytes that are none as characters that nothing can write."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, (int, float, bool))


def _attributes(node: h5py.Group) -> dict[str, str | int | float | bool]:
    """The attributes of a node, their texts fit to be printed: here they come in, whoever shows them later."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in node.attrs.items()}
    if invalid := [name for name, value in values.items() if not _is_valid_attribute(value)]:
        raise ValueError(f"its attribute {invalid[0]!r} is no text and no number")
    return {name: in_one_line(value) if isinstance(value, str) else value for name, value in values.items()}


def _file_bytes(
    groups: Iterable[Scores],
    attributes: Attributes,
    types: Mapping[str, npt.DTypeLike] = _TYPES,
    layout: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """A whole file in memory; the same content in the same order gives the same bytes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=True) as file:
        file.attrs.update({**attributes, _SCHEMA_ATTRIBUTE: SCHEMA})
        for scores in groups:
            task = file.get(scores.task) or file.create_group(scores.task, track_order=True)
            group = task.create_group(scores.image_set)
            group.attrs.update({**scores.attributes, "role": scores.role})
            for name in _TYPES:
                group.create_dataset(name, data=_as_type(getattr(scores, name), types[name]), **layout)
            extras = group.create_group("extras")
            for name, array in scores.extras.items():
                data = array if array.dtype == np.uint8 else _as_type(array, types["scores"])
                extras.create_dataset(name, data=data, **layout)
    return buffer.getvalue()


def _as_type(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    if dtype == np.float32:
        return array.astype(np.float32)
    converted = array.astype(dtype, copy=False)
    return converted if np.array_equal(converted, array) else array  # there are more classes than numbers of that type
