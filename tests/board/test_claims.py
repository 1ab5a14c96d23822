"""One claim is one entry of a board, in whatever words it is handed in: what moves no score is no part of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from oodbench.board import adding, at_hand, entries
from oodbench.board.entries import About
from tests.digitsevidence import attacked, forged, good, in_case, seen

NOWHERE = Path("nowhere")
STEPS = {"linf.steps": 1}
ID = 500
"""Images of digits' ID test set, and of each of its OOD sets."""


def own(network, **asked):
    """What is held of a run on letters over a network that was given as a file."""
    parameters = {**STEPS, **asked.pop("parameters", {})}
    file = at_hand.kept_file(f"digits/{network}", NOWHERE)
    options = {"only": ["letters"], "pretrained": False, "checkpoint": file, "parameters": parameters, **asked}
    return seen(attacked(1, **options))


def keys(row):
    assert not row.amiss
    return [entries.key_of(case, {}) for case in row.cases]


def begun(row, present=()):
    return adding.changes(replace(good(), sha256="7" * 64), [row], present, About(least_images=5), "")


def claims(row):
    return [one.said for one in row.findings if one.what == "claim"]


@pytest.mark.parametrize(
    ("network", "asked", "left_out"),
    [
        ("plain", {"parameters": {"epochs": 7}}, "--set epochs=7"),
        (
            "plain",
            {"parameters": {"training.epochs": 7, "momentum": 0.5}},
            "--set training.epochs=7, --set momentum=0.5",
        ),
        ("oe", {"detectors": "oe", "parameters": {"oe.weight": 0.7}}, "--set oe.weight=0.7"),
        ("plain", {"detectors": "energy", "parameters": {"temperature": 1.0000001}}, "--set temperature=1.0000001"),
        ("plain", {"limit": 90_000}, "--limit 90000"),
        ("plain", {"detectors": "knn", "limit": 90_000, "parameters": {"epochs": 7}}, "--set epochs=7, --limit 90000"),
    ],
)
def test_what_moves_no_score_begins_no_entry(network, asked, left_out):
    row = own(network, **asked)
    plain = {**asked, "limit": None if "limit" in asked else 60, "parameters": {}}
    without = own(network, **plain)
    assert claims(row) == [f"the same without {left_out}, by which no score of it is moved"] and not claims(without)
    assert keys(row)[0] == keys(without)[0] and len(without.cases) == 1
    (change,) = begun(without)
    other = {name: replace(one, images="3" * 64) for name, one in row.sets.items()}
    (again,) = adding.changes(
        replace(good(), sha256="8" * 64), [replace(row, sets=other)], [change.entry], About(least_images=5), ""
    )
    assert again.entry.key == change.entry.key and len(again.entry.evidence) == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"detectors": "energy", "parameters": {"temperature": 1000.0}},
        {"detectors": "knn", "limit": ID, "parameters": {}},  # of the images that it learns from
        {"detectors": "median", "parameters": {}},
    ],
)
def test_what_moves_scores_is_said(asked):
    row = own("plain", **asked)
    assert row.cases == (row.row.said.case,) and not claims(row)


def test_a_limit_counts_where_an_entrys_images_follow_from_it():
    """As one does that is above the number of ID images, and below that of letters, of which digits has no more."""

    def as_if_id_images_were_fewer(row):
        return replace(row, cases=(replace(row.cases[0], limit=0), *row.cases))

    row = as_if_id_images_were_fewer(own("plain", images=7, parameters={"epochs": 7}))
    assert [case.limit for case in row.cases] == [0, 60, 60]
    (change,) = begun(row)
    assert change.entry.case == row.cases[1]  # without the recipe, and of images that are among those 60
    (change,) = begun(as_if_id_images_were_fewer(own("plain", images=None)))
    assert change.entry.case.limit == 0 and change.entry.sets[0].count == 60


def test_few_images_are_not_many_of_a_limit():
    with pytest.raises(adding.NotAcceptedError, match="it has 4 images of letters, and entries of this board begin wi"):
        begun(own("plain", limit=4))


def test_an_entry_that_says_more_than_its_claim_stays_what_it_is():
    """Boards have such entries from before claims were looked at."""
    row = own("plain", parameters={"epochs": 7})
    (change,) = begun(row)
    (accepted,) = change.entry.evidence
    older = replace(change.entry, case=row.row.said.case)
    assert older.key != change.entry.key and not adding.difference(older, accepted, row)
    assert adding.difference(replace(older, case=replace(older.case, kept="digits/oe")), accepted, row)


def test_what_does_not_hold_is_about_nothing():
    assert seen(forged(good(), lambda row: in_case(row, id_fingerprint="c" * 64))).cases == ()
