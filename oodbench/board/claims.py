"""The cases that a row of evidence is about: its own, and the same with fewer settings where that moves no score.

An entry of a board is a case. Some of what a run may say moves nothing: a recipe beside a network that is given, a
parameter at which its training alone looks, a limit above the images that there are. A row that holds without it as
well is about the case without it as well, and begins no entry beside that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.board.archive import Pixels, Row
from oodbench.board.at_hand import Resources, Subject, load_detector, ood_set, over_code_of, parameters_of
from oodbench.board.description import Case
from oodbench.suitefiles import settings
from oodbench.suitefiles.settings import Setting

Alike = Callable[[Floats, Floats], bool]
"""Returns whether scores in the evidence may be those that are calculated here."""


@dataclass(frozen=True, eq=False)
class HeldRow:
    """A row that holds, and all that it was verified with.

    Attributes:
        row: as the archive has it.
        subject: of its run.
        network: file of the network.
        images: attacked images by set, uint8 (N, H, W, 3).
    """

    row: Row
    subject: Subject
    network: Path
    images: Mapping[str, Pixels]


def covered_cases(held: HeldRow, resources: Resources, alike: Alike) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases that a row is about, fewest settings first and its own last; and the settings left out."""
    suite = held.subject.suite
    subject = replace(held.subject, settings=settings.settings_in_force(held.subject.settings, suite))
    cases, left_out = [held.row.said.case], list[str]()
    removable = [setting for setting in subject.settings if not settings.changes_task(setting, suite)]
    removals: dict[str, Callable[[Subject], Subject]] = {
        f"--set {setting.text}": partial(_without, setting) for setting in removable
    }
    if subject.limit:  # last: what follows from it, which images an entry is of, may be wanted without the settings
        removals[f"--limit {subject.limit}"] = partial(replace, limit=0)
    for text, remove in removals.items():
        reduced = remove(subject)
        case = _case_of(cases[0], reduced)
        if case == cases[0]:
            subject = reduced
        elif case is not None and _holds_with_less(held, subject, reduced, resources, alike):
            subject, cases, left_out = reduced, [case, *cases], [*left_out, text]
    return tuple(cases), tuple(left_out)


def _without(setting: Setting, subject: Subject) -> Subject:
    return replace(subject, settings=tuple(one for one in subject.settings if one != setting))


def _case_of(case: Case, subject: Subject) -> Case | None:
    """Return the case of a run with other settings; None where these mean nothing."""
    try:
        suite, detector = subject.applied()
    except OodbenchError:  # what is left is of what was taken out, such as the taps of another network
        return None
    return replace(
        case,
        suite_fingerprint=suite.fingerprint,
        over_code=over_code_of(detector),
        parameters=parameters_of(detector),
        network=suite.network.called,
        limit=subject.limit,
    )


def _holds_with_less(held: HeldRow, subject: Subject, fewer: Subject, resources: Resources, alike: Alike) -> bool:
    """Return whether a row would hold as well with fewer settings."""
    if _differ_in_training_alone(subject, fewer):
        return True
    row, case = held.row, held.row.said.case
    try:
        if fewer.limit < subject.limit < len(ood_set(subject.suite, case.id_set, resources.data, 0)):
            return False
        here = load_detector(fewer, resources, held.network)
        if (here.weights, here.id_images.fingerprint) != (case.network_digest, case.id_fingerprint):
            return False
        here = here.ready()
        return alike(row.id_scores, here.id_scores) and all(
            alike(one.scores, here.scores(name, held.images[name], one.indices)) for name, one in row.sets.items()
        )
    except OodbenchError:
        return False


def _differ_in_training_alone(subject: Subject, fewer: Subject) -> bool:
    """Return whether two runs differ in their recipe alone, which does not matter where a network is given."""
    (suite, detector), (other, less) = subject.applied(), fewer.applied()
    recipe_alone = replace(suite, training=other.training).fingerprint == other.fingerprint
    return recipe_alone and parameters_of(detector) == parameters_of(less) and subject.limit == fewer.limit
