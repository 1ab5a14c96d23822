"""Turns images and scores that come from users' own code into the harness's own types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network, Representation
from oodbench.scoring.attacking import OFF_GRID

INTO_SCORE = "belongs into the score"
"""The advice on normalisation for users who give a score of their own."""

EXPECTED = "give uint8 (N, H, W, 3), or float (N, 3, H, W) in [0, 1]"


class Score(Protocol):
    """A function from images, float (N, 3, H, W) in [0, 1], to scores (N,), a tensor or an array.

    Higher = more in-distribution.
    """

    def __call__(self, images: Tensor, /) -> Any:
        """Scores of some images."""


@dataclass(frozen=True)
class Given:
    """Images that a user gave.

    Attributes:
        images: on the 8-bit grid.
        floats: the same as given, float32 (N, 3, H, W) in [0, 1], where they do not lie on the grid; else None.
        called: the caller's name for the set, where that is not its own name.
    """

    images: ImageSet
    floats: Tensor | None = None
    called: str = ""

    @property
    def name(self) -> str:
        """The name of the set in figures."""
        return self.called or self.images.name


def as_given(images: Any, what: str, name: str, normalisation: str = INTO_SCORE) -> Given:
    """Turn the images of one set, whatever holds them, into a `Given`.

    Args:
        images: an `ImageSet`; uint8 (N, H, W, 3) or float (N, 3, H, W) in [0, 1], as a tensor, an array or a list of
            such images.
        what: name of the images in messages.
        name: of the set in figures; the random draws of an `ImageSet` depend on its own name.
        normalisation: the end of the message for images that were normalised already.

    Raises:
        OodbenchError: they are of another kind, empty, or outside [0, 1].
    """
    if isinstance(images, ImageSet):
        if not len(images):
            raise OodbenchError(f"{what}: the set {images.name!r} is empty")
        return Given(images, called=name)
    pixels = _as_tensor(images, what)
    if pixels.ndim == 4 and 1 in (pixels.shape[1], pixels.shape[3]) and len(pixels):
        raise OodbenchError(
            f"{what} are {pixels.dtype} {tuple(pixels.shape)}, with one channel: {EXPECTED}; repeat a grey channel "
            "three times, and let the score take one of them"
        )
    if pixels.dtype == torch.uint8 and pixels.ndim == 4 and pixels.shape[3] == 3 and pixels.numel():
        return Given(_as_set(pixels, name))
    if pixels.is_floating_point() and pixels.ndim == 4 and pixels.shape[1] == 3 and pixels.numel():
        if not pixels.isfinite().all():
            raise OodbenchError(f"{what} hold values that are no numbers (NaN or infinite): give images in [0, 1]")
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise OodbenchError(f"{what} leave [0, 1]: give them before normalisation, which {normalisation}")
        levels = pixels.float() * 255
        rounded = levels.round()
        on_grid = bool((levels - rounded).abs().max() <= OFF_GRID)
        images_on_grid = _as_set(rounded.to(torch.uint8).permute(0, 2, 3, 1).contiguous(), name)
        return Given(images_on_grid, None if on_grid else pixels.float())
    raise OodbenchError(f"{what} are {pixels.dtype} {tuple(pixels.shape)}: {EXPECTED}")


def _as_set(pixels: Tensor, name: str) -> ImageSet:
    return ImageSet(name, pixels.numpy(), np.full(len(pixels), -1), "given by the caller")


def _as_tensor(images: Any, what: str) -> Tensor:
    """Images as a tensor on the CPU without a gradient; type and shape are not yet checked."""
    if isinstance(images, Tensor):
        return images.detach().cpu()
    if isinstance(images, list | tuple) and images and all(isinstance(image, Tensor) for image in images):
        images = [image.detach().cpu().numpy() for image in images if isinstance(image, Tensor)]
    if isinstance(images, Mapping | str | bytes) or not (
        isinstance(images, list | tuple) or hasattr(images, "__array__") or hasattr(images, "__array_interface__")
    ):
        raise OodbenchError(
            f"{what} is {_description(images)}: {EXPECTED}; of a DataLoader, "
            "torch.cat([batch[0] for batch in loader]), of a Dataset, torch.stack([one[0] for one in dataset])"
        )
    try:
        array = np.asarray(images)
        if array.dtype == object:
            raise ValueError("no array of numbers comes of them")
        return torch.from_numpy(np.array(array))
    except (ValueError, TypeError, RuntimeError) as error:
        raise OodbenchError(
            f"{what} make no array of images ({error}): {EXPECTED}, all of one size and as numbers"
        ) from error


def _description(value: Any) -> str:
    """A value of a wrong type in words."""
    if value is None:
        return "None"
    if isinstance(value, str | int | float):
        return f"{type(value).__name__} {str(value)!r:.60}"
    return f"of the type {type(value).__module__}.{type(value).__name__}"


def require_one_size(sets: Sequence[Given]) -> None:
    """Raise OodbenchError unless all images have one height and width: else their size would tell ID from OOD."""
    sizes = {(height, width) for _, height, width, _ in (given.images.images.shape for given in sets)}
    if len(sizes) > 1:
        named = ", ".join(
            f"{given.images.name!r} {given.images.images.shape[1]} x {given.images.images.shape[2]}" for given in sets
        )
        raise OodbenchError(
            f"images are of different sizes ({named}), which alone would tell ID from OOD: bring them to one size first"
        )


class _NoNetwork(Network):
    """Takes the place of a detector's network where nothing is known of the network behind a given score."""

    def represent(self, images: Tensor) -> Representation:
        """An empty representation."""
        return Representation(images.new_empty(len(images), 0), images.new_empty(len(images), 0), ())


