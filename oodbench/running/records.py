"""The results of the detectors over one network, as they are stored: scores, what these rest on, and failures."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from oodbench import scoring, training
from oodbench.attacks.attack_goal import scores_per_look
from oodbench.basics import plugins
from oodbench.basics.sourcecode import code_digest
from oodbench.basics.words import printable
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.results.attacked_images import KEPT_IMAGES
from oodbench.results.attributes import FAILED, FAILED_AT, FAILED_ON
from oodbench.results.beside import ID_SCORES
from oodbench.results.conditions import Setup, condition_attributes
from oodbench.results.store import Scores
from oodbench.running import network_provenance
from oodbench.running.plan import CellPlan, NetworkPlan, Pair, SuitePlan
from oodbench.running.transfers import TRANSFERRED_FROM
from oodbench.scoring.fitting import Fitted
from oodbench.scoring.scored import Scored
from oodbench.statistics.honesty import as_attributes
from oodbench.tasks import ID_TASK, constants
from oodbench.tasks.versions import Versions

ROUNDING = 0.01
"""How far a tuned number may lie from one of another machine, as a share of it: what rounding alone may do."""

OUTCOMES = ("tried", "fpr95")
"""What tuning tells besides the values that it chose: how well each did, where a single image may differ."""


def note_failure(plan: SuitePlan, network_plan: NetworkPlan, setup: Setup, why: str) -> None:
    """Note the failure in every cell that lacks something: the network failed, or the process that scored with it."""
    for cell in network_plan.cells:
        if plan.missing_by_file(cell):
            cell.cell.note(_failure(why), _attributes(plan, network_plan, setup, cell))


def _failure(why: str, doing: Pair | tuple[()] = ()) -> dict[str, str]:
    """The attributes of a cell that tell of its detector's failure, until the pair that it failed at is scored."""
    # A user's code may give any text, and HDF5 takes neither a zero byte nor what is not Unicode.
    text = "\n".join(map(printable, why.splitlines()))
    return {FAILED: text, FAILED_AT: "/".join(doing), FAILED_ON: datetime.now(UTC).isoformat(timespec="seconds")}


