"""Evidence checked, line by line: what holds, what does not, and what could not be looked at here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.board.archive import Evidence, Floats, Pixels, Row
from oodbench.board.at_hand import (
    Asked,
    AtHand,
    Resources,
    as_files,
    kept_here,
    ood_set,
    over_code_of,
    parameters_of,
    parsed,
    places,
    task_of,
    with_weights,
)
from oodbench.board.claims import Held, about
from oodbench.board.description import OWN, Case, SetSaid
from oodbench.board.findings import Finding, RowSeen, SetSeen, Status
from oodbench.board.sources_check import amiss, missing, other_size, restored, too_wide
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet, images_digest
from oodbench.metrics import evaluate
from oodbench.registry import code_of
from oodbench.scoring.attacking import attack_passes
from oodbench.statistics.repeatability import spread_of
from oodbench.suite import Suite

TOLERANCE = 1e-3
"""Share of the spread of ID scores by which a score may differ: machines round otherwise."""

PATIENCE = 100_000
"""Passes an image that an attack may take which is carried out again: archives come from anybody."""

OF_FIGURES = 1e-9
"""How far a figure may lie from what its own scores give: it is computed from the same bits."""


class _StopError(Exception):
    """Nothing more can be looked at."""


def verify(evidence: Evidence, resources: Resources, tolerance: float = TOLERANCE) -> Iterator[RowSeen]:
    """Each row, looked at with what there is here.

    Args:
        evidence: as `oodbench.board.archive.load` gives it.
        resources: where suites, images and networks are looked for.
        tolerance: share of the spread of the ID scores by which a score may differ; 0 for none.
    """
    with as_files(evidence.networks) as carried:
        for row in evidence.rows:
            yield _Look(row, resources, carried, tolerance).seen()


class _Look:
    """One row under way."""

    def __init__(self, row: Row, resources: Resources, carried: Mapping[str, Path], tolerance: float) -> None:
        self.row, self.resources, self.carried, self.tolerance = row, resources, carried, tolerance
        self.case = row.said.case
        self.findings: list[Finding] = []
        self.images: dict[str, Pixels] = {}

    def seen(self) -> RowSeen:
        found = RowSeen(self.row, ())
        try:
            asked, suite = self._suite()
            found = replace(found, suite=suite)
            self._attack()
            attacked = self._attacked(suite)
            here = self._network(asked, suite)
            ready = self._id_scores(here)
            sets = {name: self._set(ready, name, *one) for name, one in attacked.items()}
            found = replace(
                found,
                id_scores=self._judged_id(ready),
                sets={name: one for name, one in sets.items() if one},
                cases=self._cases(asked, ready),
            )
        except _StopError:
            pass
        return replace(found, findings=tuple(self.findings))

    def _say(self, status: Status, what: str, said: str) -> None:
        self.findings.append(Finding(status, what, said))

    def _check(self, what: str, wrong: str, right: str) -> None:
        """`wrong` says why something does not hold; "" if it does."""
        self._say(Status.FAILS if wrong else Status.HOLDS, what, wrong or right)

    def _suite(self) -> tuple[Asked, Suite]:
        """The suite and the detector here, if they are those that were attacked."""
        case, said = self.case, self.row.said
        suite = self.resources.suite(case.suite)
        if suite is None:
            self._say(Status.UNCHECKED, "suite", f"{case.suite} is not known here: name its file with --suite")
            raise _StopError
        if case.detector not in self.resources.registry:
            self._say(Status.UNCHECKED, "detector", f"{case.detector} is not known here: name its file with --plugin")
            raise _StopError
        try:
            detector = self.resources.registry[case.detector]
            attack = "" if said.attack == OWN else said.attack
            asked = Asked(suite, detector, parsed(said.settings), attack, case.limit, said.seed)
            suite, configured = asked.applied()
        except OodbenchError as error:
            self._say(Status.FAILS, "settings", str(error))
            raise _StopError from error
        wrong = ""
        if (suite.version, suite.fingerprint) != (case.suite_version, case.suite_fingerprint):
            wrong = (
                f"another suite: the evidence is of {case.suite} version {case.suite_version}, fingerprint "
                f"{case.suite_fingerprint[:8]}; here it is version {suite.version}, fingerprint {suite.fingerprint[:8]}"
            )
        self._check("suite", wrong, f"{suite.name}, version {suite.version}, fingerprint {suite.fingerprint[:8]}")
        if wrong:
            raise _StopError
        self._detector(configured)
        return asked, suite

    def _detector(self, configured: Detector) -> None:
        case, name, parameters = self.case, configured.name, parameters_of(configured)
        wrong = ""
        if code_of(self.resources.registry, name) != case.code:
            wrong = f"other code: that of {name} here is not the code that the evidence was made with"
        elif over_code_of(configured) != case.over_code:
            wrong = f"other code: that of the method that {name} is over here is not what the evidence was made with"
        elif json.loads(parameters) != _parsed(case.parameters):
            wrong = f"other parameters: {name} has {parameters} here"
        elif parameters != case.parameters:  # one claim would be several entries of a board, one a spelling
            wrong = f"other parameters: they are written otherwise than oodbench writes them, which is {parameters}"
        self._check("detector", wrong, f"{name}, code and parameters")
        if wrong:
            raise _StopError

    def _attack(self) -> None:
        """What the row says of its attack agrees with itself."""
        said, case, wrong = self.row.said, self.case, ""
        if said.attack != OWN:
            try:
                task = task_of(said.constants)
                if (task.norm, task.epsilon) != (case.norm, case.epsilon):
                    wrong = f"another ball: the attack moved images by {task.norm} {task.epsilon}/255, not {case.ball}"
            except OodbenchError as error:
                wrong = str(error)
        self._check("attack", wrong, f"{said.words or said.attack}; {case.ball} around each image")
        if wrong:
            raise _StopError

    def _attacked(self, suite: Suite) -> dict[str, tuple[ImageSet, Pixels | None]]:
        """The OOD sets that are here, all of each, whose images are those that were attacked, and what became of these.

        None where the archive does not have that.
        """
        found = {}
        for said in self.row.said.sets:
            try:
                whole = ood_set(suite, said.name, self.resources.data, 0)
            except OodbenchError as error:
                self._say(Status.UNCHECKED, f"{said.name}, sources and ball", _first(error))
                continue
            sources = whole.spread(self.case.limit or None)
            if not self._sources_hold(said, sources):
                continue
            images, changes = self.row.sets[said.name].images, self.row.sets[said.name].changes
            if changes is not None and (images := self._restored(said, changes, sources)) is None:
                continue
            if self._ball_holds(said, images, sources):
                found[said.name] = whole, images
        return found

    def _sources_hold(self, said: SetSaid, sources: ImageSet) -> bool:
        one = self.row.sets[said.name]
        wrong = missing(one.indices, sources)
        if not wrong and images_digest(sources.pixels(places(sources, one.indices))) != said.sources:
            wrong = f"wrong source image: {said.name} here are not the images that the evidence says to be made of"
        self._check(f"{said.name}, sources", wrong, f"{said.count} images, those of {said.name} here")
        return not wrong

    def _restored(self, said: SetSaid, changes: Pixels, sources: ImageSet) -> Pixels | None:
        """The attacked images that changes make of their sources; None where these are not what the evidence says."""
        images, wrong = None, other_size(changes, sources)
        if not wrong:
            images = restored(changes, self.row.sets[said.name].indices, sources)
            if images_digest(images) != said.images:
                wrong = "reused digest: they do not make the images whose SHA-256 it says"
        if wrong:
            self._say(Status.FAILS, f"{said.name}, changes", wrong)
            return None
        return images

    def _ball_holds(self, said: SetSaid, images: Pixels | None, sources: ImageSet) -> bool:
        """Without images, which the attack makes again, only that the ball is one of such images."""
        norm, epsilon, what = self.case.norm, self.case.epsilon, f"{said.name}, ball and grid"
        if images is None:
            if wrong := too_wide(sources, norm, epsilon):
                self._say(Status.FAILS, what, wrong)
            return not wrong
        wrong = amiss(images, self.row.sets[said.name].indices, sources, norm, epsilon)
        self._check(what, wrong, f"{said.count} 8-bit images within {self.case.ball}")
        return not wrong

    def _network(self, asked: Asked, suite: Suite) -> AtHand:
        """The detector over the network that the evidence names, which is called as it says and has these weights."""
        case, called = self.case, suite.network.called
        if case.network != called:
            said = f"the evidence calls it {case.network[:80]}, and the network of {suite.name} here is {called}"
            self._say(Status.FAILS, "network", f"other network: {said}")
            raise _StopError
        try:
            kept = kept_here(case.kept, self.resources) if case.kept else None
            here = with_weights(asked, self.resources, self._network_files(kept), case.network_digest)
        except OodbenchError as error:
            self._say(Status.UNCHECKED, "network and scores", _first(error))
            raise _StopError from error
        wrong = self._other_network(here, kept)
        self._check("network", wrong, f"{case.kept or case.network}, weights {here.weights[:12]}")
        if wrong:
            raise _StopError
        return here

    def _network_files(self, kept: Path | None) -> Sequence[Path]:
        """Files that may be the network; OodbenchError where there are none."""
        digest = self.case.network_digest
        carried = self.carried.get(digest)
        # What comes along is what was scored, or the archive is none.
        others = [carried] if carried else self.resources.networks
        files = [*filter(None, [kept]), *others]
        if not files:
            raise OodbenchError(f"the network {digest[:12]} is not here: name its file with --checkpoint")
        return files

    def _other_network(self, here: AtHand, kept: Path | None) -> str:
        """In what the network here is not the one that the evidence names, in words; "" where it is."""
        case = self.case
        named = "the one in the archive" if here.file in self.carried.values() else f"{here.file.name} here"
        if here.weights != case.network_digest:
            return (
                f"other network: the weights of {named} are {here.weights[:12]}, and the evidence says "
                f"{case.network_digest[:12]}"
            )
        if kept is not None and here.file != kept:
            return (
                f"other network: {here.weights[:12]} are the weights of {named}, and the evidence says that they are "
                f"those of the kept network {case.kept}"
            )
        return ""

    def _id_scores(self, here: AtHand) -> AtHand:
        """The detector, whose ID scores set the threshold that FPR@95 is at."""
        case = self.case
        images = here.id_images
        if (images.name, images.fingerprint) != (case.id_set, case.id_fingerprint):
            self._say(Status.FAILS, "ID images", f"other ID images: {images.name} here is not what was scored")
            raise _StopError
        try:
            ready = here.ready()
        except OodbenchError as error:
            self._say(Status.UNCHECKED, "scores", _first(error))
            raise _StopError from error
        self._compare(f"ID scores, {images.name}", self.row.id_scores, ready.id_scores, ready.id_scores)
        return ready

    def _set(self, here: AtHand, name: str, sources: ImageSet, images: Pixels | None) -> SetSeen | None:
        """The scores of one set, and the figures that follow; without images the attack is carried out again."""
        said = next(one for one in self.row.said.sets if one.name == name)
        one = self.row.sets[name]
        where = places(sources, one.indices)
        if images is None:
            images = self._again(here, said, sources)
            if images is None:
                return None
        self.images[name] = images
        scores = here.scores(name, images, one.indices)
        if not self._compare(f"{name}, scores", one.scores, scores, here.id_scores):
            return None
        found = evaluate(self.row.id_scores, one.scores)
        edited = [
            f"edited {metric}: the evidence says {100 * getattr(said, metric):.2f} and its scores {100 * value:.2f}"
            for metric, value in found.items()
            if metric in ("auroc", "fpr95") and abs(getattr(said, metric) - value) > OF_FIGURES
        ]
        right = f"AUROC {100 * said.auroc:.2f}, FPR@95 {100 * said.fpr95:.2f}"
        self._check(f"{name}, figures", "; ".join(edited), right)
        clean = here.scores(name, sources.pixels(where), one.indices)
        if edited:
            return None
        return SetSeen(sources, one.indices, self._judged(here, said, images, scores), clean, said.images)

    def _judged(self, here: AtHand, said: SetSaid, images: Pixels, scores: Floats) -> Floats:
        """Scores by which figures are taken: of a score that draws, by draws that whoever attacked did not know."""
        if not here.detector.draws():
            return scores
        drawn = here.scores(said.name, images, self.row.sets[said.name].indices, drawn_by=said.images)
        found = evaluate(self._judged_id(here), drawn)
        self._say(
            Status.HOLDS,
            f"{said.name}, draws",
            "its score draws, so it is judged by draws that follow from the images' digest, which nobody knew before "
            f"they were made: AUROC {100 * found['auroc']:.2f}, FPR@95 {100 * found['fpr95']:.2f}",
        )
        return drawn

    def _judged_id(self, here: AtHand) -> Floats:
        return here.id_scores_drawn_by(self.case.network_digest) if here.detector.draws() else here.id_scores

    def _again(self, here: AtHand, said: SetSaid, sources: ImageSet) -> Pixels | None:
        """The images that the attack leaves when it is carried out again; None where they are others."""
        task = task_of(self.row.said.constants) if self.row.said.constants else None
        if task is None:
            self._say(Status.FAILS, f"{said.name}, images", "there are none, and nobody else can carry out this attack")
            return None
        if (passes := attack_passes(task, here.detector).both) > PATIENCE:
            self._say(
                Status.UNCHECKED,
                f"{said.name}, images",
                f"to carry the attack out again takes {passes:,} passes an image, which nobody waits for: hand in the "
                "images (run with --keep-images)",
            )
            return None
        where = places(sources, self.row.sets[said.name].indices)
        part = replace(
            sources,
            images=sources.pixels(where),
            labels=sources.labels[where],
            indices=sources.indices[where],
        )
        images = here.attacked(part, task)
        wrong = ""
        if images_digest(images) != said.images:
            wrong = (
                "carried out again here, the attack leaves other images than the evidence was scored on: hand in the "
                "images (run with --keep-images), since only a machine that calculates to the same bits repeats it"
            )
        self._check(f"{said.name}, images", wrong, "carried out again, the attack leaves the same ones, bit by bit")
        return None if wrong else images

    def _cases(self, asked: Asked, here: AtHand) -> tuple[Case, ...]:
        """What the row is about, where all of it holds."""
        if any(one.status != Status.HOLDS for one in self.findings):
            return ()
        allowed = self.tolerance * spread_of(here.id_scores)

        def alike(told: Floats, found: Floats) -> bool:
            return told.shape == found.shape and bool((np.abs(told - found) <= allowed).all())

        cases, left_out = about(Held(self.row, asked, here.file, self.images), self.resources, alike)
        if left_out:
            self._say(
                Status.HOLDS, "claim", f"the same without {', '.join(left_out)}, by which no score of it is moved"
            )
        return cases

    def _compare(self, what: str, told: Floats, here: Floats, id_scores: Floats) -> bool:
        if told.shape != here.shape:
            self._say(Status.FAILS, what, f"edited score: there are {len(told)}, and {len(here)} images")
            return False
        off, allowed = np.abs(told - here), self.tolerance * spread_of(id_scores)
        wrong = ""
        if (off > allowed).any():
            worst = int(np.argmax(off))
            wrong = (
                f"edited score: {int((off > allowed).sum())} of {len(told)} are not what the network says here, no. "
                f"{worst} most: {told[worst]:.6g} in the evidence, {here[worst]:.6g} here (allowed: {allowed:.2g})"
            )
        exact = "to the bit" if not off.any() else f"within {off.max():.2g} (allowed: {allowed:.2g})"
        self._check(what, wrong, f"{len(told)}, scored again, {exact}")
        return not wrong


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
