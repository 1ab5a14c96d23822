"""Crops and flips, pixel by pixel."""

import pytest
import torch

from oodbench.images.augment import PADDING, augment, noisy
from oodbench.recipe import Recipe
from oodbench.suite import Outliers


def images(count=200):
    return torch.randint(1, 256, (count, 3, 6, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_a_crop_is_a_window_of_the_padded_image():
    before = images()
    after = augment(before, ["crop"], torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(before, (PADDING,) * 4)
    offsets = set()
    for image, frame in zip(after, padded, strict=True):
        places = [
            (y, x)
            for y in range(2 * PADDING + 1)
            for x in range(2 * PADDING + 1)
            if torch.equal(image, frame[:, y : y + 6, x : x + 6])
        ]
        assert len(places) == 1
        offsets.update(places)
    assert {y for y, _ in offsets} == {x for _, x in offsets} == set(range(2 * PADDING + 1))


def test_a_flip_mirrors_about_half_of_the_images():
    before = images()
    after = augment(before, ["flip"], torch.Generator().manual_seed(0))
    mirrored = torch.tensor([torch.equal(new, old.flip(2)) for new, old in zip(after, before, strict=True)])
    kept = torch.tensor([torch.equal(new, old) for new, old in zip(after, before, strict=True)])
    assert (mirrored ^ kept).all()
    assert 70 < int(mirrored.sum()) < 130


def test_no_names_change_nothing():
    before = images(3)
    assert torch.equal(augment(before, (), torch.Generator()), before)


def test_the_generator_decides():
    before = images()
    one, same, other = (augment(before, ("crop", "flip"), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_noise_has_its_deviation_and_is_neither_cut_nor_rounded():
    before = torch.full((40, 3, 16, 16), 0.1)
    after = noisy(before, ["flip", "gaussian:0.25"], torch.Generator().manual_seed(0))
    assert after.min() < 0
    assert abs(float((after - before).std()) - 0.25) < 0.005
    assert torch.equal(after, noisy(before, ["gaussian:0.25"], torch.Generator().manual_seed(0)))
    assert torch.equal(noisy(before, ["flip", "crop"], torch.Generator()), before)


def test_noise_leaves_crops_and_flips_what_they_are():
    before = images()
    with_noise = augment(before, ["crop", "gaussian:0.25", "flip"], torch.Generator().manual_seed(3))
    assert torch.equal(with_noise, augment(before, ["crop", "flip"], torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("name", ["gaussian", "gaussian:", "gaussian:0", "gaussian:-1", "gaussian:inf", "gaussian:nan"])
def test_noise_without_a_deviation_is_refused(name):
    with pytest.raises(ValueError, match=r"says no deviation of the noise: write gaussian:0\.25"):
        Recipe(epochs=1, augment=(name,))


def test_outliers_have_no_noise_of_their_own():
    with pytest.raises(ValueError, match=r"'gaussian:0\.25'.*known: crop, flip"):
        Outliers("o", augment=("gaussian:0.25",))
    with pytest.raises(ValueError, match="known: crop, flip, gaussian"):
        Recipe(epochs=1, augment=("blur",))
