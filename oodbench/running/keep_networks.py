"""Keeping trained networks: they are copied from a results folder to a shelf, where `--pretrained` finds them."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from math import nan
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import atomic, update_alone
from oodbench.basics.listeners import Say
from oodbench.images import catalogue
from oodbench.images.resident import resident
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, as_input, batch_size
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.results.conditions import Setup
from oodbench.running import network_provenance
from oodbench.running.plan import NetworkPlan, SuitePlan
from oodbench.running.planning import plan_seeds
from oodbench.running.request import Request
from oodbench.suite import Suite
from oodbench.training import pretrained
from oodbench.training.pretrained import INDEX, NAME, Pretrained, sets_trained_on
from oodbench.training.suite_network import build_network

BY_WORD = "by the word of whoever kept it"
"""End of the note of a network that `--by-its-word` took, behind what its file does not tell of its training."""

PLAIN = "plain"
"""Name of networks that are trained by cross-entropy on ID images alone, for many detectors."""


def keep(
    request: Request,
    seeds: Sequence[int],
    registry: Registry,
    shelf: Path,
    overwrite: bool,
    say: Say,
    by_word: bool = False,
) -> list[str]:
    """Copy the networks that runs of `request` have trained to a shelf, and enter them into the shelf's index.

    Only a network that today's code, images and recipe would train is found.

    Args:
        request: of the runs that trained them; its results folder is read.
        seeds: of these runs.
        registry: the detectors.
        shelf: folder to copy to, made if need be; networks in it are called after its name.
        overwrite: replace networks that have the same names and other weights.
        say: told of each network that is kept.
        by_word: also take a network whose file says that it was trained so, by code that is not known to be today's,
            where there is no other and exactly one such file; the index notes it.

    Returns:
        Which networks are not there, a line each.

    Raises:
        OodbenchError: the shelf's name is not valid, its index is broken, or it has a network with other weights.
        StorageError: the shelf cannot be written.
    """
    _require_name(shelf, request.sample.data)
    lacking, setup = [], request.machinery.setup
    suites = tuple(_with_one_ood_set(suite, request.sample.data) for suite in request.suites)
    for plan in plan_seeds(replace(request, suites=suites), seeds, registry).suites:
        for network in plan.networks:
            note, alike = "", [] if network.file.is_file() else _networks_alike(plan, network, setup)
            if by_word and len(alike) == 1:
                note = _by_word_note(plan, network, setup, alike[0])
                network = replace(network, file=alike[0])
            elif not network.file.is_file():
                lacking.append(f"{plan.suite.name}, seed {plan.seed}, {network.names}: {_reason(network, alike)}")
                continue
            with update_alone(shelf / INDEX):
                say(_keep(plan, network, setup.device, shelf, overwrite, note))
    return lacking


def _networks_alike(plan: SuitePlan, network_plan: NetworkPlan, setup: Setup) -> list[Path]:
    """Networks in the results folder whose files say that they were trained as this one would be, code aside.

    Where a file has entries on images and precision, these must be the same, too; files of earlier versions lack them.
    """
    suite, image_sets, objective = plan.suite, plan.image_sets, network_plan.objective
    required = network_provenance.training_metadata(suite, objective, plan.seed)
    required |= network_provenance.unseen_metadata(suite, image_sets, objective, network_plan.start)
    optional = _later_metadata(plan, network_plan, setup)
    files = sorted(network_plan.file.parent.glob("*.safetensors"))
    return [
        file
        for file, about in ((file, network_provenance.metadata(file)) for file in files)
        if required.items() <= about.items()
        and network_provenance.LIMIT not in about
        and all(about.get(name, text) == text for name, text in optional.items())
    ]


def _later_metadata(plan: SuitePlan, network_plan: NetworkPlan, setup: Setup) -> dict[str, str]:
    """The metadata of a training that files of earlier versions lack."""
    seen = network_provenance.seen_metadata(plan.suite, plan.image_sets, network_plan.objective)
    return seen | network_provenance.precision_metadata(setup)


def _by_word_note(plan: SuitePlan, network_plan: NetworkPlan, setup: Setup, file: Path) -> str:
    """The note of a network that is kept by its word: what is not known is its code, and what its file leaves out."""
    about = network_provenance.metadata(file)
    left_out = [name.replace("_", " ") for name in _later_metadata(plan, network_plan, setup) if name not in about]
    return f"{', '.join(['code', *left_out])}: {BY_WORD}"


def _reason(network_plan: NetworkPlan, alike: Sequence[Path]) -> str:
    """Why a network is not kept; `alike` are networks that were trained as it would be by their own word."""
    if not alike:
        return f"there is no {network_plan.file}; `oodbench run` trains it"
    return (
        f"there is no {network_plan.file}, and {', '.join(map(str, alike))} was trained so by its own word, but by "
        "code that is not known to be today's: train it again, or say --by-its-word where there is one such file"
    )


def _with_one_ood_set(suite: Suite, data: Path) -> Suite:
    """The suite with no more images than are needed to know what its networks are."""
    present = catalogue.names(data)
    names = [ood.set for ood in suite.tested if ood.set in present] or [ood.set for ood in suite.tested]
    return replace(suite, only=tuple(names[:1]))


def _require_name(shelf: Path, data: Path) -> None:
    name = shelf.absolute().name
    if not NAME.fullmatch(name):
        raise OodbenchError(
            f"{shelf} cannot be a folder of networks: give one whose name has only a-z, 0-9, - _ and ., and begins "
            "with a letter or a digit"
        )
    ours = pretrained.roots(data)[0] / name
    if ours.is_dir() and ours.resolve() != shelf.resolve():
        raise OodbenchError(f"networks called {name}/... come with oodbench: give the folder {shelf} another name")


def _keep(
    plan: SuitePlan, network_plan: NetworkPlan, device: torch.device, shelf: Path, overwrite: bool, note: str
) -> str:
    """Copy one network to the shelf and enter it into the index.

    Args:
        plan: of the suite.
        network_plan: of the network, whose file is there.
        device: where its accuracy is measured.
        shelf: folder to copy to.
        overwrite: replace a network that has the same name and other weights.
        note: for the index; "" for none.

    Returns:
        What was kept, for people.
    """
    suite, objective = plan.suite, network_plan.objective
    network = build_network(suite, objective, plan.image_sets.shape(suite), plan.seed, network_plan.start).eval()
    checkpoints.load(network, network_plan.file)
    recipe = pretrained.recipe(suite, objective, plan.seed, plan.sample.data)
    index = pretrained.read_index(shelf / INDEX)
    name = _name(index, recipe, network_plan, plan.seed)
    file = shelf / f"{name}.safetensors"
    full_name = f"{shelf.absolute().name}/{name}"
    if not (file.is_file() and _same_weights(network, file)):
        if not overwrite:
            _refuse_overwriting(index.get(full_name), recipe, network_plan, file)
        with atomic(file, network_plan.file.stat().st_size) as temporary:
            shutil.copyfile(network_plan.file, temporary)
    sha, before = sha256(file.read_bytes()).hexdigest(), index.get(full_name)
    kept = Pretrained(
        full_name,
        sha,
        recipe,
        {name: plan.images[name].fingerprint for name in sets_trained_on(suite, objective)},
        network_provenance.trained_on(file),
        _seconds(file),
        _accuracy(plan, network_plan, network, device),
        before.url if before and before.sha256 == sha else "",
        note,
    )
    pretrained.write_index(shelf / INDEX, {**index, kept.name: kept})
    right = [f"{share:.2%} right on {test}" for test, share in kept.accuracy.items()]
    about = [f"{network_plan.names} with seed {plan.seed}", *right, f"{file.stat().st_size / 1e6:.1f} MB", kept.took]
    return f"{kept.name}: {', '.join(about)}"


def _refuse_overwriting(
    entry: Pretrained | None, recipe: pretrained.Recipe, network_plan: NetworkPlan, file: Path
) -> None:
    """Raise OodbenchError where a network would replace another one: the file on the shelf, or its entry in the index.

    Args:
        entry: of the index under the network's name, if there is one.
        recipe: of the network.
        network_plan: of the network.
        file: that it would be copied to.
    """
    if entry is not None and entry.recipe != recipe and not file.exists():
        raise OodbenchError(
            f"{file.parent / INDEX} knows {file.stem} as another network, whose file is not here: say --replace to put "
            f"{network_plan.file} in its place, or keep it in another folder"
        )
    if file.exists():
        raise OodbenchError(
            f"{file} is there with other weights than {network_plan.file}: say --replace to put these in its "
            "place, or keep them in another folder"
        )


def _name(index: dict[str, Pretrained], recipe: pretrained.Recipe, network_plan: NetworkPlan, seed: int) -> str:
    """The network's name on its shelf: the same as before, or that of the first of its detectors."""
    for name, entry in index.items():
        if entry.recipe == recipe:
            return name.rpartition("/")[2]
    plain = network_plan.objective == Objective()
    stem = PLAIN if plain else network_plan.cells[0].detector.name
    return stem if seed == 1 else f"{stem}-seed{seed}"


