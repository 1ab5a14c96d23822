"""Results that come from anywhere: a file may point to others on the disk, or say that it holds more than it can."""

import json
from xml.etree import ElementTree

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


RAW = "odd\n::error::\\input{secret}\x1b[2J\x9b"
SHOWN = "odd ::error::\\input{secret}\\x1b[2J\\x9b"


@pytest.fixture
def loud(oodbench, tmp_path, stored):
    """Results whose texts command terminals, TeX and CI, and a reference for them."""
    about = {"checkpoint": RAW, "settings": RAW, "unlike": RAW, "means": json.dumps({"all": ["letters", RAW]})}
    tuned = {"source": "id-test", "id_images": 1, "outliers": 0, "chosen": RAW}
    cell = stored(tmp_path / "results", tuned=json.dumps(tuned), **about)
    assert oodbench("check", "--reference", "reference.csv", "--update")[0] == 0
    stored(tmp_path / "results", detector="odin", ood=(), failed=RAW, failed_on="2027")
    with h5py.File(cell.path, "r+") as file:
        file["linf/letters"].attrs.update(threat=RAW, hardware=RAW, date=RAW, source=RAW)
        file["id/digits-test"].attrs.update(labels_note=RAW, torch=RAW)
    (tmp_path / "results" / "broken\n::error::\x1b.h5").touch()


@pytest.mark.usefixtures("loud")
@pytest.mark.parametrize(
    "arguments",
    [
        ["table"],
        ["table", "--long"],
        ["table", "--format", "latex"],
        ["table", "--format", "csv"],
        ["threshold", "--keep", "0.5"],
        ["check", "--reference", "reference.csv", "--format", "github"],
    ],
)
def test_no_text_of_a_result_commands_a_terminal_a_document_or_a_ci(oodbench, arguments):
    _, out, err = oodbench(*arguments)
    lines = [*out.splitlines(), *err.splitlines()]
    assert "\\x1b" in out + err
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if line.startswith("::") and not line.startswith("::error title=oodbench")] == []
    if "latex" in arguments:
        assert [line for line in lines if "\\input" in line and not line.startswith(("%", "WARNING"))] == []


@pytest.mark.usefixtures("loud")
def test_names_in_a_verdict_make_valid_xml(oodbench):
    oodbench("check", "--reference", "reference.csv", "--junit", "verdicts.xml")
    names = [case.get("name") for case in ElementTree.parse("verdicts.xml").iter("testcase")]
    assert any(SHOWN in name for name in names)
