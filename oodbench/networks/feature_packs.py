"""Feature packs: the logits and features of image sets, as one safetensors file; see docs/guides/feature-packs.md.

A file from anywhere is data and is never run. What it says is checked: sizes against the file's, shapes against each
other, and every number for being finite.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.files import atomic
from oodbench.basics.words import excerpt
from oodbench.images.imageset import is_name
from oodbench.images.numbered import MOST, first_numbers
from oodbench.networks.of_features import FeatureNetwork, NetworkOutputs

FORMAT = "oodbench-features-1"
"""The entry "format" of the metadata; the number changes when a reader of before would misread the file."""

TRAINED_SEED = "trained_seed"
"""The entry of the metadata with the seed of the network's training; a run on the pack has a seed of its own."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
)
SIDE = 32
"""Pixels that images are said to have where nobody said."""

LARGEST_SIDE = 1 << 14
CHECKED = 1 << 22
"""Numbers that are looked at together for being finite."""

COMPARED = 64
"""Rows of each set for which the head must give the logits."""

AGREES = 0.02
"""The distance that these may have, as a share of the largest logit: half precision rounds."""

HOW = "`oodbench features` and `oodbench.write_features` write them"


@dataclass(frozen=True)
class FeatureSet:
    """One image set of a pack.

    Attributes:
        made: logits and features of its images.
        labels: int64 (N,), -1 where nobody said.
        fingerprint: of the images, as `ImageSet` has it; of the arrays where the images were not known.
        source: where the images come from, for people.
        size: (H, W) of the images; how many were looked at together goes by it.
        indices: int64 (N,), where each image stands in its whole set.
    """

    made: NetworkOutputs
    labels: Tensor
    fingerprint: str
    source: str
    size: tuple[int, int]
    indices: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FeaturePack:
    """A pack that was read and checked.

    Attributes:
        path: of the file.
        sha256: of the file.
        sets: by name, in the order of their names.
        head: weight (outputs, D) and bias (outputs,) of the last layer; None where they were not kept.
        about: what else it says, texts by name; see docs/guides/feature-packs.md.
    """

    path: Path
    sha256: str
    sets: Mapping[str, FeatureSet]
    head: tuple[Tensor, Tensor] | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """The number of logits of an image."""
        return int(next(iter(self.sets.values())).made.logits.shape[1])

    @property
    def network_digest(self) -> str:
        """The digest of the network's weights; of the pack itself where it does not say that."""
        return self.about.get("network_digest") or self.sha256

    @property
    def title(self) -> str:
        """For people: its name, its digest, with which seed the network was trained, and with what it was made."""
        seed, place = (excerpt(self.about.get(name, "")) for name in (TRAINED_SEED, "made_on"))
        trained = f", of a network trained with seed {seed}" if seed else ""
        made = f", made on {place}" if place else ""
        return f"{self.path.name} (SHA-256 {self.sha256[:16]}...{trained}{made})"

    def network(self) -> FeatureNetwork:
        """A network that finds the logits and features again by the numbers of images."""
        return FeatureNetwork([feature_set.made for feature_set in self.sets.values()], self.head).eval()

    def first(self, name: str) -> int:
        """The number of a set's first image."""
        return dict(
            zip(self.sets, first_numbers([len(feature_set) for feature_set in self.sets.values()]), strict=True)
        )[name]


def write(
    path: Path, sets: Mapping[str, FeatureSet], head: tuple[Tensor, Tensor] | None, about: Mapping[str, str]
) -> None:
    """Write a pack, whole or not at all.

    Raises:
        OodbenchError: something does not fit together; the message says what.
        StorageError: it cannot be written.
    """
    tensors_of_file, metadata = _content(sets, head, about)
    _Reader(path, tensors_of_file, metadata).pack()
    with atomic(path, sum(tensor.nbytes for tensor in tensors_of_file.values())) as temporary:
        try:
            safetensors.torch.save_file(dict(tensors_of_file), temporary, dict(metadata))
        except SafetensorError as error:  # as it calls what the system says, such as a full disk
            raise StorageError(f"cannot write {path}: {error}; free some space, or choose another folder") from error


def checked_pack(
    path: Path, sets: Mapping[str, FeatureSet], head: tuple[Tensor, Tensor] | None, about: Mapping[str, str]
) -> FeaturePack:
    """Return the pack that `write` would write.

    Raises:
        OodbenchError: something does not fit together; the message says what.
    """
    return _Reader(path, *_content(sets, head, about)).pack()


