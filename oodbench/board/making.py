"""Rows of evidence: of what a results folder holds, and of images that somebody hands in."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
from oodbench.board.archive import Evidence, Indices, Pixels, Row, SetArrays, pack_arrays
from oodbench.board.at_hand import (
    LoadedDetector,
    Resources,
    Subject,
    kept_file,
    kept_name,
    load_detector,
    load_with_weights,
    ood_set,
    parameters_of,
    parse_settings,
    places,
    task_of,
)
from oodbench.board.description import OWN, SCHEMA, Case, Description, Made, RowDescription, SetDescription
from oodbench.board.sources_check import ball_violation, excess_radius_text, missing_source, size_difference
from oodbench.images.imageset import ImageSet, images_digest
from oodbench.metrics import evaluate
from oodbench.networks.network import Network
from oodbench.networks.statedicts import split_entry
from oodbench.registry import code_of
from oodbench.results import attacked_images
from oodbench.results.conditions import Setup, condition_attributes
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.stale import stale_groups
from oodbench.statistics.honesty import CHECK
from oodbench.suitefiles import settings
from oodbench.tasks import ID_TASK, Task
from oodbench.tasks.task import NORMS
from oodbench.version import __version__

Keep = Callable[[SetArrays, ImageSet], SetArrays]
"""Returns what an archive keeps of a set, from all of its arrays and the images that it was made of."""


def as_images(one: SetArrays, _: ImageSet) -> SetArrays:
    """Keep the attacked images as they are, for anybody to look at."""
    return one


def as_changes(one: SetArrays, sources: ImageSet) -> SetArrays:
    """Keep what the attack changed in each image: enough for whoever has the image set, and nobody's photograph.

    Raises:
        OodbenchError: the images here are of another size.
    """
    if one.images is None:
        return one
    if said := size_difference(one.images, sources):
        raise OodbenchError(f"{said}: the pack here is another one than the one that was attacked")
    return replace(one, images=None, changes=one.images - sources.pixels(places(sources, one.indices)))


@dataclass(frozen=True)
class OwnAttack:
    """An attack of somebody's own.

    Attributes:
        norm, epsilon: the ball that it kept to.
        words: what it did, for people.
        images: by OOD set, uint8 (N, H, W, 3), with their places in the whole set.
    """

    norm: str
    epsilon: int
    words: str
    images: Mapping[str, tuple[Pixels, Indices]]


def join_rows(rows: Sequence[tuple[Row, Network]], by: str, note: str) -> Evidence:
    """Join rows into one archive; networks that are kept for everybody are named, the others come along.

    Args:
        rows: each with its network.
        by: who hands it in.
        note: what they say of it.

    Raises:
        OodbenchError: there are too many rows, or the words are too long or cannot be shown.
    """
    carried = {row.said.case.network_digest: network for row, network in rows if not row.said.case.kept}
    with _describable("what --by and --note say"):
        described = Description(SCHEMA, by, note, tuple(row.said for row, _ in rows), tuple(carried))
    weights = {digest: _weights_file(network) for digest, network in carried.items()}
    return Evidence(described, tuple(row for row, _ in rows), weights)


def _weights_file(network: Network) -> bytes:
    return safetensors.torch.save({name: one.cpu().contiguous() for name, one in network.state_dict().items()})


def attacks_in(cell: Cell, tasks: Sequence[str]) -> dict[str, list[Scores]]:
    """Return the scores of a result under attacks on OOD images, set by set, by the name of the task.

    Args:
        cell: the result.
        tasks: that are wanted; all if empty.

    Raises:
        OodbenchError: a task that was asked for by name is not one that evidence can be of.
    """
    attacks: dict[str, list[Scores]] = {}
    all_groups = cell.read()
    outdated = stale_groups(all_groups)
    for group in all_groups:
        if group.role == "ood" and (group.task, group.image_set) not in outdated and (group.task in tasks or not tasks):
            attacks.setdefault(group.task, []).append(group)
    for name, groups in list(attacks.items()):
        try:
            task_of(str(groups[0].attributes.get("constants", "")))
        except OodbenchError as error:
            if tasks:
                raise OodbenchError(f"{cell.path}, task {name}: {error}") from error
            del attacks[name]
    return attacks


def rows_of_result(
    cell: Cell, attacks: Mapping[str, Sequence[Scores]], resources: Resources, say: Say, keep: Keep
) -> list[tuple[Row, Network]]:
    """Return a row of evidence for each attack on a result's detector.

    Args:
        cell: the result.
        attacks: see `attacks_in`.
        resources: where its images and its network are looked for.
        say: called with what the evidence lacks.
        keep: what the archive has of attacked images.

    Raises:
        OodbenchError: images or the network are not here, or are not those that were scored.
    """
    about = cell.attributes()
    if about.get("features"):
        raise OodbenchError(f"{cell.path} is of a feature pack, in which nothing can be attacked")
    suite = resources.suite(str(about["suite"]))
    if suite is None:
        raise OodbenchError(f"{cell.path} is of suite {about['suite']}, which is not known here: name its --suite")
    id_group = next(group for group in cell.read() if group.task == ID_TASK and group.role == "id")
    if about["detector"] not in resources.registry:
        raise OodbenchError(
            f"{cell.path} is of detector {about['detector']}, which is not known here: give its file by --plugin, or "
            "choose others with --detector"
        )
    seed, detector = int(about["seed"]), resources.registry[str(about["detector"])]
    texts = tuple(
        text
        for text in settings.texts(str(about.get("settings", "")))
        if settings.concerns(settings.parse(text), detector, resources.registry)
    )
    rows = []
    for name, groups in attacks.items():
        here = _load_scored_detector(
            cell, about, Subject(suite, detector, parse_settings(texts), name, int(about["limit"]), seed), resources
        )
        first = groups[0].attributes
        attack_fields: dict[str, Any] = {
            "attack": name,
            "constants": str(first["constants"]),
            "words": str(first.get("threat", "")),
            "settings": texts,
            "seed": seed,
        }
        sets = {group.image_set: _set_arrays(cell, group) for group in groups}
        measured = _Measured(
            id_group.scores,
            sets,
            {set_name: ood_set(here.plan.suite, set_name, resources.data, int(about["limit"])) for set_name in sets},
            {group.image_set: str(group.attributes.get("images_sha256", "")) for group in groups},
        )
        if without_images := [set_name for set_name, one in sets.items() if one.images is None]:
            say(
                f"{cell.path.name}, {name}: no images of {', '.join(without_images)} were kept, so whoever verifies "
                "them has to attack anew, and gets the same ones only on a machine that calculates to the same bits; "
                "run it again with --keep-images for evidence that holds everywhere"
            )
        with _describable(str(cell.path)):
            case = _case_of(about, id_group, task_of(attack_fields["constants"]), kept_name(here.file, resources.data))
            rows.append((_build_row(case, attack_fields, measured, _origin(about, groups), keep), here.network))
    return rows


def _load_scored_detector(
    cell: Cell, about: Mapping[str, Any], subject: Subject, resources: Resources
) -> LoadedDetector:
    """Return the detector over the very network that a result was scored with."""
    files = _network_files(cell, about, resources)
    here = load_with_weights(subject, resources, files, str(about["network_digest"]))
    if here.weights != about["network_digest"]:
        raise OodbenchError(
            f"{here.file} is another network than the one that {cell.path} was scored with: name its file with "
            "--checkpoint"
        )
    return here


def _case_of(about: Mapping[str, Any], id_group: Scores, task: Task, kept: str) -> Case:
    """Return the case that a result's attack was on."""
    return Case(
        suite=str(about["suite"]),
        suite_version=int(about["suite_version"]),
        suite_fingerprint=str(about["suite_fingerprint"]),
        detector=str(about["detector"]),
        code=str(about.get("code", "")),
        over_code=str(about.get("over_code", "")),
        parameters=json.dumps(json.loads(str(about["parameters"])), sort_keys=True),
        network=str(about["network"]),
        network_digest=str(about["network_digest"]),
        kept=kept,
        norm=task.norm,
        epsilon=task.epsilon,
        id_set=id_group.image_set,
        id_fingerprint=str(id_group.attributes.get("fingerprint", "")),
        limit=int(about["limit"]),
    )


