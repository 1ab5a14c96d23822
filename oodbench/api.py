"""What notebooks call: a run, and the evaluation of a score that lives in somebody's own code."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from oodbench import compute, honesty, settings, sidebyside, store, suitefile, sweep, tables
from oodbench.attacks.goal import Goal
from oodbench.cluster import LOCAL, Cluster, on_ray
from oodbench.detector import Detector
from oodbench.errors import OodbenchError, unknown
from oodbench.gradient import PerImage
from oodbench.intervals import intervals as all_intervals
from oodbench.metrics import curve
from oodbench.metrics import evaluate as all_metrics
from oodbench.networks.network import as_input, batch_size
from oodbench.plan import plan_seeds
from oodbench.registry import discover
from oodbench.request import Request, choose_device
from oodbench.scoring import OFF_GRID
from oodbench.sources.trained import checkpoint as find_checkpoint
from oodbench.tasks import KINDS, Task
from oodbench.team import gathered, launched
from oodbench.variation import restrict, vary

Images = npt.NDArray[Any] | Tensor
Score = Callable[[Tensor], Any]
"""Images float (N, 3, H, W) in [0, 1] to scores (N,), higher = more in-distribution; a tensor or an array."""

Attacked = tuple[npt.NDArray[np.float64], Mapping[str, npt.NDArray[np.float64]]]
"""Scores (N,), and what an attack left about each image."""


def run(
    suites: str | Sequence[str],
    detectors: str | Sequence[str],
    *,
    seed: int | Iterable[int] = 1,
    device: str = "auto",
    data: str | Path = "data",
    out: str | Path = "results",
    checkpoint: str | Path | None = None,
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
    jobs: int | str = sidebyside.AUTO,
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
        address: of the Ray cluster, see `oodbench.cluster.Cluster`.
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
    asked = sidebyside.parse_jobs(str(jobs), alone=engine == "sequential" and not launched())
    seeds = tuple(seed) if isinstance(seed, Iterable) else (seed,)
    if not seeds:
        raise OodbenchError("there are no seeds: give one, or some, such as range(5)")
    registry = discover(files)
    names = [suites] if isinstance(suites, str) else suites
    methods = [detectors] if isinstance(detectors, str) else detectors
    with gathered(choose_device("cpu" if cluster else device)) as (team, own_device):
        request = Request(
            suites=tuple(vary(restrict(suitefile.load(name), only), tasks, radii, threat) for name in names),
            detectors=tuple(registry[name] for name in methods),
            seed=seeds[0],
            device=own_device,
            data=Path(data),
            out=Path(out),
            checkpoint=find_checkpoint(str(checkpoint), Path(data)) if checkpoint else None,
            limit=limit,
            images=images,
            settings=tuple(settings.Setting(name, value) for name, value in (parameters or {}).items()),
            keep_images=keep_images,
            thorough=thorough,
            again=again,
            compute=compute.choose(precision, tf32, compiled, own_device),
            team=team,
        )
        planned = team.together(lambda: plan_seeds(request, seeds, registry))
        team.first(lambda: store.require_writable(request.out))
        heard = say if team.leads else lambda _: None
        if cluster:
            failures = on_ray(planned, cluster, heard)
        else:
            failures = sweep.here(planned, sidebyside.processes(asked, planned), files, heard)
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
) -> pd.DataFrame:
    """How well a score tells ID images from OOD images, and whether it still does when the latter are attacked.

    Nothing is stored. The score is any function; it needs gradients only if it is to be attacked, and then sees images
    on the 8-bit grid only. Attacks see no labels.

    Args:
        score: a function of images, see `Score`, or a fitted detector.
        id_images: uint8 (N, H, W, 3), or float (N, 3, H, W) in [0, 1].
        ood_images: the same, or several sets by name.
        attack: a kind of `oodbench list tasks` that moves images inside a ball, such as "linf-adaptive", or a task.
        epsilon: radius of the ball in 1/255, where `attack` is a name.
        convention: of the metrics: "default", "published" or "openood".
        intervals: give 95 % intervals over images, see `oodbench.intervals`.
        device: where images are put before `score` sees them.

    Returns:
        One row a (task, OOD set, metric): task, ood, metric, value, low, high, n_id, n_ood, convention, epsilon, and
        what `oodbench.honesty.FLAGS` measures of attacks. The task is "clean", or what `attack` is called.

    Raises:
        OodbenchError: images or scores of another kind, an unknown attack or convention, or nothing to climb.
    """
    function = score.score if isinstance(score, Detector) else score
    where = choose_device(device)
    task = _task(attack, epsilon)
    sets = ood_images if isinstance(ood_images, Mapping) else {"ood": ood_images}
    id_scores = _scores(function, _as_pixels(id_images, "id_images").to(where))
    objective = _as_objective(function)
    goal = Goal.of(score) if isinstance(score, Detector) else Goal(objective, objective)
    rows: list[dict[str, Any]] = []
    for name, images in sets.items():
        pixels = _as_pixels(images, f"ood_images {name!r}").to(where)
        tried: dict[str, Attacked] = {"clean": (_scores(function, pixels), {})}
        if task is not None:
            tried[task.kind] = _attacked(function, goal, task, pixels, name)
        for kind, (scores, extras) in tried.items():
            values = all_metrics(id_scores, scores, convention)
            bounds = all_intervals(id_scores, scores, convention) if intervals else {}
            about = {"n_id": len(id_scores), "n_ood": len(scores), "convention": convention}
            about |= {"epsilon": task.epsilon if task and kind != "clean" else 0}
            about |= honesty.measured(curve(id_scores, scores), extras, {})
            for metric, value in values.items():
                low, high = bounds.get(metric, (nan, nan))
                found = {"task": kind, "ood": name, "metric": metric, "value": value, "low": low, "high": high}
                rows.append({**found, **about})
    return pd.DataFrame(rows)


def _task(attack: str | Task | None, epsilon: int | None) -> Task | None:
    if isinstance(attack, Task) or (attack is None and epsilon is None):
        return attack if isinstance(attack, Task) else None
    kinds = {name: kind for name, kind in KINDS.items() if "epsilon" in vars(kind) and not kind.certifies}
    if attack is None or epsilon is None:
        raise OodbenchError(f"attack={attack!r}, epsilon={epsilon!r}: an attack needs both, as 'linf-adaptive' and 8")
    if attack not in kinds:
        raise unknown("attack", attack, kinds)
    try:
        return replace(kinds[attack](), epsilon=epsilon)  # type: ignore[type-var]
    except ValueError as error:
        raise OodbenchError(f"attack {attack!r}: {error}") from error


def _as_pixels(images: Images, what: str) -> Tensor:
    """Images as a score takes them, float (N, 3, H, W) in [0, 1]."""
    given = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    if given.dtype == torch.uint8 and given.ndim == 4 and given.shape[3] == 3 and len(given):
        return as_input(given.permute(0, 3, 1, 2).contiguous())
    if given.is_floating_point() and given.ndim == 4 and given.shape[1] == 3 and len(given):
        if not (given.isfinite().all() and given.min() >= 0 and given.max() <= 1):
            raise OodbenchError(f"{what} leave [0, 1]: give them before normalisation, which belongs into the score")
        return given.float()
    raise OodbenchError(
        f"{what} are {given.dtype} {tuple(given.shape)}: give uint8 (N, H, W, 3), or float (N, 3, H, W) in [0, 1]"
    )


def _as_objective(function: Score) -> PerImage:
    """What an attack climbs: a tensor, also where the score gives an array, which has no gradient."""
    return lambda images: torch.as_tensor(function(images), device=images.device)


def _scores(function: Score, images: Tensor) -> npt.NDArray[np.float64]:
    """Scores (N,) in batches, without gradients."""
    found = []
    with torch.no_grad():
        for batch in torch.split(images, batch_size(images.device, images.shape[-1])):
            scores = torch.as_tensor(function(batch)).double().cpu()
            if scores.shape != (len(batch),):
                raise OodbenchError(
                    f"the score gave shape {tuple(scores.shape)} for {len(batch)} images: "
                    "it must give one number an image"
                )
            found.append(scores)
    return torch.cat(found).numpy()


def _attacked(function: Score, goal: Goal, task: Task, images: Tensor, name: str) -> Attacked:
    """Scores of images after an attack on each, and what it left about them."""
    levels = images * 255
    if (levels - levels.round()).abs().max() > OFF_GRID:
        raise OodbenchError(f"ood_images {name!r} are not whole levels of 1/255: attacks start from 8-bit images")
    scores, extras = [], []
    size = task.together * batch_size(images.device, images.shape[-1])
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        altered = task.alter(goal, batch, np.arange(start, start + len(batch)), name)
        scores.append(_scores(function, altered.images))
        extras.append(altered.extras)
    return np.concatenate(scores), {key: np.concatenate([one[key] for one in extras]) for key in extras[0]}
