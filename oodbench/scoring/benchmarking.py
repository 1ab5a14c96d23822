"""Several detectors on somebody's network and images: each fitted, scored and attacked, with nothing stored."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.images.preprocessing import Preprocessing
from oodbench.images.resident import IDImages, resident
from oodbench.metrics import accuracy, right_predictions
from oodbench.networks.gradient import has_gradient
from oodbench.networks.network import Network, as_input
from oodbench.networks.of_module import ModuleNetwork
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.scoring.evaluating import Bench, rows
from oodbench.scoring.fitting import FittingImages, fit
from oodbench.scoring.other_outputs import TRIED, require_class_outputs, require_reject_outputs
from oodbench.scoring.user_input import Given, as_given
from oodbench.sources.handed import take_images
from oodbench.statistics import label_order
from oodbench.tasks import ID_TASK, Task

ALL = "all"
"""In place of names: every detector that needs no training of its own."""

Asked = str | Detector

Say = Callable[[str], None]

LeaveOut = Say
"""Told of each detector that cannot do it, and why."""


@dataclass(frozen=True)
class Learned:
    """Images that detectors may learn from; None where there are none.

    Attributes:
        train: ID images that the network was trained on, with labels.
        heldout: ID images that it was not trained on, for methods that tune themselves.
        outliers: OOD images that are no test images, for methods that tune themselves on these, too.
    """

    train: ImageSet | None = None
    heldout: ImageSet | None = None
    outliers: ImageSet | None = None

    def on(self, device: torch.device) -> FittingImages:
        """The same on the device."""

        def there(images: ImageSet | None) -> IDImages | None:
            return resident(images, device) if images is not None else None

        # Methods take the first ones, and a folder holds one kind behind the other.
        outliers = there(self.outliers.shuffled() if self.outliers is not None else None)
        return FittingImages(there(self.train), there(self.heldout), None, outliers.images if outliers else None)


def sample(images: Given, device: torch.device) -> torch.Tensor:
    """The first images of a set, float (n, 3, H, W) in [0, 1]."""
    if images.floats is not None:
        return images.floats[:TRIED].to(device)
    pixels = torch.from_numpy(images.images.pixels(slice(TRIED)).copy())
    return as_input(pixels.permute(0, 3, 1, 2).contiguous()).to(device)


def chosen(detectors: str | Detector | Sequence[Asked], registry: Registry) -> list[Detector]:
    """Detectors by name, or as they are made, each once.

    Raises:
        OodbenchError: there is none of that name, or none at all.
    """
    several = list(detectors) if isinstance(detectors, Iterable) and not isinstance(detectors, str) else [detectors]
    if not several:
        raise OodbenchError("there are no detectors: name some, or 'all'")
    for one in several:
        if not isinstance(one, str | Detector):
            raise OodbenchError(f"detectors hold {one!r}: give names, or detectors such as KNN(KNN.Parameters(k=5))")
    if ALL in several:
        every = [registry[name]() for name in registry.names()]
        return [one for one in every if one.objective() == Objective()]
    return [registry[one]() if isinstance(one, str) else one for one in dict.fromkeys(several)]


def fitted(
    detectors: Sequence[Detector],
    network: Network,
    classes: int,
    learned: Learned,
    tried: torch.Tensor,
    leave_out: LeaveOut | None,
) -> list[Detector]:
    """Those of `detectors` that can be fitted on `network`, fitted.

    Args:
        detectors: to be fitted.
        network: on the device.
        classes: of ID images, its first outputs.
        learned: what there is to learn from.
        tried: a few images, as the network takes them.
        leave_out: told of each detector that cannot be fitted, and why; None where that is an error.

    Raises:
        OodbenchError: a detector cannot be fitted.
    """
    shown = learned.on(tried.device)

    def fit_all(several: Sequence[Detector]) -> None:
        require_reject_outputs(several, network, classes, tried)
        fit(several, network, classes, shown)
        require_class_outputs(several, network, classes, tried)

    try:
        fit_all(detectors)
    except OodbenchError:
        if leave_out is None:
            raise
    else:
        return list(detectors)
    found = []
    for one in detectors:  # one that cannot must not keep the others from it
        try:
            fit_all([one])
        except OodbenchError as error:
            leave_out(f"{one.name} is left out: {error}")
        else:
            found.append(one)
    return found


def require_gradient(network: Network, images: torch.Tensor, task: Task) -> None:
    """OodbenchError for a task that climbs gradients, of a module that has none."""
    if task.climbs() and isinstance(network, ModuleNetwork) and not has_gradient(network, images):
        raise OodbenchError(
            f"{network.called} cannot be differentiated by its images, so {task.kind!r} has nothing to climb: leave "
            "attack out, or take torch.no_grad(), detach() and arrays out of its forward()"
        )


@dataclass(frozen=True)
class Setting:
    """What each fitted detector meets, and how figures are made of it.

    Attributes:
        id_images: of the network's classes.
        sets: of others.
        task: done to them.
        seed: of attacks and corruptions.
        device: where it runs.
        convention: of the metrics.
        intervals: over images, for each metric.
        classes: of ID images.
        say: told where labels hardly mean what the network's outputs mean.
    """

    id_images: Given
    sets: Sequence[Given]
    task: Task
    seed: int
    device: torch.device
    convention: str
    intervals: bool
    classes: int
    say: Say

    def frame(self, detector: Detector, called: str) -> pd.DataFrame:
        """What `oodbench.benchmark` says of one fitted detector, a metric a row, which name it as it is called.

        Raises:
            OodbenchError: the detector cannot score these images with its network, or not under the task.
        """
        return pd.DataFrame(list(self._rows(detector, called)))

    def _rows(self, detector: Detector, called: str) -> Iterator[dict[str, Any]]:
        labels, first = self.id_images.images.labels, {"detector": called}
        measured = Bench(detector, self.seed, self.device).measured(self.id_images, self.sets, self.task)
        for number, found in enumerate(measured):
            if number == 0 and (labels >= 0).any():
                right = accuracy(found.clean_id.predictions, labels)
                known = len(right_predictions(found.clean_id.predictions, labels))
                self._doubt_labels(found.clean_id.predictions)
                about = {"task": ID_TASK, "ood": "", "metric": "accuracy", "value": right, "n_id": known}
                yield {**first, **about, "n_ood": 0, "convention": self.convention, "epsilon": 0, "threat": ""}
            yield from ({**first, **row} for row in rows(found, detector, self.convention, self.intervals))

    def _doubt_labels(self, predictions: npt.NDArray[np.int64]) -> None:
        """A word where another order of the classes would be right, or predictions are guesses."""
        tested = self.id_images.images
        said = label_order.doubt(tested.labels, predictions, self.classes, tested.classes)
        if said:
            self.say(f"id_images: {said}")


def measured(detectors: Sequence[Detector], setting: Setting, leave_out: LeaveOut | None) -> list[pd.DataFrame]:
    """A frame for each of the fitted `detectors` that can score the images; arguments as `fitted` has them."""
    found = []
    for one, called in zip(detectors, _called(detectors), strict=True):
        try:
            found.append(setting.frame(one, called))
        except OodbenchError as error:
            if leave_out is None:
                raise
            leave_out(f"{called} is left out: {error}")
    return found


def _called(detectors: Sequence[Detector]) -> list[str]:
    """Their names, with the parameters in which one differs from others of its name."""
    names = []
    for one in detectors:
        own = asdict(one.parameters)
        others = [asdict(other.parameters) for other in detectors if other.name == one.name]
        differing = [f"{key}={value}" for key, value in own.items() if any(each[key] != value for each in others)]
        names.append(f"{one.name} ({', '.join(differing)})" if differing else one.name)
    return names


def taken(images: Any, what: str, name: str, preprocessing: Preprocessing | None, labelled: bool = True) -> Given:
    """Images of one set, whatever holds them, with what is in them if somebody said; arguments as `handed` has them.

    Raises:
        OodbenchError: they are of another kind.
    """
    if not isinstance(preprocessing, Preprocessing | None):
        raise OodbenchError(
            f"preprocessing is {preprocessing!r}: give a Preprocessing of oodbench.images.preprocessing, which says "
            "how image files become the network's input"
        )
    found = take_images(images, what, name, preprocessing, labelled)
    given = as_given(found.images, what, name, "mean= and std= say")
    if preprocessing and found.numbers:
        warnings.warn(
            f"{what} came as tensors or arrays, so preprocessing ({preprocessing}) is not applied to them, only to "
            "image files and Pillow images: give these, or be sure that the same was done to what you give",
            OodbenchWarning,
            stacklevel=2,
        )
    if found.labels is None:
        return given
    return replace(given, images=replace(given.images, labels=np.asarray(found.labels, np.int64)))
