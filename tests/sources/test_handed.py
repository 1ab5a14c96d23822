"""Images as people have them in their own code become the same pixels and labels, whatever holds them."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.sources.handed import take_images

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
    files = take_images(tmp_path, "id_images", "id").images.images
    opened = [Image.open(file) for file in sorted(tmp_path.iterdir())]
    assert opened[0].mode == mode
    found = take_images(Items(opened), "id_images", "id").images
    assert np.array_equal(found, files)
    assert np.array_equal(
        take_images(Items(opened), "id_images", "id").images, files
    )  # nothing is done to them in place
    assert files.shape[1:3] == ((9, 12) if 0x0112 in image.getexif() else (12, 9))


def test_an_image_made_in_memory_is_scaled_and_laid_on_white_too():
    deep = take_images(Items([Image.fromarray(DEEP)]), "id_images", "id").images
    assert np.abs(deep[0, ..., 0] - DEEP / 257).max() <= 0.5
    clear = Image.fromarray(np.zeros((4, 4, 4), np.uint8))
    assert (take_images(Items([(clear, 0)]), "id_images", "id").images == 255).all()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image.fromarray(DEEP.astype(np.int32)), "id_images: image 1, of Pillow's mode I, .*integers of 32 bits"),
        (Image.new("L", (1, 500)), "image 1, .*more than 100 times as long as wide"),
        (GREY, "gives Pillow's images and tensors or arrays"),
    ],
)
def test_an_image_whose_pixels_nobody_knows_is_named(image, told):
    with pytest.raises(OodbenchError, match=told):
        take_images(Items([Image.fromarray(GREY), image]), "id_images", "id")


IMAGES = RANDOM.integers(0, 256, (6, 8, 8, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
ONE_HOT = np.eye(3, dtype=np.int64)[LABELS]
TAKEN = [LABELS, LABELS.astype(np.uint8), LABELS[:, None], torch.from_numpy(LABELS), torch.from_numpy(LABELS[:, None])]
REFUSED = [
    ([str(label) for label in LABELS], "labels .*are texts, such as '0': a label is one whole number"),
    (LABELS.astype(float), r"labels .*are float64, such as 0\.0: a label is one whole number"),
    (torch.from_numpy(LABELS).float(), r"labels .*are float32, such as 0\.0"),
    (ONE_HOT, "labels .*are one-hot, int64 of shape .*argmax is meant"),
    (torch.from_numpy(ONE_HOT).float(), "labels .*are one-hot, float32 of shape"),
    (ONE_HOT + 1, r"labels .*are int64 of shape|labels .*are 3 numbers"),
]


def items(labels):
    return Items([*zip(torch.from_numpy(IMAGES), labels, strict=True)])


@pytest.mark.parametrize("labels", TAKEN)
def test_labels_are_taken_one_an_image_and_as_columns(labels):
    for given in (
        items(labels),
        DataLoader(items(labels), batch_size=4),
        DataLoader(items(labels), batch_size=1),
        DataLoader(Items([{"image": image, "label": label} for image, label in items(labels)]), batch_size=6),
        (IMAGES, labels),
        ([*IMAGES], labels),
        ([Image.fromarray(image) for image in IMAGES], labels),
    ):
        found = take_images(given, "id_images", "id")
        assert found.labels.dtype == np.int64
        assert found.labels.tolist() == LABELS.tolist()
        assert np.array_equal(np.asarray(found.images), IMAGES)


@pytest.mark.parametrize(("labels", "told"), REFUSED)
def test_what_is_no_whole_number_is_refused_as_a_label_and_images_are_not_blamed(labels, told):
    for given in (items(labels), *(DataLoader(items(labels), batch_size=size) for size in (1, 4)), (IMAGES, labels)):
        with pytest.raises(OodbenchError, match=f"id_images: .*{told}"):
            take_images(given, "id_images", "id")


@pytest.mark.parametrize("beside", [IMAGES, [f"{number}.png" for number in range(6)], [None] * 6])
def test_what_ood_images_have_beside_them_is_left_alone(beside):
    given = items(beside)
    named = Items([{"image": image, "mask": more} for image, more in zip(IMAGES, beside, strict=True)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in (given, named):
            found = take_images(each, "ood_images 'far'", "far", labelled=False)
            assert found.labels is None and np.array_equal(np.asarray(found.images), IMAGES)


def test_too_few_labels_and_a_second_image_are_no_labels():
    with pytest.raises(OodbenchError, match="id_images: the labels of the pair .* are 5 numbers for 6 images"):
        take_images((IMAGES, LABELS[:5]), "id_images", "id")
    for second in (IMAGES[0], Image.fromarray(IMAGES[0])):
        with pytest.raises(OodbenchError, match="the Items, from image 0 on, gives labels that are .*a label is one"):
            take_images(Items([(IMAGES[0], second)]), "id_images", "id")
    with pytest.raises(OodbenchError, match="labels that are 2 numbers for 3 images"):
        batches = DataLoader(items(LABELS), batch_size=3, collate_fn=lambda batch: (IMAGES[:3], LABELS[:2]))
        take_images(batches, "id_images", "id")


def test_images_without_labels_stay_without_and_some_without_are_unknown():
    two = take_images((torch.from_numpy(IMAGES[0]), torch.from_numpy(IMAGES[1])), "id_images", "id")
    assert two.labels is None and len(two.images) == 2
    for given in (Items(IMAGES), Items([(image, None) for image in IMAGES]), Items([(image,) for image in IMAGES])):
        assert take_images(given, "id_images", "id").labels is None
    some = Items([(image, label if label else None) for image, label in zip(IMAGES, LABELS, strict=True)])
    assert take_images(some, "id_images", "id").labels.tolist() == [-1, 1, 2, -1, 1, 2]


def test_items_by_name_say_which_name_no_label_was_found_under():
    fine = [{"image": image, "fine_label": int(label)} for image, label in zip(IMAGES, LABELS, strict=True)]
    with pytest.warns(
        OodbenchWarning, match="id_images: the Items gives 'fine_label' beside 'image', and no 'label'"
    ) as said:
        assert take_images(Items(fine), "id_images", "id").labels is None
    assert len(said) == 1
    with pytest.raises(OodbenchError, match="gives items of 'picture', 'label': an image is expected under 'image'"):
        take_images(Items([{"picture": IMAGES[0], "label": 0}]), "id_images", "id")