@contextmanager
def _describable(what: str) -> Iterator[None]:
    """Turn the ValueError of a description that is made in the block into an error for users.

    Raises:
        OodbenchError: a text or number is one that no description may have.
    """
    try:
        yield
    except ValueError as error:
        raise OodbenchError(f"{what} cannot be evidence: {error}") from error


def row_of_images(
    own: OwnAttack, subject: Subject, resources: Resources, network: Path, keep: Keep
) -> tuple[Row, Network]:
    """Return a row of evidence for an attack of somebody's own, whose images are scored here.

    Args:
        own: the attack and what it left.
        subject: the detector that it attacked.
        resources: where images are looked for.
        network: file of the network.
        keep: what the archive has of attacked images.

    Raises:
        OodbenchError: an image is not in the ball around its source; a set is none of the suite's; something is not
            here.
    """
    sources = _sources_of(own, subject, resources)
    here = load_detector(subject, resources, network).ready()
    suite, detector = here.plan.suite, here.detector
    sets = {
        name: SetArrays(indices, here.scores(name, images, indices), images)
        for name, (images, indices) in own.images.items()
    }
    machine = condition_attributes(Setup(here.machinery.device, 1, here.machinery.compute))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    attack_fields = {
        "attack": OWN,
        "constants": "",
        "words": own.words or f"an attack of somebody's own, {NORMS[own.norm]} {own.epsilon}/255",
        "settings": tuple(setting.text for setting in subject.settings),
        "seed": subject.seed,
    }
    with _describable("what --attack and --set say"):
        case = Case(
            suite=suite.name,
            suite_version=suite.version,
            suite_fingerprint=suite.fingerprint,
            detector=detector.name,
            code=code_of(resources.registry, detector.name),
            over_code=here.over_code,
            parameters=parameters_of(detector),
            network=suite.network.called,
            network_digest=here.weights,
            kept=kept_name(network, resources.data),
            norm=own.norm,
            epsilon=own.epsilon,
            id_set=suite.id.test,
            id_fingerprint=here.id_images.fingerprint,
            limit=subject.limit,
        )
        made = Made(__version__, machine["torch"], machine["hardware"], now, "")
        return _build_row(case, attack_fields, _Measured(here.id_scores, sets, sources, {}), made, keep), here.network


