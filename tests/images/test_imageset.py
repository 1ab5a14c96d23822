"""Splitting and cutting image sets."""

import numpy as np

from oodbench.images.imageset import ImageSet


def numbered(count=50):
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return ImageSet("numbered", pixels, np.arange(count), "made up")


def test_a_split_keeps_every_image_once_in_order_and_is_the_same_each_time():
    rest, heldout = numbered().split(13)
    assert (len(rest), len(heldout)) == (37, 13)
    assert sorted([*rest.labels, *heldout.labels]) == list(range(50))
    for part in (rest, heldout):
        assert (np.diff(part.labels) > 0).all()
        assert (part.images[:, 0, 0, 0] == part.labels).all()
    assert heldout.fingerprint == numbered().split(13)[1].fingerprint
    # Drawn from everywhere, not from one end: sets sorted by class lose a bit of each.
    assert heldout.labels.min() < 15
    assert heldout.labels.max() > 35


def test_nothing_held_out_is_the_whole_set():
    rest, heldout = numbered().split(0)
    assert rest.fingerprint == numbered().fingerprint
    assert len(heldout) == 0


def test_another_name_is_the_same_images():
    assert numbered().called("x").name == "x"
    assert numbered().called("x").fingerprint == numbered().fingerprint
    assert len(numbered().first(None)) == 50
    assert numbered().first(7).labels.tolist() == list(range(7))
