"""The cases that a row of evidence is about: its own, and the same with fewer settings where that moves no score.

An entry of a board is a case. Some of what a run may say moves nothing: a recipe beside a network that is given, a
parameter at which its training alone looks, a limit above the images that there are. A row that holds without it as
well is about the case without it as well, and begins no entry beside that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.board.archive import Floats, Pixels, Row
from oodbench.board.at_hand import Asked, Resources, load_detector, ood_set, over_code_of, parameters_of
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
        asked: of its run.
        network: file of the network.
        images: attacked images by set, uint8 (N, H, W, 3).
    """

    row: Row
    asked: Asked
    network: Path
    images: Mapping[str, Pixels]


def covered_cases(held: HeldRow, resources: Resources, alike: Alike) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases that a row is about, fewest settings first and its own last; and the settings left out."""
    suite = held.asked.suite
    asked = replace(held.asked, settings=settings.settings_in_force(held.asked.settings, suite))
    cases, left_out = [held.row.said.case], list[str]()
    own = [setting for setting in asked.settings if not settings.changes_task(setting, suite)]
    tries: dict[str, Callable[[Asked], Asked]] = {f"--set {one.text}": partial(_without, one) for one in own}
    if asked.limit:  # last: what follows from it, which images an entry is of, may be wanted without the settings
        tries[f"--limit {asked.limit}"] = partial(replace, limit=0)
    for text, less in tries.items():
        fewer = less(asked)
        said = _case_of(cases[0], fewer)
        if said == cases[0]:
            asked = fewer
        elif said is not None and _holds_with_less(held, asked, fewer, resources, alike):
            asked, cases, left_out = fewer, [said, *cases], [*left_out, text]
    return tuple(cases), tuple(left_out)


def _without(setting: Setting, asked: Asked) -> Asked:
    return replace(asked, settings=tuple(one for one in asked.settings if one != setting))


def _case_of(case: Case, asked: Asked) -> Case | None:
    """Return the case of a run with other settings; None where these mean nothing."""
    try:
        suite, detector = asked.applied()
    except OodbenchError:  # what is left is of what was taken out, such as the taps of another network
        return None
    return replace(
        case,
        suite_fingerprint=suite.fingerprint,
        over_code=over_code_of(detector),
        parameters=parameters_of(detector),
        network=suite.network.called,
        limit=asked.limit,
    )


def _holds_with_less(held: HeldRow, asked: Asked, fewer: Asked, resources: Resources, alike: Alike) -> bool:
    """Return whether a row would hold as well with fewer settings."""
    if _differ_in_training_alone(asked, fewer):
        return True
    row, case = held.row, held.row.said.case
    try:
        if fewer.limit < asked.limit < len(ood_set(asked.suite, case.id_set, resources.data, 0)):
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


def _differ_in_training_alone(asked: Asked, fewer: Asked) -> bool:
    """Return whether two runs differ in their recipe alone, which does not matter where a network is given."""
    (suite, detector), (other, less) = asked.applied(), fewer.applied()
    recipe_alone = replace(suite, training=other.training).fingerprint == other.fingerprint
    return recipe_alone and parameters_of(detector) == parameters_of(less) and asked.limit == fewer.limit
