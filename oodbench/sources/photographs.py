"""Sets of photographs out of their archives: the files as they are, neither decoded nor resized."""

import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.images.decoding import require_image
from oodbench.sources.archives import LARGEST, members, random_access, reading_archive
from oodbench.sources.readers import names_listed
from oodbench.sources.source import ImageFiles

IMAGE_FILES = r"(.*/)?[^/.][^/]*\.(jpg|jpeg|png|JPG|JPEG)"
"""Any image file but those that begin with a dot, which some systems leave behind."""

PhotographReader = Callable[[Sequence[Path]], ImageFiles]
Files = Iterator[tuple[str, bytes, int]]


def photographs(pattern: str = IMAGE_FILES, listed: str | None = None, without: str | None = None) -> PhotographReader:
    """The image files of one archive without labels, in the archive's order (a compressed tar has no other).

    Args:
        pattern: regular expression that an image's whole name matches.
        listed: file below `lists/` (gzip) with the names to take, folders apart; None for all.
        without: the same with names to leave out.
    """
    return partial(_photographs, pattern=re.compile(pattern), listed=listed, without=without)


def _photographs(
    paths: Sequence[Path], *, pattern: re.Pattern[str], listed: str | None, without: str | None
) -> ImageFiles:
    (path,) = paths
    wanted = names_listed(listed) - names_listed(without) if listed else None

    def files() -> Files:
        missing = set(wanted or ())
        for name, content in members(path):
            last = name.rpartition("/")[2]
            if pattern.fullmatch(name) and (wanted is None or last in wanted):
                missing.discard(last)
                yield name, require_image(content, f"{path}: {name}"), -1
        if wanted and missing:
            raise OodbenchError(
                f"{path} holds {len(wanted) - len(missing)} of the {len(wanted)} images that the set consists of: get "
                "it again from where it came"
            )

    return ImageFiles(files())


def imagenet_val(paths: Sequence[Path]) -> ImageFiles:
    """ImageNet's validation images in the order of their names, from the images' archive and the development kit.

    Classes are numbered from 0 in the order of their WordNet names, as torchvision does and its networks expect.
    """
    images, kit = paths
    truth, numbers = _development_kit(kit)

    def files() -> Files:
        with random_access(images) as (names, read):
            if len(names) != len(truth):
                raise OodbenchError(
                    f"{images} holds {len(names)} images and {kit} labels of {len(truth)}: get both again"
                )
            for name, wordnet_id in zip(sorted(names), truth, strict=True):
                yield name, require_image(read(name), f"{images}: {name}"), numbers[wordnet_id]

    return ImageFiles(files())


def imagenet_train(paths: Sequence[Path]) -> ImageFiles:
    """ImageNet's training images, an archive of one archive a class, by class, numbered as in `imagenet_val`."""
    (path,) = paths

    def files() -> Files:
        with reading_archive(path), tarfile.open(path, "r:") as outer:
            classes = sorted((member for member in outer if member.isreg()), key=lambda member: member.name)
            for label, member in enumerate(classes):
                with tarfile.open(fileobj=outer.extractfile(member), mode="r:") as inner:
                    for image in inner:
                        stream = inner.extractfile(image) if image.isreg() else None
                        if stream:
                            name = f"{member.name.removesuffix('.tar')}/{image.name}"
                            yield name, require_image(stream.read(LARGEST), f"{path}: {name}"), label

    return ImageFiles(files())


def _development_kit(path: Path) -> tuple[list[str], Mapping[str, int]]:
    """The WordNet name of each validation image, and the number of each of the classes."""
    from scipy.io import loadmat

    files = {name.rpartition("/")[2]: content for name, content in members(path)}
    try:
        synsets = loadmat(io.BytesIO(files["meta.mat"]), squeeze_me=True)["synsets"]
        classes = {
            int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets if not synset["num_children"]
        }
        truth = [classes[int(line)] for line in files["ILSVRC2012_validation_ground_truth.txt"].split()]
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise OodbenchError(
            f"{path} is not ImageNet's development kit ({error!r}): get it again from image-net.org"
        ) from error
    return truth, {wordnet_id: number for number, wordnet_id in enumerate(sorted(classes.values()))}
