"""Verified evidence onto a board: it begins entries, replaces figures, or is recorded and changes nothing."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import atomic
from oodbench.board import entries
from oodbench.board.archive import Evidence, Indices
from oodbench.board.at_hand import even_sample
from oodbench.board.description import OWN, Case
from oodbench.board.entries import About, Accepted, Clean, Entry, OnSet
from oodbench.board.findings import VerifiedRow, VerifiedSet
from oodbench.metrics import evaluate

ROUNDING = 1e-3
"""How far an AUROC may differ that is computed again on another machine."""


class NotAcceptedError(OodbenchError):
    """Evidence that a board does not take, with why."""


@dataclass(frozen=True)
class Change:
    """A change of a board by one piece of evidence.

    Attributes:
        entry: as it is now.
        said: what changed, for people.
    """

    entry: Entry
    said: str


def changes(
    evidence: Evidence, verified: Sequence[VerifiedRow], present: Sequence[Entry], about: About, url: str
) -> list[Change]:
    """Return how evidence changes the entries of a board; nothing is written.

    An earlier addition may have ended before its time: what it has written is left as it is.

    Args:
        evidence: the archive.
        verified: its rows, verified here.
        present: entries of the board.
        about: the board.
        url: where the archive lies, if not in the board's folder.

    Raises:
        NotAcceptedError: something of it does not hold, or could not be looked at; it was handed in before; it is
            about nothing that is on the board, and cannot begin an entry.
    """
    by_key = {entry.key: entry for entry in present}
    all_changes: list[Change] = []
    for number, row in enumerate(verified, 1):
        if amiss := row.amiss:
            raise NotAcceptedError(f"row {number}, {row.row.said.title}: {amiss.status}: {amiss.what}: {amiss.said}")
        covered = [entry for entry in by_key.values() if _covers_entry(entry, row)]
        changes_of_row = [
            _add_to_entry(entry, row, evidence, number, url)
            for entry in covered
            if not _is_recorded(entry, evidence, number)
        ]
        if not covered or _is_larger(row, covered):
            new = _new_entry(row, evidence, number, about, url)
            changes_of_row += [new] if isinstance(new, Change) else []
            if not covered and not changes_of_row:
                why = f"{_missing_images_text(row, present)}{new}"
                raise NotAcceptedError(f"row {number}, {row.row.said.title}: {why}")
        for change in changes_of_row:
            by_key[change.entry.key] = change.entry
        all_changes += changes_of_row
    if not all_changes:
        raise NotAcceptedError("reused evidence: this very archive is on the board already")
    return all_changes


def _is_recorded(entry: Entry, evidence: Evidence, number: int) -> bool:
    """Return whether a row of evidence, counted from 1, is behind an entry already."""
    return any((accepted.sha256, accepted.row) == (evidence.sha256, number) for accepted in entry.evidence)


def land(board: Path, file: Path, evidence: Evidence, made: Sequence[Change], url: str) -> None:
    """Write the changes to the board, the archive of the evidence first.

    Raises:
        StorageError: it cannot be written.
    """
    if not url:
        target = archive_file(board, evidence.sha256)
        if not target.is_file():
            with atomic(target, file.stat().st_size) as temporary:
                shutil.copyfile(file, temporary)
    for change in made:
        entries.write(board, change.entry)


def archive_file(board: Path, sha256: str) -> Path:
    """Return where the board keeps an archive."""
    return board / entries.EVIDENCE / f"{sha256}.zip"


def difference(entry: Entry, accepted: Accepted, row: VerifiedRow) -> str:
    """Return how an entry differs from a row of its evidence that was verified now, and holds; "" if it does not.

    Args:
        entry: of the board.
        accepted: the evidence, as the entry has it.
        row: of its archive.
    """
    counts = {one.name: one.count for one in entry.sets}
    if not _covers_entry(entry, row) or any(
        one.name not in counts or one.name not in row.sets for one in accepted.sets
    ):
        return "its archive is about something else than the entry"
    if accepted == entry.evidence[0] and entry.case not in row.cases:
        return "the entry says something else of what is attacked than its first archive, such as the network's name"
    clean, limit = {one.name: one for one in entry.sets}, entry.case.limit
    for stated in accepted.sets:
        name, count = stated.name, counts[stated.name]
        attacked = _attacked_figures(row, name, count, limit)
        if stated.images != row.sets[name].images or _figures_differ(stated, attacked, count):
            return "the entry has other figures than its archive"
        if _figures_differ(clean[name], _clean_figures(row, name, count, limit), count):
            return "the entry has other clean figures than its archive gives"
    return ""


def _figures_differ(stated: OnSet | Clean, computed: OnSet | Clean, count: int) -> bool:
    """Return whether figures of so many images differ; rounding elsewhere may move one image past the threshold."""
    auroc, fpr95 = abs(stated.auroc - computed.auroc), abs(stated.fpr95 - computed.fpr95)
    return auroc > ROUNDING or fpr95 > max(ROUNDING, 1.5 / count)


def _add_to_entry(entry: Entry, row: VerifiedRow, evidence: Evidence, number: int, url: str) -> Change:
    """Return the entry with a row more of evidence, which may lower its figures or change nothing."""
    counts = {one.name: one.count for one in entry.sets}
    counts = {name: count for name, count in counts.items() if name in row.sets}
    accepted = _accepted_row(counts, entry.case, row, evidence, number, url)
    digests = {one.images for one in accepted.sets}
    for earlier in entry.evidence:
        if digests <= {one.images for one in earlier.sets}:
            raise NotAcceptedError(
                f"row {number}, {row.row.said.title}: reused digest: these are the images of {earlier.name}, which are "
                "on the board already"
            )
    before = entry.figure("auroc"), entry.figure("fpr95")
    after = entries.with_evidence(entry, accepted)
    now = after.figure("auroc"), after.figure("fpr95")
    if before == now:
        said = f"recorded, weaker than what is there: AUROC stays {100 * now[0]:.2f}, FPR@95 {100 * now[1]:.2f}"
    else:
        said = (
            f"new evaluation: AUROC {100 * before[0]:.2f} becomes {100 * now[0]:.2f}, FPR@95 {100 * before[1]:.2f} "
            f"becomes {100 * now[1]:.2f}; {after.history()[-1]}"
        )
    return Change(after, f"{entry.name}: {said}")


def _new_entry(row: VerifiedRow, evidence: Evidence, number: int, about: About, url: str) -> Change | str:
    """Return a new entry; or why the row cannot begin one, in words."""
    assert row.suite is not None
    counts, every = _counts_of_mean(row), row.suite.means["all"]
    wanted = [name for name in every if name in counts]
    if not wanted:
        return f"it is of none of the sets of the suite's mean, {', '.join(every)}"
    even = [
        case for case in row.cases if all(_has_even_sample(row.sets[name], counts[name], case.limit) for name in wanted)
    ]
    if not even:
        limit = row.row.said.case.limit
        uneven = next(name for name in wanted if not _has_even_sample(row.sets[name], counts[name], limit))
        return (
            f"its images of {uneven} are chosen by hand: an entry begins with all images of a set, or with those "
            "that a run with --images N takes"
        )
    if few := [name for name in wanted if counts[name] < min(about.least_images, len(row.sets[name].sources))]:
        return f"it has {counts[few[0]]} images of {few[0]}, and entries of this board begin with {about.least_images}"
    case, chosen = even[0], {name: counts[name] for name in wanted}
    sets = tuple(_clean_figures(row, name, count, case.limit) for name, count in chosen.items())
    entry = Entry(case, len(every), sets, (_accepted_row(chosen, case, row, evidence, number, url),))
    said = f"new: AUROC {100 * entry.figure('auroc'):.2f}, FPR@95 {100 * entry.figure('fpr95'):.2f}"
    return Change(entry, f"{entry.name}: {said}")


def _accepted_row(
    counts: dict[str, int], case: Case, row: VerifiedRow, evidence: Evidence, number: int, url: str
) -> Accepted:
    """Return a row as an entry records it, with its figures on so many images of each set."""
    said = row.row.said
    sets = tuple(_attacked_figures(row, name, count, case.limit) for name, count in counts.items())
    words = said.words if said.attack == OWN else f"{said.attack}: {said.words}"
    today = datetime.now(UTC).date().isoformat()
    description = evidence.description
    return Accepted(evidence.sha256, number, description.by, words, description.note, today, url, sets)


def _is_larger(row: VerifiedRow, covered: Sequence[Entry]) -> bool:
    """Return whether a row has all images of each entry that it is about, and more."""
    counts = _counts_of_mean(row)
    samples = [{one.name: one.count for one in entry.sets} for entry in covered]
    return all(
        counts != sample and all(counts.get(name, 0) >= count for name, count in sample.items()) for sample in samples
    )


def _missing_images_text(row: VerifiedRow, present: Sequence[Entry]) -> str:
    """Return in words that the row is about an entry and has not all of its images; "" if it is about none."""
    alike = [entry for entry in present if _is_about(row, entry)]
    if not alike:
        return ""
    sets = ", ".join(f"{one.count} of {one.name}" for one in alike[0].sets)
    return (
        f"it has not all images of any set of {alike[0].name} ({sets}, evenly spread): what you did not attack may be "
        "in it as it is; and it begins no entry of its own: "
    )


def _counts_of_mean(row: VerifiedRow) -> dict[str, int]:
    """Return how many images there are of each set that an entry's figures would be the mean over."""
    wanted = row.suite.means["all"] if row.suite else []
    return {name: count for name, count in _counts(row).items() if name in wanted}


