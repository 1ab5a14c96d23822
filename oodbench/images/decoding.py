"""Decoding: the content of an image file to 8-bit RGB, and what has to be done to it on the way.

Two ways that differ in little. `stored` takes the pixels as they lie in the file, as torchvision does, with which the
figures of public sets were measured. `shown` gives what a viewer shows: turned as EXIF says, transparency on white.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from oodbench.basics.errors import OodbenchError

# Pillow refuses twice as many. Its warnings, of that and of damaged EXIF, could be caught only for all threads at once.
Image.MAX_IMAGE_PIXELS = 50_000_000
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.init()

LOOSE = frozenset({"IM", "IMT", "IPTC", "PCD", "SPIDER", "TGA"})
"""Formats that Pillow recognises by no mark at the beginning, so that nearly anything may seem to be one of them."""

REFUSED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow hands to other programs, or only recognises."""

FORMATS = tuple(name for name in Image.OPEN if name not in REFUSED)
"""What is opened, whatever a file is called: all that Pillow itself decodes."""

MARKED = tuple(name for name in FORMATS if name not in LOOSE)

SUFFIXES = {suffix: kind for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
"""Suffixes of image files, with the dot, in lower case, and what Pillow calls their formats."""

ANIMATED = frozenset({"GIF", "PNG", "TIFF", "WEBP", "AVIF"})
"""Formats whose further images are frames or pages, and not thumbnails or other sizes."""

NARROWEST = 100
"""How many times as long as wide an image may be: resized by its shorter side, a line of pixels would fill memory."""

PAPER = (255, 255, 255, 255)
"""What transparent images are laid on."""

ORIENTATION = 0x0112
"""EXIF's number of the tag."""

Decoder = Callable[[bytes], Image.Image]


class BrokenImageError(Exception):
    """What is wrong with the content of an image file, in a few words."""


def stored(content: bytes) -> Image.Image:
    """An image as RGB, its pixels as they lie in the file.

    16 bits are scaled to 8 (65535 becomes 255), floats from 0 to 1 as well; transparency and EXIF are ignored; of
    several frames it is the first.

    Raises:
        BrokenImageError: it is no image, a damaged one, one that unpacks to too many pixels, or of numbers whose white
            nobody knows.
    """
    with _decoding(), _opened(content, FORMATS) as image:
        return _eight_bits(image).convert("RGB")


def shown(content: bytes) -> Image.Image:
    """As `stored`, but turned as EXIF says, and with transparency laid on white.

    Raises:
        BrokenImageError: as `stored`.
    """
    return examined(content, FORMATS)[0]


DECODERS: Mapping[str, Decoder] = {"stored": stored, "shown": shown}
"""By the name that packs of image files note."""


def examined(content: bytes, formats: tuple[str, ...]) -> tuple[Image.Image, list[str]]:
    """An image as `shown` gives it, and what had to be done to it for that, in words.

    Args:
        content: of the file.
        formats: that it may have, by Pillow's names.

    Raises:
        BrokenImageError: as `stored`.
    """
    with _decoding(), _opened(content, formats) as image:
        return _displayed(image)


def displayed(image: Image.Image) -> Image.Image:
    """An image that somebody else opened or made, as `shown` gives that of a file; itself it stays as it is.

    Raises:
        BrokenImageError: as `stored`.
    """
    with _decoding():
        return _displayed(_of_fair_shape(image))[0]


def _displayed(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """What `examined` gives of an open image."""
    said = []
    turned = _orientation(image) > 1
    image.load()  # Pillow turns a TIFF here
    frames = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
    said += ["the first of several frames or pages"] if frames > 1 else []
    said += ["turned as EXIF says"] if turned else []
    said += ["CMYK converted to RGB"] if image.mode == "CMYK" else []
    said += [f"{'floats' if image.mode == 'F' else '16 bits'} scaled to 8 bits"] if _is_deep(image) else []
    image = _upright(image)
    found = _eight_bits(image)
    if _is_deep(image) and isinstance(clear := image.info.get("transparency"), int):  # one grey of a PNG
        solid = np.uint8(255) * (np.asarray(image) != clear)
        found = Image.merge("LA", [found, Image.fromarray(solid)])
    if found.has_transparency_data:
        found = found.convert("RGBA")
        said += ["transparency laid on white"] if found.getchannel("A").getextrema() != (255, 255) else []
        found = Image.alpha_composite(Image.new("RGBA", found.size, PAPER), found)
    return found.convert("RGB"), said


def formats_of(name: str) -> tuple[str, ...]:
    """What a file of this name may be: any format with a mark, and one without if the suffix says so."""
    return (*MARKED, *LOOSE.intersection([SUFFIXES.get(suffix(name), "")]))


def suffix(name: str) -> str:
    """Of a file's name, with the dot, in lower case."""
    _, dot, last = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{last.lower()}"


def opened(content: bytes, where: str) -> Image.Image:
    """`stored`, for people.

    Raises:
        OodbenchError: as `stored`; `where` says which file.
    """
    try:
        return stored(content)
    except BrokenImageError as error:
        raise OodbenchError(f"{where} is not a whole image ({error}): put a whole one in its place") from error


def checked(content: bytes, where: str) -> bytes:
    """The content of a file if it is an image, as far as can be told without decoding it.

    Raises:
        OodbenchError: it is not; `where` says which.
    """
    try:
        with _decoding(), _opened(content, FORMATS) as image:
            image.verify()
    except BrokenImageError as error:
        raise OodbenchError(f"{where} is not an image ({error}): put a whole one in its place") from error
    return content


@contextmanager
def _decoding() -> Iterator[None]:
    """What Pillow says of a file in here is the file's fault."""
    try:
        yield
    except Exception as error:  # Pillow raises nearly anything on a hostile file
        raise BrokenImageError(str(error) or type(error).__name__) from error


def _opened(content: bytes, formats: tuple[str, ...]) -> Image.Image:
    if not content:
        raise ValueError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError:
        raise ValueError("no image that Pillow reads") from None
    return _of_fair_shape(image)


def _of_fair_shape(image: Image.Image) -> Image.Image:
    if max(image.size) > NARROWEST * min(image.size):
        raise ValueError(f"{image.width} x {image.height} pixels, more than {NARROWEST} times as long as wide")
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16-bit integers or floats with its values scaled to 8 bits; others as they are.

    Raises:
        ValueError: nothing says what is white.
    """
    if not _is_deep(image):
        return image
    values = np.asarray(image)
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # said so that not-a-number is refused, too
            raise ValueError(f"floats from {values.min():g} to {values.max():g}: only 0 to 1 says what is white")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if image.mode == "I" and image.format != "PPM":  # of that kind, Pillow gives 16 bits so
        raise ValueError("integers of 32 bits: nothing says which of them is white; save it with 8 or 16 bits")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _orientation(image: Image.Image) -> int:
    """As EXIF says it, 1 if that cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF may be damaged in an image that is not
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
