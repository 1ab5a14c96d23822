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
    assert len(numbered().spread(None)) == len(numbered().spread(60)) == 50
    assert numbered().first(7).labels.tolist() == list(range(7))


def labelled(labels):
    return ImageSet("some", np.zeros((len(labels), 1, 1, 3), np.uint8), np.asarray(labels), "made up")


def test_a_part_has_of_each_class_its_share_however_the_set_is_sorted():
    in_order, in_turns = np.repeat(np.arange(10), 40), np.tile(np.arange(10), 40)
    mixed = np.random.default_rng(3).permutation(in_order)
    for labels in (in_order, in_turns, mixed):
        some = labelled(labels).spread(40)
        assert np.bincount(some.labels).tolist() == [4] * 10
        assert (np.diff(some.indices) > 0).all()
        assert (labels[some.indices] == some.labels).all()
    uneven = labelled(np.repeat([0, 1], [300, 100])).spread(40)
    assert np.bincount(uneven.labels).tolist() == [30, 10]


def test_a_part_of_what_has_no_labels_is_at_even_distances():
    assert labelled(np.full(100, -1)).spread(4).indices.tolist() == [0, 25, 50, 75]
    assert labelled(np.repeat([0, 1], 50)).spread(4).indices.tolist() == [0, 25, 50, 75]


def test_a_set_sorted_by_class_is_mixed_and_any_other_keeps_its_order():
    mixed = labelled(np.repeat([2, 0, 1], 100)).mixed()
    assert sorted(mixed.indices) == list(range(300))
    assert np.bincount(mixed.first(60).labels).min() >= 10
    assert mixed.fingerprint == labelled(np.repeat([2, 0, 1], 100)).mixed().fingerprint
    for labels in ([0, 1, 2] * 50, [-1] * 50, np.random.default_rng(0).integers(0, 5, 200), [3]):
        assert labelled(labels).mixed().indices.tolist() == list(range(len(labels)))
