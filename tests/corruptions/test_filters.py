"""What corruptions are made of, against SciPy and by brute force."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from oodbench.corruptions.digital import _smoothing, _warped
from oodbench.corruptions.filters import gaussian, hsv, motion_blurred, rgb, sampled, zoomed
from oodbench.corruptions.weather import _dilated, _distance

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 0.6, 0.7, 1.0, 4.0])
def test_a_gaussian_is_scipys_to_the_last_bit(sigma):
    # Flat parts lie on the edge of truncation: one bit is one level there.
    flat = np.repeat(np.arange(256) / 255, 24 * 20).reshape(256, 1, 24, 20)
    images = np.concatenate([flat, RANDOM.random((4, 1, 24, 20))])
    expected = np.stack([gaussian_filter(image[0], sigma, mode="nearest") for image in images])
    np.testing.assert_array_equal(gaussian(torch.from_numpy(images), sigma)[:, 0], expected)


@pytest.mark.parametrize("sigma", [0.96, 6.4, 40.0])
def test_smooth_fields_are_scipys_however_wide(sigma):
    field = RANDOM.random((20, 28))
    down, over = _smoothing(20, sigma), _smoothing(28, sigma)
    expected = gaussian_filter(field, sigma, mode="reflect", truncate=3)
    np.testing.assert_allclose(down @ torch.from_numpy(field) @ over.T, expected, rtol=1e-12)


@pytest.mark.parametrize("border", ["nearest", "reflect", "mirror"])
def test_fractional_places_are_scipys_beyond_the_borders_too(border):
    images, rows, columns = (
        RANDOM.random((2, 3, 9, 7)),
        RANDOM.uniform(-8, 16, (2, 5, 4)),
        RANDOM.uniform(-6, 12, (2, 5, 4)),
    )
    found = sampled(*map(torch.from_numpy, (images, rows, columns)), border)
    for image, row, column, each in zip(images, rows, columns, found, strict=True):
        expected = [map_coordinates(channel, [row, column], order=1, mode=border) for channel in image]
        np.testing.assert_allclose(each, expected, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (21, 10)])
@pytest.mark.parametrize("factor", [1.0, 1.06, 1.5, 2.25, 4.5])
def test_zooms_are_scipys(factor, size):
    image = RANDOM.random((3, *size))
    cuts = [int(np.ceil(length / factor)) for length in size]
    middle = [slice((length - cut) // 2, (length - cut) // 2 + cut) for length, cut in zip(size, cuts, strict=True)]
    larger = zoom(image[:, *middle], (1, factor, factor), order=1)
    trims = [(after - length) // 2 for length, after in zip(size, larger.shape[1:], strict=True)]
    expected = larger[:, *(slice(trim, trim + length) for trim, length in zip(trims, size, strict=True))]
    np.testing.assert_allclose(zoomed(torch.from_numpy(image)[None], factor)[0], expected, atol=1e-12)


def test_motion_leaves_flat_images_alone_and_moves_a_point_one_way():
    flat = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    assert torch.equal(motion_blurred(flat, 6, 2.0, torch.linspace(-45, 45, 256)), flat)
    point = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    point[0, 0, 4, 6] = 255
    weights = np.exp(-(np.arange(5) ** 2) / (2 * 1.5**2))
    # Offsets look to the right, so the trail is on the left; 16 bits are rounded, 8 cut off.
    trail = np.floor(np.round(255 * 257 * weights / weights.sum()) / 257)
    found = motion_blurred(point, 2, 1.5, torch.zeros(1))[0, 0]
    assert found[4].tolist() == [0, 0, *trail[::-1].tolist(), 0, 0]
    assert found.sum() == trail.sum()


def test_colours_come_back():
    images = torch.from_numpy(RANDOM.integers(0, 5, (50, 3, 6, 6)) / 4)  # so few levels that ties are many
    torch.testing.assert_close(rgb(*hsv(images)), images, rtol=0, atol=1e-15)


def test_a_warp_is_about_the_middle_of_an_image_that_is_not_square():
    image = torch.zeros(1, 1, 30, 60)
    image[0, 0, 15, 30] = 1
    outwards = 5 * torch.tensor([[[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]])  # half as far again, for a side of 10
    assert _warped(image, outwards, side=10)[0, 0, 15, 30] == 1


@pytest.mark.parametrize("size", [(24, 31), (8, 40)])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.3])
def test_distances_are_those_of_the_shortest_way(share, size):
    inside = RANDOM.random((6, 1, *size)) > share
    inside[:, 0, 3, 5] = False
    for image, found in zip(inside[:, 0], _distance(torch.from_numpy(inside))[:, 0], strict=True):
        down, over = (
            np.abs(np.subtract.outer(np.arange(length), where))
            for length, where in zip(image.shape, np.nonzero(~image), strict=True)
        )
        few, many = np.minimum(down[:, None], over[None]), np.maximum(down[:, None], over[None])
        # Sideways and knight's moves up to a slope of 1 : 2, knight's and diagonal ones beyond.
        flat, steep = (many - 2 * few) + 2.1969 * few, 1.4 * (2 * few - many) + 2.1969 * (many - few)
        shortest = np.where(many >= 2 * few, flat, steep).min(2)
        np.testing.assert_allclose(found, np.minimum(shortest, 21), rtol=1e-6)


def test_marks_grow_by_one_pixel_and_not_around_the_border():
    marks = torch.zeros(1, 1, 5, 6, dtype=torch.bool)
    marks[0, 0, 0, 5] = marks[0, 0, 3, 1] = True
    grown = [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert _dilated(marks)[0, 0].int().tolist() == grown
