"""Splits cut out of archives by OpenOOD's lists."""

import numpy as np
import pytest
from archive_making import jpeg, png, tar_bytes, written, zip_bytes

from oodbench.basics.errors import OodbenchError
from oodbench.sources.listed import listed_photographs, listed_pictures

IMAGES = {name: np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8) for seed, name in enumerate("abc")}


def lists(tmp_path, text, name="benchmark_imglist/cifar10/test_tin.txt"):
    return written(
        tmp_path / "lists.zip", zip_bytes([("benchmark_imglist/other.txt", b"x 0\n"), (name, text.encode())])
    )


@pytest.mark.parametrize("prefix", ["", "tin/", "data/images_classic/tin/"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_lists_images_in_its_order_with_its_labels(tmp_path, prefix, newline):
    archive = written(
        tmp_path / "t.zip", zip_bytes([(f"{prefix}val/{name}.png", png(one)) for name, one in IMAGES.items()])
    )
    text = newline.join(["tin/val/c.png 7", "tin/val/a.png -1", ""])
    pixels, labels = listed_pictures("cifar10/test_tin.txt", 32)([archive, lists(tmp_path, text)])
    np.testing.assert_array_equal(pixels, [IMAGES["c"], IMAGES["a"]])
    assert labels.tolist() == [7, -1]


def test_grey_images_of_another_size_become_rgb_of_the_sets(tmp_path):
    grey = np.full((28, 28), 9, np.uint8)
    archive = written(tmp_path / "t.zip", zip_bytes([("test/0.png", png(grey))]))
    pixels, _ = listed_pictures("cifar10/test_tin.txt", 32)([archive, lists(tmp_path, "mnist/test/0.png -1")])
    assert pixels.shape == (1, 32, 32, 3)
    assert (pixels == 9).all()


def test_photographs_stay_as_they_are_and_may_lie_without_the_lists_folders(tmp_path):
    files = {f"ILSVRC2012_val_{number}.JPEG": jpeg(number) for number in range(3)}
    archive = written(tmp_path / "val.tar", tar_bytes(files.items()))
    text = "imagenet_1k/val/ILSVRC2012_val_2.JPEG 65\nimagenet_1k/val/ILSVRC2012_val_0.JPEG 970\n"
    read = listed_photographs("imagenet/test_imagenet.txt", folders=2)
    path = lists(tmp_path, text, "benchmark_imglist/imagenet/test_imagenet.txt")
    first, second = "ILSVRC2012_val_2.JPEG", "ILSVRC2012_val_0.JPEG"
    assert list(read([archive, path]).files) == [(first, files[first], 65), (second, files[second], 970)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tin/val/a.png -1\ntin/val/d.png -1\n", r"lacks 1 of the 2 images of cifar10/test_tin\.txt, val/d\.png"),
        ("tin/val/d.png -1\n", r"has no val/d\.png"),
        ("tin/val/a.png minus\n", "is not a list of paths and labels"),
        ("tin/val/a.png", "is not a list of paths and labels"),
        ("\n", "is empty"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, text, said):
    archive = written(tmp_path / "t.zip", zip_bytes([("val/a.png", png(IMAGES["a"]))]))
    with pytest.raises(OodbenchError, match=said):
        listed_pictures("cifar10/test_tin.txt", 32)([archive, lists(tmp_path, text)])


def test_a_missing_list_is_named(tmp_path):
    archive = written(tmp_path / "t.zip", zip_bytes([("val/a.png", png(IMAGES["a"]))]))
    with pytest.raises(OodbenchError, match=r"has no list cifar10/test_svhn\.txt"):
        listed_pictures("cifar10/test_svhn.txt", 32)([archive, lists(tmp_path, "x 0")])


def test_lists_do_not_lead_out_of_the_archive(tmp_path):
    written(tmp_path / "secret.png", png(IMAGES["a"]))
    archive = written(tmp_path / "t.zip", zip_bytes([("val/a.png", png(IMAGES["a"]))]))
    with pytest.raises(OodbenchError, match=r"has no \.\./secret\.png"):
        listed_pictures("cifar10/test_tin.txt", 32)([archive, lists(tmp_path, "tin/../secret.png -1")])
