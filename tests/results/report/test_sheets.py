"""Images that passed: which, what is shown of them, and what is said where they cannot be."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.results.report import boards
from oodbench.results.report.sheets import BUDGET, GAP, PICTURES, SIDE, data_uri


def sheet(cell, data, task="linf"):
    return boards([cell], data)[0].rows[0].sheets[task]


def opened(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_a_picture_is_before_after_and_the_difference_magnified():
    before = np.full((8, 8, 3), 100, np.uint8)
    after = before.copy()
    after[0, 0], after[7, 7] = 110, 95
    pixels = np.asarray(opened(data_uri(before, after, magnified=4)))
    assert pixels.shape == (8, 3 * 8 + 2 * GAP, 4)
    assert (pixels[:, :8, :3] == before).all()
    assert (pixels[:, 8 + GAP : 16 + GAP, :3] == after).all()
    difference = pixels[:, 16 + 2 * GAP :, 0]
    assert (difference[0, 0], difference[7, 7], difference[3, 3]) == (128 + 40, 128 - 20, 128)
    assert (pixels[:, 8 : 8 + GAP, 3] == 0).all()


def test_a_large_image_is_shrunk():
    generator = np.random.default_rng(0)
    before = generator.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert opened(data_uri(before, before, 1)).size == (3 * SIDE + 2 * GAP, SIDE * 3 // 4)


def test_those_that_passed_are_counted_and_shown_in_turn_from_every_set(made, data):
    cell = made(gap=1.0)
    stored = {(group.task, group.image_set): group.scores for group in cell.read()}
    least = np.sort(stored["id", "ids"])[2]  # 5 % of 40 are rejected
    found = sheet(cell, data)
    for image_set in ("cats", "dogs", "noise"):
        assert found.passed[image_set] == (int((stored["linf", image_set] >= least).sum()), 40)
    assert len(found.pictures) == PICTURES
    assert [picture.ood for picture in found.pictures[:4]] == ["cats", "dogs", "noise", "cats"]
    assert found.magnified == 16  # changes by 8 levels fill half of the range
    first = found.pictures[0]
    scores, clean = stored["linf", "cats"], stored["clean", "cats"]
    turned = (scores >= least) & (clean < least)
    assert scores[first.index] == scores[turned].max()
    assert first.after == np.mean(stored["id", "ids"] < scores[first.index])
    assert first.before == np.mean(stored["id", "ids"] < clean[first.index])
    assert opened(first.source).size == (3 * 8 + 2 * GAP, 8)


def test_nothing_passed(made, data):
    found = sheet(made(gap=50.0), data)
    assert found.passed["cats"] == (0, 40)
    assert (list(found.pictures), found.note) == ([], "")


def test_images_that_were_not_kept_are_asked_for(made, data):
    found = sheet(made(keep=False), data)
    assert list(found.pictures) == []
    assert "--keep-images" in found.note


def test_a_missing_set_is_named_and_the_others_are_shown(made, data):
    (data / "cats.h5").unlink()
    found = sheet(made(gap=1.0), data)
    assert "'cats' is missing" in found.note
    assert {picture.ood for picture in found.pictures} == {"dogs", "noise"}


@pytest.mark.parametrize("count", [40, 3])
def test_a_set_that_is_another_one_now_is_not_shown_as_before(made, data, count):
    pixels = np.zeros((count, 8, 8, 3), np.uint8)
    write_pack(data / "cats.h5", ImageSet("cats", pixels, np.full(count, -1), "changed"))
    found = sheet(made(gap=1.0), data)
    assert "other" in found.note
    assert {picture.ood for picture in found.pictures} == {"dogs", "noise"}


def test_kept_images_of_another_shape_are_not_shown_beside_the_others(made, data):
    cell = made(gap=1.0)
    group = cell.group("linf", "cats")
    extras = {**group.extras, "images": np.zeros((40, 2, 2), np.uint8)}
    cell.add(replace(group, extras=extras), cell.attributes())
    found = sheet(cell, data)
    assert "kept of 'cats' are of another shape" in found.note
    assert {picture.ood for picture in found.pictures} == {"dogs", "noise"}


def test_clean_images_have_no_sheet(made, data):
    assert set(boards([made()], data)[0].rows[0].sheets) == {"linf"}


def test_all_sheets_share_what_they_may_weigh(made, data, monkeypatch):
    monkeypatch.setattr("oodbench.results.report.collect.BUDGET", 6000)
    cells = [made("x" * number, gap=1.0) for number in range(1, 4)]
    found = [row.sheets["linf"].pictures for row in boards(cells, data)[0].rows]
    weights = [sum(len(picture.source) for picture in pictures) for pictures in found]
    assert all(1 <= len(pictures) < PICTURES for pictures in found)
    assert sum(weights) <= 6000 or all(len(pictures) == 1 for pictures in found)
    assert BUDGET < 5 * 2**20
