"""What two sets have in common: by pixels and not by labels, names or order; image files by their place in a pack."""

from dataclasses import replace

import numpy as np
import pytest

from oodbench.images.imageset import ImageSet
from oodbench.images.overlap import contents, overlap, overlaps, repeats, require_apart
from oodbench.images.packs import read_pack
from oodbench.images.photographs import write_photographs

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)


def of(name, rows):
    return ImageSet(name, PIXELS[rows], np.zeros(len(PIXELS[rows]), np.int64), "drawn")


def test_images_are_the_same_whatever_their_labels_order_and_set():
    one, other = of("a", slice(0, 6)), of("b", slice(3, 12))
    backwards = replace(other, images=other.images[::-1], labels=other.labels - 1)
    found = overlap(contents(one), contents(backwards))
    assert str(found) == "3 of 6 images of a are images of b" and not found.whole
    assert overlap(contents(backwards), contents(one)) == found  # said of the one of which it is more


def test_a_part_is_wholly_in_what_it_is_a_part_of():
    found = overlap(contents(of("many", slice(12))), contents(of("few", slice(2, 4))))
    assert found.whole and str(found) == "all 2 images of few are images of many"


def test_an_image_that_stands_in_a_set_twice_counts_twice():
    twice = of("twice", [0, 0, 1])
    assert overlap(contents(twice), contents(of("one", [0, 5, 6, 7]))).count == 2


def test_repeats_are_counted_where_they_are_more_than_a_few():
    found = repeats(contents(of("some", [0, 1, 1, 2, 1, 2])))
    assert (found.count, found.size) == (3, 6)
    assert str(found) == "3 of 6 images of some repeat others of it"
    assert repeats(contents(of("other", slice(12)))) is None
    noise = np.random.default_rng(1).integers(0, 256, (200, 4, 4, 3), np.uint8)
    noise[:2] = noise[2]  # one in a hundred
    assert repeats(contents(ImageSet("noise", noise, np.zeros(200, np.int64), "drawn"))) is None


def test_repeats_of_a_tested_set_are_told_and_those_of_others_are_not():
    known = [contents(of(name, rows)) for name, rows in (("train", [0, 0, 1]), ("ood", [2, 2, 2]))]
    (line,) = require_apart(known, tested=["ood"])
    assert line.startswith("2 of 3 images of ood repeat others of it: intervals")


def test_sets_that_have_nothing_in_common_are_not_named():
    a, b, c = contents(of("a", slice(4))), contents(of("b", slice(4, 8))), contents(of("c", slice(7, 9)))
    assert [str(one) for one in overlaps([(a, b), (b, c), (a, c)])] == ["1 of 2 images of c are images of b"]


def test_parts_count_together():
    whole = contents(of("train", slice(4))).joined_with(contents(of("held out", slice(4, 6))))
    assert str(overlap(contents(of("test", [3, 4])), whole)) == "all 2 images of test are images of train"


def files(path, contents_of):
    write_photographs(path, [(str(one), one, 0) for one in contents_of], "nowhere")
    return read_pack(path, path.stem)


def test_image_files_go_by_their_bytes_and_are_not_decoded(tmp_path):
    one = files(tmp_path / "one.h5", [b"no image", b"another", b"a third"])
    other = files(tmp_path / "other.h5", [b"a fourth", b"a third", b"another", b"a fifth"])
    assert str(overlap(contents(one), contents(other))) == "2 of 3 images of one are images of other"
    assert overlap(contents(one), contents(of("pixels", slice(6)))) is None


def test_a_large_pack_is_not_read_and_is_compared_with_its_copies(tmp_path, monkeypatch):
    monkeypatch.setattr("oodbench.images.overlap.READ", 0)
    monkeypatch.setattr("oodbench.images.photographs.Photographs.files", lambda self: pytest.fail("it was read"))
    one = files(tmp_path / "one.h5", [b"a", b"b", b"c", b"d"])
    (tmp_path / "copy.h5").write_bytes((tmp_path / "one.h5").read_bytes())
    copy = read_pack(tmp_path / "copy.h5", "copy")
    found = overlap(contents(one.part(slice(0, 3))), contents(copy.part(slice(2, 4))))
    assert str(found) == "1 of 2 images of copy are images of one"
    assert overlap(contents(one), contents(files(tmp_path / "other.h5", [b"a", b"b"]))) is None