def _content(
    sets: Mapping[str, FeatureSet], head: tuple[Tensor, Tensor] | None, about: Mapping[str, str]
) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    """The tensors and metadata of the file of a pack."""
    tensors: dict[str, Tensor] = {}
    for name, feature_set in sets.items():
        tensors[f"sets/{name}/logits"] = feature_set.made.logits
        tensors[f"sets/{name}/labels"] = feature_set.labels
        tensors[f"sets/{name}/indices"] = feature_set.indices
        if feature_set.made.features is not None:
            tensors[f"sets/{name}/features"] = feature_set.made.features
    if head is not None:
        tensors |= {"head/weight": head[0], "head/bias": head[1]}
    described = {
        name: {"fingerprint": feature_set.fingerprint, "source": feature_set.source, "size": list(feature_set.size)}
        for name, feature_set in sets.items()
    }
    separate: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        alone = own.untyped_storage().nbytes() == own.nbytes
        # Somebody may have given one array twice, and the format knows no tensors that share memory.
        shared = any(own.data_ptr() == other.data_ptr() for other in separate.values())
        separate[name] = own if alone and not shared else own.clone()
    return separate, {**about, "format": FORMAT, "sets": json.dumps(described)}


def read(path: Path) -> FeaturePack:
    """Read a pack and check it.

    Raises:
        OodbenchError: there is no such file, or what is wrong with it.
    """
    if not path.is_file():
        raise OodbenchError(f"there is no feature pack {path}: give the path of a file; {HOW}")
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            _require_format(path, about)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise OodbenchError(
            f"{path} is not a whole safetensors file ({error}): copy it again from where it came; {HOW}"
        ) from error
    pack = _Reader(path, tensors, about).pack()
    with path.open("rb") as raw:
        return FeaturePack(path, hashlib.file_digest(raw, "sha256").hexdigest(), pack.sets, pack.head, pack.about)


def _require_format(path: Path, about: Mapping[str, str]) -> None:
    declared = about.get("format", "")
    if declared != FORMAT:
        what = f"says that its format is {declared[:40]!r}" if declared else "does not say that it is one"
        raise OodbenchError(f"{path} is not a feature pack: it {what}, expected {FORMAT!r} in its metadata; {HOW}")


