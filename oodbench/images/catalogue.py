"""Image sets by name: the built-in ones, and the packs in the data folder."""

from difflib import get_close_matches
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.images.builtin import BUILTINS, make
from oodbench.images.imageset import ImageSet, is_name
from oodbench.images.packs import PREPROCESSING, read_pack
from oodbench.images.preprocessing import Preprocessing


def names(data: Path) -> list[str]:
    """Names of all sets that `load` finds: built-in ones, then the packs in `data`."""
    packs = sorted(path.stem for path in data.glob("*.h5")) if data.is_dir() else []
    return [*BUILTINS, *(pack for pack in packs if pack not in BUILTINS)]


def describe(name: str, data: Path) -> str:
    """Describe a set in one line."""
    return f"built in: {BUILTINS[name].description}" if name in BUILTINS else f"pack {data / name}.h5"


def load(name: str, data: Path, preprocessing: Preprocessing | None = PREPROCESSING) -> ImageSet:
    """Load the set called `name`: built in, or the pack `<data>/<name>.h5`.

    Args:
        name: of the set.
        data: folder of packs.
        preprocessing: of packs of image files; None where nobody knows how the network takes these.

    Raises:
        OodbenchError: there is no such set, with where it was looked for; its pack is broken, or holds image files and
            nobody said how a network takes them.
    """
    if name in BUILTINS:
        return make(name)
    if not is_name(name):
        raise OodbenchError(
            f"{name!r} is not the name of an image set: name a pack in the data folder, without its path"
        )
    path = data / f"{name}.h5"
    if not path.is_file():
        near = get_close_matches(name, names(data), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise OodbenchError(
            f"image set {name!r} is missing: {hint}there is no {path.absolute()}; fetch it if it is public (`oodbench "
            f"data fetch {name}`), put the pack there, or say where packs are with --data DIR or OODBENCH_DATA"
        )
    return read_pack(path, name, preprocessing)
