"""Images as people have them in their own code become the same pixels and labels, whatever holds them."""

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Dataset

from oodbench.basics.errors import OodbenchError
from oodbench.sources.handed import handed

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (12, 9), np.uint8)
COLOUR = RANDOM.integers(0, 256, (12, 9, 3), np.uint8)
CLEAR = RANDOM.integers(0, 256, (12, 9), np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 9), np.uint16)


class Items(Dataset):
    """Whatever it is made of, by its place."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


def palette():
    image = Image.fromarray(COLOUR).quantize(8)
    image.info["transparency"] = bytes(range(0, 256, 32))
    return image


def rotated():
    image = Image.fromarray(COLOUR)
    image.getexif()[0x0112] = 6
    return image


def saved(image, file):
    how = {key: image.info[key] for key in ("transparency",) if key in image.info}
    image.save(file, exif=image.getexif(), **how)


@pytest.mark.parametrize(
    ("image", "suffix", "mode"),
    [
        (Image.fromarray(GREY).convert("1"), "png", "1"),
        (Image.fromarray(GREY), "png", "L"),
        (Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(CLEAR)]), "png", "LA"),
        (palette(), "png", "P"),
        (Image.fromarray(COLOUR), "png", "RGB"),
        (Image.fromarray(np.dstack([COLOUR, CLEAR])), "png", "RGBA"),
        (Image.fromarray(COLOUR).convert("CMYK"), "tif", "CMYK"),
        (Image.fromarray(DEEP), "png", "I;16"),
        (rotated(), "jpg", "RGB"),
        (rotated(), "png", "RGB"),
        (rotated(), "tif", "RGB"),
    ],
)
def test_pixels_of_a_dataset_are_those_of_a_folder_of_the_same_files(tmp_path, image, suffix, mode):
    for place in range(2):
        saved(image, tmp_path / f"{place}.{suffix}")
    files = handed(tmp_path, "id_images", "id").images.images
    opened = [Image.open(file) for file in sorted(tmp_path.iterdir())]
    assert opened[0].mode == mode
    found = handed(Items(opened), "id_images", "id").images
    assert np.array_equal(found, files)
    assert np.array_equal(handed(Items(opened), "id_images", "id").images, files)  # nothing is done to them in place
    assert files.shape[1:3] == ((9, 12) if 0x0112 in image.getexif() else (12, 9))


def test_an_image_made_in_memory_is_scaled_and_laid_on_white_too():
    deep = handed(Items([Image.fromarray(DEEP)]), "id_images", "id").images
    assert np.abs(deep[0, ..., 0] - DEEP / 257).max() <= 0.5
    clear = Image.fromarray(np.zeros((4, 4, 4), np.uint8))
    assert (handed(Items([(clear, 0)]), "id_images", "id").images == 255).all()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image.fromarray(DEEP.astype(np.int32)), "id_images: image 1, of Pillow's mode I, .*integers of 32 bits"),
        (Image.new("L", (1, 500)), "image 1, .*more than 100 times as long as wide"),
        (GREY, "image 1 is ndarray, and others are Pillow's"),
    ],
)
def test_an_image_whose_pixels_nobody_knows_is_named(image, told):
    with pytest.raises(OodbenchError, match=told):
        handed(Items([Image.fromarray(GREY), image]), "id_images", "id")
