import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.corruptions import frost
from oodbench.corruptions.blur import _final_sources
from oodbench.corruptions.catalogue import CORRUPTIONS, corrupt, with_photographs
from oodbench.corruptions.draws import CounterDraws
from oodbench.corruptions.frost import textures
from oodbench.corruptions.levels import SEVERITIES

SWITCHING = {"saturate", "elastic", "glass-blur", "spatter", "defocus-blur", "frost"}
"""Types whose severities differ in kind as well, so that more is not simply farther away."""


@pytest.fixture(scope="module")
def images() -> Tensor:
    return smooth(6, 32)


def smooth(count: int, side: int | tuple[int, int]) -> Tensor:
    """Images with large and small structure, colours and a full range, of a side or of a height and width."""
    random = torch.Generator().manual_seed(4)
    parts = [
        torch.nn.functional.interpolate(torch.rand(count, 3, cells, cells, generator=random), size=side, mode="bicubic")
        for cells in (4, 16)
    ]
    return (0.7 * parts[0] + 0.3 * parts[1]).clamp(0, 1).mul(255).to(torch.uint8)


def corrupted(images: Tensor, name: str, severity: int, indices: list[int] | None = None) -> Tensor:
    places = list(range(len(images))) if indices is None else indices
    return corrupt(images, name, severity, CounterDraws(places, "test", name))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_type_changes_images_and_more_so_with_severity(images: Tensor, name: str) -> None:
    changes = []
    for severity in SEVERITIES:
        version = corrupted(images, name, severity)
        assert version.shape == images.shape
        assert version.dtype == torch.uint8
        changes.append(float((version.float() - images.float()).abs().mean()))
    assert min(changes) > 0
    if name not in SWITCHING:
        assert changes[0] < changes[2] < changes[4]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_any_company(images: Tensor, name: str) -> None:
    for severity in (1, 5):
        whole = corrupted(images, name, severity)
        part = corrupted(images[[4, 1]], name, severity, [4, 1])
        assert torch.equal(whole[[4, 1]], part)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_type_takes_large_images(name: str) -> None:
    image = smooth(1, 224)
    version = corrupted(image, name, 3)
    assert version.shape == image.shape
    assert not torch.equal(version, image)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_type_takes_images_that_are_not_square(name: str, severity: int) -> None:
    for size in ((16, 64), (48, 32), (70, 200)):
        images = smooth(2, size)
        version = corrupted(images, name, severity)
        assert (version.shape, version.dtype) == (images.shape, torch.uint8)
        assert not torch.equal(version, images)
        corruption = CORRUPTIONS[name]
        levels = corruption.function(images, CounterDraws([0, 1], "range"), *corruption.small[severity - 1])
        assert levels.min() >= 0 and levels.max() <= 255  # as a number beyond would wrap around


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    "name", ["brightness", "contrast", "defocus-blur", "gaussian-blur", "pixelate", "saturate", "zoom-blur"]
)
def test_what_knows_no_direction_treats_height_as_width(name: str, severity: int) -> None:
    images = smooth(3, (40, 56))
    turned = corrupted(images.mT.contiguous(), name, severity).mT
    off = (corrupted(images, name, severity).int() - turned.int()).abs()
    assert off.max() <= 1  # as sums are rounded in another order


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_extreme_images_are_taken(name: str) -> None:
    for level in (0, 255):
        flat = torch.full((1, 3, 32, 32), level, dtype=torch.uint8)
        assert corrupted(flat, name, 5).shape == flat.shape


def test_values_are_truncated_and_not_rounded() -> None:
    # 100 / 255 + 0.05 is 112.75 / 255; the grey image has no hue, so value is all that changes.
    grey = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    assert (corrupted(grey, "brightness", 1) == 112).all()


def test_contrast_by_hand() -> None:
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[:, :, :16] = 200  # mean 100; at severity 2 half of the distance is left
    version = corrupted(image, "contrast", 2)
    assert (version[:, :, :16] == 150).all()
    assert (version[:, :, 16:] == 50).all()


def test_noise_has_the_deviation_it_should() -> None:
    grey = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    x = 128 / 255
    deviations = {"gaussian-noise": 0.04, "shot-noise": math.sqrt(x / 500), "speckle-noise": x * 0.06}
    for name, expected in deviations.items():
        version = (corrupted(grey, name, 1).double() + 0.5) / 255
        count = version.numel()
        assert abs(float(version.std()) - expected) < 5 * expected / math.sqrt(2 * count) + 0.3 / 255 / 3
        assert abs(float(version.mean()) - x) < 0.6 / 255


def test_shot_noise_counts_photons() -> None:
    """A level's values are counts / photons, with Poisson's chances."""
    from scipy.stats import chisquare, poisson

    grey = torch.full((40, 3, 32, 32), 20, dtype=torch.uint8)
    levels, counts = np.unique(corrupted(grey, "shot-noise", 5).numpy(), return_counts=True)
    mean = 20 / 255 * 50
    possible = {int(min(count / 50, 1) * 255): count for count in range(51)}
    photons = [possible[int(level)] for level in levels]
    expected = poisson.pmf(photons, mean) * counts.sum()
    common = expected > 20
    shown, wanted = counts[common], expected[common]
    assert chisquare(shown, wanted * shown.sum() / wanted.sum()).pvalue > 1e-3
    assert (corrupted(torch.zeros_like(grey), "shot-noise", 5) == 0).all()