def _counts(row: VerifiedRow) -> dict[str, int]:
    return {name: len(one.indices) for name, one in row.sets.items()}


def _covers_entry(entry: Entry, row: VerifiedRow) -> bool:
    """Return whether the row is about the entry's claim, and has all of the entry's images of one set at least."""
    if not _is_about(row, entry):
        return False
    counts = {one.name: one.count for one in entry.sets}
    shared = [name for name in row.sets if name in counts]
    return bool(shared) and all(_has_even_sample(row.sets[name], counts[name], entry.case.limit) for name in shared)


def _is_about(row: VerifiedRow, entry: Entry) -> bool:
    """Return whether the row is about the entry's claim, whichever images of it."""
    return entries.key_of(entry.case, {}) in {entries.key_of(case, {}) for case in row.cases}


def _has_even_sample(verified: VerifiedSet, count: int, limit: int) -> bool:
    """Return whether the even sample of so many images is among those of the evidence."""
    return bool(np.isin(even_sample(verified.sources, count, limit), verified.indices).all())


def _even_sample_places(one: VerifiedSet, count: int, limit: int) -> Indices:
    """Return where the even sample of so many images stands among those of the evidence."""
    wanted = even_sample(one.sources, count, limit)
    order = np.argsort(one.indices, kind="stable")
    return np.asarray(order[np.searchsorted(one.indices[order], wanted)])


def _attacked_figures(row: VerifiedRow, name: str, count: int, limit: int) -> OnSet:
    one = row.sets[name]
    figures = evaluate(row.id_scores, one.scores[_even_sample_places(one, count, limit)])
    return OnSet(name, figures["auroc"], figures["fpr95"], one.images)


def _clean_figures(row: VerifiedRow, name: str, count: int, limit: int) -> Clean:
    one = row.sets[name]
    figures = evaluate(row.id_scores, one.clean[_even_sample_places(one, count, limit)])
    return Clean(name, count, figures["auroc"], figures["fpr95"])
