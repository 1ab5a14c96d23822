"""Trained networks from a results folder to a shelf, where `--pretrained` finds them."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from math import nan
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import atomic, update_alone
from oodbench.images import catalogue
from oodbench.images.resident import resident
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, as_input, batch_size
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.results.conditions import Setup
from oodbench.running.network_provenance import LIMIT, kept_out, learned_from, metadata, trained_on, trained_under
from oodbench.running.plan import NetworkPlan, SuitePlan
from oodbench.running.planning import plan_seeds
from oodbench.running.request import Request
from oodbench.suite import Suite
from oodbench.training import pretrained
from oodbench.training.pretrained import INDEX, NAME, Pretrained, sets_trained_on
from oodbench.training.suite_network import build_network

BY_WORD = "by the word of whoever kept it"
"""How the note of a network ends that `--by-its-word` took; before it stands what nothing tells of its training."""

PLAIN = "plain"
"""What networks are called that are trained by cross-entropy on ID images alone, for many detectors."""


def keep(
    request: Request,
    seeds: Sequence[int],
    registry: Registry,
    shelf: Path,
    overwrite: bool,
    say: Callable[[str], None],
    by_word: bool = False,
) -> list[str]:
    """Copy the networks that runs of `request` have trained to a shelf, each with what it is in the shelf's index.

    Networks are found by what would be trained today: one whose code, images or recipe have changed since is not
    there, as far as this goes.

    Args:
        request: of the runs that trained them; its results folder is read.
        seeds: of these runs.
        registry: the detectors.
        shelf: folder to copy to, made if need be; networks in it are called after its name.
        overwrite: put networks in place of others that have their names, and other weights.
        say: told of each that is kept.
        by_word: take a network whose file says that it was trained so, by code that is not known to be today's, where
            there is no other; the index says so.

    Returns:
        Which networks are not there, a line each.

    Raises:
        OodbenchError: the shelf cannot be called so, its index is broken, or there is a network with other weights.
        StorageError: the shelf cannot be written.
    """
    _require_name(shelf, request.sample.data)
    lacking, setup = [], request.machinery.setup
    suites = tuple(_with_one_ood_set(suite, request.sample.data) for suite in request.suites)
    for _, plans in plan_seeds(replace(request, suites=suites), seeds, registry):
        for each in plans:
            for network in each.networks:
                told = [] if network.file.is_file() else _saying_so(each, network, setup)
                if network.file.is_file():
                    said = partial(_keep, each, network, setup.device, shelf, overwrite)
                elif by_word and len(told) == 1:
                    taken, note = replace(network, file=told[0]), _untold(each, network, setup, told[0])
                    said = partial(_keep, each, taken, setup.device, shelf, overwrite, note)
                else:
                    lacking.append(f"{each.suite.name}, seed {each.seed}, {network.names}: {_why(network, told)}")
                    continue
                with update_alone(shelf / INDEX):
                    say(said())
    return lacking


def _saying_so(each: SuitePlan, network_plan: NetworkPlan, setup: Setup) -> list[Path]:
    """Networks in the results folder whose files say that they were trained as this one would be, code aside.

    What a file says of images and precision must be so; those of earlier versions do not say it.
    """
    suite, objective = each.suite, network_plan.objective
    wanted = {
        "objective": objective.identity,
        "network": suite.network.trained_as,
        "recipe": repr(suite.training),
        "id_train": str(suite.id.train),
        "seed": str(each.seed),
        **kept_out(suite, each.image_sets, objective, network_plan.start),
    }
    files = sorted(network_plan.file.parent.glob("*.safetensors"))
    about = {file: metadata(file) for file in files}
    more = _told_since(each, network_plan, setup)
    return [
        file
        for file, said in about.items()
        if wanted.items() <= said.items()
        and LIMIT not in said
        and all(said.get(name, text) == text for name, text in more.items())
    ]


def _told_since(each: SuitePlan, network_plan: NetworkPlan, setup: Setup) -> dict[str, str]:
    """What files say of a training that those of earlier versions do not."""
    return learned_from(each.suite, each.image_sets, network_plan.objective) | trained_under(setup)


def _untold(each: SuitePlan, network_plan: NetworkPlan, setup: Setup, file: Path) -> str:
    """What nothing tells of a network that is kept by its word: its code, and what its file leaves out."""
    said = metadata(file)
    left_out = [name.replace("_", " ") for name in _told_since(each, network_plan, setup) if name not in said]
    return f"{', '.join(['code', *left_out])}: {BY_WORD}"


def _why(network_plan: NetworkPlan, told: Sequence[Path]) -> str:
    """Why a network is not kept."""
    if not told:
        return f"there is no {network_plan.file}; `oodbench run` trains it"
    return (
        f"there is no {network_plan.file}, and {', '.join(map(str, told))} was trained so by its own word, but by code "
        "that is not known to be today's: train it again, or say --by-its-word where there is one such file"
    )


def _with_one_ood_set(suite: Suite, data: Path) -> Suite:
    """The suite with no more images than are needed to know what its networks are."""
    present = catalogue.names(data)
    there = [ood.set for ood in suite.tested if ood.set in present] or [ood.set for ood in suite.tested]
    return replace(suite, only=tuple(there[:1]))


def _require_name(shelf: Path, data: Path) -> None:
    name = shelf.absolute().name
    if not NAME.fullmatch(name):
        raise OodbenchError(f"{shelf} cannot be a folder of networks: its name is a-z, 0-9, - _ . alone")
    ours = pretrained.roots(data)[0] / name
    if ours.is_dir() and ours.resolve() != shelf.resolve():
        raise OodbenchError(f"networks called {name}/... come with oodbench: give the folder {shelf} another name")


def _keep(
    each: SuitePlan, network_plan: NetworkPlan, device: torch.device, shelf: Path, overwrite: bool, note: str = ""
) -> str:
    """Copy one network; what was done."""
    suite, objective = each.suite, network_plan.objective
    network = build_network(suite, objective, each.image_sets.shape(suite), each.seed, network_plan.start).eval()
    checkpoints.load(network, network_plan.file)
    recipe = pretrained.recipe(suite, objective, each.seed, each.sample.data)
    index = pretrained.read_index(shelf / INDEX)
    name = _name(index, recipe, network_plan, each.seed)
    file = shelf / f"{name}.safetensors"
    full = f"{shelf.absolute().name}/{name}"
    if not (file.is_file() and _same_weights(network, file)):
        if full in index and index[full].recipe != recipe and not file.exists() and not overwrite:
            raise OodbenchError(
                f"{shelf / INDEX} knows {name} as another network, whose file is not here: say --replace to put "
                f"{network_plan.file} in its place, or keep it in another folder"
            )
        if file.exists() and not overwrite:
            raise OodbenchError(
                f"{file} is there with other weights than {network_plan.file}: say --replace to put these in its "
                "place, or keep them in another folder"
            )
        with atomic(file, network_plan.file.stat().st_size) as temporary:
            shutil.copyfile(network_plan.file, temporary)
    sha, before = sha256(file.read_bytes()).hexdigest(), index.get(full)
    kept = Pretrained(
        full,
        sha,
        recipe,
        {name: each.images[name].fingerprint for name in sets_trained_on(each.suite, network_plan.objective)},
        trained_on(file),
        _seconds(file),
        _accuracy(each, network_plan, network, device),
        before.url if before and before.sha256 == sha else "",
        note,
    )
    pretrained.write_index(shelf / INDEX, {**index, kept.name: kept})
    right = [f"{share:.2%} right on {test}" for test, share in kept.accuracy.items()]
    about = [f"{network_plan.names} with seed {each.seed}", *right, f"{file.stat().st_size / 1e6:.1f} MB", kept.took]
    return f"{kept.name}: {', '.join(about)}"


def _name(index: dict[str, Pretrained], recipe: pretrained.Recipe, network_plan: NetworkPlan, seed: int) -> str:
    """What a network is called on its shelf: as before, or after the first of its detectors."""
    for name, known in index.items():
        if known.recipe == recipe:
            return name.rpartition("/")[2]
    plain = network_plan.objective == Objective()
    stem = PLAIN if plain else network_plan.cells[0].detector.name
    return stem if seed == 1 else f"{stem}-seed{seed}"


def _same_weights(network: Network, file: Path) -> bool:
    try:
        there = safetensors.torch.load_file(file)
    except (SafetensorError, OSError):
        return False
    own = network.state_dict()
    return own.keys() == there.keys() and all(torch.equal(own[name], there[name]) for name in own)


def _seconds(file: Path) -> float:
    try:
        return float(checkpoints.metadata(file).get("seconds", nan))
    except ValueError:
        return nan


def _accuracy(each: SuitePlan, network_plan: NetworkPlan, network: Network, device: torch.device) -> dict[str, float]:
    """The share of ID test images that the network is right on, by its first detector's rule; none without labels."""
    detector, test = network_plan.cells[0].detector, each.images[each.suite.id.test]
    if test.unlabelled:
        return {}
    detector.attach(network.to(device), each.suite.id.classes)
    images = resident(test, device)
    rows = torch.split(torch.arange(len(test)), batch_size(device, test.images.shape[1]))
    right = 0
    with torch.no_grad():
        for pixels, labels in images.in_turn(rows):
            right += int((detector.predict(network.represent(as_input(pixels))) == labels).sum())
    return {each.suite.id.test: round(right / len(test), 4)}
