"""Fits, scores and attacks several detectors on a user's network and images; nothing is stored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
from oodbench.detector import Detector
from oodbench.metrics import accuracy, right_predictions
from oodbench.networks.gradient import has_gradient
from oodbench.networks.network import MissingPartError
from oodbench.networks.of_module import ModuleNetwork
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.scoring.evaluating import Bench, flag_warnings, metric_rows
from oodbench.scoring.fitting import fit
from oodbench.scoring.on_module import BenchmarkConfig
from oodbench.scoring.other_outputs import require_class_outputs, require_reject_outputs
from oodbench.scoring.prepared_network import PreparedNetwork
from oodbench.scoring.side_effects import keep_networks_unchanged
from oodbench.scoring.user_input import Given
from oodbench.statistics import label_order
from oodbench.tasks import ID_TASK, Task

ALL = "all"
"""In place of names: every detector that needs no training of its own."""


def select_detectors(detectors: str | Detector | Sequence[str | Detector], registry: Registry) -> list[Detector]:
    """The detectors that a caller names or gives, each once.

    Raises:
        OodbenchError: none was named, or one is not known.
    """
    several = list(detectors) if isinstance(detectors, Iterable) and not isinstance(detectors, str) else [detectors]
    if not several:
        raise OodbenchError("there are no detectors: name some, or 'all'")
    for detector in several:
        if not isinstance(detector, str | Detector):
            raise OodbenchError(
                f"detectors hold {detector!r}: give names, or detectors such as KNN(KNN.Parameters(k=5))"
            )
    if ALL in several:
        registered = [registry[name]() for name in registry.names()]
        return [detector for detector in registered if detector.objective() == Objective()]
    return [registry[item]() if isinstance(item, str) else item for item in dict.fromkeys(several)]


def require_gradient(prepared: PreparedNetwork, task: Task) -> None:
    """Raise OodbenchError for a task that climbs gradients on a module that has none."""
    network = prepared.network
    if task.climbs() and isinstance(network, ModuleNetwork) and not has_gradient(network, prepared.trial_images):
        raise OodbenchError(
            f"{network.called} cannot be differentiated by its images, so {task.kind!r} has nothing to climb: leave "
            "attack out, or take torch.no_grad(), detach() and arrays out of its forward()"
        )


@dataclass(frozen=True)
class BenchmarkInput:
    """The input that all detectors of a benchmark share.

    Attributes:
        prepared: the network and the images to learn from.
        id_images: test images of the network's classes.
        ood_sets: test images of other classes.
        task: under which the OOD images are scored.
        config: of seed, convention and intervals.
    """

    prepared: PreparedNetwork
    id_images: Given
    ood_sets: Sequence[Given]
    task: Task
    config: BenchmarkConfig


@dataclass(frozen=True)
class BenchmarkResult:
    """The outcome of a benchmark.

    Attributes:
        frames: the rows of each detector that could be scored.
        left_out: a sentence for each other one.
        warnings: sentences on the images and on flagged figures.
    """

    frames: list[pd.DataFrame]
    left_out: list[str]
    warnings: list[str]


def benchmark_detectors(detectors: Sequence[Detector], given: BenchmarkInput) -> BenchmarkResult:
    """Fit each detector on the network, and score and attack the images.

    Raises:
        OodbenchError: a detector that was named cannot be fitted or cannot score the images; of `ALL` it is left out.
    """
    left_out: list[str] = []
    leave_out = left_out.append if given.config.detectors == ALL else None
    with keep_networks_unchanged(given.prepared.network):
        warnings = given.prepared.warnings()
        fitted = _fit_detectors(detectors, given.prepared, leave_out)
        frames = _score_detectors(fitted, given, leave_out, warnings.append)
    for frame in frames:
        name = frame["detector"].iloc[0]
        warnings += [f"{name}: {text}" for text in flag_warnings(frame[frame["metric"] != "accuracy"])]
    return BenchmarkResult(frames, left_out, warnings)


def _fit_detectors(detectors: Sequence[Detector], prepared: PreparedNetwork, leave_out: Say | None) -> list[Detector]:
    """Fit `detectors`; those that could be fitted.

    Args:
        detectors: to be fitted.
        prepared: the network and the images to learn from.
        leave_out: told of each detector that cannot be fitted, and why; None where that is an error.

    Raises:
        OodbenchError: a detector cannot be fitted.
    """
    network, classes, trial_images = prepared.network, prepared.classes, prepared.trial_images
    shown = prepared.learning.on(prepared.device)

    def fit_all(several: Sequence[Detector]) -> None:
        require_reject_outputs(several, network, classes, trial_images)
        fit(several, network, classes, shown)
        require_class_outputs(several, network, classes, trial_images)

    try:
        fit_all(detectors)
    except OodbenchError:
        if leave_out is None:
            raise
    else:
        return list(detectors)
    fitted = []
    for detector in detectors:  # one by one, so that the others are fitted where one cannot be
        try:
            fit_all([detector])
        except OodbenchError as error:
            leave_out(f"{detector.name} is left out: {error}")
        else:
            fitted.append(detector)
    return fitted


def _score_detectors(
    detectors: Sequence[Detector], given: BenchmarkInput, leave_out: Say | None, warn: Say
) -> list[pd.DataFrame]:
    """Make the frame of each fitted detector that can score the images, a row for each metric.

    Args:
        detectors: fitted.
        given: what they meet.
        leave_out: as in `_fit_detectors`.
        warn: told where labels hardly are the network's classes.
    """
    frames = []
    for detector, name in zip(detectors, _distinct_names(detectors), strict=True):
        try:
            frames.append(pd.DataFrame([{"detector": name, **row} for row in _detector_rows(detector, given, warn)]))
        except OodbenchError as error:
            if leave_out is not None:
                leave_out(f"{name} is left out: {error}")
            elif isinstance(error, MissingPartError):
                raise error.of(name) from error
            else:
                raise
    return frames


def _detector_rows(detector: Detector, given: BenchmarkInput, warn: Say) -> Iterator[dict[str, Any]]:
    """Yield the rows of one fitted detector: the network's accuracy if there are labels, then each metric.

    Raises:
        OodbenchError: the detector cannot score these images with its network, or not under the task.
    """
    config, labels = given.config, given.id_images.images.labels
    bench = Bench(detector, config.seed, given.prepared.device)
    for number, measured in enumerate(bench.measure(given.id_images, given.ood_sets, given.task)):
        if number == 0 and (labels >= 0).any():
            predictions = measured.clean_id.predictions
            known = len(right_predictions(predictions, labels))
            right = accuracy(predictions, labels)
            _doubt_labels(predictions, given, warn)
            row = {"task": ID_TASK, "ood": "", "metric": "accuracy", "value": right, "n_id": known}
            yield {**row, "n_ood": 0, "convention": config.convention, "epsilon": 0, "threat": ""}
        yield from metric_rows(measured, detector, config.convention, config.intervals)


def _doubt_labels(predictions: npt.NDArray[np.int64], given: BenchmarkInput, warn: Say) -> None:
    """Warn where another order of the classes would be right, or predictions are guesses."""
    images = given.id_images.images
    doubt = label_order.doubt(images.labels, predictions, given.prepared.classes, images.classes)
    if doubt:
        warn(f"id_images: {doubt}")


def _distinct_names(detectors: Sequence[Detector]) -> list[str]:
    """The detectors' names, with the parameters in which one differs from others of its name."""
    names = []
    for detector in detectors:
        own = asdict(detector.parameters)
        others = [asdict(other.parameters) for other in detectors if other.name == detector.name]
        differing = [f"{key}={value}" for key, value in own.items() if any(other[key] != value for other in others)]
        names.append(f"{detector.name} ({', '.join(differing)})" if differing else detector.name)
    return names
