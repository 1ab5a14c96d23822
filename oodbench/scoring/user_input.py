"""What people hand over from their own code, images and scores, as what the harness works with."""

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
"""Where the normalisation of images is to be, for those who hand over a score of their own."""

EXPECTED = "give uint8 (N, H, W, 3), or float (N, 3, H, W) in [0, 1]"


class Score(Protocol):
    """Images float (N, 3, H, W) in [0, 1] to scores (N,), higher = more in-distribution: a tensor or an array."""

    def __call__(self, images: Tensor, /) -> Any:
        """Scores of some images."""


@dataclass(frozen=True)
class Given:
    """Images as they were handed over.

    Attributes:
        images: on the 8-bit grid.
        floats: as they are, float32 (N, 3, H, W) in [0, 1], where the grid does not hold them; else None.
        called: by the caller, where that is not the set's own name.
    """

    images: ImageSet
    floats: Tensor | None = None
    called: str = ""

    @property
    def name(self) -> str:
        """What figures call it."""
        return self.called or self.images.name


def as_given(images: Any, what: str, name: str, normalisation: str = INTO_SCORE) -> Given:
    """Images of one set, whatever holds them.

    Args:
        images: an `ImageSet`; uint8 (N, H, W, 3) or float (N, 3, H, W) in [0, 1], as a tensor, an array or a list of
            such images.
        what: they are called in messages.
        name: of the set, as figures call it; what is random of an `ImageSet` goes by the name that it has itself.
        normalisation: what is said of it where images were normalised already.

    Raises:
        OodbenchError: something else.
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
        if not (pixels.isfinite().all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise OodbenchError(f"{what} leave [0, 1]: give them before normalisation, which {normalisation}")
        levels = pixels.float() * 255
        whole = levels.round()
        on_grid = bool((levels - whole).abs().max() <= OFF_GRID)
        images_on_grid = _as_set(whole.to(torch.uint8).permute(0, 2, 3, 1).contiguous(), name)
        return Given(images_on_grid, None if on_grid else pixels.float())
    raise OodbenchError(f"{what} are {pixels.dtype} {tuple(pixels.shape)}: {EXPECTED}")


def _as_set(pixels: Tensor, name: str) -> ImageSet:
    return ImageSet(name, pixels.numpy(), np.full(len(pixels), -1), "given by the caller")


def _as_tensor(images: Any, what: str) -> Tensor:
    """On the CPU and without a gradient; not yet looked at."""
    if isinstance(images, Tensor):
        return images.detach().cpu()
    if isinstance(images, list | tuple) and images and all(isinstance(one, Tensor) for one in images):
        images = [one.detach().cpu().numpy() for one in images if isinstance(one, Tensor)]
    if isinstance(images, Mapping | str | bytes) or not (
        isinstance(images, list | tuple) or hasattr(images, "__array__") or hasattr(images, "__array_interface__")
    ):
        raise OodbenchError(
            f"{what} is {_a(images)}: {EXPECTED}; of a DataLoader, torch.cat([batch[0] for batch in loader]), of a "
            "Dataset, torch.stack([one[0] for one in dataset])"
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


def _a(value: Any) -> str:
    """What somebody gave, in words."""
    return "None" if value is None else f"{type(value).__name__} {str(value)!r:.60}" if _short(value) else _kind(value)


def _short(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _kind(value: Any) -> str:
    return f"of the type {type(value).__module__}.{type(value).__name__}"


def require_one_size(sets: Sequence[Given]) -> None:
    """OodbenchError unless all images have one height and width: else their size alone would tell them apart."""
    sizes = {(height, width) for _, height, width, _ in (given.images.images.shape for given in sets)}
    if len(sizes) > 1:
        named = ", ".join(
            f"{given.images.name!r} {given.images.images.shape[1]} x {given.images.images.shape[2]}" for given in sets
        )
        raise OodbenchError(
            f"images are of different sizes ({named}), which alone would tell ID from OOD: bring them to one size first"
        )


class _NoNetwork(Network):
    """Stands where a detector has its network: nothing is known of what a given score is made of."""

    def represent(self, images: Tensor) -> Representation:
        """Nothing."""
        return Representation(images.new_empty(len(images), 0), images.new_empty(len(images), 0), ())


class GivenScore(Detector):
    """A score that lives in somebody's own code.

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
                f"score is {_a(score)}: give a function of images, float (N, 3, H, W) in [0, 1], or a fitted detector"
            )
        self._function = score if callable(score) else score.score
        self._owner = getattr(self._function, "__self__", self._function)
        self._called = getattr(self._function, "__name__", type(score).__name__)
        self.attach(_NoNetwork(), 0)

    def score(self, images: Tensor) -> Tensor:
        """What the function says, (N,), also where it gives an array, which has no gradient."""
        return self._asked(self._function, images)

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible: it sees images."""
        raise TypeError("a given score takes images")

    def predict(self, representation: Representation) -> Tensor:
        """Nothing is known of classes: 0."""
        return torch.zeros(len(representation.logits), dtype=torch.int64)

    def published_objective(self, images: Tensor) -> Tensor:
        """The object's own, else the score."""
        own = self._own("published_objective")
        return self._asked(own, images) if own else self.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The object's own, if it has any."""
        own = self._own("surrogates")
        return {name: partial(self._asked, function) for name, function in own().items()} if own else {}

    def targets(self, images: Tensor) -> Tensor:
        """The object's own, if it has any."""
        own = self._own("targets")
        return self._outcome(own, images) if own else super().targets(images)

    def _own(self, name: str) -> Any:
        found = getattr(self._owner, name, None)
        return found if callable(found) else None

    def _asked(self, function: Any, images: Tensor) -> Tensor:
        return one_an_image(self._outcome(function, images), len(images))

    def _outcome(self, function: Any, images: Tensor) -> Any:
        try:
            return function(images.clone())  # so that a score that works in place keeps its hands off the images
        except (OodbenchError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise OodbenchError(
                f"the score {self._called!r} failed on {len(images)} images, float32 (N, 3, {images.shape[2]}, "
                f"{images.shape[3]}) on {images.device}: {type(error).__name__}: {error}"
            ) from error


def as_detector(score: Any, device: torch.device) -> Detector:
    """A score as the harness works with it: the fitted detector that it is, or a `GivenScore`.

    Args:
        score: see `Score`; a fitted detector, or the method `score` of one.
        device: where images will be.

    Raises:
        OodbenchError: it is neither, or a detector that is not fitted or has its network elsewhere.
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


def one_an_image(found: Any, count: int) -> Tensor:
    """What a score gave for `count` images as a tensor (count,); a column (count, 1) counts as one.

    Raises:
        OodbenchError: it is no number an image.
    """
    wanted = "it must give one number an image, (N,), higher = more in-distribution"
    if isinstance(found, list) and found and all(isinstance(one, Tensor) for one in found):
        found = torch.stack(found) if len({one.shape for one in found}) == 1 else tuple(found)
    if not isinstance(found, Tensor):
        if found is None or isinstance(found, tuple | Mapping | str):
            raise OodbenchError(f"the score gave a {type(found).__name__} for {count} images: {wanted}")
        try:
            found = torch.as_tensor(np.asarray(found))
        except (ValueError, TypeError, RuntimeError) as error:
            raise OodbenchError(f"the score gave a {type(found).__name__} for {count} images: {wanted}") from error
    scores: Tensor = found[:, 0] if found.shape == (count, 1) else found
    if scores.shape != (count,) or scores.is_complex():
        raise OodbenchError(
            f"the score gave {str(scores.dtype).removeprefix('torch.')} of shape {tuple(scores.shape)} for {count} "
            f"images: {wanted}"
        )
    return scores if scores.is_floating_point() else scores.double()
