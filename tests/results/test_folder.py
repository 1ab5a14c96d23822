"""What people's folders hold beside results: copies under other names, hidden files, broken ones."""

import json
import shutil

import h5py
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.results.folder import find_results
from oodbench.results.store import Cell
from oodbench.results.tables import View, tidy
from oodbench.results.tables.summary import summarise


def keyed(cell):
    """The cell with a key in each group, as a run stores it."""
    with h5py.File(cell.path, "a") as file:
        for task in file.values():
            for group in task.values():
                group.attrs["key"] = f"{cell.path.stem} {group.name}"
    return cell


@pytest.fixture
def cell(tmp_path, stored):
    return keyed(stored(tmp_path / "results", ood=[("a", [0.0, 1.0, 9.5, 9.5])]))


def test_a_folder_of_one_result_is_that_result(tmp_path, cell):
    found = find_results(tmp_path / "results")
    assert (found.cells, found.left_out) == ([cell], [])


@pytest.mark.parametrize(
    "name",
    ["seed1-abababababab (1).h5", "seed1-abababababab - Copy.h5", "seed1-abababababab.sync-conflict-1.h5", "a.h5"],
)
def test_a_copied_file_counts_once_and_is_named(tmp_path, cell, name):
    shutil.copy(cell.path, cell.path.with_name(name))
    found = find_results(tmp_path / "results")
    assert found.cells == [cell]
    assert found.left_out == [
        f"counted once: {name} in {cell.path.parent} is a copy of {cell.path.name} in {cell.path.parent}"
    ]


@pytest.mark.parametrize("copied", ["digits/msp", "digits", ""])
def test_a_copied_folder_counts_once(tmp_path, stored, cell, copied):
    other = keyed(stored(tmp_path / "results", seed=2, key="cd", ood=[("a", [9.5] * 4)]))
    source = tmp_path / "results" / copied
    shutil.copytree(source, tmp_path / "copy")
    shutil.move(tmp_path / "copy", source.parent / f"{source.name} backup" if copied else source / "backup")
    found = find_results(tmp_path / "results")
    assert found.cells == [cell, other]
    (line,) = found.left_out
    assert line.startswith("counted once: ")
    assert f"{cell.path.name}, {other.path.name}" in line
    (entry,) = [one for one in summarise(tidy(found.cells, {}), View()) if one.metric == "fpr95"]
    assert (entry.line, entry.value) == ("msp (2 seeds)", 0.75)


def test_an_earlier_state_of_a_file_is_a_copy_of_it(tmp_path, stored, cell):
    """Made while the run went on, it lacks a task, and is no second measurement of the other."""
    copy = cell.path.with_name("before.h5")
    shutil.copy(cell.path, copy)
    group = cell.group("linf", "a")
    with h5py.File(cell.path, "a") as file:
        file.copy(file["linf"], "clean")
        file["clean/a"].attrs["key"] = "another"
        file["clean/a"].attrs["constants"] = json.dumps({"kind": "clean"})
    found = find_results(tmp_path / "results")
    assert found.cells == [cell]
    assert set(found.copies) == {copy}
    assert len(group.scores) == 4


def test_the_same_seed_with_other_scores_stands_apart_and_is_named(oodbench, tmp_path, stored, cell):
    stored(tmp_path / "results" / "gpu", ood=[("a", [0.0, 0.0, 9.5, 0.0])])
    stored(tmp_path / "results", seed=2, key="cd", ood=[("a", [9.5] * 4)])
    code, out, err = oodbench("table", "--long", "--metric", "fpr95")
    assert (code, err) == (0, "")
    assert "± " not in out
    assert "50.00" in out
    assert "25.00" in out
    assert "Apart: seed 1 of msp was measured 2 times, to other scores (" in out
    assert "gpu/digits/msp/seed1-abababababab on a machine" in out


