"""Image sets that come with the dependencies: no download, 32x32 RGB, the same on every call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from oodbench.basics.arrays import Pixels
from oodbench.images import drawing, samples
from oodbench.images.imageset import ImageSet

TRAIN_DIGITS = 1297
"""Of 1,797, drawn with a fixed seed. All writers are on both sides: OOD is what is tested here, not new hands."""

TEST_SIZE = 500
"""Images of each drawn OOD test set."""

NOISE_SIZE = 10_000
"""Images of each noise set of CIFAR's suites."""

TEST_LETTERS = "ACEFHJKLMNPRTUVWXY"
"""Capitals that are no digits in disguise (B, D, G, I, O, Q, S, Z are)."""

OUTLIER_GLYPHS = "#%&@*+=<>?!/{}[]~$^adehmnrtf"
"""Symbols, and small letters whose shape is neither a test capital's nor a digit's."""

DRAWN = "drawn by oodbench with fixed seeds"


@dataclass(frozen=True)
class Builtin:
    """A built-in set: one line about it, and the function that makes it under a name."""

    description: str
    make: Callable[[str], ImageSet]


def _digits(name: str, part: slice) -> ImageSet:
    levels, labels = samples.digits()
    chosen = np.random.default_rng(100).permutation(len(labels))[part]
    source = "scikit-learn load_digits (UCI optical recognition of handwritten digits, test part)"
    return ImageSet(name, drawing.enlarge(levels[chosen]), labels[chosen], source)


def _letters(name: str) -> ImageSet:
    generator = np.random.default_rng(101)
    labels = np.arange(TEST_SIZE) % len(TEST_LETTERS)
    pixels = drawing.glyphs([TEST_LETTERS[label] for label in labels], generator)
    return ImageSet(name, pixels, labels, f"{DRAWN}, Pillow's bundled font")


def _photo_patches(name: str) -> ImageSet:
    pixels = drawing.photo_patches("flower.jpg", TEST_SIZE, np.random.default_rng(102))
    return ImageSet(name, pixels, _unlabelled(TEST_SIZE), "scikit-learn sample image flower.jpg (CC BY 2.0)")


def _noise(draw: Callable[[int, np.random.Generator], Pixels], count: int, seed: int) -> Builtin:
    sentence = (draw.__doc__ or "").splitlines()[0].rstrip(".")
    return Builtin(
        f"{count:,} images of noise: {sentence[0].lower()}{sentence[1:]}",
        lambda name: ImageSet(name, draw(count, np.random.default_rng(seed)), _unlabelled(count), DRAWN),
    )


def _digits_outliers(name: str) -> ImageSet:
    """Mostly uninformative on purpose: glyphs, which resemble digits, are one image in ten."""
    generator = np.random.default_rng(201)
    kinds = [
        drawing.glyphs(list(generator.choice(list(OUTLIER_GLYPHS), 2000)), generator),
        drawing.photo_patches("china.jpg", 4000, generator),
        drawing.blobs(6000, generator),
        drawing.grey_noise(3000, generator),
        drawing.salt_and_pepper(2500, generator),
        drawing.stripes(2500, generator),
    ]
    labels = np.repeat(np.arange(len(kinds)), [len(kind) for kind in kinds])
    # Mining reads contiguous windows, so the order of the pool is part of what it is.
    order = generator.permutation(len(labels))
    return ImageSet(name, np.concatenate(kinds)[order], labels[order], f"{DRAWN}; scikit-learn sample image china.jpg")


def _unlabelled(count: int) -> "np.typing.NDArray[np.int64]":
    return np.full(count, -1, dtype=np.int64)


@cache
def make(name: str) -> ImageSet:
    """The built-in set called `name`, drawn once a process."""
    return BUILTINS[name].make(name)


BUILTINS: Mapping[str, Builtin] = {
    "digits-train": Builtin(
        f"handwritten digits, {TRAIN_DIGITS:,} to train on", lambda name: _digits(name, slice(TRAIN_DIGITS))
    ),
    "digits-test": Builtin("handwritten digits, the other 500", lambda name: _digits(name, slice(TRAIN_DIGITS, None))),
    "letters": Builtin("capitals drawn in the digits' resolution", _letters),
    "photo-patches": Builtin("patches of a photograph of a flower", _photo_patches),
    "smooth-noise": _noise(drawing.smooth_noise, TEST_SIZE, 103),
    "uniform-noise": _noise(drawing.uniform_noise, TEST_SIZE, 104),
    "smooth-noise-10k": _noise(drawing.smooth_noise, NOISE_SIZE, 105),
    "uniform-noise-10k": _noise(drawing.uniform_noise, NOISE_SIZE, 106),
    "gaussian-noise-10k": _noise(drawing.gaussian_noise, NOISE_SIZE, 107),
    "digits-outliers": Builtin(
        "20,000 glyphs, photograph patches, blobs and noises of other kinds than the test sets'", _digits_outliers
    ),
}
"""By the name that suites use."""
