"""The functions that Python programs call: a run, the evaluation of a user's own score, a benchmark, a fit."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy.typing as npt
import pandas as pd
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.registry import discover
from oodbench.running import sweep
from oodbench.running.config import RunConfig
from oodbench.running.prepared import prepared
from oodbench.running.request import choose_device
from oodbench.scoring import benchmarking, deploying, detectorfile
from oodbench.scoring.benchmarking import BenchmarkInput
from oodbench.scoring.deployed import DeployedDetector
from oodbench.scoring.evaluating import Bench, flag_warnings, metric_rows, requested_task
from oodbench.scoring.on_module import BenchmarkConfig, FitConfig
from oodbench.scoring.prepared_network import prepare_network
from oodbench.scoring.side_effects import keep_networks_unchanged
from oodbench.scoring.user_input import Given, Score, as_detector, as_given, require_one_size
from oodbench.tasks import Task

Images = npt.NDArray[Any] | Tensor | Sequence[npt.NDArray[Any] | Tensor] | ImageSet
"""Images of one set: uint8 (N, H, W, 3), float (N, 3, H, W) in [0, 1], a list of such images, or an image set."""


P = ParamSpec("P")
C = TypeVar("C")
T = TypeVar("T")

CALLER = 3
"""Stack frames from a function below `_with_fields_of` up to its caller, for warnings."""

_ATTRIBUTES = "\nAttributes:"
"""The heading of the attributes in the docstring of a class."""


def _with_fields_of(config_class: Callable[P, C]) -> Callable[[Callable[[C], T]], Callable[P, T]]:
    """Turn a function of one configuration into a function of its fields, which are documented in that class alone."""

    def decorate(function: Callable[[C], T]) -> Callable[P, T]:
        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(config_class(*args, **kwargs))

        returned = signature(function).return_annotation
        called.__signature__ = signature(config_class).replace(return_annotation=returned)  # type: ignore[attr-defined]
        called.__doc__ = f"{cleandoc(function.__doc__ or '')}\n\n{_args_section(config_class)}"
        return called

    return decorate


def _args_section(config_class: Any) -> str:
    """The attributes in the docstrings of a class and of its bases, as the arguments of a function."""
    # From Python 3.13 on docstrings come without the indentation that they are written with.
    texts = [cleandoc(str(vars(base).get("__doc__"))) for base in config_class.__mro__ if base is not object]
    parts = [text.partition(_ATTRIBUTES)[2].rstrip() for text in texts]
    return "".join(["Args:", *parts, "\n"])


@_with_fields_of(RunConfig)
def run(config: RunConfig) -> pd.DataFrame:
    """Train, attack and score detectors on suites, as `oodbench run` does; what is there already is not done again.

    Returns:
        A tidy frame of what was asked for, see `oodbench.load_results`.

    Raises:
        OodbenchError: something asked for is not there or not possible, or a detector failed; the others are done.
    """
    with prepared(config) as ready:
        say = config.say if ready.team.leads else lambda _: None
        notes = [ready.shard, *sweep.not_pretrained(ready.run_plan), *sweep.of_logits_alone(ready.run_plan)]
        for text in filter(None, notes):
            say(text)
        failures = ready.carry_out()
        try:
            for text in ready.log():
                say(text)
        except OodbenchError as error:
            failures.append(str(error))
        if failures:
            raise OodbenchError("\n".join(failures))
        return ready.team.first(lambda: sweep.frame(ready.run_plan, ready.registry))


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
        OodbenchError: images or scores of another kind, images of several sizes, batch norm in train mode, an unknown
            attack or convention, something that cannot be done with this score, or nothing to climb.
    """
    torch_device = choose_device(device)
    task = requested_task(attack, epsilon)
    detector = as_detector(score, torch_device)
    id_given = as_given(id_images, "id_images", "id")
    sets = [as_given(images, f"ood_images {name!r}", name) for name, images in _sets_by_name(ood_images).items()]
    require_one_size([id_given, *sets])
    with keep_networks_unchanged(score):
        measured = list(Bench(detector, seed, torch_device).measure(id_given, sets, task))
    rows = [row for scores in measured for row in metric_rows(scores, detector, convention, intervals)]
    frame = pd.DataFrame(rows)
    for text in flag_warnings(frame):
        warnings.warn(text, OodbenchWarning, stacklevel=2)
    return frame


