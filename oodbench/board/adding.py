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
from oodbench.board.archive import Evidence, Whole
from oodbench.board.at_hand import even_sample
from oodbench.board.description import OWN, Case
from oodbench.board.entries import About, Accepted, Clean, Entry, OnSet
from oodbench.board.findings import RowSeen, SetSeen
from oodbench.metrics import evaluate

ROUNDING = 1e-3
"""By so much an AUROC may differ that is computed again on another machine."""


class NotAcceptedError(OodbenchError):
    """Evidence that a board does not take, with why."""


@dataclass(frozen=True)
class Change:
    """What a piece of evidence did to a board.

    Attributes:
        entry: as it is now.
        said: for people.
    """

    entry: Entry
    said: str


def changes(found: Evidence, seen: Sequence[RowSeen], present: Sequence[Entry], about: About, url: str) -> list[Change]:
    """What evidence makes of the entries of a board; nothing is written.

    What an addition that was ended before its time has landed already is left as it is.

    Args:
        found: the archive.
        seen: its rows, verified here.
        present: entries of the board.
        about: the board.
        url: where the archive lies, if not in the board's folder.

    Raises:
        NotAcceptedError: something of it does not hold, or could not be looked at; it was handed in before; it is
            about nothing that is on the board, and cannot begin an entry.
    """
    now = {entry.key: entry for entry in present}
    made: list[Change] = []
    for number, row in enumerate(seen, 1):
        if amiss := row.amiss:
            raise NotAcceptedError(f"row {number}, {row.row.said.title}: {amiss.status}: {amiss.what}: {amiss.said}")
        about_this = [entry for entry in now.values() if _covered(entry, row)]
        done = [_added(entry, row, found, number, url) for entry in about_this if not _has(entry, found, number)]
        if not about_this or _is_larger(row, about_this):
            begun = _begun(row, found, number, about, url)
            done += [begun] if isinstance(begun, Change) else []
            if not about_this and not done:
                raise NotAcceptedError(f"row {number}, {row.row.said.title}: {_lacking(row, present)}{begun}")
        for one in done:
            now[one.entry.key] = one.entry
        made += done
    if not made:
        raise NotAcceptedError("reused evidence: this very archive is on the board already")
    return made


def _has(entry: Entry, found: Evidence, number: int) -> bool:
    """Whether a row of evidence, counted from 1, is behind an entry already."""
    return any((one.sha256, one.row) == (found.sha256, number) for one in entry.evidence)


def land(board: Path, file: Path, found: Evidence, made: Sequence[Change], url: str) -> None:
    """Write what evidence changed, the archive first.

    Raises:
        StorageError: it cannot be written.
    """
    if not url:
        target = archive(board, found.sha256)
        if not target.is_file():
            with atomic(target, file.stat().st_size) as temporary:
                shutil.copyfile(file, temporary)
    for one in made:
        entries.write(board, one.entry)


def archive(board: Path, sha256: str) -> Path:
    """Where the board keeps an archive."""
    return board / entries.EVIDENCE / f"{sha256}.zip"


def unlike(entry: Entry, accepted: Accepted, row: RowSeen) -> str:
    """What an entry says otherwise than a row of its evidence that was verified now, and holds; "" if nothing.

    Args:
        entry: of the board.
        accepted: the evidence, as the entry has it.
        row: of its archive.
    """
    counts = {one.name: one.count for one in entry.sets}
    if not _covered(entry, row) or any(one.name not in counts or one.name not in row.sets for one in accepted.sets):
        return "its archive is about something else than the entry"
    if accepted == entry.evidence[0] and entry.case not in row.cases:
        return "the entry says something else of what is attacked than its first archive, such as the network's name"
    clean, limit = {one.name: one for one in entry.sets}, entry.case.limit
    for said in accepted.sets:
        count = counts[said.name]
        if said.images != row.sets[said.name].images or _differ(said, _on(row, said.name, count, limit), count):
            return "the entry has other figures than its archive"
        if _differ(clean[said.name], _clean(row, said.name, count, limit), count):
            return "the entry has other clean figures than its archive gives"
    return ""


def _differ(said: OnSet | Clean, found: OnSet | Clean, count: int) -> bool:
    """Other figures of so many images; on another machine rounding may move one of them past the threshold."""
    return abs(said.auroc - found.auroc) > ROUNDING or abs(said.fpr95 - found.fpr95) > max(ROUNDING, 1.5 / count)