class Records:
    """Stores the scores of the detectors over one network, with the attributes of their groups and cells.

    Only the first process of a team reads and writes here.

    Attributes:
        network_digest: of the weights.
        learned: what fitting gave each detector.
    """

    def __init__(self, plan: SuitePlan, network_plan: NetworkPlan, setup: Setup, network_digest: str) -> None:
        self._plan, self._network_plan, self._setup = plan, network_plan, setup
        self.network_digest = network_digest
        self.learned: dict[CellPlan, Fitted] = {}

    def missing(self, cell: CellPlan) -> list[Pair]:
        """The pairs that are to be scored, see `SuitePlan.missing_pairs`."""
        return self._plan.missing_pairs(cell, self.network_digest)

    def tuned_apart(self, cell: CellPlan) -> list[str]:
        """Names of the values that the cell's detector was tuned to here, and to others where its scores come from.

        Tuning chooses between values that are nearly as good, so another machine's rounding may turn the choice.
        """
        stored = json.loads(str(cell.cell.attributes().get("tuned", "{}"))) if cell.cell.path.is_file() else {}
        learned = self.learned[cell].tuned
        chosen = [name for name in learned if name in stored and name not in OUTCOMES]
        return [name for name in chosen if _apart(learned[name], stored[name])]

    def id_scores(self, cell: CellPlan) -> npt.NDArray[np.float64]:
        """The clean scores of the ID test set (N,), which are stored before anything is attacked."""
        return cell.cell.group(ID_TASK, self._plan.suite.id.test).scores

    def chosen_version(self, versions: Versions, images: ImageSet, cell: CellPlan) -> npt.NDArray[np.int64] | None:
        """The version of each image (N,) that a task without an attack chose among these; None where none is stored."""
        for name, task in self._plan.suite.tasks.items():
            if not task.attacks() and task.versions() == versions:
                key = self._plan.group_key(cell, self.network_digest, name, images.name)
                if cell.cell.key(name, images.name) == key:
                    return cell.cell.group(name, images.name).extras["version"].astype(np.int64)
        return None

    def keep(
        self, cell: CellPlan, pair: Pair, images: ImageSet, scored: Scored, note: str = "", scored_by: str = ""
    ) -> None:
        """Store one group, the scores of `images` under the task of `pair`.

        Args:
            cell: to which it belongs.
            pair: names of the task and the image set.
            images: the image set.
            scored: their scores, and what was measured with them.
            note: doubts about an ID accuracy.
            scored_by: the task under which ID images have the same score, where it is not the detector's own.
        """
        suite, name = self._plan.suite, pair[0]
        task = None if name == ID_TASK else self._plan.stored_tasks[name]
        attacked = {KEPT_IMAGES: scored.images} if scored.images.size else {}
        distances = {ood.set: ood.distance for ood in suite.ood}
        cell.cell.add(
            Scores(
                task=name,
                image_set=images.name,
                role="id" if images.name == suite.id.test else "ood",
                scores=scored.scores,
                predictions=scored.predictions,
                labels=images.labels,
                indices=images.indices,
                extras={
                    **scored.extras,
                    **attacked,
                },
                attributes={
                    "key": self._plan.group_key(cell, self.network_digest, name, images.name),
                    "threat": task.threat() if task else "",
                    "constants": json.dumps(constants(task)) if task else "",
                    **({ID_SCORES: scored_by} if scored_by else {}),
                    "distance": distances.get(images.name, ""),
                    "fingerprint": images.fingerprint,
                    "labels_note": note,
                    "images_note": self._plan.image_sets.images_note(images.name, suite),
                    "id_fingerprint": self._plan.images[suite.id.test].fingerprint,
                    "network_digest": self.network_digest,
                    "source": images.source,
                    "seconds": scored.seconds,
                    "looks": scored.looks,
                    "stops_at": self._plan.task(pair).stops_at(),
                    "images_sha256": scored.images_sha256,
                    **self._draws(cell, pair),
                    **as_attributes(scored.checks),
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                    **condition_attributes(self._scored_under()),
                },
            ),
            self._cell_attributes(cell, done=pair),
        )

    def _draws(self, cell: CellPlan, pair: Pair) -> dict[str, int]:
        """The number of draws of a score, and of a look of an attack; empty for a detector that is not random."""
        detector, task = cell.detector, self._plan.task(pair)
        if not detector.draws():
            return {}
        a_look = {"draws_a_look": detector.draws() * scores_per_look(detector, task.eot)} if task.attacks() else {}
        return {"draws": detector.draws(), **a_look}

    def is_current(self, cell: CellPlan, pair: Pair) -> bool:
        """True if a group is stored, and was scored with these weights."""
        return cell.cell.key(*pair) == self._plan.group_key(cell, self.network_digest, *pair)

    def add_transfer(self, cell: CellPlan, pair: Pair, checks: Mapping[str, float], donors: Mapping[str, str]) -> None:
        """Add to a stored attack how the detector scores images that other detectors were attacked with.

        Args:
            cell: whose detector was tried on them.
            pair: the attack.
            checks: what was measured, by name.
            donors: SHA-256 of the images of each, by its file.
        """
        group = cell.cell.group(*pair)
        more: dict[str, str | float] = {**as_attributes(checks), TRANSFERRED_FROM: json.dumps(donors)}
        cell.cell.add(replace(group, attributes={**group.attributes, **more}), self._cell_attributes(cell, done=pair))

    def note_failure(self, cell: CellPlan, why: str, doing: Pair | tuple[()]) -> None:
        """Note that the cell's detector failed, and at which pair."""
        cell.cell.note(_failure(why, doing), self._cell_attributes(cell))

    def _scored_under(self) -> Setup:
        """The run's setup, but for the precision of training where the network was not trained here."""
        setup = self._setup
        return replace(setup, compute=replace(setup.compute, bf16=False)) if self._network_plan.given else setup

    def _cell_attributes(self, cell: CellPlan, done: Pair | None = None) -> Mapping[str, str | int | float]:
        """The attributes of a cell, with an earlier failure unless the pair that it failed at is `done` now."""
        about = _attributes(self._plan, self._network_plan, self._setup, cell, self.network_digest)
        if cell in self.learned:
            about |= {"tuned": json.dumps(self._tuned(cell)), "fit_seconds": self.learned[cell].seconds}
        present = cell.cell.attributes() if cell.cell.path.is_file() else {}
        failed_at = str(present.get(FAILED_AT, ""))
        if failed_at and failed_at != "/".join(done or ()):
            about |= {name: str(present[name]) for name in (FAILED, FAILED_AT, FAILED_ON)}
        return about

    def _tuned(self, cell: CellPlan) -> dict[str, Any]:
        """The outcome of tuning, and the kinds of images for it that the network may have been trained on."""
        tuned, tuning = self.learned[cell].tuned, cell.detector.tuning()
        if not tuned or tuning is None:
            return tuned
        return {
            **tuned,
            "perhaps_seen": network_provenance.perhaps_seen(
                self._network_plan.file, self._plan.suite, self._plan.image_sets, tuning
            ),
        }


