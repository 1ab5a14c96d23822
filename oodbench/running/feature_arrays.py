"""Writing a feature pack of a user's own arrays, for notebooks."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError, OodbenchWarning, unknown
from oodbench.images.overlap import require_apart, rows_contents
from oodbench.networks import feature_packs
from oodbench.networks.feature_packs import FeatureSet
from oodbench.networks.of_features import NetworkOutputs
from oodbench.running.feature_runs import SUITE, heldout_name, reserved_name, suite_of, suite_text
from oodbench.running.label_check import CLASSES
from oodbench.suite import IDSets, NetworkSpec, OODSet, Outliers, Suite
from oodbench.tasks import Clean

PARTS = ("logits", "features", "labels", "fingerprint", "source", "size")
"""Keys that the mapping of a set may have."""

Arrays = Mapping[str, Any]
"""The arrays of one set, by name: see `write_features`."""


def write_features(
    path: str | Path,
    id_test: Arrays,
    ood: Mapping[str, Arrays],
    *,
    head: tuple[Any, Any] | None = None,
    train: Arrays | None = None,
    heldout: Arrays | None = None,
    outliers: Arrays | None = None,
    near: Sequence[str] = (),
    classes: int | None = None,
    class_names: Sequence[str] = (),
    suite: str = "features",
    network: str = "unknown",
    network_digest: str = "",
    made_on: str = "",
) -> Path:
    """Write what a network made of image sets as a feature pack, which `oodbench run --features` scores.

    Each set is a mapping with "logits" (N, outputs) and "features" (N, D), one of which may be missing: logits are then
    what the head makes of the features, and without features only detectors of logits can be run. "labels" (N,) count
    classes from 0. Any of "source" (a text), "fingerprint" (of the images) and "size" ([height, width]) may be said.
    Arrays, tensors or lists will do. Numbers in double precision are written in single precision, in which networks
    give them; half precision stays.

    Args:
        path: of the pack, a safetensors file; docs/guides/feature-packs.md has the format.
        id_test: of ID test images, with labels if an accuracy is wanted.
        ood: of OOD test images, by the names of their sets.
        head: weight (outputs, D) and bias (outputs,) of the last layer, for detectors that rework features.
        train: of the ID images that the network was trained on, with labels, for detectors that learn from them.
        heldout: of ID images that it was not trained on, for detectors that tune themselves.
        outliers: of OOD images that are in none of the sets, for detectors that tune themselves on these, too, in a
            random order, since they take the first ones.
        near: names of OOD sets that are near to the ID classes; the others are far.
        classes: the first outputs, which are ID classes; all of them if left out.
        class_names: of the classes, in the order of the outputs.
        suite: what tables call it, of a-z, 0-9, - _ and .
        network: what tables call the network.
        network_digest: of its weights, if it has one.
        made_on: machine and versions of software, for people.

    Returns:
        The path.

    Raises:
        OodbenchError: arrays that do not fit each other or are not finite, a set whose rows are all in another one,
            or a file that cannot be written. Where some rows are, a warning says how many.
    """
    if not isinstance(ood, Mapping) or not ood:
        raise OodbenchError("there is no OOD set: give one at least, by its name in a mapping")
    given_head = _head(head) if head is not None else None
    made = {f"{suite}-test": _set(id_test, "id_test", given_head)}
    made |= {name: _set(arrays, f"ood {name!r}", given_head) for name, arrays in ood.items()}
    if odd := [name for name in _texts(near, "near") if name not in ood]:
        raise unknown("OOD set that is near", odd[0], ood)
    outputs = int(made[f"{suite}-test"].made.logits.shape[1])
    described = Suite(
        name=suite,
        version=1,
        title=f"features of {network}",
        paper="",
        id=_id_sets(suite, outputs if classes is None else classes, train, heldout),
        ood=tuple(OODSet(name, "near" if name in near else "far") for name in ood),
        network=NetworkSpec(network, (0.0,) * 3, (1.0,) * 3),
        tasks={"clean": Clean()},
        outliers=Outliers("outliers", len(_rows(outliers, "outliers"))) if outliers is not None else None,
        training=None,
        detectors={},
    )
    taken = {described.id.test, described.id.train, heldout_name(described), reserved_name(described)} & {*ood}
    if taken:
        raise OodbenchError(f"{min(map(str, taken))!r} is what the pack calls a set of its own: rename that OOD set")
    for arrays, name in ((train, described.id.train), (heldout, heldout_name(described))):
        made |= {str(name): _set(arrays, str(name), given_head)} if arrays is not None else {}
    if outliers is not None:
        made[reserved_name(described)] = _set(outliers, "outliers", given_head)
    for text in require_apart([rows_contents(name, _numbers(features)) for name, features in made.items()], ood):
        warnings.warn(text, OodbenchWarning, stacklevel=2)
    about = {
        SUITE: suite_text(described),
        CLASSES: json.dumps(names) if (names := _texts(class_names, "class_names")) else "",
        "network_digest": network_digest,
        "made_on": made_on,
    }
    target = Path(path)
    kept = {name: text for name, text in about.items() if text}
    suite_of(feature_packs.checked_pack(target, made, given_head, kept))
    feature_packs.write(target, made, given_head, kept)
    return target


def _id_sets(suite: str, classes: int, train: Arrays | None, heldout: Arrays | None) -> IDSets:
    learning = train is not None or heldout is not None
    count = len(_rows(heldout, "heldout")) if heldout is not None else 0
    try:
        return IDSets(f"{suite}-test", classes, f"{suite}-train" if learning else None, count)
    except ValueError as error:
        raise OodbenchError(str(error)) from error


def _head(head: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    if not isinstance(head, tuple | list) or len(head) != 2:
        raise OodbenchError(
            "head is not a pair: give the weight (outputs, D) and the bias (outputs,) of the last layer"
        )
    return _array(head[0], "head's weight"), _array(head[1], "head's bias")


def _set(arrays: Arrays, what: str, head: tuple[Tensor, Tensor] | None) -> FeatureSet:
    rows = _rows(arrays, what)
    logits, features = (_array(arrays[part], f"{what}: {part}") if part in arrays else None for part in PARTS[:2])
    count = len(rows)
    if logits is None:
        if head is None or features is None:
            raise OodbenchError(f"{what} has no logits: give them, or features and the head that makes logits of them")
        if features.ndim != 2 or head[0].ndim != 2 or features.shape[1] != head[0].shape[1]:
            raise OodbenchError(
                f"{what}: features are {tuple(features.shape)} and the head's weight is {tuple(head[0].shape)}: give "
                "(N, D) and (outputs, D)"
            )
        logits = (features.double() @ head[0].double().T + head[1].double()).float()
    labels = _labels(arrays.get("labels"), count, what)
    made = NetworkOutputs(logits, features)
    fingerprint = str(arrays.get("fingerprint", "")) or feature_packs.digest_of(logits, features, labels)
    size = _size(arrays.get("size", (feature_packs.SIDE, feature_packs.SIDE)), what)
    return FeatureSet(made, labels, fingerprint, str(arrays.get("source", "")), size, torch.arange(count))


def _numbers(features: FeatureSet) -> npt.NDArray[np.float32]:
    """The logits and features of a set side by side, (N, outputs + D)."""
    parts = [part.float() for part in (features.made.logits, features.made.features) if part is not None]
    return torch.cat(parts, dim=1).numpy()


def _size(given: Any, what: str) -> tuple[int, int]:
    try:
        height, width = map(index, given)
    except (TypeError, ValueError) as error:
        raise OodbenchError(
            f"{what}: size is {str(given)[:40]}: give [height, width], two whole numbers of pixels"
        ) from error
    return height, width


def _texts(given: Any, what: str) -> list[str]:
    """Names in a list, as texts; numbers may be names, too."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise OodbenchError(f"{what} is {str(given)[:40]!r}: give a list of names")
    names = list(given)
    if invalid := [name for name in names if not isinstance(name, str | int | np.integer)]:
        raise OodbenchError(f"{what} has {str(invalid[0])[:40]} of the type {type(invalid[0]).__name__}: give texts")
    return [str(name) for name in names]


