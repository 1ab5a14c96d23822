"""The store loses nothing to kills, to a second writer or to a full disk, and it says what a bad file is."""

import errno
import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import require_writable
from oodbench.results.folder import find_results
from oodbench.results.store import SCHEMA, Attributes, Cell, Scores, cells

ATTRIBUTES: Attributes = {
    "suite": "digits",
    "detector": "msp",
    "seed": 1,
    "limit": 0,
    "parameters": '{"t": 1.0}',
    "checkpoint": "",
}
LARGE = 20_000  # images: enough for a write to take long enough to be killed in


def filled(image_set: str, value: int, count: int = 4, /, **changes: Any) -> Scores:
    """A group with `value` in every place, so that half a group is seen at once."""
    numbers = np.full(count, value)
    fields: dict[str, Any] = {
        "task": "linf",
        "image_set": image_set,
        "role": "ood",
        "scores": numbers.astype(np.float64),
        "predictions": numbers,
        "labels": numbers,
        "indices": numbers,
        "extras": {"objective_after": numbers.astype(np.float64)},
        "attributes": {"key": f"key{value}"},
    }
    return Scores(**{**fields, **changes})


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    """A file with one group."""
    made = Cell(tmp_path / "cell.h5")
    made.add(filled("blobs", 1), ATTRIBUTES)
    return made


def stored(cell: Cell) -> dict[str, int]:
    """The value of each stored group by image set, after checking that the groups are whole."""
    values = {}
    for group in cell.read():
        value = int(group.scores[0])
        arrays = (group.scores, group.predictions, group.labels, group.indices, group.extras["objective_after"])
        assert {array.shape for array in arrays} == {group.scores.shape}
        assert all((array == value).all() for array in arrays)
        assert group.attributes == {"key": f"key{value}"}
        values[group.image_set] = value
    return values


def test_round_trip_is_exact(tmp_path: Path) -> None:
    written = filled(
        "blobs",
        0,
        scores=np.array([-0.0, 5e-324, 1 / 3, -1.7e308]),
        predictions=np.array([0, 9, 2**62, -1]),
        labels=np.array([-1, -1, -1, -(2**63)]),
        indices=np.arange(4),
        extras={
            "objective_before": np.array([[0.1, np.inf]] * 4),
            "images": np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3),
        },
        attributes={"key": "ab", "source": "Größe, ∞", "distance": "", "seconds": 0.1, "passes": 2**40, "exact": True},
    )
    cell = Cell(tmp_path / "digits" / "msp" / "seed1.h5")
    cell.add(written, ATTRIBUTES)

    (read,) = cell.read()
    assert (read.task, read.image_set, read.role) == ("linf", "blobs", "ood")
    for name in ("scores", "predictions", "labels", "indices"):
        assert getattr(read, name).tobytes() == getattr(written, name).tobytes()
    assert read.extras.keys() == written.extras.keys()
    for name, array in written.extras.items():
        assert read.extras[name].dtype == array.dtype
        np.testing.assert_array_equal(read.extras[name], array)
    assert read.attributes == written.attributes
    assert {name: type(value) for name, value in read.attributes.items()} == {
        name: type(value) for name, value in written.attributes.items()
    }
    assert cell.attributes() == ATTRIBUTES


def test_key_is_of_this_group_only(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "cell.h5")
    assert cell.key("linf", "blobs") is None
    cell.add(filled("blobs", 7), ATTRIBUTES)
    assert cell.key("linf", "blobs") == "key7"
    assert cell.key("linf", "rooms") is None
    assert cell.key("clean", "blobs") is None


def test_a_group_without_a_key_has_none(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "cell.h5")
    cell.add(filled("blobs", 7, attributes={}), ATTRIBUTES)
    assert cell.key("linf", "blobs") is None


def test_the_last_of_a_name_stays_and_order_is_kept(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "cell.h5")
    for image_set, value in (("rooms", 1), ("blobs", 2), ("rooms", 3), ("apples", 4)):
        cell.add(filled(image_set, value), {**ATTRIBUTES, "network_digest": f"network{value}"})
    assert list(stored(cell).items()) == [("rooms", 3), ("blobs", 2), ("apples", 4)]
    assert cell.attributes() == {**ATTRIBUTES, "network_digest": "network4"}


def test_the_same_image_set_under_two_tasks_is_two_groups(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "cell.h5")
    cell.add(filled("blobs", 1, task="linf"), ATTRIBUTES)
    cell.add(filled("blobs", 2, task="clean"), ATTRIBUTES)
    assert [(group.task, group.scores[0]) for group in cell.read()] == [("linf", 1), ("clean", 2)]


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = Cell(tmp_path / "first.h5"), Cell(tmp_path / "second.h5")
    for cell in (first, second):
        cell.add(filled("blobs", 1), ATTRIBUTES)
        cell.add(filled("rooms", 2), ATTRIBUTES)
    assert first.path.read_bytes() == second.path.read_bytes()


