"""Decoding: the content of an image file to 8-bit RGB, and what has to be done to it on the way.

Two ways differ in little. `decode_stored` takes the pixels as they lie in the file, as torchvision does, with
which the figures of public sets were measured. `decode_shown` gives what a viewer shows: turned as EXIF says,
transparency on white.
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
"""Formats that are opened, whatever a file is called: all that Pillow itself decodes."""

MARKED = tuple(name for name in FORMATS if name not in LOOSE)

SUFFIXES = {suffix: kind for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
"""Suffixes of image files, with the dot, in lower case, and what Pillow calls their formats."""

ANIMATED = frozenset({"GIF", "PNG", "TIFF", "WEBP", "AVIF"})
"""Formats whose further images are frames or pages, and not thumbnails or other sizes."""

NARROWEST = 100
"""The factor by which an image may be longer than wide: resized by its shorter side, a line would fill memory."""

PAPER = (255, 255, 255, 255)
"""The colour that transparent images are laid on."""

ORIENTATION = 0x0112
"""EXIF's number of the tag."""

Decoder = Callable[[bytes], Image.Image]


class BrokenImageError(Exception):
    """The content of an image file is wrong; the message says how, in a few words."""


def decode_stored(content: bytes) -> Image.Image:
    """Decode an image to RGB, its pixels as they lie in the file.

    16 bits are scaled to 8 (65535 becomes 255), floats from 0 to 1 as well; transparency and EXIF are ignored; of
    several frames it is the first.

    Raises:
        BrokenImageError: it is no image, a damaged one, one that unpacks to too many pixels, or of numbers whose white
            nobody knows.
    """
    with _decoding(), _open(content, FORMATS) as image:
        return _eight_bits(image).convert("RGB")


def decode_shown(content: bytes) -> Image.Image:
    """Decode an image as `decode_stored` does, but turned as EXIF says, and with transparency laid on white.

    Raises:
        BrokenImageError: as `decode_stored`.
    """
    return decode_with_notes(content, FORMATS)[0]


DECODERS: Mapping[str, Decoder] = {"stored": decode_stored, "shown": decode_shown}
"""By the name that packs of image files note."""


def decode_with_notes(content: bytes, formats: tuple[str, ...]) -> tuple[Image.Image, list[str]]:
    """Decode an image as `decode_shown` does, and say in words what had to be done to it for that.

    Args:
        content: of the file.
        formats: that it may have, by Pillow's names.

    Raises:
        BrokenImageError: as `decode_stored`.
    """
    with _decoding(), _open(content, formats) as image:
        return _as_displayed_with_notes(image)


def as_displayed(image: Image.Image) -> Image.Image:
    """Convert an image that is open already as `decode_shown` does that of a file; itself it stays as it is.

    Raises:
        BrokenImageError: as `decode_stored`.
    """
    with _decoding():
        return _as_displayed_with_notes(_require_fair_shape(image))[0]


def _as_displayed_with_notes(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Convert an open image, and say in words what had to be done to it."""
    notes = []
    turned = _orientation(image) > 1
    image.load()  # Pillow turns a TIFF here
    frames = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
    notes += ["the first of several frames or pages"] if frames > 1 else []
    notes += ["turned as EXIF says"] if turned else []
    notes += ["CMYK converted to RGB"] if image.mode == "CMYK" else []
    notes += [f"{'floats' if image.mode == 'F' else '16 bits'} scaled to 8 bits"] if _is_deep(image) else []
    image = _upright(image)
    result = _eight_bits(image)
    if _is_deep(image) and isinstance(clear := image.info.get("transparency"), int):  # one grey of a PNG
        solid = np.uint8(255) * (np.asarray(image) != clear)
        result = Image.merge("LA", [result, Image.fromarray(solid)])
    if result.has_transparency_data:
        result = result.convert("RGBA")
        notes += ["transparency laid on white"] if result.getchannel("A").getextrema() != (255, 255) else []
        result = Image.alpha_composite(Image.new("RGBA", result.size, PAPER), result)
    return result.convert("RGB"), notes


def formats_of(name: str) -> tuple[str, ...]:
    """Formats that a file of this name may have: any with a mark, and one without if the suffix says so."""
    return (*MARKED, *LOOSE.intersection([SUFFIXES.get(suffix(name), "")]))


def suffix(name: str) -> str:
    """The suffix of a file's name, with the dot, in lower case."""
    _, dot, last = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{last.lower()}"


def decode_file(content: bytes, where: str) -> Image.Image:
    """Decode an image as `decode_stored` does, with errors for people.

    Raises:
        OodbenchError: as `decode_stored`; `where` says which file.
    """
    try:
        return decode_stored(content)
    except BrokenImageError as error:
        raise OodbenchError(f"{where} is not a whole image ({error}): put a whole one in its place") from error


def require_image(content: bytes, where: str) -> bytes:
    """Return the content of a file if it is an image, as far as can be told without decoding it.

    Raises:
        OodbenchError: it is not; `where` says which.
    """
    try:
        with _decoding(), _open(content, FORMATS) as image:
            image.verify()
    except BrokenImageError as error:
        raise OodbenchError(f"{where} is not an image ({error}): put a whole one in its place") from error
    return content


@contextmanager
def _decoding() -> Iterator[None]:
    """Inside, what Pillow raises is the file's fault, and becomes BrokenImageError."""
    try:
        yield
    except Exception as error:  # Pillow raises nearly anything on a hostile file
        raise BrokenImageError(str(error) or type(error).__name__) from error


def _open(content: bytes, formats: tuple[str, ...]) -> Image.Image:
    if not content:
        raise ValueError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError:
        raise ValueError("no image that Pillow reads") from None
    return _require_fair_shape(image)


def _require_fair_shape(image: Image.Image) -> Image.Image:
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
    """The orientation, 1 to 8, that EXIF says; 1 if that cannot be read."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF may be damaged in an image that is not
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