def _rows(arrays: Arrays, what: str) -> Any:
    """The logits or, without them, the features of a set: an array with a row for each image."""
    if not isinstance(arrays, Mapping):
        raise OodbenchError(f"{what} is a {type(arrays).__name__}: give a mapping with logits, features and labels")
    if unknown_parts := [part for part in arrays if part not in PARTS]:
        raise unknown(f"entry of {what}", str(unknown_parts[0]), PARTS)
    rows = arrays.get("logits", arrays.get("features"))
    if rows is None:
        raise OodbenchError(f"{what} has neither logits nor features: give one of them at least")
    try:
        len(rows)
    except TypeError as error:
        raise OodbenchError(f"{what}: {str(rows)[:40]} has no row for each image: give (N, width)") from error
    return rows


def _labels(labels: Any, count: int, what: str) -> Tensor:
    if labels is None:
        return torch.full((count,), -1)
    expected = f"give a whole number for each of {count}, which counts classes from 0"
    try:
        tensor = _tensor(labels)
    except (TypeError, ValueError) as error:
        raise OodbenchError(f"{what}: labels are not an array of numbers ({error}): {expected}") from error
    if tensor.dtype not in feature_packs.INTEGERS or tensor.shape != (count,):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise OodbenchError(f"{what}: labels are {kind} {tuple(tensor.shape)}: {expected}")
    return feature_packs.as_int64(tensor)


def _array(given: Any, what: str) -> Tensor:
    try:
        tensor = _tensor(given)
    except (TypeError, ValueError) as error:
        raise OodbenchError(
            f"{what} is not an array of numbers ({error}): give an array, a tensor or a list of numbers"
        ) from error
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _tensor(given: Any) -> Tensor:
    """An array, tensor or list of numbers as a tensor on the CPU; TypeError or ValueError for anything else."""
    return given.detach().cpu() if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