def test_impulses_are_black_or_white_and_as_many_as_said() -> None:
    grey = torch.full((40, 3, 32, 32), 100, dtype=torch.uint8)
    version = corrupted(grey, "impulse-noise", 5)
    hit, count = (version != 100).double().mean(), grey.numel()
    assert set(version.unique().tolist()) == {0, 100, 255}
    assert abs(float(hit) - 0.07) < 5 * math.sqrt(0.07 * 0.93 / count)
    assert abs(float((version == 255).double().sum() / (version != 100).sum()) - 0.5) < 0.03


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_copies_one_pixel_after_the_other(reach: int) -> None:
    """The parallel copy against the reference's loop."""
    side, count = 12, 3
    random = np.random.default_rng(reach)
    rows = columns = range(side - reach, reach, -1)
    order = [row * side + column for row in rows for column in columns]
    offsets = random.integers(-reach, reach, (count, len(order), 2))
    source = np.array(order) + offsets[..., 1] * side + offsets[..., 0]
    places = _final_sources(torch.tensor(order), torch.from_numpy(source), side * side)
    for image in range(count):
        expected = np.arange(side * side)
        for place, taken in zip(order, source[image], strict=True):
            expected[place] = expected[taken]
        assert places[image].tolist() == expected.tolist()


def test_all_five_frosts_are_used_and_look_like_frost() -> None:
    black = torch.zeros(60, 3, 32, 32, dtype=torch.uint8)
    versions = corrupted(black, "frost", 5).float()
    red, _, blue = versions.mean((0, 2, 3))
    assert blue > red  # cold
    assert versions.std((1, 2, 3)).min() > 3  # structure in every part
    for small in (True, False):
        drawn = textures(small)
        assert len(drawn) == 5
        assert len({int(texture.sum()) for texture in drawn}) == 5
        assert all(min(texture.shape[1:]) > (32 if small else 224) for texture in drawn)


def test_photographs_in_place_of_drawn_frost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {}
    for number in range(5):
        path = tmp_path / f"frost{number}.png"
        Image.new("RGB", (200 + number, 190), (0, 0, 10 * number + 100)).save(path)
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(frost, "PHOTOGRAPHS", digests)
    black = torch.zeros(60, 3, 32, 32, dtype=torch.uint8)
    version = corrupt(black, "frost", 1, CounterDraws(range(60), "panes"), with_photographs(tmp_path))
    assert version[:, :2].max() == 0
    assert set(version[:, 2].unique().tolist()) == {int(0.2 * (10 * number + 100)) for number in range(5)}
    (tmp_path / "frost4.png").write_bytes(b"another")
    frost._photograph.cache_clear()
    with pytest.raises(OodbenchError, match="is not the public photograph"):
        corrupt(black, "frost", 1, CounterDraws(range(60), "panes"), with_photographs(tmp_path))
    with pytest.raises(OodbenchError, match="oodbench data fetch frost-photographs"):
        corrupt(black, "frost", 1, CounterDraws(range(60), "panes"), with_photographs(tmp_path / "none"))


def test_bad_input() -> None:
    images, draws = smooth(1, 32), CounterDraws([0], "bad")
    with pytest.raises(OodbenchError, match="did you mean 'fog'"):
        corrupt(images, "fogg", 1, draws)
    for severity in (0, 6):
        with pytest.raises(OodbenchError, match="choose one of 1, 2, 3, 4, 5"):
            corrupt(images, "fog", severity, draws)
    for wrong in (images.float() / 255, images[0], images[:, :1]):
        with pytest.raises(OodbenchError, match="8-bit RGB"):
            corrupt(wrong, "fog", 1, draws)


def test_a_corruption_that_changes_the_shape_is_refused() -> None:
    halving = replace(CORRUPTIONS["fog"], function=lambda pixels, draws, *constants: pixels[:, :, ::2])
    with pytest.raises(OodbenchError, match=r"shape \(1, 3, 16, 32\) of images of shape \(1, 3, 32, 32\)"):
        corrupt(smooth(1, 32), "fog", 1, CounterDraws([0], "shape"), {"fog": halving})


def test_large_images_have_constants_of_their_own() -> None:
    """Of ImageNet-C: five photons for a white pixel at severity 4, blocks of four pixels at severity 5."""
    photographs = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    counts = corrupted(photographs, "shot-noise", 4).unique().tolist()
    assert counts == [int(count / 5 * 255) for count in range(6)]
    blocks = corrupted(photographs, "pixelate", 5).unfold(2, 4, 4).unfold(3, 4, 4).flatten(-2)
    assert (blocks == blocks[..., :1]).all()
    assert (blocks[..., 0].diff(dim=3) != 0).double().mean() > 0.9