def add_ten(path: Path, prefix: str, start: Barrier) -> None:
    start.wait()
    for value in range(10):
        Cell(path).add(filled(f"{prefix}{value}", value), ATTRIBUTES)


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    spawn, path = multiprocessing.get_context("spawn"), tmp_path / "cell.h5"
    start = spawn.Barrier(2)
    writers = [spawn.Process(target=add_ten, args=(path, prefix, start)) for prefix in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert stored(Cell(path)) == {f"{prefix}{value}": value for prefix in "ab" for value in range(10)}


def add_until_killed(path: Path, offset: int, done: Connection) -> None:
    # Few names, so that the file stops growing and kills fall on replacing as well as on adding.
    for value in range(offset, offset + 100_000):
        Cell(path).add(filled(f"set{value % 4}", value, LARGE), ATTRIBUTES)
        done.send(value)


def test_a_kill_costs_one_group_at_most(tmp_path: Path) -> None:
    spawn, cell, moments = multiprocessing.get_context("spawn"), Cell(tmp_path / "cell.h5"), random.Random(0)
    for offset in range(0, 500_000, 100_000):
        receiver, sender = spawn.Pipe(duplex=False)
        writer = spawn.Process(target=add_until_killed, args=(cell.path, offset, sender))
        writer.start()
        sender.close()
        landed = [receiver.recv()]  # it is at work
        time.sleep(moments.uniform(0, 0.1))
        writer.kill()
        writer.join()
        while receiver.poll():
            try:
                landed.append(receiver.recv())
            except EOFError:
                break
        newest = max(stored(cell).values())
        assert newest in (landed[-1], landed[-1] + 1)  # the kill may fall between landing a group and telling

    cell.add(filled("after", 1), ATTRIBUTES)
    assert stored(cell)["after"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"cell.h5", ".cell.h5.lock"}


def test_only_what_this_cell_left_behind_is_cleared(tmp_path: Path) -> None:
    stale, of_another = tmp_path / ".cell.h5.k2j4.tmp", tmp_path / ".other.h5.k2j4.tmp"
    stale.touch()
    of_another.touch()
    Cell(tmp_path / "cell.h5").add(filled("blobs", 1), ATTRIBUTES)
    assert not stale.exists()
    assert of_another.exists()


def test_a_full_disk_keeps_what_was_there(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OodbenchError, match=r"disk is full: .*cell\.h5 needs .*free some space"):
            cell.add(filled("rooms", 2), ATTRIBUTES)
    assert stored(cell) == {"blobs": 1}
    assert not list(cell.path.parent.glob("*.tmp"))
    cell.add(filled("rooms", 2), ATTRIBUTES)
    assert stored(cell) == {"blobs": 1, "rooms": 2}


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "results"
    with pytest.raises(OodbenchError, match=r"cannot write to .*file/results: Not a directory; choose another"):
        Cell(folder / "cell.h5").add(filled("blobs", 1), ATTRIBUTES)
    with pytest.raises(OodbenchError, match=r"cannot write to .*file/results: .*; choose another folder with --data"):
        require_writable(folder, "--data")


def test_trying_a_folder_makes_it_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "results", "--out")
    assert list((tmp_path / "new" / "results").iterdir()) == []


@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.9999])
def test_a_truncated_file_is_named_and_never_overwritten(tmp_path: Path, kept: float) -> None:
    cell = Cell(tmp_path / "cell.h5")
    cell.add(filled("blobs", 1, 1000), ATTRIBUTES)
    whole = cell.path.read_bytes()
    broken = whole[: int(kept * len(whole))]
    cell.path.write_bytes(broken)
    for use in (cell.read, cell.attributes, lambda: cell.key("linf", "blobs"), lambda: find_results(tmp_path)):
        with pytest.raises(OodbenchError, match=r"cannot read .*cell\.h5 as scores .*: move it away"):
            use()
    with pytest.raises(OodbenchError, match=r"cell\.h5"):
        cell.add(filled("rooms", 2), ATTRIBUTES)
    assert cell.path.read_bytes() == broken


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(OodbenchError, match=r"foreign\.h5 as scores \(HDF5, but not written by oodbench\): move it"):
        find_results(tmp_path)


def test_a_newer_schema_asks_for_an_upgrade(cell: Cell) -> None:
    with h5py.File(cell.path, "a") as file:
        file.attrs["oodbench_schema"] = SCHEMA + 1
    with pytest.raises(OodbenchError, match=r"newer oodbench \(schema 2, this one reads 1\): upgrade"):
        cell.read()


@pytest.mark.parametrize("missing", ["scores", "extras"])
def test_a_group_that_lacks_something_is_a_damaged_file(cell: Cell, missing: str) -> None:
    with h5py.File(cell.path, "a") as file:
        del file["linf/blobs"][missing]
    with pytest.raises(OodbenchError, match=r"cannot read .*cell\.h5"):
        cell.read()


def test_stored_scores_are_checked_as_new_ones_are(cell: Cell) -> None:
    with h5py.File(cell.path, "a") as file:
        file["linf/blobs/scores"][0] = np.nan
    with pytest.raises(OodbenchError, match="scores are not all finite"):
        cell.read()


