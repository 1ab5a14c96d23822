"""Files of our format whose attributes or arrays are not what a run writes: each is left out by name, and no more."""

import json

import h5py
import numpy as np
import pytest

from oodbench.results.folder import find_results, read_result


def of_cell(**attributes):
    return lambda file: file.attrs.update(attributes)


def of_group(**attributes):
    return lambda file: file["linf/letters"].attrs.update(attributes)


def task(**constants):
    return of_group(constants=json.dumps({"kind": "linf", "epsilon": 8, **constants}))


def array(name, values, group="linf/letters"):
    def write(file):
        file[group].pop(name, None)
        file[group][name] = values

    return write


def second_id_set(file):
    file.copy("id/digits-test", file["id"], "more-digits")


def ood_as_id(file):
    file.copy("linf/letters", file["id"], "letters")


HARMS = [
    (of_cell(means="{x"), "attribute means is '{x', expected JSON of lists"),
    (of_cell(means='{"all": 5}'), "expected JSON of lists"),
    (of_cell(means='{"near": ["letters"]}'), '"all" among them'),
    (of_cell(tuned="[1]"), "expected JSON of what its detector was tuned on"),
    (of_cell(tuned='{"a": 1}'), "expected JSON of what its detector was tuned on"),
    (of_cell(tuned='{"source": "heldout", "id_images": 1, "outliers": 0, "perhaps_seen": 5}'), "attribute tuned"),
    (of_cell(parameters='{"a": ' + "[" * 90 + "]" * 90 + "}"), "attribute parameters"),
    (of_cell(learned_from='{"id_train_images": [1]}'), "attribute learned_from"),
    (of_cell(seed="1"), "attribute seed is '1', expected a whole number"),
    (of_cell(limit=-5), "attribute limit is '-5', expected a count"),
    (of_cell(scoring_version=np.uint64(2**63)), "attribute scoring_version"),
    (of_cell(checkpoint=5), "attribute checkpoint is '5', expected text"),
    (of_cell(options="it's"), "attribute options"),
    (of_group(constants="8"), "attribute constants of linf/letters is '8', expected JSON"),
    (task(epsilon="x"), "a finite radius"),
    (task(epsilon=float("nan")), "a finite radius"),
    (task(epsilon=float("inf")), "a finite radius"),
    (task(kind=["linf"]), "expected JSON of a task"),
    (task(side=5), "a side"),
    (of_group(looks="x"), "attribute looks of linf/letters is 'x', expected a finite number"),
    (of_group(stops_at=float("nan")), "attribute stops_at"),
    (of_group(check_transfer="x"), "attribute check_transfer"),
    (of_group(date=5), "attribute date"),
    (of_group(hardware=5), "attribute hardware"),
    (second_id_set, "several sets of ID images under id"),
    (ood_as_id, "id/letters are no ID images"),
    (array("indices", [0, 1, 2, -5]), "of linf/letters the indices are no places"),
    (array("indices", [0, 1, 2, 2**62]), "of linf/letters the indices are no places"),
    (array("indices", [0, 1, 2, 2]), "of linf/letters some images are there twice"),
    (array("scores", [0, 1, 2, 1e308]), "the scores are beyond all measure"),
    (array("continued", [0, 1, np.nan, np.inf], "linf/letters/extras"), "'continued' is not all numbers"),
    (array("published", [0, 1, 2, np.nan], "linf/letters/extras"), "'published' is not all numbers"),
]


@pytest.mark.parametrize(("harm", "told"), HARMS)
def test_what_no_run_writes_is_left_out_by_name(tmp_path, stored, harm, told):
    fine, received = stored(tmp_path), stored(tmp_path, detector="odin")
    with h5py.File(received.path, "r+") as file:
        harm(file)
    found = find_results(tmp_path)
    assert found.cells == [fine]
    assert f"{received.path} is no result of `oodbench run` (" in found.broken[received.path]
    assert told in found.broken[received.path]


def test_images_that_were_not_climbed_on_with_have_no_number(tmp_path, stored):
    cell = stored(tmp_path)
    with h5py.File(cell.path, "r+") as file:
        array("continued", [0.0, 1.0, np.nan, np.nan], "linf/letters/extras")(file)
        array("objective_before", [0.0, 1.0, -np.inf, np.nan], "linf/letters/extras")(file)
    read_result(cell)


def test_commands_go_on_without_what_was_received(oodbench, tmp_path, stored):
    stored(tmp_path / "results")
    with h5py.File(stored(tmp_path / "results", detector="odin").path, "r+") as file:
        array("indices", [2_000_000_000, *range(7)], "id/digits-test")(file)
    for arguments in (["table"], ["threshold", "--keep", "0.5"], ["report"]):
        code, out, err = oodbench(*arguments)
        assert code == 0, err
        assert "left out: results/digits/odin/" in out + err
