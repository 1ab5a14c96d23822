"""Image files of every kind of pixels to 8-bit RGB."""

import io

import numpy as np
import pytest
from PIL import Image

from oodbench.basics.errors import OodbenchError
from oodbench.images.decoding import (
    BrokenImageError,
    decode_file,
    decode_shown,
    decode_stored,
    decode_with_notes,
    formats_of,
)

ORIENTATION = 0x0112


def written(image, kind, **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("decode", [decode_stored, decode_shown])
def test_a_ramp_of_16_bits_is_a_ramp_of_8(kind, decode):
    pixels = np.asarray(decode(written(Image.fromarray(RAMP), kind)))
    assert pixels.shape == (4, 256, 3)
    for channel in range(3):
        assert pixels[0, :, channel].tolist() == list(range(256))


def test_a_portable_grey_map_of_16_bits_is_scaled():
    content = b"P5 3 1 65535\n" + np.array([0, 32896, 65535], ">u2").tobytes()
    assert np.asarray(decode_stored(content))[0, :, 0].tolist() == [0, 128, 255]


def test_floats_from_0_to_1_are_scaled_and_others_refused():
    levels = np.array([[0, 0.25, 1]], np.float32)
    assert np.asarray(decode_stored(written(Image.fromarray(levels), "TIFF")))[0, :, 0].tolist() == [0, 64, 255]
    for wrong in (levels * 3, levels - 1, levels * np.nan):
        with pytest.raises(BrokenImageError, match="only 0 to 1 says what is white"):
            decode_stored(written(Image.fromarray(wrong), "TIFF"))
    with pytest.raises(BrokenImageError, match="integers of 32 bits"):
        decode_stored(written(Image.fromarray(np.array([[7, 70_000]], np.int32)), "TIFF"))


def test_exif_turns_what_is_shown_and_not_what_is_stored():
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # the left half; orientation 6 wants a quarter turn to the right, so it comes up
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = written(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)
    up = np.asarray(decode_shown(content))
    assert up.shape == (32, 16, 3)
    assert up[:14].mean() > 240 > 15 > up[18:].mean()
    assert np.asarray(decode_stored(content)).shape == (16, 32, 3)
    assert decode_with_notes(content, formats_of("a.jpg"))[1] == ["turned as EXIF says"]
    as_tiff = written(Image.fromarray(pixels), "TIFF", exif=exif)  # Pillow itself turns these
    assert np.array_equal(np.asarray(decode_shown(as_tiff))[:16], np.full((16, 16, 3), 255))
    assert decode_with_notes(as_tiff, formats_of("a.tif"))[1] == ["turned as EXIF says"]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 2, 2))
    pixels = np.asarray(decode_shown(written(image.convert(mode), "PNG")))
    assert (pixels[:, :2] == 0).all()
    assert (pixels[:, 2:] == 255).all()


def test_one_grey_of_16_bits_may_be_transparent():
    ramp = np.array([[0, 1000, 32896, 65535]], np.uint16)
    found, done = decode_with_notes(written(Image.fromarray(ramp), "PNG", transparency=0), formats_of("a.png"))
    assert np.asarray(found)[0, :, 0].tolist() == [255, 4, 128, 255]
    assert done == ["16 bits scaled to 8 bits", "transparency laid on white"]


def test_half_transparent_black_is_grey_and_opaque_images_are_as_they_are():
    half = written(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG")
    assert np.asarray(decode_shown(half))[0, 0].tolist() == [127] * 3
    solid = written(Image.new("RGBA", (2, 2), (10, 20, 30, 255)), "PNG")
    found, done = decode_with_notes(solid, formats_of("a.png"))
    assert (np.asarray(found)[0, 0].tolist(), done) == ([10, 20, 30], [])


def test_one_bit_palettes_and_print_colours():
    black_and_white = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert np.asarray(decode_shown(written(black_and_white, "PNG")))[0].tolist() == [[0] * 3, [255] * 3]
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert np.asarray(decode_shown(written(red.quantize(2), "GIF")))[0, 0].tolist() == [255, 0, 0]
    found, done = decode_with_notes(written(red.convert("CMYK"), "JPEG"), formats_of("a.jpg"))
    assert done == ["CMYK converted to RGB"]
    assert np.abs(np.asarray(found).astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_of_several_frames_it_is_the_first(kind):
    frames = [Image.new("RGB", (4, 4), (level, level, level)) for level in (200, 10)]
    found, done = decode_with_notes(written(frames[0], kind, save_all=True, append_images=frames[1:]), formats_of("a"))
    assert np.asarray(found)[0, 0].tolist() == [200] * 3
    assert done == ["the first of several frames or pages"]


def test_a_truncated_image_is_broken_and_says_so():
    whole = written(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")
    for decode in (decode_stored, decode_shown):
        with pytest.raises(BrokenImageError, match="truncated"):
            decode(whole[:-500])
    with pytest.raises(BrokenImageError, match="empty"):
        decode_shown(b"")
    with pytest.raises(OodbenchError, match=r"a/b\.jpg is not a whole image") as caught:
        decode_file(whole[:-500], "a/b.jpg")
    assert "remove" not in str(caught.value)


def test_formats_without_a_mark_are_believed_where_the_suffix_says_so():
    targa = written(Image.new("RGB", (4, 4), (1, 2, 3)), "TGA")
    assert np.asarray(decode_with_notes(targa, formats_of("a.tga"))[0])[0, 0].tolist() == [1, 2, 3]
    with pytest.raises(BrokenImageError, match="no image"):
        decode_with_notes(targa, formats_of("a.jpg"))
