"""What two sets have in common: by pixels and not by labels, names or order; image files by their place in a pack."""

from dataclasses import replace

import numpy as np

from oodbench.images.imageset import ImageSet
from oodbench.images.overlap import contents, overlap, overlaps
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


def test_sets_that_have_nothing_in_common_are_not_named():
    a, b, c = contents(of("a", slice(4))), contents(of("b", slice(4, 8))), contents(of("c", slice(7, 9)))
    assert [str(one) for one in overlaps([(a, b), (b, c), (a, c)])] == ["1 of 2 images of c are images of b"]


def test_parts_count_together():
    whole = contents(of("train", slice(4))).and_of(contents(of("held out", slice(4, 6))))
    assert str(overlap(contents(of("test", [3, 4])), whole)) == "all 2 images of test are images of train"


def test_image_files_are_not_decoded_and_go_by_their_places(tmp_path):
    path = tmp_path / "files.h5"
    write_photographs(path, [(str(number), b"no image at all", 0) for number in range(6)], "nowhere")
    images = read_pack(path, "files")
    (tmp_path / "copy.h5").write_bytes(path.read_bytes())
    copy = read_pack(tmp_path / "copy.h5", "copy")
    found = overlap(contents(images.part(slice(0, 4))), contents(copy.part(slice(3, 6))))
    assert str(found) == "1 of 3 images of copy are images of files"
    assert overlap(contents(images), contents(of("pixels", slice(6)))) is None
