"""What a table says below itself, from frames made by hand."""

import pandas as pd
import pytest

from oodbench.results.tables.notes import cost_text, label_notes, shared_image_notes, tuning_text


def test_what_an_attack_cost_and_what_its_stops_hide():
    rows = [
        {"cell": "a", "looks": 40.0, "retired": 0.0, "hidden": 0.0},
        {"cell": "a", "looks": 60.0, "retired": 0.2, "hidden": 0.0002},
        {"cell": "b", "looks": 900.0, "retired": 0.0, "hidden": 0.0},
    ]
    said = cost_text(pd.DataFrame(rows))
    assert said.startswith("attacked with 50 to 900 passes an image on average; up to 10% of the images")
    assert "0.01 points lower at most" in said
    assert cost_text(pd.DataFrame(rows[2:])) == "attacked with 900 passes an image on average"


def test_what_is_asked_about_labels_ends_as_a_question_and_all_else_as_a_sentence():
    notes = ["nothing could check them", "are these the classes?", "", "are these the classes?"]
    frame = pd.DataFrame({"metric": ["accuracy"] * 4, "labels_note": notes})
    assert label_notes(frame) == ["nothing could check them.", "are these the classes?"]


def test_what_is_said_of_images_is_said_once_a_set():
    frame = pd.DataFrame(
        {"images_note": ["a is in b; a repeats itself", "", "a is in b; a repeats itself", "a is in b"]}
    )
    assert shared_image_notes(frame) == ["a is in b.", "a repeats itself."]
    assert shared_image_notes(frame[frame["images_note"] == ""]) == []  # as of results of before it was noted


UNKNOWN = "not known to be held out of the network's training"


@pytest.mark.parametrize(
    ("found", "given", "said"),
    [
        ({"perhaps_seen": []}, True, "9 images held out of training and 5 reserved outliers"),
        ({}, False, "9 images held out of training and 5 reserved outliers"),  # of an older version
        ({}, True, f"9 ID training images and 5 reserved outliers, {UNKNOWN}"),
        ({"perhaps_seen": ["id_images"]}, True, f"9 ID training images, {UNKNOWN}, and 5 reserved outliers"),
        (
            {"perhaps_seen": ["outliers"]},
            True,
            f"9 images held out of training and 5 reserved outliers, these {UNKNOWN}",
        ),
        ({"perhaps_seen": ["id_images"], "outliers": 0}, True, f"9 ID training images, {UNKNOWN}"),
        (
            {"source": "id-test", "perhaps_seen": []},
            True,
            "9 images of the ID test set, which is a leak, and 5 reserved outliers",
        ),
    ],
)
def test_what_is_tuned_on_is_said_to_be_held_out_only_where_that_is_known(found, given, said):
    about = {"source": "heldout", "id_images": 9, "outliers": 5, "magnitude": 0.25, "tried": [1], **found}
    assert tuning_text(about, given) == f"tuned on {said}: magnitude 0.25"
