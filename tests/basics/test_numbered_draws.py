"""Draws of random scores: by image and number, whatever else is drawn and in which order."""

import numpy as np
import pytest
import torch

from oodbench.basics.draws import CommonDraws, DrawsPerImage

LIKE = torch.zeros(5, 3, 4, 4)
INDICES = np.array([7, 2, 1_281_166, 0, 3])


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_an_image_gets_its_draws_in_any_company_and_order(kind):
    made = getattr(DrawsPerImage(INDICES, "score", "1/letters"), kind)
    fourth, first = made(4, LIKE), made(0, LIKE)
    order = [3, 0]
    others = getattr(DrawsPerImage(INDICES[order], "score", "1/letters"), kind)
    assert torch.equal(others(0, LIKE[order]), first[order])
    assert torch.equal(others(4, LIKE[order]), fourth[order])
    assert first.dtype == torch.float32


def test_images_numbers_purposes_and_uses_have_draws_of_their_own():
    draws = DrawsPerImage(INDICES, "score", "1/letters")
    first = draws.normal(0, LIKE)
    others = [
        draws.normal(1, LIKE),
        draws.normal(0, LIKE, "layer"),
        DrawsPerImage(INDICES, "score", "2/letters").normal(0, LIKE),
        first.roll(1, 0),
    ]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1])) < 0.25
        assert not (first == other).any()


def test_normal_and_uniform_numbers_are_what_they_are_called():
    like = torch.zeros(20, 5000)
    normal, uniform = (getattr(DrawsPerImage(range(20), "x"), kind)(3, like) for kind in ("normal", "uniform"))
    assert abs(float(normal.mean())) < 0.02
    assert abs(float(normal.std()) - 1) < 0.01
    assert abs(float((normal.abs() > 1.96).double().mean()) - 0.05) < 0.005
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.005


def test_golden_numbers():
    """Stored scores rest on these: another stream would be another measurement."""
    found = DrawsPerImage([3], "score", "1/letters").normal(2, torch.zeros(1, 3))
    assert found.tolist() == [pytest.approx(GOLDEN, abs=1e-7)]


GOLDEN = [-0.51618248, 0.59582525, 0.35777330]


def test_common_draws_are_one_function_for_all_images_and_not_those_of_an_image():
    common = CommonDraws("score")
    found = common.normal(1, LIKE)
    assert torch.equal(found, found[:1].expand_as(found))
    assert torch.equal(common.normal(1, LIKE[:2]), found[:2])
    assert torch.equal(CommonDraws("score").normal(1, LIKE), found)
    assert not torch.equal(common.normal(2, LIKE), found)
    assert not torch.equal(DrawsPerImage([0], "score").normal(1, LIKE[:1]), found[:1])


def test_draws_of_other_images_are_refused():
    with pytest.raises(ValueError, match="5 images were asked for 2"):
        DrawsPerImage(INDICES, "score").normal(0, LIKE[:2])