def _added(entry: Entry, row: RowSeen, found: Evidence, number: int, url: str) -> Change:
    counts = {one.name: one.count for one in entry.sets}
    counts = {name: count for name, count in counts.items() if name in row.sets}
    accepted = _accepted(counts, entry.case, row, found, number, url)
    digests = {one.images for one in accepted.sets}
    for one in entry.evidence:
        if digests <= {each.images for each in one.sets}:
            raise NotAcceptedError(
                f"row {number}, {row.row.said.title}: reused digest: these are the images of {one.name}, which are on "
                "the board already"
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


def _begun(row: RowSeen, found: Evidence, number: int, about: About, url: str) -> Change | str:
    """A new entry; or why the row cannot begin one, in words."""
    assert row.suite is not None
    counts, every = _of_mean(row), row.suite.means["all"]
    wanted = [name for name in every if name in counts]
    if not wanted:
        return f"it is of none of the sets of the suite's mean, {', '.join(every)}"
    even = [case for case in row.cases if all(_covers(row.sets[name], counts[name], case.limit) for name in wanted)]
    if not even:
        limit = row.row.said.case.limit
        uneven = next(name for name in wanted if not _covers(row.sets[name], counts[name], limit))
        return (
            f"its images of {uneven} are chosen by hand: an entry begins with all images of a set, or with those "
            "that a run with --images N takes"
        )
    if few := [name for name in wanted if counts[name] < min(about.least_images, len(row.sets[name].sources))]:
        return f"it has {counts[few[0]]} images of {few[0]}, and entries of this board begin with {about.least_images}"
    case, chosen = even[0], {name: counts[name] for name in wanted}
    sets = tuple(_clean(row, name, count, case.limit) for name, count in chosen.items())
    entry = Entry(case, len(every), sets, (_accepted(chosen, case, row, found, number, url),))
    said = f"new: AUROC {100 * entry.figure('auroc'):.2f}, FPR@95 {100 * entry.figure('fpr95'):.2f}"
    return Change(entry, f"{entry.name}: {said}")


def _accepted(counts: dict[str, int], case: Case, row: RowSeen, found: Evidence, number: int, url: str) -> Accepted:
    said = row.row.said
    sets = tuple(_on(row, name, count, case.limit) for name, count in counts.items())
    words = said.words if said.attack == OWN else f"{said.attack}: {said.words}"
    today = datetime.now(UTC).date().isoformat()
    described = found.description
    return Accepted(found.sha256, number, described.by, words, described.note, today, url, sets)


def _is_larger(row: RowSeen, about_this: Sequence[Entry]) -> bool:
    """Whether a row has all images of each entry that it is about, and more."""
    counts = _of_mean(row)
    own = [{one.name: one.count for one in entry.sets} for entry in about_this]
    return all(counts != one and all(counts.get(name, 0) >= count for name, count in one.items()) for one in own)


def _lacking(row: RowSeen, present: Sequence[Entry]) -> str:
    """That the row is about an entry, and has not all of its images."""
    alike = [entry for entry in present if _is_about(row, entry)]
    if not alike:
        return ""
    sets = ", ".join(f"{one.count} of {one.name}" for one in alike[0].sets)
    return (
        f"it has not all images of any set of {alike[0].name} ({sets}, evenly spread): what you did not attack may be "
        "in it as it is; and it begins no entry of its own: "
    )


def _of_mean(row: RowSeen) -> dict[str, int]:
    """Images of each set that an entry's figures would be the mean over."""
    wanted = row.suite.means["all"] if row.suite else []
    return {name: count for name, count in _counts(row).items() if name in wanted}


def _counts(row: RowSeen) -> dict[str, int]:
    return {name: len(one.indices) for name, one in row.sets.items()}


def _covered(entry: Entry, row: RowSeen) -> bool:
    """Whether the row is about the same claim, and has all of the entry's images of one set at least."""
    if not _is_about(row, entry):
        return False
    counts = {one.name: one.count for one in entry.sets}
    shared = [name for name in row.sets if name in counts]
    return bool(shared) and all(_covers(row.sets[name], counts[name], entry.case.limit) for name in shared)


def _is_about(row: RowSeen, entry: Entry) -> bool:
    """Whether the row is about the same claim, whichever images of it."""
    return entries.key_of(entry.case, {}) in {entries.key_of(case, {}) for case in row.cases}


def _covers(one: SetSeen, count: int, limit: int) -> bool:
    return bool(np.isin(even_sample(one.sources, count, limit), one.indices).all())


def _rows(one: SetSeen, count: int, limit: int) -> Whole:
    """Where the even sample of so many images stands among those of the evidence."""
    wanted = even_sample(one.sources, count, limit)
    order = np.argsort(one.indices, kind="stable")
    return np.asarray(order[np.searchsorted(one.indices[order], wanted)])


def _on(row: RowSeen, name: str, count: int, limit: int) -> OnSet:
    one = row.sets[name]
    figures = evaluate(row.id_scores, one.scores[_rows(one, count, limit)])
    return OnSet(name, figures["auroc"], figures["fpr95"], one.images)


def _clean(row: RowSeen, name: str, count: int, limit: int) -> Clean:
    one = row.sets[name]
    figures = evaluate(row.id_scores, one.clean[_rows(one, count, limit)])
    return Clean(name, count, figures["auroc"], figures["fpr95"])
