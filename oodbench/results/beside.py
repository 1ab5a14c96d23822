"""The ID scores that the OOD scores of a group are held against."""

from collections.abc import Iterable

from oodbench.results.store import Scores
from oodbench.tasks import ID_TASK

ID_SCORES = "id_task"
"""The attribute of a group whose score is another one than the detector's: the task that has ID images scored by it."""


def plain_id_group(groups: Iterable[Scores]) -> Scores:
    """ID images as they are, by the detector's own score; every cell has them."""
    return next(group for group in groups if group.role == "id" and group.task == ID_TASK)


def has_other_score(group: Scores) -> bool:
    """True if its scores are of another detector than the cell's: of one that was smoothed."""
    return bool(group.attributes.get(ID_SCORES))


def clean_id_group(groups: Iterable[Scores], group: Scores) -> Scores:
    """ID images as they are, by the score by which `group` was scored.

    Args:
        groups: of the cell, with the clean ID scores among them.
        group: one of them.
    """
    all_groups = list(groups)
    id_groups = {candidate.task: candidate for candidate in all_groups if candidate.role == "id"}
    return id_groups.get(str(group.attributes.get(ID_SCORES, ""))) or plain_id_group(all_groups)


def compared_id_group(groups: Iterable[Scores], group: Scores) -> Scores:
    """ID images that `group` is held against: moved where its task moves them, else `clean_id_group`."""
    all_groups = list(groups)
    id_groups = {candidate.task: candidate for candidate in all_groups if candidate.role == "id"}
    return id_groups.get(group.task, clean_id_group(all_groups, group))
