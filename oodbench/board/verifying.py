"""Evidence checked, line by line: what holds, what does not, and what could not be checked here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.board.archive import Evidence, Pixels, Row
from oodbench.board.at_hand import (
    LoadedDetector,
    Resources,
    Subject,
    find_kept,
    load_with_weights,
    networks_as_files,
    ood_set,
    over_code_of,
    parameters_of,
    parse_settings,
    places,
    task_of,
)
from oodbench.board.claims import HeldRow, covered_cases
from oodbench.board.description import OWN, Case, SetDescription
from oodbench.board.findings import Finding, Status, VerifiedRow, VerifiedSet
from oodbench.board.sources_check import (
    ball_violation,
    excess_radius_text,
    missing_source,
    restore_images,
    size_difference,
)
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
"""The most passes an image that an attack may take to be carried out again: archives come from anybody."""

OF_FIGURES = 1e-9
"""How far a figure may lie from what its own scores give: it is computed from the same bits."""


def verify(evidence: Evidence, resources: Resources, tolerance: float = TOLERANCE) -> Iterator[VerifiedRow]:
    """Verify each row with what there is here.

    Args:
        evidence: as `oodbench.board.archive.load` gives it.
        resources: where suites, images and networks are looked for.
        tolerance: share of the spread of the ID scores by which a score may differ; 0 for none.
    """
    with networks_as_files(evidence.networks) as carried:
        for row in evidence.rows:
            yield _RowCheck(row, resources, carried, tolerance).verified()


class _RowCheck:
    """The checks of one row, which add a finding each; one that returns None or False leaves nothing to be checked."""

    def __init__(self, row: Row, resources: Resources, carried: Mapping[str, Path], tolerance: float) -> None:
        self.row, self.resources, self.carried, self.tolerance = row, resources, carried, tolerance
        self.case = row.said.case
        self.findings: list[Finding] = []
        self.images: dict[str, Pixels] = {}

    def verified(self) -> VerifiedRow:
        """Check everything in turn, until something leaves the rest without a meaning."""
        run = self._applied_settings()
        if run is None:
            return VerifiedRow(self.row, tuple(self.findings))
        subject, suite, detector = run
        if not self._check_suite(suite) or not self._check_detector(detector):
            return VerifiedRow(self.row, tuple(self.findings))
        if not self._check_attack():
            return VerifiedRow(self.row, tuple(self.findings), suite)
        attacked = self._attacked_sets(suite)
        loaded = self._checked_network(subject, suite)
        fitted = None if loaded is None else self._checked_id_scores(loaded)
        if fitted is None:
            return VerifiedRow(self.row, tuple(self.findings), suite)
        sets = {
            name: verified
            for name, (sources, images) in attacked.items()
            if (verified := self._checked_set(fitted, name, sources, images))
        }
        id_scores, cases = self._judged_id_scores(fitted), self._held_cases(subject, fitted)
        return VerifiedRow(self.row, tuple(self.findings), suite, id_scores, sets, cases)

    def _add(self, status: Status, what: str, said: str) -> None:
        self.findings.append(Finding(status, what, said))

    def _add_check(self, what: str, wrong: str, right: str) -> bool:
        """Add a finding, and return whether it holds: `wrong` says why it does not, and is "" if it does."""
        self._add(Status.FAILS if wrong else Status.HOLDS, what, wrong or right)
        return not wrong

    def _applied_settings(self) -> tuple[Subject, Suite, Detector] | None:
        """Return the row's run with suite and detector as its settings make them; None where these are not known."""
        case, said = self.case, self.row.said
        suite = self.resources.suite(case.suite)
        if suite is None:
            self._add(Status.UNCHECKED, "suite", f"{case.suite} is not known here: name its file with --suite")
            return None
        if case.detector not in self.resources.registry:
            self._add(Status.UNCHECKED, "detector", f"{case.detector} is not known here: name its file with --plugin")
            return None
        try:
            detector = self.resources.registry[case.detector]
            attack = "" if said.attack == OWN else said.attack
            subject = Subject(suite, detector, parse_settings(said.settings), attack, case.limit, said.seed)
            return subject, *subject.applied()
        except OodbenchError as error:
            self._add(Status.FAILS, "settings", str(error))
            return None

    def _check_suite(self, suite: Suite) -> bool:
        case, wrong = self.case, ""
        if (suite.version, suite.fingerprint) != (case.suite_version, case.suite_fingerprint):
            wrong = (
                f"another suite: the evidence is of {case.suite} version {case.suite_version}, fingerprint "
                f"{case.suite_fingerprint[:8]}; here it is version {suite.version}, fingerprint {suite.fingerprint[:8]}"
            )
        right = f"{suite.name}, version {suite.version}, fingerprint {suite.fingerprint[:8]}"
        return self._add_check("suite", wrong, right)

    def _check_detector(self, configured: Detector) -> bool:
        case, name, parameters = self.case, configured.name, parameters_of(configured)
        wrong = ""
        if code_of(self.resources.registry, name) != case.code:
            wrong = f"other code: that of {name} here is not the code that the evidence was made with"
        elif over_code_of(configured) != case.over_code:
            wrong = f"other code: that of the method that {name} is over here is not what the evidence was made with"
        elif json.loads(parameters) != _parsed_json(case.parameters):
            wrong = f"other parameters: {name} has {parameters} here"
        elif parameters != case.parameters:  # one claim would be several entries of a board, one a spelling
            wrong = f"other parameters: they are written otherwise than oodbench writes them, which is {parameters}"
        return self._add_check("detector", wrong, f"{name}, code and parameters")

    def _check_attack(self) -> bool:
        """Check that what the row says of its attack agrees with itself."""
        said, case, wrong = self.row.said, self.case, ""
        if said.attack != OWN:
            try:
                task = task_of(said.constants)
                if (task.norm, task.epsilon) != (case.norm, case.epsilon):
                    wrong = f"another ball: the attack moved images by {task.norm} {task.epsilon}/255, not {case.ball}"
            except OodbenchError as error:
                wrong = str(error)
        return self._add_check("attack", wrong, f"{said.words or said.attack}; {case.ball} around each image")

    def _attacked_sets(self, suite: Suite) -> dict[str, tuple[ImageSet, Pixels | None]]:
        """Return the OOD sets here, whole, whose images are those that were attacked, each with the attacked images.

        These are None where the archive does not have them.
        """
        attacked: dict[str, tuple[ImageSet, Pixels | None]] = {}
        for said in self.row.said.sets:
            try:
                whole = ood_set(suite, said.name, self.resources.data, 0)
            except OodbenchError as error:
                self._add(Status.UNCHECKED, f"{said.name}, sources and ball", _first_line(error))
                continue
            sources = whole.spread(self.case.limit or None)
            if not self._sources_hold(said, sources):
                continue
            images, changes = self.row.sets[said.name].images, self.row.sets[said.name].changes
            if changes is not None and (images := self._restored_images(said, changes, sources)) is None:
                continue
            if self._ball_holds(said, images, sources):
                attacked[said.name] = whole, images
        return attacked

    def _sources_hold(self, said: SetDescription, sources: ImageSet) -> bool:
        indices = self.row.sets[said.name].indices
        wrong = missing_source(indices, sources)
        if not wrong and images_digest(sources.pixels(places(sources, indices))) != said.sources:
            wrong = f"wrong source image: {said.name} here are not the images that the evidence says to be made of"
        return self._add_check(f"{said.name}, sources", wrong, f"{said.count} images, those of {said.name} here")

    def _restored_images(self, said: SetDescription, changes: Pixels, sources: ImageSet) -> Pixels | None:
        """Return the attacked images that changes make of their sources; None where the evidence says other ones."""
        images, wrong = None, size_difference(changes, sources)
        if not wrong:
            images = restore_images(changes, self.row.sets[said.name].indices, sources)
            if images_digest(images) != said.images:
                wrong = "reused digest: they do not make the images whose SHA-256 it says"
        if wrong:
            self._add(Status.FAILS, f"{said.name}, changes", wrong)
            return None
        return images

    def _ball_holds(self, said: SetDescription, images: Pixels | None, sources: ImageSet) -> bool:
        """Check that images lie in the ball; without images, which the attack makes again, only that it is no wider."""
        norm, epsilon, what = self.case.norm, self.case.epsilon, f"{said.name}, ball and grid"
        if images is None:
            if wrong := excess_radius_text(sources, norm, epsilon):
                self._add(Status.FAILS, what, wrong)
            return not wrong
        wrong = ball_violation(images, self.row.sets[said.name].indices, sources, norm, epsilon)
        return self._add_check(what, wrong, f"{said.count} 8-bit images within {self.case.ball}")

    def _checked_network(self, subject: Subject, suite: Suite) -> LoadedDetector | None:
        """Return the detector over the network that the evidence names, if that has the stated name and weights."""
        case, called = self.case, suite.network.called
        if case.network != called:
            said = f"the evidence calls it {case.network[:80]}, and the network of {suite.name} here is {called}"
            self._add(Status.FAILS, "network", f"other network: {said}")
            return None
        try:
            kept = find_kept(case.kept, self.resources) if case.kept else None
            here = load_with_weights(subject, self.resources, self._network_files(kept), case.network_digest)
        except OodbenchError as error:
            self._add(Status.UNCHECKED, "network and scores", _first_line(error))
            return None
        wrong = self._network_difference(here, kept)
        right = f"{case.kept or case.network}, weights {here.weights[:12]}"
        return here if self._add_check("network", wrong, right) else None

    def _network_files(self, kept: Path | None) -> Sequence[Path]:
        """Return the files that may be the network; OodbenchError where there is none."""
        digest = self.case.network_digest
        carried = self.carried.get(digest)
        # A network inside the archive must be the scored one, so no other file is tried.
        others = [carried] if carried else self.resources.networks
        files = [*filter(None, [kept]), *others]
        if not files:
            raise OodbenchError(f"the network {digest[:12]} is not here: name its file with --checkpoint")
        return files

    def _network_difference(self, here: LoadedDetector, kept: Path | None) -> str:
        """Return in words how the network here differs from the one that the evidence names; "" if it is that."""
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

    def _checked_id_scores(self, here: LoadedDetector) -> LoadedDetector | None:
        """Return the detector, fitted and with the ID scores that set the threshold of FPR@95, if it can be had."""
        case = self.case
        images = here.id_images
        if (images.name, images.fingerprint) != (case.id_set, case.id_fingerprint):
            self._add(Status.FAILS, "ID images", f"other ID images: {images.name} here is not what was scored")
            return None
        try:
            ready = here.ready()
        except OodbenchError as error:
            self._add(Status.UNCHECKED, "scores", _first_line(error))
            return None
        self._check_scores(f"ID scores, {images.name}", self.row.id_scores, ready.id_scores, ready.id_scores)
        return ready

    def _checked_set(
        self, here: LoadedDetector, name: str, sources: ImageSet, images: Pixels | None
    ) -> VerifiedSet | None:
        """Return one set as scored here, if scores and figures hold; without images the attack is carried out again."""
        said = next(one for one in self.row.said.sets if one.name == name)
        one = self.row.sets[name]
        where = places(sources, one.indices)
        if images is None:
            images = self._images_attacked_again(here, said, sources)
            if images is None:
                return None
        self.images[name] = images
        scores = here.scores(name, images, one.indices)
        if not self._check_scores(f"{name}, scores", one.scores, scores, here.id_scores):
            return None
        figures = evaluate(self.row.id_scores, one.scores)
        edited = [
            f"edited {metric}: the evidence says {100 * getattr(said, metric):.2f} and its scores {100 * value:.2f}"
            for metric, value in figures.items()
            if metric in ("auroc", "fpr95") and abs(getattr(said, metric) - value) > OF_FIGURES
        ]
        right = f"AUROC {100 * said.auroc:.2f}, FPR@95 {100 * said.fpr95:.2f}"
        self._add_check(f"{name}, figures", "; ".join(edited), right)
        clean = here.scores(name, sources.pixels(where), one.indices)
        if edited:
            return None
        return VerifiedSet(sources, one.indices, self._judged_scores(here, said, images, scores), clean, said.images)

    def _judged_scores(self, here: LoadedDetector, said: SetDescription, images: Pixels, scores: Floats) -> Floats:
        """Return the scores that figures are taken of: of a score that draws, by draws that no attacker knew."""
        if not here.detector.draws():
            return scores
        drawn = here.scores(said.name, images, self.row.sets[said.name].indices, drawn_by=said.images)
        figures = evaluate(self._judged_id_scores(here), drawn)
        self._add(
            Status.HOLDS,
            f"{said.name}, draws",
            "its score draws, so it is judged by draws that follow from the images' digest, which nobody knew before "
            f"they were made: AUROC {100 * figures['auroc']:.2f}, FPR@95 {100 * figures['fpr95']:.2f}",
        )
        return drawn

    def _judged_id_scores(self, here: LoadedDetector) -> Floats:
        return here.id_scores_drawn_by(self.case.network_digest) if here.detector.draws() else here.id_scores

    def _images_attacked_again(self, here: LoadedDetector, said: SetDescription, sources: ImageSet) -> Pixels | None:
        """Return the images that the attack leaves when it is carried out again; None where they are other ones."""
        task = task_of(self.row.said.constants) if self.row.said.constants else None
        if task is None:
            self._add(Status.FAILS, f"{said.name}, images", "there are none, and nobody else can carry out this attack")
            return None
        if (passes := attack_passes(task, here.detector).both) > PATIENCE:
            self._add(
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
        self._add_check(f"{said.name}, images", wrong, "carried out again, the attack leaves the same ones, bit by bit")
        return None if wrong else images

    def _held_cases(self, subject: Subject, here: LoadedDetector) -> tuple[Case, ...]:
        """Return the cases that the row is about, if all of it holds; otherwise none."""
        if any(finding.status != Status.HOLDS for finding in self.findings):
            return ()
        allowed = self.tolerance * spread_of(here.id_scores)

        def alike(stored: Floats, scored: Floats) -> bool:
            return stored.shape == scored.shape and bool((np.abs(stored - scored) <= allowed).all())

        cases, left_out = covered_cases(HeldRow(self.row, subject, here.file, self.images), self.resources, alike)
        if left_out:
            self._add(
                Status.HOLDS, "claim", f"the same without {', '.join(left_out)}, by which no score of it is moved"
            )
        return cases

    def _check_scores(self, what: str, stored: Floats, scored: Floats, id_scores: Floats) -> bool:
        """Check that the scores in the evidence are those that are calculated here, within the tolerance."""
        if stored.shape != scored.shape:
            self._add(Status.FAILS, what, f"edited score: there are {len(stored)}, and {len(scored)} images")
            return False
        off, allowed = np.abs(stored - scored), self.tolerance * spread_of(id_scores)
        wrong = ""
        if (off > allowed).any():
            worst = int(np.argmax(off))
            wrong = (
                f"edited score: {int((off > allowed).sum())} of {len(stored)} are not what the network says here, no. "
                f"{worst} most: {stored[worst]:.6g} in the evidence, {scored[worst]:.6g} here (allowed: {allowed:.2g})"
            )
        exact = "to the bit" if not off.any() else f"within {off.max():.2g} (allowed: {allowed:.2g})"
        return self._add_check(what, wrong, f"{len(stored)}, scored again, {exact}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _parsed_json(text: str) -> Any:
    """Return the value of a JSON text; None where it is not valid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
