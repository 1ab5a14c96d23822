"""What notebooks call: a run, and the evaluation of a score that lives in somebody's own code."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd
from torch import Tensor

from oodbench.basics.errors import OodbenchError, OodbenchWarning, unknown
from oodbench.basics.team import gathered, launched
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks import compute
from oodbench.registry import discover
from oodbench.results import store, tables
from oodbench.running import parallel, sweep
from oodbench.running.plan import plan_seeds
from oodbench.running.ray_cluster import LOCAL, Cluster, on_ray
from oodbench.running.request import Request, choose_device
from oodbench.scoring.evaluating import Bench, asked_task, doubts, rows
from oodbench.scoring.side_effects import untouched
from oodbench.scoring.user_input import Score, as_detector, as_given, require_one_size
from oodbench.sources.trained import checkpoint as find_checkpoint
from oodbench.suitefiles import settings, suitefile
from oodbench.suitefiles.selection import restrict, vary
from oodbench.tasks import Task

Images = npt.NDArray[Any] | Tensor | Sequence[npt.NDArray[Any] | Tensor] | ImageSet
"""Images of one set: uint8 (N, H, W, 3), float (N, 3, H, W) in [0, 1], a list of such images, or an image set."""


def run(
    suites: str | Path | Sequence[str | Path],
    detectors: str | Sequence[str],
    *,
    seed: int | Iterable[int] = 1,
    device: str = "auto",
    data: str | Path = "data",
    out: str | Path = "results",
    checkpoint: str | Path | None = None,
    pretrained: bool = False,
    limit: int | None = None,
    images: int | None = None,
    tasks: Sequence[str] = (),
    only: Sequence[str] = (),
    radii: Sequence[int] = (),
    threat: str = "out",
    parameters: Mapping[str, Any] | None = None,
    plugins: Sequence[str | Path] = (),
    keep_images: bool = False,
    thorough: bool = False,
    again: bool = False,
    precision: str = "auto",
    tf32: bool = False,
    compiled: bool = False,
    jobs: int | str = parallel.AUTO,
    engine: str = "sequential",
    address: str = LOCAL,
    cpus: int = 1,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train, attack and score detectors on suites, as `oodbench run` does; what is there already is not done again.

    Args:
        suites: names or TOML files, one or several.
        detectors: names, one or several.
        seed: of training and attacks; several as in `range(5)`.
        device: "auto", "cpu", "cuda" or "cuda:N".
        data: folder of image packs.
        out: results folder.
        checkpoint: a trained network for every detector instead of training: a file, or a name of `oodbench data list`.
        pretrained: score with the trained networks that are kept for everybody, each where it is what the run would
            train; the other networks are trained.
        limit: so many images of each ID and OOD set, of each class its share, evenly spread.
        images: so many of each OOD set, in the same way.
        tasks: some of the suite's, or kinds that it lacks; all of the suite's if empty.
        only: OOD sets to keep to; all of the suite's if empty.
        radii: attack at each of these, in 1/255.
        threat: "out", "in" or "both": whose images are attacked.
        parameters: changed for this run, such as {"epochs": 1, "atom.q": 0.25}.
        plugins: files that define detectors.
        keep_images: store the attacked images with the scores.
        thorough: try each attack against others, too, as `--checks full` does.
        again: do what is already there once more.
        precision: of training and mining: "auto", "float32" or "bf16".
        tf32: attack and score in TF32 on a GPU.
        compiled: put networks through `torch.compile`.
        jobs: processes that work side by side, to the same bits; "auto" for as many as cores, memory and work allow.
        engine: "sequential": on this machine; "ray": as the tasks of a Ray cluster.
        address: of the Ray cluster, see `oodbench.running.ray_cluster.Cluster`.
        cpus: of each Ray task.
        say: told what is being done, a line at a time.

    Returns:
        A tidy frame of what was asked for, see `oodbench.load_results`.

    Raises:
        OodbenchError: something asked for is not there or not possible, or a detector failed; the others are done.
    """
    if engine not in sweep.ENGINES:
        raise unknown("engine", engine, sweep.ENGINES)
    files = [Path(plugin) for plugin in plugins]
    cluster = Cluster(address, device, cpus, files) if engine == "ray" else None
    asked = parallel.parse_jobs(str(jobs), alone=engine == "sequential" and not launched())
    seeds = tuple(seed) if isinstance(seed, Iterable) else (seed,)
    if not seeds:
        raise OodbenchError("there are no seeds: give one, or some, such as range(5)")
    if checkpoint and pretrained:
        raise OodbenchError("checkpoint and pretrained exclude each other: both say which networks are scored with")
    registry = discover(files)
    names = [suites] if isinstance(suites, str | Path) else suites
    methods = [detectors] if isinstance(detectors, str) else detectors
    varied = tuple(vary(restrict(suitefile.load(str(name)), only), tasks, radii, threat) for name in names)
    changes = tuple(settings.Setting(name, value) for name, value in (parameters or {}).items())
    settings.check_radii(changes, varied if radii else ())
    with gathered(choose_device("cpu" if cluster else device)) as (team, own_device):
        request = Request(
            suites=varied,
            detectors=tuple(registry[name] for name in methods),
            seed=seeds[0],
            device=own_device,
            data=Path(data),
            out=Path(out),
            checkpoint=find_checkpoint(str(checkpoint), Path(data)) if checkpoint else None,
            pretrained=pretrained,
            limit=limit,
            images=images,
            settings=changes,
            keep_images=keep_images,
            thorough=thorough,
            again=again,
            compute=compute.choose(precision, tf32, compiled, own_device),
            team=team,
        )
        planned = team.together(lambda: plan_seeds(request, seeds, registry))
        team.first(lambda: store.require_writable(request.out))
        heard = say if team.leads else lambda _: None
        for said in sweep.not_pretrained(planned):
            heard(said)
        if cluster:
            failures = on_ray(planned, cluster, heard)
        else:
            failures = sweep.here(planned, parallel.processes(asked, planned), files, heard)
        if failures:
            raise OodbenchError("\n".join(failures))
        by_name = {name: registry[name] for name in registry.names()}
        return team.first(lambda: tables.tidy(sweep.cells(planned), by_name))


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
