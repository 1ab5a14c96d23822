"""Results that come from anywhere: a file may point to others on the disk, or say that it holds more than it can."""

import h5py
import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.results import bundle
from oodbench.results.store import Cell


def bundled(folder, content):
    """The path of a result of this content in a bundle."""
    bundle.write(folder / "received.zip", {"digits/msp/a.h5": content})
    return folder / "received.zip/digits/msp/a.h5"


def test_a_result_shows_nothing_of_other_files(tmp_path, stored):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4.0).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["scores"] = np.arange(4.0)
    hostile = {
        "external": lambda group: group.create_dataset("scores", (4,), float, external=[(str(secret), 0, 32)]),
        "linked": lambda group: group.__setitem__("scores", h5py.ExternalLink(str(tmp_path / "other.h5"), "scores")),
    }
    for name, write in hostile.items():
        cell = stored(tmp_path / name)
        with h5py.File(cell.path, "r+") as file:
            del file["linf/letters/scores"]
            write(file["linf/letters"])
        with pytest.raises(OodbenchError, match="points elsewhere"):
            cell.read()


@pytest.mark.parametrize("place", ["linf", "linf/letters", "linf/letters/extras"])
@pytest.mark.parametrize("kind", ["another file", "another place"])
def test_no_group_of_a_result_lies_in_another_file(tmp_path, stored, place, kind):
    other, cell = stored(tmp_path / "other"), stored(tmp_path / "received")
    link = h5py.ExternalLink(str(other.path), f"/{place}") if kind == "another file" else h5py.SoftLink("/id")
    with h5py.File(cell.path, "r+") as file:
        del file[place]
        file[place] = link
    looks = (cell.attributes, cell.read, cell.scores, lambda: cell.key("linf", "letters"))
    for look in (*looks, lambda: cell.stored_names("linf", "letters"), lambda: cell.group_attributes("blind")):
        with pytest.raises(OodbenchError, match=f"'{place}' points elsewhere"):
            look()


def test_a_result_that_says_to_hold_more_than_it_can_is_not_read(tmp_path, stored):
    cell = stored(tmp_path)
    with h5py.File(cell.path, "r+") as file:
        del file["linf/letters/scores"]
        file["linf/letters"].create_dataset("scores", (10**9,), float, chunks=(10**6,))  # takes no room
    with pytest.raises(OodbenchError, match="unpacks to"):
        cell.read()


@pytest.mark.parametrize("place", ["linf/letters", "linf/letters/scores", "linf"])
def test_a_result_with_two_names_for_one_object_is_not_read(tmp_path, stored, place):
    """A group that thousands of links lead to would be read as often."""
    cell = stored(tmp_path)
    with h5py.File(cell.path, "r+") as file:
        file[f"{place}-again"] = file[place]
    for path in (cell.path, bundled(tmp_path, cell.path.read_bytes())):
        with pytest.raises(OodbenchError, match=f"'{place}-again' is a second name"):
            Cell(path).read()


def test_a_result_that_holds_itself_is_not_read(tmp_path, stored):
    cell = stored(tmp_path)
    with h5py.File(cell.path, "r+") as file:
        file["linf/all"] = file["/"]
    with pytest.raises(OodbenchError, match="'linf/all' is a second name"):
        cell.attributes()
