"""Crops and flips, pixel by pixel."""

import torch

from oodbench.images.augment import PADDING, augment


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