@_with_fields_of(BenchmarkConfig)
def benchmark(config: BenchmarkConfig) -> pd.DataFrame:
    """Detectors on a network of one's own: how well each tells ID images from OOD images, as they are and attacked.

    Nothing is stored. Images are in [0, 1] or in 8 bits, before any normalisation, which is said here once: uint8
    (N, H, W, 3), float (N, 3, H, W), an `ImageSet`, a folder or archive of image files, a torch Dataset or DataLoader.
    A pair (images, labels) says what is in them, and so do folders that are classes, Datasets and DataLoaders.

    Returns:
        The rows of `evaluate` for each detector, named in the column "detector" in front. Where ID images have labels
        there is the network's accuracy as well (metric "accuracy", task "id"). A warning says of these and of the
        images to learn from where accuracy is no better than guessing, or labels in another order would be right.

    Raises:
        OodbenchError: something of another kind, a network that cannot be used, or a detector that was named and cannot
            be fitted; see `evaluate` and `ModuleNetwork`.
    """
    device, task = choose_device(config.device), requested_task(config.attack, config.epsilon)
    detectors = benchmarking.select_detectors(config.detectors, discover(config.plugin_files))
    id_images = config.read_images(config.id_images, "id_images", "id")
    named = _sets_by_name(config.ood_images).items()
    ood_sets = [config.read_images(images, f"ood_images {name!r}", name, labelled=False) for name, images in named]
    learning = config.learning_images()
    require_one_size([id_images, *ood_sets, *(Given(images) for images in learning.sets.values() if images)])
    prepared = prepare_network(config, learning, id_images, device, id_images, ood_sets)
    benchmarking.require_gradient(prepared, task)
    result = benchmarking.benchmark_detectors(detectors, BenchmarkInput(prepared, id_images, ood_sets, task, config))
    for text in dict.fromkeys([*result.left_out, *result.warnings]):  # several detectors give the same warning
        warnings.warn(text, OodbenchWarning, stacklevel=CALLER)
    if not result.frames:
        raise OodbenchError("none of the detectors can be fitted on this network: " + "; ".join(result.left_out))
    return pd.concat(result.frames, ignore_index=True)


@_with_fields_of(FitConfig)
def fit(config: FitConfig) -> DeployedDetector:
    """A detector on a network of one's own, ready to work: call it on images, keep it with `save`.

    Images are given as `benchmark` takes them, and labels of the images to learn from are doubted as there.

    Raises:
        OodbenchError: the network cannot be used, or the detector not be fitted on it.
    """
    device = choose_device(config.device)
    detector = deploying.select_detector(config.detector, discover(config.plugin_files))
    sets = deploying.read_sets(config)
    prepared = deploying.prepare(config, detector, sets, device)
    with keep_networks_unchanged(prepared.network):
        for text in prepared.warnings():
            warnings.warn(text, OodbenchWarning, stacklevel=CALLER)
        return deploying.fit_deployed(detector, prepared, config, sets.get("calibrate"))


def load_detector(
    path: str | Path, network: nn.Module | str | None = None, *, device: str = "cpu", plugins: Sequence[str | Path] = ()
) -> DeployedDetector:
    """The detector in a file that `oodbench fit` or `save` wrote, over the network that it was fitted on.

    Nothing in the file is run. Its normalisation, head and taps are those that were said when it was fitted.

    Args:
        path: of the file.
        network: with the weights that the detector was fitted on, in evaluation mode. Left out, the one in the file,
            which holds it where it has a name; "FILE.py:BUILDER" where it is code of one's own that builds it.
        device: where it works.
        plugins: files that define detectors.

    Raises:
        OodbenchError: the file is missing, damaged, foreign or of a newer version, or of another network.
    """
    return detectorfile.load(path, network, discover([Path(plugin) for plugin in plugins]), choose_device(device))


def _sets_by_name(ood_images: Any) -> Mapping[str, Any]:
    """The OOD sets by name; OodbenchError where they are a list or have no proper names."""
    if isinstance(ood_images, list) and ood_images and all(getattr(images, "ndim", 0) == 4 for images in ood_images):
        raise OodbenchError("ood_images is a list of sets: give each by its name, such as {'textures': images}")
    if not isinstance(ood_images, Mapping):
        return {ood_images.name if isinstance(ood_images, ImageSet) else "ood": ood_images}
    if not ood_images or not all(isinstance(name, str) and name for name in ood_images):
        raise OodbenchError(
            f"ood_images has the names {list(ood_images)}: give one set or more, each by a name in words"
        )
    return ood_images