def _sources_of(own: OwnAttack, subject: Subject, resources: Resources) -> dict[str, ImageSet]:
    """Return the sets that these images are made of; OodbenchError where one is not in the ball around its source."""
    known = {ood.set for ood in subject.suite.ood}
    sources: dict[str, ImageSet] = {}
    for name, (images, indices) in own.images.items():
        if name not in known:
            raise OodbenchError(
                f"suite {subject.suite.name} has no OOD set {name!r}: name the arrays after {', '.join(sorted(known))}"
            )
        sources[name] = ood_set(subject.suite, name, resources.data, subject.limit)
        if violation := ball_violation(images, indices, sources[name], own.norm, own.epsilon):
            raise OodbenchError(f"these images are no evidence: {violation}")
    return sources


@dataclass(frozen=True, eq=False)
class _Measured:
    """Scores, and what they are of: images and their sources by set, and digests of images that were not kept."""

    id_scores: Floats
    sets: Mapping[str, SetArrays]
    sources: Mapping[str, ImageSet]
    digests: Mapping[str, str]


def _build_row(case: Case, attack_fields: Mapping[str, Any], measured: _Measured, made: Made, keep: Keep) -> Row:
    """Build a row; `attack_fields` are the fields of `RowDescription` that describe the attack and its run."""
    id_scores, sets = measured.id_scores, measured.sets
    if wide := [why for one in measured.sources.values() if (why := excess_radius_text(one, case.norm, case.epsilon))]:
        raise OodbenchError(wide[0])
    descriptions = tuple(
        _describe_set(name, one, measured.sources[name], measured.digests.get(name, ""), id_scores)
        for name, one in sets.items()
    )
    kept = {name: keep(one, measured.sources[name]) for name, one in sets.items()}
    raw = sha256(pack_arrays(id_scores, kept)).hexdigest()
    return Row(RowDescription(case=case, **attack_fields, sets=descriptions, arrays=raw, made=made), id_scores, kept)


def _describe_set(name: str, one: SetArrays, sources: ImageSet, images: str, id_scores: Floats) -> SetDescription:
    """Describe one OOD set; `images` is the digest of the attacked images where these were not kept."""
    if why := missing_source(one.indices, sources):
        raise OodbenchError(f"{why}: the pack here is another one than the one that was scored")
    of_sources = images_digest(sources.pixels(places(sources, one.indices)))
    figures = evaluate(id_scores, one.scores)
    of_images = images if one.images is None else images_digest(one.images)
    kept = one.images is not None
    return SetDescription(name, len(one.scores), kept, of_images, of_sources, figures["auroc"], figures["fpr95"])


def _set_arrays(cell: Cell, group: Scores) -> SetArrays:
    if attacked_images.KEPT_IMAGES not in group.extras:
        return SetArrays(group.indices, group.scores, None)
    return SetArrays(group.indices, group.scores, attacked_images.verified_images(cell, group))


def _origin(about: Mapping[str, Any], groups: Sequence[Scores]) -> Made:
    """Return how the scores of an attack were made, and what the attack said of itself."""
    first = groups[0].attributes
    checks = {
        group.image_set: {
            name.removeprefix(CHECK): float(value)
            for name, value in group.attributes.items()
            if name.startswith(CHECK) and np.isfinite(float(value))
        }
        for group in groups
    }
    oodbench, torch, hardware, date = (str(first.get(name, "")) for name in ("oodbench", "torch", "hardware", "date"))
    return Made(oodbench, torch, hardware, date, str(about.get("options", "")), json.dumps(checks))


def _network_files(cell: Cell, about: Mapping[str, Any], resources: Resources) -> list[Path]:
    """Return the files that may be the network that a result was scored with."""
    given = str(about.get("checkpoint", ""))
    noted = [*([Path(given)] if given else []), cell.path.parents[2] / "networks" / str(about.get("network_file", ""))]
    files = [file for file in resources.networks if split_entry(file)[0].is_file()]
    if title := str(about.get("pretrained", "")):  # kept for everybody: named, not carried, whichever copy was scored
        names = (title, f"{title}-seed{about['seed']}")
        files += [file for name in names if (file := kept_file(name, resources.data))]
    files += [file for file in noted if split_entry(file)[0].is_file()]
    if not files:
        raise OodbenchError(
            f"the network that {cell.path} was scored with is not here ({noted[-1]}): name its file with --checkpoint"
        )
    return files
