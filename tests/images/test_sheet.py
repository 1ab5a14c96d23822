"""Contact sheets as people see them."""

import io

import numpy as np
import pytest
from PIL import Image

from oodbench.images.sheet import LINE, MARGIN, Picture, sheet


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_pictures_stand_in_rows_enlarged_without_blur():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    red[0, 0] = (0, 255, 0)
    page = opened(sheet([Picture(red, "a"), Picture(red[::-1], "b"), Picture(red, "c")], columns=2))
    cell = 96 + 2 * MARGIN
    assert page.shape == (2 * (cell + LINE), 2 * cell, 3)
    assert (page[MARGIN : MARGIN + 3, MARGIN : MARGIN + 3] == (0, 255, 0)).all()
    assert (page[MARGIN + 3, MARGIN + 3] == (200, 0, 0)).all()
    assert (page[-1, -1] == 255).all()  # nothing stands at the fourth place


def test_large_pictures_are_shrunk():
    page = opened(sheet([Picture(np.full((224, 224, 3), 7, np.uint8), "large")], columns=1))
    assert page.shape[1] == 96 + 2 * MARGIN


def test_data_show_writes_a_picture(oodbench, tmp_path):
    code, out, err = oodbench("data", "show", "letters", "--count", "12")
    assert code == 0, err
    assert out.splitlines()[-1] == "letters.png"
    assert out.startswith("letters (present): built in; ")
    assert opened((tmp_path / "letters.png").read_bytes()).ndim == 3


def test_data_show_draws_every_version(oodbench, tmp_path):
    code, _, err = oodbench("data", "show", "letters", "--corrupted", "3", "--out", "versions.png")
    assert code == 0, err
    page = opened((tmp_path / "versions.png").read_bytes())
    assert page.shape[1] == 6 * (96 + 2 * MARGIN)
    assert page.shape[0] == 19 * (96 + 2 * MARGIN + LINE) + LINE + 2 * MARGIN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "is missing"),
        (("letters", "--corrupted", "500"), "no image 500: choose 0 to 499"),
        (("letters", "--out", "/proc/x.png"), "cannot write"),
    ],
)
def test_data_show_refuses(oodbench, arguments, said):
    code, _, err = oodbench("data", "show", *arguments)
    assert code == 2
    assert said in err