def _apart(first: Any, second: Any) -> bool:
    """True if two values in JSON's types differ by more than rounding."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) != len(second) or any(map(_apart, first, second))
    if isinstance(first, float) and isinstance(second, int | float):
        return not math.isclose(first, second, rel_tol=ROUNDING)
    return bool(first != second)


def _attributes(
    plan: SuitePlan, network_plan: NetworkPlan, setup: Setup, cell: CellPlan, network_digest: str = ""
) -> dict[str, str | int | float]:
    """The attributes of a cell that are known before its detector has learned anything."""
    suite = plan.suite
    return {
        "suite": suite.name,
        "suite_version": suite.version,
        "suite_fingerprint": suite.fingerprint,
        "means": json.dumps(suite.means),
        "classes": suite.id.classes,
        "detector": cell.detector.name,
        "paper": cell.detector.paper,
        "parameters": json.dumps(asdict(cell.detector.parameters)),
        "code": cell.code,
        **_base_attributes(cell.detector),
        "scoring_version": scoring.VERSION,
        "training_version": 0 if network_plan.given else training.VERSION,
        "settings": " ".join(setting.text for setting in plan.settings),
        "plugin": plugins.file_of(type(cell.detector)),
        "options": shlex.join(setup.compute.options(setup.device, trains=not network_plan.given)),
        "seed": plan.seed,
        "limit": plan.sample.limit or 0,
        "images": plan.sample.images or 0,
        "data": str(plan.sample.data),
        "network": suite.network.called,
        "network_file": network_plan.file.name,
        "network_digest": network_digest,
        "objective": network_plan.objective.identity,
        **({"network_parts": network_plan.parts} if network_plan.parts else {}),
        "trained_on": network_provenance.trained_on(network_plan.file),
        "learned_from": json.dumps(network_provenance.learned_from(network_plan.file, network_plan.start)),
        "checkpoint": str(network_plan.file) if network_plan.given else "",
        "features": plan.image_sets.pack.title if plan.image_sets.pack else "",
        "pretrained": network_plan.pretrained.title if network_plan.pretrained else "",
        "unlike": "; ".join(plan.image_sets.unlike),
    }


def _base_attributes(detector: Detector) -> dict[str, str]:
    """The name and code of the detector whose score a method reworks; empty for a method with a score of its own."""
    over = detector.over()
    return {} if over is None else {"over": over.name, "over_code": code_digest(type(over), root=Detector)}