@dataclass(frozen=True)
class _Reader:
    """Checks what a file says, and makes a pack of it."""

    path: Path
    tensors: Mapping[str, Tensor]
    about: Mapping[str, str]

    def pack(self) -> FeaturePack:
        described = self._described_sets()
        if not described:
            raise self._wrong("it has no image sets", "name them in the metadata under 'sets'")
        known = {f"sets/{name}/{part}" for name in described for part in ("logits", "features", "labels", "indices")}
        if unexpected := sorted(self.tensors.keys() - known - {"head/weight", "head/bias"}):
            raise self._wrong(f"it has a tensor {unexpected[0][:60]!r}", "tensors are sets/NAME/logits and the like")
        sets = {name: self._set(name, described[name]) for name in sorted(described)}
        self._require_alike(sets, "logits", [feature_set.made.logits for feature_set in sets.values()])
        self._require_alike(sets, "features", [feature_set.made.features for feature_set in sets.values()])
        if sum(map(len, sets.values())) > MOST:
            raise self._wrong(f"it has more than {MOST:,} images", "make several packs of them")
        head = self._head(sets)
        return FeaturePack(self.path, "", sets, head, self.about)

    def _described_sets(self) -> Mapping[str, Any]:
        try:
            sets = json.loads(self.about.get("sets", "{}"))
        except (ValueError, RecursionError) as error:
            raise self._wrong(
                f"'sets' in its metadata is not valid JSON ({error})", "write an object by set name"
            ) from error
        if not isinstance(sets, dict) or not all(isinstance(entry, dict) for entry in sets.values()):
            raise self._wrong("'sets' in its metadata is not a JSON object of objects", "write one for each set")
        if unusable := [name for name in sets if not is_name(name)]:
            raise self._wrong(f"{unusable[0][:60]!r} is not the name of a set", "use letters and digits")
        return sets

    def _set(self, name: str, described: Mapping[str, Any]) -> FeatureSet:
        logits = self._matrix(f"sets/{name}/logits")
        if logits is None:
            raise self._wrong(f"set {name!r} has no logits", f"write sets/{name}/logits, (N, outputs)")
        count = len(logits)
        features = self._matrix(f"sets/{name}/features")
        if features is not None and len(features) != count:
            raise self._wrong(
                f"set {name!r} has features of {len(features)} images and logits of {count}", "write a row for each"
            )
        labels = self._integers(f"sets/{name}/labels", torch.full((count,), -1))
        indices = self._integers(f"sets/{name}/indices", torch.arange(count))
        fingerprint = described.get("fingerprint") or digest_of(logits, features, labels)
        if not isinstance(fingerprint, str) or len(fingerprint) > 200:
            raise self._wrong(f"the fingerprint of {name!r} is not a text", "write a SHA-256, or leave it out")
        source = excerpt(str(described.get("source", "")))
        return FeatureSet(
            NetworkOutputs(logits, features), labels, fingerprint, source, self._size(name, described), indices
        )

    def _size(self, name: str, described: Mapping[str, Any]) -> tuple[int, int]:
        size = described.get("size", [SIDE, SIDE])
        is_pair = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
        if not is_pair or not all(0 < side <= LARGEST_SIDE for side in size):
            raise self._wrong(f"the size of {name!r} is {str(size)[:40]}", "write [height, width] in pixels")
        return size[0], size[1]

    def _matrix(self, name: str) -> Tensor | None:
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        if tensor.dtype not in FLOATS or tensor.ndim != 2 or not tensor.numel():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise self._wrong(f"{name} is {kind} {tuple(tensor.shape)}", "write floats (N, width), N and width above 0")
        self._require_finite(name, tensor)
        return tensor

    def _integers(self, name: str, otherwise: Tensor) -> Tensor:
        tensor = self.tensors.get(name)
        if tensor is None:
            return otherwise
        if tensor.dtype not in INTEGERS or tensor.shape != otherwise.shape:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise self._wrong(f"{name} is {kind} {tuple(tensor.shape)}", f"write integers {tuple(otherwise.shape)}")
        integers = as_int64(tensor)
        if bool((integers < -1).any()):
            raise self._wrong(
                f"{name} has {int(integers.min())}", "count from 0; a label of -1 says that there is none"
            )
        return integers

    def _head(self, sets: Mapping[str, FeatureSet]) -> tuple[Tensor, Tensor] | None:
        weight, bias = self._matrix("head/weight"), self.tensors.get("head/bias")
        if weight is None and bias is None:
            return None
        first = next(iter(sets.values())).made
        expected = (first.logits.shape[1], first.features.shape[1] if first.features is not None else 0)
        if weight is None or bias is None or bias.dtype not in FLOATS or bias.shape != weight.shape[:1]:
            raise self._wrong("its head is not whole", "write head/weight (outputs, D) and head/bias (outputs,)")
        if tuple(weight.shape) != expected:
            raise self._wrong(
                f"head/weight is {tuple(weight.shape)}, and logits and features ask for {expected}",
                "write the layer that makes these logits of these features",
            )
        self._require_finite("head/bias", bias)
        for name, feature_set in sets.items():
            assert feature_set.made.features is not None  # else the shape would not have fitted
            logits = feature_set.made.logits[:COMPARED].double()
            given = feature_set.made.features[:COMPARED].double() @ weight.double().T + bias.double()
            if float((given - logits).abs().max()) > AGREES * max(float(logits.abs().max()), 1e-6):
                raise self._wrong(
                    f"its head makes other logits of the features of {name!r} than stand there",
                    "features are what the last layer sees, after all pooling; or leave the head out",
                )
        return weight, bias

    def _require_alike(self, sets: Mapping[str, FeatureSet], what: str, tensors: Iterable[Tensor | None]) -> None:
        widths = {name: None if tensor is None else tensor.shape[1] for name, tensor in zip(sets, tensors, strict=True)}
        if len(set(widths.values())) > 1:
            first, width = next(iter(widths.items()))
            odd, other = next((name, its_width) for name, its_width in widths.items() if its_width != width)
            raise self._wrong(
                f"{what} of {first!r} are {width or 0} wide and those of {odd!r} {other or 0}",
                "all sets are of one network",
            )

    def _require_finite(self, name: str, tensor: Tensor) -> None:
        flat = tensor.reshape(-1)
        parts = [flat[start : start + CHECKED] for start in range(0, len(flat), CHECKED)]
        broken = sum([int((~torch.isfinite(part)).sum()) for part in parts])
        if broken:
            raise self._wrong(
                f"{name} has {broken:,} numbers that are NaN or infinite of {flat.numel():,}",
                "nothing can be scored with these: make the pack again, in float32 if half precision overflowed",
            )

    def _wrong(self, what: str, instead: str) -> OodbenchError:
        return OodbenchError(f"feature pack {self.path}: {what}; {instead}")


def as_int64(integers: Tensor) -> Tensor:
    """Convert integers of any of `INTEGERS` to int64; larger ones become the largest that it holds, and not -1."""
    wide = integers.long()
    return wide.where(wide >= 0, torch.iinfo(torch.int64).max) if integers.dtype == torch.uint64 else wide


def digest_of(logits: Tensor, features: Tensor | None, labels: Tensor) -> str:
    """A digest of arrays, which stands for images that are not known otherwise."""
    sha = hashlib.sha256()
    for tensor in (logits, features, labels):
        if tensor is not None:
            sha.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.contiguous().view(torch.uint8).numpy().reshape(-1).data)
    return sha.hexdigest()
