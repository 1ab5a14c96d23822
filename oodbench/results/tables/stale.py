"""Scores in one file that no longer go together: images or network changed, and some tasks alone were run again."""

from collections.abc import Mapping, Sequence

from oodbench.results.store import Scores
from oodbench.tasks import ID_TASK

ANOTHER_NETWORK = "the network is another one now"
OTHER_ID = "the ID images are others now"
OTHER_OOD = "the OOD images are others now"

Stale = Mapping[tuple[str, str], str]
"""(task, image set) to why its scores do not go with the others."""


def stale_groups(groups: Sequence[Scores]) -> Stale:
    """Find the groups of a cell that must not be computed with, and why.

    The ID scores are the newest of all, since every run that finds them outdated begins with them. What was measured
    beside other ID images or with another network than theirs is stale, and so is what has other images than the
    newest scores of the same set. Files of earlier versions do not say it of every group; what they do not say
    counts as equal.
    """
    id_group = next((group for group in groups if group.role == "id" and group.task == ID_TASK), None)
    if id_group is None:
        return {}
    newest: dict[str, Scores] = {}
    for group in groups:
        if group.image_set not in newest or _date(group) >= _date(newest[group.image_set]):
            newest[group.image_set] = group
    reason_of: dict[tuple[str, str], str] = {}
    for group in groups:
        if group is id_group:
            continue
        if _differ(group, "network_digest", id_group, "network_digest"):
            reason_of[group.task, group.image_set] = ANOTHER_NETWORK
        elif _differ(group, "id_fingerprint", id_group, "fingerprint"):
            reason_of[group.task, group.image_set] = OTHER_ID
        elif _differ(group, "fingerprint", newest[group.image_set], "fingerprint"):
            reason_of[group.task, group.image_set] = OTHER_OOD
    # OOD scores of a task that attacks ID images, too, are held against those.
    attacked = {group.task: (group.task, group.image_set) for group in groups if group.role == "id"}
    for group in groups:
        if reason := reason_of.get(attacked.get(group.task, ("", ""))):
            reason_of.setdefault((group.task, group.image_set), reason)
    return reason_of


def stale_text(stale: Stale) -> str:
    """The stale groups in words: `linf: letters, rooms (the ID images are others now); ...`; "" if there is nothing."""
    sets: dict[tuple[str, str], list[str]] = {}
    for (task, image_set), reason in stale.items():
        sets.setdefault((task, reason), []).append(image_set)
    return "; ".join(f"{task}: {', '.join(names)} ({reason})" for (task, reason), names in sets.items())


def _date(group: Scores) -> str:
    return str(group.attributes.get("date", ""))


def _differ(one: Scores, name: str, other: Scores, other_name: str) -> bool:
    own, other_value = one.attributes.get(name), other.attributes.get(other_name)
    return bool(own) and bool(other_value) and own != other_value
