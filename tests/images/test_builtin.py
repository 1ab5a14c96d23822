"""Built-in sets: what they hold, that they repeat, and that no two share an image."""

import sys
from itertools import combinations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_image

from oodbench.images import drawing, samples
from oodbench.images.builtin import BUILTINS, OUTLIER_GLYPHS, TEST_LETTERS


@pytest.fixture(scope="module")
def sets():
    return {name: builtin.make(name) for name, builtin in BUILTINS.items()}


@pytest.mark.parametrize("name", BUILTINS)
def test_shape_and_repetition(sets, name):
    images = sets[name]
    assert images.images.dtype == np.uint8
    assert images.images.shape == (len(images.labels), 32, 32, 3)
    assert images.labels.dtype == np.int64
    assert images.source
    if len(images) <= 2000:  # the parts of the large ones repeat, see below
        assert BUILTINS[name].make(name).fingerprint == images.fingerprint


@pytest.mark.parametrize(
    "draw",
    [
        drawing.blobs,
        drawing.gaussian_noise,
        drawing.grey_noise,
        drawing.salt_and_pepper,
        drawing.smooth_noise,
        drawing.stripes,
        drawing.uniform_noise,
    ],
)
def test_outliers_follow_their_generator(draw):
    one, again, other = (draw(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any((1, 2, 3)).all()


def test_digits_are_all_of_scikit_learns_and_in_one_split_only(sets):
    train, test = sets["digits-train"], sets["digits-test"]
    assert (len(train), len(test)) == (1297, 500)
    digits = load_digits()
    originals = dict(zip(map(bytes, drawing.enlarge(digits.images)), digits.target.tolist(), strict=True))
    seen = [pair for part in (train, test) for pair in zip(map(bytes, part.images), part.labels.tolist(), strict=True)]
    assert len(seen) == 1797
    assert dict(seen) == originals


@pytest.mark.parametrize("kept", ["where it is known to be", "elsewhere"])
def test_what_scikit_learn_ships_is_read_to_the_same_pixels(monkeypatch, kept):
    if kept == "elsewhere":
        monkeypatch.setattr(samples, "find_spec", lambda name: None)
    digits = load_digits()
    levels, labels = samples.digits()
    np.testing.assert_array_equal(levels, digits.images)
    np.testing.assert_array_equal(labels, digits.target)
    for name in ("china.jpg", "flower.jpg"):
        np.testing.assert_array_equal(np.asarray(samples.photograph(name)), load_sample_image(name))


def test_digits_and_photographs_are_read_without_importing_what_ships_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # whoever imports it meets an error
    assert len(samples.digits()[1]) == 1797
    assert samples.photograph("flower.jpg").mode == "RGB"


def test_enlarging_keeps_levels_and_places():
    small = np.zeros((1, 8, 8))
    small[0, 2, 5] = 16
    large = drawing.enlarge(small)[0]
    assert (large[..., 0] == large[..., 1]).all()
    assert (large[..., 0] == large[..., 2]).all()
    # Four times as large: row 2 becomes rows 8 to 11, column 5 columns 20 to 23; bilinear peaks in the middle.
    peak = np.argwhere(large[..., 0] == large.max())
    assert peak.min(0).tolist() == [9, 21]
    assert peak.max(0).tolist() == [10, 22]
    assert (drawing.enlarge(np.full((1, 8, 8), 16.0)) == 255).all()


def test_no_image_is_in_two_sets(sets):
    pixels = {name: {image.tobytes() for image in images.images} for name, images in sets.items()}
    for one, other in combinations(sets, 2):
        assert not pixels[one] & pixels[other], (one, other)


def test_no_test_letter_is_an_outlier_and_none_is_a_digit():
    assert not set(TEST_LETTERS) & set(OUTLIER_GLYPHS)
    assert not set(TEST_LETTERS + OUTLIER_GLYPHS) & set("0123456789BDGIOQSZ")


def test_letters_resemble_digits_in_all_but_shape(sets):
    letters, digits = sets["letters"].images[..., 0] / 255, sets["digits-test"].images[..., 0] / 255
    # Near OOD: ink and brightness must not give them away.
    assert abs(letters.mean() - digits.mean()) < 0.1
    assert letters.max() == digits.max() == 1
    assert sorted(set(sets["letters"].labels)) == list(range(len(TEST_LETTERS)))


def test_most_outliers_are_uninformative_and_mixed(sets):
    kinds = sets["digits-outliers"].labels
    shares = np.bincount(kinds) / len(kinds)
    assert shares[0] == 0.1  # glyphs
    windows = kinds[:19_800].reshape(-1, 200)
    assert ((windows == 0).sum(1) > 0).all()


def test_noise_is_what_its_name_says(sets):
    uniform, smooth = (sets[name].images.astype(float) for name in ("uniform-noise", "smooth-noise"))
    assert abs(uniform.mean() - 127.5) < 0.5
    assert abs(np.corrcoef(uniform[:, :, 1:].ravel(), uniform[:, :, :-1].ravel())[0, 1]) < 0.01
    assert np.corrcoef(smooth[:, :, 1:].ravel(), smooth[:, :, :-1].ravel())[0, 1] > 0.5
    assert (smooth.min((1, 2, 3)) == 0).all()
    assert (smooth.max((1, 2, 3)) == 255).all()


def test_noise_for_cifar_is_of_ten_thousand_images(sets):
    noises = [sets[f"{name}-noise-10k"] for name in ("smooth", "uniform", "gaussian")]
    assert [len(noise) for noise in noises] == [10_000] * 3
    gaussian = noises[2].images
    # P(x <= 0) and P(x >= 1) for N(1/2, 1): 30.9 % each; rounding to 8 bits takes half a level more.
    assert abs((gaussian == 0).mean() - 0.3092) < 0.002
    assert abs((gaussian == 255).mean() - 0.3092) < 0.002
    assert abs(gaussian.mean() - 127.5) < 0.5
