"""Attacked images that a result kept, as image sets."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet, images_digest
from oodbench.images.packs import read_pack, write_pack
from oodbench.results.attacked_images import kept_image_sets

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def made(tmp_path, stored):
    """A result with images, and whatever it says of itself."""

    def making(**about):
        cell = stored(tmp_path / "results")
        group = cell.group("linf", "letters")
        attributes = {**group.attributes, "images_sha256": images_digest(PIXELS)}
        cell.add(replace(group, extras={"images": PIXELS}, attributes=attributes), {**cell.attributes(), **about})
        return cell

    return making


def test_they_are_called_after_what_attacked_them(made):
    (one,) = kept_image_sets(made())
    assert one.images.name == "letters-linf-msp-seed1-abababababab"
    assert np.array_equal(one.images.pixels(), PIXELS)


@pytest.mark.parametrize("detector", ["../../evil", "a/b", "\x1b[2J", "x" * 300])
def test_no_result_says_where_its_images_are_written_to(made, oodbench, tmp_path, detector):
    cell = made(detector=detector)
    with pytest.raises(OodbenchError, match="is not the name of one"):
        list(kept_image_sets(cell))
    code, out, err = oodbench("data", "export", cell.path, "--data", tmp_path / "deep" / "data")
    assert code == 2 and "\x1b" not in out + err
    assert not [path for path in tmp_path.rglob("*.h5") if path != cell.path]


def test_two_sets_of_one_name_are_not_written_one_over_the_other(made, oodbench, tmp_path):
    made()
    made(suite="digits-adv")
    folder = tmp_path / "results" / "digits-adv" / "msp"
    folder.mkdir(parents=True)
    (tmp_path / "results/digits/msp/seed1-abababababab.h5").rename(folder / "seed1-abababababab.h5")
    made(code="another")
    code, out, err = oodbench("data", "export", "results", "--data", "data")
    assert (code, out) == (2, "")
    assert "keep images that would all be called letters-linf-msp-seed1-abababababab" in err
    assert not (tmp_path / "data").exists()
    assert oodbench("data", "export", "results/digits", "--data", "data")[0] == 0


def test_a_pack_of_other_images_is_replaced_only_where_that_is_said(made, oodbench, tmp_path):
    cell = made()
    target = tmp_path / "data" / "letters-linf-msp-seed1-abababababab.h5"
    export = partial(oodbench, "data", "export", cell.path, "--data", "data")
    write_pack(target, ImageSet("letters", 255 - PIXELS, np.zeros(len(PIXELS), np.int64), "made up"))
    before = target.read_bytes()
    code, out, err = export()
    assert (code, out) == (2, "") and f"there is a data/{target.name} already" in err and "--replace" in err
    assert target.read_bytes() == before
    assert export("--replace")[0] == 0
    assert np.array_equal(read_pack(target, "x").pixels(), PIXELS)
    assert export()[0] == 0  # the same once more