def test_broken_files_are_named_and_left_out_by_every_command(oodbench, tmp_path, cell):
    (tmp_path / "results/digits/msp/empty.h5").write_bytes(b"")
    (tmp_path / "results/digits/cut.h5").write_bytes(cell.path.read_bytes()[:2000])
    (tmp_path / "results/gone.h5").symlink_to(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "results/pack.h5", "w") as file:
        file["images"] = [1]
    (tmp_path / "results/digits/msp/._seed1-abababababab.h5").write_bytes(b"of macOS")
    for arguments in (["table"], ["table", "--format", "csv"], ["report"]):
        code, out, err = oodbench(*arguments)
        assert code == 0, err
        for name in ("msp/empty.h5", "digits/cut.h5", "gone.h5", "pack.h5"):
            assert f"{name} as scores (" in err
        assert err.count("WARNING: left out: ") == 4
    assert "left out: cannot read results/digits/cut.h5" in oodbench("table", "--long")[1]
    cell.path.unlink()
    for arguments in (["table"], ["report"], ["check", "--reference", "measured"], ["data", "export"]):
        code, out, err = oodbench(*arguments)
        assert (code, out) == (2, "")
        assert err.count("as scores (") == 4


def test_a_result_of_a_newer_version_is_left_out(tmp_path, stored, cell):
    newer = stored(tmp_path / "results", seed=2, key="cd")
    with h5py.File(newer.path, "a") as file:
        file.attrs["oodbench_schema"] = 99
    found = find_results(tmp_path / "results")
    assert found.cells == [cell]
    assert "upgrade oodbench" in found.left_out[0]


def test_a_failure_without_scores_is_a_result_and_its_copy_is_none(tmp_path, stored, cell):
    failed = Cell(tmp_path / "results/digits/odin/seed1-efefefefefef.h5")
    failed.note({"failed": "no luck"}, {**cell.attributes(), "detector": "odin"})
    shutil.copy(failed.path, failed.path.with_name("copy.h5"))
    found = find_results(tmp_path / "results")
    assert found.cells == [cell, failed]
    assert set(found.copies) == {failed.path.with_name("copy.h5")}
    with h5py.File(failed.path, "a") as file:
        del file.attrs["failed"]
    failed.path.with_name("copy.h5").unlink()
    with pytest.raises(OodbenchError, match="has no scores of ID images"):
        find_results(failed.path.parent)


def received(cell, name, change):
    """The path of a copy of the cell's file in which something is changed."""
    path = cell.path.with_name(name)
    shutil.copy(cell.path, path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def checked(file):
    file["linf/a"].attrs.update(check_transfer=0.99, check_transfer_gain=0.9)


def later(file):
    file["linf/a"].attrs["date"] = "2026-02-01T00:00:00+00:00"


def relabelled(file):
    file["id/digits-test/labels"][...] = 0


def of_another_climb(file):
    file["linf/a/extras"]["stuck"] = [1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [(checked, "the latter counts, which has more checks"), (later, "the latter counts, which is")],
)
def test_of_equal_scores_those_that_were_checked_most_count_or_else_the_newest(tmp_path, cell, change, reason):
    path = received(cell, "z.h5", change)
    found = find_results(tmp_path / "results")
    assert found.cells == [Cell(path)]
    (line,) = found.left_out
    assert f"{cell.path.name} in {cell.path.parent} has the scores of z.h5" in line
    assert reason in line


@pytest.mark.parametrize("change", [relabelled, of_another_climb, lambda file: file.attrs.update(failed="no luck")])
def test_a_file_that_says_something_else_of_its_scores_is_called_no_copy(tmp_path, cell, change):
    path = received(cell, "z.h5", change)
    found = find_results(tmp_path / "results")
    assert found.cells == [cell]
    assert found.copies[path].why == "the latter counts, which comes first by its name"


def test_an_earlier_state_that_was_checked_further_is_told(tmp_path, cell):
    path = received(cell, "z.h5", checked)
    with h5py.File(cell.path, "a") as file:
        file.copy(file["linf"], "clean")
    found = find_results(tmp_path / "results")
    assert found.cells == [cell]
    assert "fewer checks; move it away" in found.copies[path].why


def test_a_flag_is_not_lost_to_an_older_copy(oodbench, tmp_path, cell):
    received(cell, "z.h5", checked)
    assert "images attacked for other detectors beat the attack on 99%" in oodbench("table", "--long")[1]
