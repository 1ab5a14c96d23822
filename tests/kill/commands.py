"""The commands that are disturbed, and what they should have made in the end."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from oodbench.results.store import Cell
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.readers import pictures
from oodbench.sources.source import RemoteFile, Source

Made = Mapping[str, str]
"""What is in a folder: digests by the name of what they are of."""


@dataclass(frozen=True)
class Command:
    """A command to disturb.

    Attributes:
        arguments: of the command, called in a copy of the world of `tests.fuzz.example`.
        empty: folders of the world that are taken away first.
        writes: folder in which it writes; "" where it only prints.
        made: what it left there.
    """

    arguments: tuple[str, ...]
    empty: tuple[str, ...]
    writes: str
    made: Callable[[Path], Made]


def scores(folder: Path) -> Made:
    """Every array and key of every cell, and every weight of every network; not when or how fast they were made."""
    found = {}
    for file in sorted(folder.rglob("*.h5")):
        for group in Cell(file).read():
            arrays = {"scores": group.scores, "predictions": group.predictions, "labels": group.labels, **group.extras}
            for name, array in arrays.items():
                found[f"{file.relative_to(folder)} {group.task} {group.image_set} {name}"] = _digest(array)
            found[f"{file.relative_to(folder)} {group.task} {group.image_set} key"] = str(group.attributes["key"])
    for file in sorted(folder.rglob("*.safetensors")):
        for name, weights in load_file(file).items():
            found[f"{file.name} {name}"] = _digest(weights)
    return found


def packs(folder: Path) -> Made:
    """Every dataset of every pack."""
    found = {}
    for file in sorted(folder.rglob("*.h5")):
        with h5py.File(file) as pack:
            for name, node in pack.items():
                if isinstance(node, h5py.Dataset):
                    content = node[()]
                    parts = [np.asarray(each).tobytes() for each in content] if content.dtype == object else [content]
                    found[f"{file.name} {name}"] = _digest(*parts)
    return found


def texts(folder: Path) -> Made:
    """Files as they are, but for what a page or a reference says of when it was made."""
    return {file.name: _digest(file.read_bytes()) for file in sorted(folder.glob("*")) if file.is_file()}


def _digest(*parts: object) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return sha.hexdigest()


COMMANDS: Mapping[str, Command] = {
    "run": Command(
        ("run", "--suite", "tiny.toml", "--detector", "msp", "--detector", "oe", "--keep-images"),
        ("results",),
        "results",
        scores,
    ),
    "run again": Command(
        ("run", "--suite", "tiny.toml", "--detector", "msp", "--detector", "knn", "--rerun", "all"),
        (),
        "results",
        scores,
    ),
    "fetch": Command(("data", "fetch", "tiny-photos"), (), "data", packs),
    "pack": Command(("data", "pack", "many", "mine"), (), "data", packs),
    "pack files": Command(("data", "pack", "many", "mine", "--files"), (), "data", packs),
    "export": Command(("data", "export", "results", "--data", "exported"), (), "exported", packs),
    "table": Command(("table", "results", "--format", "csv", "--by", "ood"), (), "", texts),
    "check": Command(("check", "results", "--reference", "made/reference.csv", "--update"), (), "made", texts),
    "report": Command(("report", "results", "-o", "made/page.html"), (), "made", texts),
}


def many_photos(folder: Path) -> None:
    """Two hundred image files in two class folders."""
    generator = np.random.default_rng(2)
    for number in range(200):
        file = folder / ("cat" if number % 2 else "dog") / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)


def archive_of(folder: Path) -> bytes:
    """The files of a folder as one tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for file in sorted(folder.rglob("*.png")):
            tar.add(file, f"photos/{file.name}")
    return content.getvalue()


def publish(url: str, content: bytes) -> None:
    """Let `tiny-photos` be a public set whose archive lies at `url`."""
    file = RemoteFile((url,), f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    source = Source("Photographs", (file,), pictures(r"photos/.*\.png", 32), 200, "free")
    SOURCES["tiny-photos"] = source  # type: ignore[index]


def told(made: Made, wanted: Made) -> str:
    """How what was made differs from what should have been."""
    odd = sorted(name for name in {*made, *wanted} if made.get(name) != wanted.get(name))
    return json.dumps(odd[:5]) if odd else ""