def test_cells_are_found_below_a_folder_but_not_among_references(tmp_path: Path) -> None:
    names = ("digits/odin/seed1.h5", "digits/msp/seed2.h5", "reference/digits/msp/seed1.h5")
    for name in names:
        Cell(tmp_path / name).add(filled("blobs", 1), ATTRIBUTES)
    assert cells(tmp_path) == [Cell(tmp_path / names[1]), Cell(tmp_path / names[0])]
    assert cells(tmp_path / "reference") == [Cell(tmp_path / names[2])]
    for hidden in (".seed1.h5", "digits/msp/._seed2.h5", ".stversions/seed2.h5"):
        path = tmp_path / hidden
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a resource fork")
    assert len(cells(tmp_path)) == 2


def test_cells_below_linked_folders_are_found_once(tmp_path: Path) -> None:
    Cell(tmp_path / "scratch" / "digits" / "msp" / "seed1.h5").add(filled("blobs", 1), ATTRIBUTES)
    results = tmp_path / "results"
    results.mkdir()
    (results / "digits").symlink_to(tmp_path / "scratch" / "digits")
    assert cells(results) == [Cell(results / "digits" / "msp" / "seed1.h5")]
    (tmp_path / "scratch" / "digits" / "msp" / "round").symlink_to(tmp_path / "scratch" / "digits")
    (results / "once-more").symlink_to(tmp_path / "scratch" / "digits")
    assert cells(results) == [Cell(results / "digits" / "msp" / "seed1.h5")]


def test_a_note_keeps_groups_and_goes_with_the_next_one(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "cell.h5")
    cell.note({"failed": "no luck"}, ATTRIBUTES)
    assert cell.attributes() == {**ATTRIBUTES, "failed": "no luck"}
    assert cell.read() == []
    cell.add(filled("blobs", 1), ATTRIBUTES)
    assert cell.attributes() == ATTRIBUTES
    cell.note({"failed": "again"}, {"detector": "another"})
    assert cell.attributes() == {**ATTRIBUTES, "failed": "again"}
    assert [group.image_set for group in cell.read()] == ["blobs"]


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "results" / "cell.h5")
    cell.add(filled("blobs", 1), ATTRIBUTES)
    (tmp_path / "results" / "folder.h5").mkdir()
    assert cells(tmp_path / "results") == [cell]
    with pytest.raises(OodbenchError, match=r"cell\.h5 is a file: name the folder that holds it"):
        cells(cell.path)


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_results_says_what_to_type(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        OodbenchError, match=f"no results in .*{name}: .*`oodbench run --suite digits-adv --detector msp`"
    ):
        cells(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.array([0.0, 1.0, np.nan, 2.0])}, "finite"),
        ({"scores": np.array([0.0, 1.0, -np.inf, 2.0])}, "finite"),
        ({"scores": np.zeros(4, dtype=np.float32)}, "scores are float32"),
        ({"scores": np.zeros((4, 1))}, "scores are float64"),
        ({"scores": np.zeros(5)}, "predictions are int64"),
        ({"labels": np.zeros(4, dtype=np.int32)}, "labels are int32"),
        ({"indices": np.arange(3)}, "indices are int64"),
        ({"extras": {"after": np.zeros(3)}}, "extra 'after' is float64"),
        ({"extras": {"after": np.zeros(4, dtype=np.float32)}}, "extra 'after' is float32"),
        ({"extras": {"after": np.float64(1)}}, "extra 'after' is float64"),
        ({"extras": {"../after": np.zeros(4)}}, "bad name '../after'"),
        ({"task": "linf/8"}, "bad name 'linf/8'"),
        ({"image_set": ""}, "bad name ''"),
        ({"image_set": "Blobs"}, "bad name 'Blobs'"),
        ({"image_set": "blobs\n"}, "bad name"),
        ({"role": "outliers"}, "role is 'outliers'"),
        ({"attributes": {"role": "id"}}, "none among the attributes"),
    ],
)
def test_what_cannot_be_stored_is_refused_when_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filled("blobs", 1, **changes)


@pytest.mark.parametrize("value", [np.zeros(0), np.zeros((2, 2)), np.bytes_(b"\xff")])
def test_an_attribute_that_is_no_text_and_no_number_is_a_damaged_file(cell: Cell, value: object) -> None:
    with h5py.File(cell.path, "a") as file:
        file.attrs["suite"] = value
    with pytest.raises(OodbenchError, match=r"cannot read .*cell\.h5 as scores \(its attribute 'suite'"):
        cell.attributes()


def test_an_attribute_of_bytes_that_are_no_text_is_a_damaged_file(cell: Cell) -> None:
    with h5py.File(cell.path, "a") as file:
        del file.attrs["suite"]
        file.attrs.create("suite", np.array(b"digi\x80s", dtype=h5py.string_dtype("utf-8", 6)))
    with pytest.raises(OodbenchError, match=r"cannot read .*cell\.h5 as scores \(its attribute 'suite'"):
        cell.attributes()
