"""Real images, where their archives lie beside the project, as packs under the names of suites; made once, and kept.

    python -m tests.realimages [NAME ...]      all of `PACKS`, or some; prints the folder, which --data takes

The archives are not part of the project. They are looked for in the folder `shared` beside it, or in what the
environment variable OODBENCH_SHARED names; tests that need them are skipped where there are none.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from packing import pack_files

from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack, write_pack
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.classes import listed_classes

SHARED = Path(os.environ.get("OODBENCH_SHARED", Path(__file__).parents[2] / "shared"))
FOLDER = Path(__file__).parents[1] / "data" / "real"
"""Where packs are kept; git ignores it."""

needs_real_images = pytest.mark.skipif(
    not (SHARED / "data").exists(), reason="needs real images beside the project: set OODBENCH_SHARED"
)


def of_pixels(name: str, made: Path, archives: tuple[str, ...]) -> None:
    """A pack of what is in one archive after the other, in this order."""
    unpack = [sys.executable, str(SHARED / "data" / "unpack.py"), str(made), *archives]
    subprocess.run(unpack, check=True, stdout=subprocess.DEVNULL)
    parts = [read_pack(made / f"{archive}.h5", archive) for archive in archives]
    images = np.concatenate([part.pixels() for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    for archive in archives:
        (made / f"{archive}.h5").unlink()
    write_pack(made / f"{name}.h5", ImageSet(name, images, labels, ", ".join({part.source: 0 for part in parts})))


def of_files(name: str, made: Path, archive: str, classes: str = "") -> None:
    """A pack of photographs."""
    path = SHARED / "data" / archive
    pack_files(path, name, made, classes=listed_classes(classes) if classes else None)


PACKS: Mapping[str, Callable[[str, Path], None]] = {
    "cifar10-train": partial(of_pixels, archives=("cifar10-train-20k", "cifar10-train-rest")),
    **{
        name: partial(of_pixels, archives=(name,))
        for name in (
            *("cifar10-test", "svhn-test-10k", "textures-10classes", "mnist-test"),
            *("tinyimagenet-heldout", "tinyimagenet-outliers"),
        )
    },
    "imagenet-samples": partial(of_files, archive="imagenet-samples-256px.tar", classes="imagenet-1k"),
    "imagenette": partial(of_files, archive="imagenette-val-224px.tar", classes="imagenet-1k"),
    "sun-scenes": partial(of_files, archive="sun-scenes.tar"),
    "textures-256px": partial(of_files, archive="textures-256px.tar"),
}
"""What makes each of them: told its name, and the folder to write it to."""


def real_images(names: Iterable[str]) -> Path:
    """The folder with these packs, which are made if they are not there.

    Packs come into their place whole, so that several processes may ask at once.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = FOLDER / f"{name}.h5"
        if target.is_file():
            continue
        with tempfile.TemporaryDirectory(dir=FOLDER) as made:
            PACKS[name](name, Path(made))
            (Path(made) / target.name).replace(target)
    return FOLDER


def differing(names: Iterable[str]) -> list[str]:
    """Those of the packs that are not the images which figures in results/reference were measured on."""
    known = {name: SOURCES[name].measured for name in names if name in SOURCES and SOURCES[name].measured}
    return [name for name, one in known.items() if read_pack(FOLDER / f"{name}.h5", name).fingerprint != one]


if __name__ == "__main__":
    if not (SHARED / "data").exists():
        sys.exit(f"there are no archives in {SHARED / 'data'}: set OODBENCH_SHARED to the folder that has `data`")
    wanted = sys.argv[1:] or list(PACKS)
    if unknown := [name for name in wanted if name not in PACKS]:
        sys.exit(f"there is no {unknown[0]}: choose from {', '.join(PACKS)}")
    print(real_images(wanted))
    if strange := differing(wanted):
        sys.exit(
            f"not the images that figures were measured on: {', '.join(strange)}; remove these packs and try again"
        )
