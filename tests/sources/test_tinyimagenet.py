"""Parts of Tiny-ImageNet: which images, in which order, with which labels."""

import gzip
from importlib.resources import files

import numpy as np
import pytest
from archive_making import png, written, zip_bytes

from oodbench.basics.errors import OodbenchError
from oodbench.sources import tinyimagenet
from oodbench.sources.tinyimagenet import tiny_imagenet_train, tiny_imagenet_val

WNIDS = ("tiny-imagenet-200/wnids.txt", b"n03\nn01\nn02\n")


def grey(level):
    return png(np.full((64, 64, 3), level, np.uint8))


def train(name, number, level):
    return f"tiny-imagenet-200/train/{name}/images/{name}_{number}.JPEG", grey(level)


def archive(tmp_path, *entries):
    return [written(tmp_path / "tiny.zip", zip_bytes([WNIDS, *entries]))]


@pytest.fixture(autouse=True)
def chosen(monkeypatch):
    monkeypatch.setattr(tinyimagenet, "names_listed", lambda _: frozenset({"n01", "n03"}))


def levels(pixels):
    assert pixels.shape[1:] == (32, 32, 3)
    return pixels[:, 0, 0, 0].tolist()


def test_the_first_of_each_class_by_name(tmp_path):
    of_three = [train("n03", number, 30 + number) for number in (2, 0)]
    of_one = [train("n01", number, number) for number in (2, 10, 0, 1)]
    boxes = ("tiny-imagenet-200/train/n01/n01_boxes.txt", b"n01_0.JPEG\t0\t10\t63\t58\n")
    pixels, labels = tiny_imagenet_train("x", 2, 32)(
        archive(tmp_path, *of_three, boxes, train("n02", 0, 99), *of_one, train("n02", 1, 98))
    )
    assert levels(pixels) == [0, 1, 30, 32]
    assert labels.tolist() == [0, 0, 2, 2]
    third, _ = tiny_imagenet_train("x", 2, 32)(archive(tmp_path, *of_three, *of_one[:3]))
    assert levels(third) == [0, 10, 30, 32]  # as text, `_10` comes before `_2`


def test_validation_images_in_the_order_of_their_list(tmp_path):
    listed = ((0, "n03"), (1, "n02"), (2, "n01"), (10, "n03"))
    lines = "".join(f"val_{number}.JPEG\t{name}\t0\t0\t63\t63\n" for number, name in listed).encode()
    images = [(f"tiny-imagenet-200/val/images/val_{number}.JPEG", grey(number)) for number in (10, 2, 1, 0)]
    path = archive(tmp_path, ("tiny-imagenet-200/val/val_annotations.txt", lines), *images)
    pixels, labels = tiny_imagenet_val("x", 32)(path)
    assert levels(pixels) == [0, 2, 10]
    assert labels.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("read", "entries", "said"),
    [
        (
            tiny_imagenet_train("x", 2, 32),
            [train("n01", 0, 0), train("n01", 1, 0), train("n03", 0, 0)],
            "has 1 .* of n03",
        ),
        (tiny_imagenet_train("x", 1, 32), [train("n01", 0, 0)], "has 0 training images of n03, and 1 are wanted"),
        (tiny_imagenet_val("x", 32), [], r"has no tiny-imagenet-200/val/val_annotations\.txt"),
        (
            tiny_imagenet_val("x", 32),
            [("tiny-imagenet-200/val/val_annotations.txt", b"val_0.JPEG n01\n")],
            "is not a list of image files and their classes",
        ),
        (
            tiny_imagenet_val("x", 32),
            [("tiny-imagenet-200/val/val_annotations.txt", b"\xff\xfe\n")],
            "is no text",
        ),
        (
            tiny_imagenet_val("x", 32),
            [("tiny-imagenet-200/val/val_annotations.txt", b"v.JPEG\tn01\n")],
            "has no validation images of n03",
        ),
        (
            tiny_imagenet_val("x", 32),
            [("tiny-imagenet-200/val/val_annotations.txt", b"v.JPEG\tn01\nw.JPEG\tn03\n")],
            r"has no tiny-imagenet-200/val/images/v\.JPEG",
        ),
    ],
)
def test_what_is_not_the_archive_is_refused(tmp_path, read, entries, said):
    with pytest.raises(OodbenchError, match=said):
        read(archive(tmp_path, *entries))


def test_the_two_parts_share_no_class():
    lists = files("oodbench.sources") / "lists"
    outliers, heldout = (
        gzip.decompress((lists / f"tinyimagenet-{part}.txt.gz").read_bytes()).decode().split()
        for part in ("outliers", "heldout")
    )
    assert (len({*outliers}), len({*heldout})) == (100, 74)
    assert not {*outliers} & {*heldout}
