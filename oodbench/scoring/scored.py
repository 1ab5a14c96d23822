"""The scores of an image set by a detector, and the refusal of values that are no scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.checks import Seen, conclude
from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcetext import METHODS
from oodbench.detector import Detector


@dataclass(frozen=True)
class Scored:
    """The outcome of scoring one image set by one detector.

    Attributes:
        scores: float64 (N,), higher = more in-distribution.
        predictions: int64 (N,), among the ID classes.
        extras: what the task recorded of each image, by name, arrays (N,).
        seconds: the detector's own work, without a pass that it shares.
        checks: measurements of the attack itself, by name.
        seen: what those that are made of some images saw of each, see `oodbench.attacks.checks.look_at`.
        images: uint8 (N, H, W, C), as they were scored after an attack; empty where they were not to be kept.
        digests: SHA-256 of each of them, kept or not, uint8 (N, 32); empty where nothing attacked.
        looks: images that the attack looked at, one gradient counting as one look.
    """

    scores: npt.NDArray[np.float64]
    predictions: npt.NDArray[np.int64]
    extras: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0
    checks: Mapping[str, float] = field(default_factory=dict)
    seen: Seen = field(default_factory=dict)
    images: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    digests: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    looks: int = 0

    @property
    def images_sha256(self) -> str:
        """`oodbench.images.imageset.images_digest` of the attacked images; "" where nothing attacked."""
        return sha256(self.digests.tobytes()).hexdigest() if self.digests.size else ""


def join_parts(parts: Sequence[Scored]) -> Scored:
    """Join the outcomes of the parts of an image set, in their order.

    Checks are made of what was seen of the images of all parts; of one that does not say, the worst part's counts.
    """
    looked = [part.seen for part in parts if part.seen]
    seen = {name: np.concatenate([one[name] for one in looked]) for name in (looked[0] if looked else ())}
    names = dict.fromkeys(name for part in parts for name in part.checks)
    worst = {name: float(np.fmax.reduce([part.checks.get(name, np.nan) for part in parts])) for name in names}
    return Scored(
        scores=np.concatenate([part.scores for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
        extras={name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras},
        seconds=sum(part.seconds for part in parts),
        checks={**worst, **conclude(seen)},
        seen=seen,
        images=np.concatenate([part.images for part in parts]),
        digests=np.concatenate([part.digests for part in parts]),
        looks=sum(part.looks for part in parts),
    )


def require_scores(detector: Detector, scores: Tensor, count: int, image_set: str) -> Tensor:
    """Return `scores` as float64 (count,) on the CPU; OodbenchError names the detector if they are anything else."""
    _require_real(detector, scores, count, image_set)
    if scores.shape != (count,):
        raise OodbenchError(
            f"detector {detector.name!r} gave scores of shape {tuple(scores.shape)} for {count} images of "
            f"{image_set!r}: its score() must return one number an image"
        )
    broken = int((~torch.isfinite(scores)).sum())
    if broken:
        raise OodbenchError(
            f"detector {detector.name!r} gave NaN or infinity for {broken} of {count} images of "
            f"{image_set!r}: {_advice(detector)}; nothing was stored"
        )
    return scores.detach().double().cpu()


def _require_real(detector: Detector, scores: Any, count: int, image_set: str) -> None:
    """Raise OodbenchError unless `scores`, which a plugin may make of anything, are a tensor of real numbers."""
    if isinstance(scores, Tensor) and not scores.is_complex():
        return
    if isinstance(scores, Tensor):
        kind = f"{str(scores.dtype).removeprefix('torch.')} of shape {tuple(scores.shape)}"
    else:
        kind = "None" if scores is None else f"a result of the type {type(scores).__name__}"
    raise OodbenchError(
        f"detector {detector.name!r} gave {kind} for {count} images of {image_set!r}: its score() must return a tensor "
        "of one real number an image, (N,), higher = more in-distribution"
    )


def refuse_constant(detector: Detector, scores: npt.NDArray[np.float64], image_set: str) -> None:
    """Raise OodbenchError if `scores` are all equal: nothing can be told apart by them."""
    if len(scores) > 1 and (scores == scores[0]).all():
        raise OodbenchError(
            f"detector {detector.name!r} gave the same score {scores[0]:g} to all {len(scores)} images of "
            f"{image_set!r}: {_advice(detector)}; nothing was stored"
        )


def _advice(detector: Detector) -> str:
    """The advice for invalid scores: users can mend their own code, or choose other parameters of a built-in method."""
    if not type(detector).__module__.startswith(f"{METHODS}."):
        return "mend its score()"
    parameters = ", ".join(f"{name}={value}" for name, value in vars(detector.parameters).items())
    return (
        "the network's logits or features are beyond what it can take"
        + (f" with {parameters}: try other values with --set, or in Python in its Parameters" if parameters else "")
        + ", or its weights or normalisation are not those that it was trained with"
    )