class GivenScore(Detector):
    """A score that is defined in a user's own code.

    An object, or the object of a bound method, may have `published_objective(images)`, `surrogates()` and
    `targets(images)` as detectors have, and is then attacked through these, too.

    Args:
        score: see `Score`; or an object whose `score` it is.
    """

    name = "score"
    paper = ""

    def __init__(self, score: Any) -> None:
        super().__init__()
        if not callable(score) and not callable(getattr(score, "score", None)):
            raise OodbenchError(
                f"score is {_description(score)}: give a function of images, float (N, 3, H, W) in [0, 1], or a "
                "fitted detector"
            )
        self._function = score if callable(score) else score.score
        self._owner = getattr(self._function, "__self__", self._function)
        self._called = getattr(self._function, "__name__", type(score).__name__)
        self.attach(_NoNetwork(), 0)

    def score(self, images: Tensor) -> Tensor:
        """The scores (N,) that the function gives; those of an array have no gradient."""
        return self._scores(self._function, images)

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible: a given score takes images."""
        raise TypeError("a given score takes images")

    def predict(self, representation: Representation) -> Tensor:
        """Class 0 for each image: nothing is known of classes."""
        return torch.zeros(len(representation.logits), dtype=torch.int64)

    def published_objective(self, images: Tensor) -> Tensor:
        """The object's own `published_objective`, else the score."""
        own = self._owner_method("published_objective")
        return self._scores(own, images) if own else self.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The object's own surrogates, if it has any."""
        own = self._owner_method("surrogates")
        return {name: partial(self._scores, function) for name, function in own().items()} if own else {}

    def targets(self, images: Tensor) -> Tensor:
        """The object's own targets, if it has any."""
        own = self._owner_method("targets")
        return self._call(own, images) if own else super().targets(images)

    def _owner_method(self, name: str) -> Any:
        """A method of the object; None where it has none of this name."""
        method = getattr(self._owner, name, None)
        return method if callable(method) else None

    def _scores(self, function: Any, images: Tensor) -> Tensor:
        return as_scores(self._call(function, images), len(images))

    def _call(self, function: Any, images: Tensor) -> Any:
        """Call a function on images; OodbenchError with the name of the score where it fails."""
        try:
            return function(images.clone())  # a copy, since a score may work in place
        except (OodbenchError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise OodbenchError(
                f"the score {self._called!r} failed on {len(images)} images, float32 (N, 3, {images.shape[2]}, "
                f"{images.shape[3]}) on {images.device}: {type(error).__name__}: {error}"
            ) from error


def as_detector(score: Any, device: torch.device) -> Detector:
    """Turn a score into a detector: the fitted detector that it belongs to, or a `GivenScore`.

    Args:
        score: see `Score`; a fitted detector, or the method `score` of one.
        device: where images will be.

    Raises:
        OodbenchError: it is neither, or a detector that is not fitted or has its network on another device.
    """
    owner = getattr(score, "__self__", None)
    detector = owner if isinstance(owner, Detector) and score.__name__ == "score" else score
    if isinstance(detector, type) and issubclass(detector, Detector):
        raise OodbenchError(
            f"score is the class {detector.__name__}: make one and fit it, with oodbench.scoring.fitting.fit"
        )
    if not isinstance(detector, Detector):
        return GivenScore(detector)
    try:
        network = detector.network
    except RuntimeError as error:
        raise OodbenchError(f"{detector.name!r} is not fitted yet: do so with oodbench.scoring.fitting.fit") from error
    for weights in network.parameters():
        if weights.device.type != device.type:
            raise OodbenchError(
                f"the network of {detector.name!r} is on {weights.device} and images would be on {device}: "
                f"say device={weights.device.type!r}"
            )
    return detector


def as_scores(values: Any, count: int) -> Tensor:
    """Turn the values that a score gave for `count` images into a tensor (count,); a column (count, 1) is allowed.

    Raises:
        OodbenchError: they are not one number an image.
    """
    wanted = "it must give one number an image, (N,), higher = more in-distribution"
    if isinstance(values, list) and values and all(isinstance(value, Tensor) for value in values):
        values = torch.stack(values) if len({value.shape for value in values}) == 1 else tuple(values)
    if not isinstance(values, Tensor):
        if values is None or isinstance(values, tuple | Mapping | str):
            raise OodbenchError(f"the score gave a {type(values).__name__} for {count} images: {wanted}")
        try:
            values = torch.as_tensor(np.asarray(values))
        except (ValueError, TypeError, RuntimeError) as error:
            raise OodbenchError(f"the score gave a {type(values).__name__} for {count} images: {wanted}") from error
    scores: Tensor = values[:, 0] if values.shape == (count, 1) else values
    if scores.shape != (count,) or scores.is_complex():
        raise OodbenchError(
            f"the score gave {str(scores.dtype).removeprefix('torch.')} of shape {tuple(scores.shape)} for {count} "
            f"images: {wanted}"
        )
    return scores if scores.is_floating_point() else scores.double()
