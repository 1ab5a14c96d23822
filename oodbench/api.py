"""What notebooks call: a run, and the evaluation of a score that lives in somebody's own code."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import numpy.typing as npt
import pandas as pd
from torch import Tensor

from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.results import tables
from oodbench.running import sweep
from oodbench.running.config import RunConfig, prepared
from oodbench.running.request import choose_device
from oodbench.scoring.evaluating import Bench, asked_task, doubts, rows
from oodbench.scoring.side_effects import untouched
from oodbench.scoring.user_input import Score, as_detector, as_given, require_one_size
from oodbench.tasks import Task

Images = npt.NDArray[Any] | Tensor | Sequence[npt.NDArray[Any] | Tensor] | ImageSet
"""Images of one set: uint8 (N, H, W, 3), float (N, 3, H, W) in [0, 1], a list of such images, or an image set."""


P = ParamSpec("P")
T = TypeVar("T")


def _asked_as(described: Callable[P, RunConfig]) -> Callable[[Callable[[RunConfig], T]], Callable[P, T]]:
    """A function of a `RunConfig` as a function of what that is made of, which is named and explained there alone."""

    def made(function: Callable[[RunConfig], T]) -> Callable[P, T]:
        @wraps(function)
        def asked(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(described(*args, **kwargs))

        returned = signature(function).return_annotation
        asked.__signature__ = signature(described).replace(return_annotation=returned)  # type: ignore[attr-defined]
        asked.__doc__ = f"{function.__doc__}\n{_attributes(RunConfig)}"
        return asked

    return made


def _attributes(described: type) -> str:
    """The attributes of a class as its docstring explains them, as arguments."""
    text = described.__doc__ or ""
    return text[text.index("    Attributes:") :].replace("Attributes:", "Args:", 1)


@_asked_as(RunConfig)
def run(config: RunConfig) -> pd.DataFrame:
    """Train, attack and score detectors on suites, as `oodbench run` does; what is there already is not done again.

    Returns:
        A tidy frame of what was asked for, see `oodbench.load_results`.

    Raises:
        OodbenchError: something asked for is not there or not possible, or a detector failed; the others are done.
    """
    with prepared(config) as ready:
        heard = config.say if ready.team.leads else lambda _: None
        for said in sweep.not_pretrained(ready.planned):
            heard(said)
        if failures := ready.carry_out():
            raise OodbenchError("\n".join(failures))
        return ready.team.first(lambda: tables.tidy(sweep.cells(ready.planned), ready.registry))


def evaluate(
    score: Score | Detector,
    id_images: Images,
    ood_images: Images | Mapping[str, Images],
    *,
    attack: str | Task | None = None,
    epsilon: int | None = None,
    convention: str = "default",
    intervals: bool = False,
    device: str = "cpu",
    seed: int = 1,
) -> pd.DataFrame:
    """How well a score tells ID images from OOD images, and whether it still does when the latter are attacked.

    Nothing is stored. The score is any function; gradients help an attack and are not needed for "linf-adaptive".
    Whatever a task does in a run it does here, with the same draws: a fitted detector gets the numbers that `oodbench
    run` would store. An attack sees images and the score, no labels. A Python warning says what a table would flag.

    Args:
        score: a function of images, see `oodbench.scoring.user_input.Score`, or a fitted detector. An object with the
            methods `surrogates`, `targets` or `published_objective` of a detector is attacked through these, too.
        id_images: uint8 (N, H, W, 3), or float (N, 3, H, W) in [0, 1], or an `ImageSet`.
        ood_images: the same, or several sets by name.
        attack: a kind of `oodbench list tasks`, such as "linf-adaptive" or "corruption", or a task made of one.
            "certified" bounds the score instead, where a detector knows bounds.
        epsilon: radius of the ball in whole levels of 1/255, where `attack` names a kind that has one.
        convention: of the metrics: "default", "published" or "openood".
        intervals: give 95 % intervals over images, see `oodbench.statistics.intervals`.
        device: where images are put before `score` sees them.
        seed: of attacks and corruptions.

    Returns:
        One row a (task, OOD set, metric): task, ood, metric, value, low, high, n_id, n_ood, convention, epsilon,
        threat (the task in words), looks, retired and hidden (see `load_results`), and what
        `oodbench.statistics.honesty.FLAGS` measures. The task is "clean", or what `attack` is called.

    Raises:
        OodbenchError: images or scores of another kind, images of several sizes, a network in train mode, an unknown
            attack or convention, something that cannot be done with this score, or nothing to climb.
    """
    where = choose_device(device)
    task = asked_task(attack, epsilon)
    detector = as_detector(score, where)
    id_given = as_given(id_images, "id_images", "id")
    sets = [as_given(images, f"ood_images {name!r}", name) for name, images in _named(ood_images).items()]
    require_one_size([id_given, *sets])
    with untouched(score):
        measured = list(Bench(detector, seed, where).measured(id_given, sets, task))
    frame = pd.DataFrame([row for found in measured for row in rows(found, detector, convention, intervals)])
    for text in doubts(frame):
        warnings.warn(text, OodbenchWarning, stacklevel=2)
    return frame


def _named(ood_images: Images | Mapping[str, Images]) -> Mapping[str, Images]:
    """OOD sets by name."""
    if not isinstance(ood_images, Mapping):
        return {ood_images.name if isinstance(ood_images, ImageSet) else "ood": ood_images}
    if not ood_images or not all(isinstance(name, str) and name for name in ood_images):
        raise OodbenchError(
            f"ood_images has the names {list(ood_images)}: give one set or more, each by a name in words"
        )
    return ood_images
