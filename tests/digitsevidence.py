"""A small archive of evidence on digits, made once in a process, and what a forger makes of it."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

import oodbench
from oodbench.attacks import convergence
from oodbench.board import making
from oodbench.board.archive import Evidence, Row, SetArrays, pack_arrays
from oodbench.board.at_hand import Resources
from oodbench.board.findings import Status, VerifiedRow
from oodbench.board.verifying import verify
from oodbench.images.imageset import images_digest
from oodbench.metrics import evaluate
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.tasks import KINDS

LIMIT, IMAGES = 60, 6
FAMILIAR: Mapping[str, object] = {"suites": "digits-adv", "pretrained": True, "tasks": ["linf"], "limit": LIMIT}


@cache
def resources() -> Resources:
    """Of this repository: detectors and kept networks; digits are built in."""
    return Resources(discover(), Path("nowhere"))


def attacked(steps: int, keep: bool = True, **asked: object) -> Evidence:
    """Evidence of a run of a few steps of `linf`, or of what is `asked` for."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(convergence, "ITERATIONS", 1)
        options = {**FAMILIAR, "detectors": "msp", "parameters": {"linf.steps": steps}, "images": IMAGES, **asked}
        oodbench.run(out=folder, keep_images=keep, jobs=1, say=lambda _: None, **options)
        rows = [
            row
            for cell in cells(Path(folder))
            for row in making.rows_of_result(
                cell, making.attacks_in(cell, ()), resources(), lambda _: None, making.as_images
            )
        ]
    return making.join_rows(rows, "a test", "")


@cache
def good() -> Evidence:
    """MSP on two sets, one step of the attack."""
    return attacked(1, only=["letters", "uniform-noise"])


@cache
def whole() -> Evidence:
    """MSP on all sets of the suite, one step of the attack."""
    return replace(attacked(1), sha256="5" * 64)


@cache
def whole_seen() -> VerifiedRow:
    """That, verified."""
    return seen(whole())


def seen(evidence: Evidence) -> VerifiedRow:
    """What comes of verifying its only row."""
    (found,) = verify(evidence, resources())
    return found


def failing(evidence: Evidence) -> list[str]:
    """What does not hold of its only row."""
    return [f"{one.what}: {one.said}" for one in seen(evidence).findings if one.status == Status.FAILS]


def forged(evidence: Evidence, change: Callable[[Row], Row]) -> Evidence:
    """The archive with its only row changed by somebody who makes all digests and figures anew."""
    (row,) = evidence.rows
    return with_row(evidence, honest(change(row)))


def with_row(evidence: Evidence, row: Row) -> Evidence:
    return replace(evidence, rows=(row,), description=replace(evidence.description, rows=(row.said,)))


def honest(row: Row) -> Row:
    """A row whose description follows from its arrays."""
    said = []
    for one in row.said.sets:
        there = row.sets[one.name]
        found = evaluate(row.id_scores, there.scores)
        images = one.images if there.images is None else images_digest(there.images)
        said.append(replace(one, count=len(there.scores), images=images, auroc=found["auroc"], fpr95=found["fpr95"]))
    raw = sha256(pack_arrays(row.id_scores, row.sets)).hexdigest()
    return replace(row, said=replace(row.said, sets=tuple(said), arrays=raw))


def on_letters(row: Row, change: Callable[[SetArrays], SetArrays]) -> Row:
    """The row with its letters changed."""
    return replace(row, sets={**row.sets, "letters": change(row.sets["letters"])})


def in_case(row: Row, **changes: object) -> Row:
    """The row with another case."""
    return replace(row, said=replace(row.said, case=replace(row.said.case, **changes)))


def constants(**changes: object) -> str:
    """Of the attack, with some changed."""
    assert "linf" in KINDS
    return json.dumps({**json.loads(good().rows[0].said.constants), **changes})