def _same_weights(network: Network, file: Path) -> bool:
    try:
        kept = safetensors.torch.load_file(file)
    except (SafetensorError, OSError):
        return False
    weights = network.state_dict()
    return weights.keys() == kept.keys() and all(torch.equal(weights[name], kept[name]) for name in weights)


def _seconds(file: Path) -> float:
    """How long the training of the network in a file took; NaN where the file does not say it."""
    try:
        return float(checkpoints.metadata(file).get("seconds", nan))
    except ValueError:
        return nan


def _accuracy(plan: SuitePlan, network_plan: NetworkPlan, network: Network, device: torch.device) -> dict[str, float]:
    """The accuracy on the ID test set, in [0, 1], by its name, by the first detector's rule; empty without labels."""
    detector, test = network_plan.cells[0].detector, plan.images[plan.suite.id.test]
    if test.unlabelled:
        return {}
    detector.attach(network.to(device), plan.suite.id.classes)
    images = resident(test, device)
    rows = torch.split(torch.arange(len(test)), batch_size(device, test.images.shape[1]))
    right = 0
    with torch.no_grad():
        for pixels, labels in images.in_turn(rows):
            right += int((detector.predict(network.represent(as_input(pixels))) == labels).sum())
    return {plan.suite.id.test: round(right / len(test), 4)}
