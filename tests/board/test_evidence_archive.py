"""Archives from anywhere: tricks of zips, arrays that are none, pickles; each refused by name, and nothing is run."""

import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from oodbench.board import archive
from oodbench.board.archive import load, write
from oodbench.board.description import RefusedError
from tests.digitsevidence import good

SAID, ROW = "evidence.json", "rows/01.safetensors"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Members of a good archive by name."""
    file = tmp_path_factory.mktemp("good") / "evidence.zip"
    write(file, good())
    with zipfile.ZipFile(file) as there:
        return {name: there.read(name) for name in there.namelist()}


def zipped(path, members, how=zipfile.ZIP_DEFLATED):
    """An archive of (name or ZipInfo, content), in their order, names twice if they come twice."""
    with zipfile.ZipFile(path, "w", how) as made, pytest.warns() if twice(members) else Quietly():
        for name, content in members:
            made.writestr(name, content)
    return path


def twice(members):
    names = [getattr(name, "filename", name) for name, _ in members]
    return len(set(names)) < len(names)


class Quietly:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_an_archive_gives_back_what_was_put_into_it(tmp_path):
    write(tmp_path / "a.zip", good())
    write(tmp_path / "b.zip", good())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    found = load(tmp_path / "a.zip")
    assert found.description == good().description
    for name, one in good().rows[0].sets.items():
        there = found.rows[0].sets[name]
        assert np.array_equal(there.images, one.images) and np.array_equal(there.scores, one.scores)


def linked(name, content):
    about = zipfile.ZipInfo(name)
    about.external_attr = 0o120777 << 16
    return about, content


TRICKS = {
    "two files of one name": (lambda good: [*good.items(), (ROW, good[ROW])], "two files called rows/01.safetensors"),
    "a way out of the folder": (lambda good: [*good.items(), ("../../evil.py", b"")], r"called \.\./\.\./evil\.py"),
    "an absolute path": (lambda good: [*good.items(), ("/etc/passwd", b"")], "called /etc/passwd"),
    "a backslash": (lambda good: [*good.items(), ("rows\\01.safetensors", b"")], "called rows"),
    "a link": (lambda good: [(SAID, good[SAID]), linked(ROW, b"/etc/passwd")], "is a link or a device"),
    "a folder": (lambda good: [*good.items(), ("rows/", b"")], "called rows/"),
    "something more": (lambda good: [*good.items(), ("rows/02.safetensors", b"")], "in it, and it does not say so"),
    "something less": (lambda good: [(SAID, good[SAID])], "rows/01.safetensors is not in it"),
    "no description": (lambda good: [(ROW, good[ROW])], "holds no evidence.json"),
    "a pickle in place of arrays": (lambda good: [(SAID, good[SAID]), (ROW, pickle.dumps(Evil()))], "reused digest"),
    "arrays of another archive": (lambda good: [(SAID, good[SAID]), (ROW, good[ROW][:-1])], "reused digest"),
}


class Evil:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("was-run"),)


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_of_zips_are_refused_by_their_names(tmp_path, monkeypatch, contents, trick):
    monkeypatch.chdir(tmp_path)
    members, named = TRICKS[trick]
    zipped(tmp_path / "evidence.zip", members(contents))
    with pytest.raises(RefusedError, match=named):
        load(tmp_path / "evidence.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.zip"]


def test_a_pickle_is_run_neither_as_arrays_nor_as_a_network(tmp_path, monkeypatch, contents):
    monkeypatch.chdir(tmp_path)
    (row,) = good().rows
    raw = pickle.dumps(Evil())
    said = json.loads(contents[SAID])
    said["rows"][0]["arrays"] = archive.sha256(raw).hexdigest()
    zipped(tmp_path / "a.zip", [(SAID, json.dumps(said)), (ROW, raw)])
    with pytest.raises(RefusedError, match="no safetensors file"):
        load(tmp_path / "a.zip")
    digest = row.said.case.network_digest
    said = {**json.loads(contents[SAID]), "networks": [digest]}
    zipped(
        tmp_path / "b.zip",
        [(SAID, json.dumps(said)), (ROW, contents[ROW]), (f"networks/{digest}.safetensors", raw)],
    )
    with pytest.raises(RefusedError, match="no safetensors file"):
        load(tmp_path / "b.zip")
    assert not Path("was-run").exists()


def test_bombs_are_not_unpacked(tmp_path, monkeypatch, contents):
    monkeypatch.setattr(archive, "MOST", 3 * 2**20)
    zipped(tmp_path / "a.zip", [*contents.items(), ("rows/02.safetensors", bytes(2**22))])
    assert (tmp_path / "a.zip").stat().st_size < 2**20
    with pytest.raises(RefusedError, match="it unpacks to 4 MiB, and evidence to 3 at most"):
        load(tmp_path / "a.zip")
    monkeypatch.setattr(archive, "MOST_SAID", 2**20)
    zipped(tmp_path / "b.zip", [(SAID, b" " * (archive.MOST_SAID + 1)), (ROW, contents[ROW])])
    with pytest.raises(RefusedError, match="no description is so long"):
        load(tmp_path / "b.zip")
    zipped(tmp_path / "c.zip", [(f"rows/{number:02}.safetensors", b"") for number in range(1, 100)])
    monkeypatch.setattr(archive, "MOST_MEMBERS", 50)
    with pytest.raises(RefusedError, match="lists 99 files"):
        load(tmp_path / "c.zip")


@pytest.mark.parametrize("said", [10, 10**9])
def test_sizes_that_lie_are_refused(tmp_path, contents, said):
    """The central directory says another size than there is; both places where a size is said are changed."""
    file = zipped(tmp_path / "evidence.zip", contents.items(), zipfile.ZIP_STORED)
    true, false = struct.pack("<I", len(contents[ROW])), struct.pack("<I", said)
    raw = file.read_bytes()
    assert raw.count(true) >= 2
    file.write_bytes(raw.replace(true, false))
    with pytest.raises(RefusedError, match="not a whole zip archive|unpacks to|the archive says"):
        load(file)


def test_other_packing_passwords_and_breakage_are_refused(tmp_path, contents):
    with pytest.raises(RefusedError, match="another method than deflate"):
        load(zipped(tmp_path / "a.zip", contents.items(), zipfile.ZIP_LZMA))
    file = zipped(tmp_path / "b.zip", contents.items())
    raw = bytearray(file.read_bytes())
    place = raw.index(b"PK\x01\x02") + 8
    raw[place] |= 1
    file.write_bytes(raw)
    with pytest.raises(RefusedError, match="behind a password"):
        load(file)
    whole = zipped(tmp_path / "c.zip", contents.items()).read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        file.write_bytes(whole[:cut])
        with pytest.raises(RefusedError, match="not a whole zip archive"):
            load(file)


def test_a_name_that_ends_before_its_end_is_refused(tmp_path, contents):
    file = zipped(tmp_path / "evidence.zip", [*contents.items(), ("rows/09.safetensors.evil", b"")])
    raw = file.read_bytes().replace(b"rows/09.safetensors.evil", b"rows/09.safetensors\0evil")
    file.write_bytes(raw)
    with pytest.raises(RefusedError, match="called rows/09|not a whole zip"):
        load(file)


def with_arrays(contents, **changes):
    """The good archive's members with some arrays changed, and its digest of them made anew."""
    found = {**safetensors.numpy.load(contents[ROW]), **changes}
    raw = safetensors.numpy.save({name: one for name, one in found.items() if one is not None})
    said = json.loads(contents[SAID])
    said["rows"][0]["arrays"] = archive.sha256(raw).hexdigest()
    return [(SAID, json.dumps(said)), (ROW, raw)]


ARRAYS = {
    "images off the grid": ("ood/letters/images", lambda one: one / np.float32(255), "off the grid: the images of"),
    "other images": ("ood/letters/images", lambda one: one ^ 1, "reused digest: the images of letters"),
    "images without colours": ("ood/letters/images", lambda one: one[..., 0].copy(), "reused digest|have the shape"),
    "an image twice": ("ood/letters/indices", lambda one: one * 0, "letters has an image twice"),
    "places that are no numbers": ("ood/letters/indices", lambda one: one.astype(np.float64), "indices of letters are"),
    "scores that are none": ("ood/letters/scores", lambda one: one * np.nan, "are not all finite"),
    "scores left out": ("ood/letters/scores", lambda one: None, "is missing, or nothing that a row has"),
    "no ID scores": ("id/scores", lambda one: one[:0], "expected float64"),
    "scores of another type": ("id/scores", lambda one: one.astype(np.float32), "expected float64"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_are_none_are_refused(tmp_path, contents, kind):
    name, change, named = ARRAYS[kind]
    changed = change(safetensors.numpy.load(contents[ROW])[name])
    zipped(tmp_path / "evidence.zip", with_arrays(contents, **{name: changed}))
    with pytest.raises(RefusedError, match=named):
        load(tmp_path / "evidence.zip")


def at(path, value):
    """A change of one place in the description."""

    def change(said):
        place = said
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


CASE = ("rows", 0, "case")
SAYINGS = [
    (at(["schema"], 2), "its schema is '2', this oodbench reads 1"),
    (at(["rows"], []), "0 rows"),
    (at(["by"], "\x1b[2Jlead"), "cannot be printed"),
    (at(["note"], "a" * 3000), "longer than"),
    (at([*CASE, "suite"], "../digits"), "odd name"),
    (at([*CASE, "norm"], "l7"), "norm is"),
    (at([*CASE, "epsilon"], -1), "epsilon is"),
    (at([*CASE, "epsilon"], 256), "epsilon is 256: expected 1 to 255 in the norm linf"),
    (at([*CASE, "epsilon"], True), "expected a whole number"),
    (at([*CASE, "kept"], "../../etc/x"), "kept is"),
    (at([*CASE, "network_digest"], "ab"), "not a SHA-256"),
    (at([*CASE, "surprise"], 1), "unknown entry"),
    (at(["rows", 0, "sets", 0, "auroc"], 1.5), "no fraction"),
    (at(["rows", 0, "sets", 0, "name"], "a/b"), "not the name of an image set"),
    (at(["rows", 0, "sets", 1, "name"], "letters"), "at least one, each once"),
    (at(["rows", 0, "sets", 0], 3), "expected a table"),
    (at(["networks"], ["f" * 64]), "is not in it"),
]


@pytest.mark.parametrize(("change", "named"), SAYINGS, ids=[named for _, named in SAYINGS])
def test_descriptions_that_say_nothing_are_refused(tmp_path, contents, change, named):
    said = json.loads(contents[SAID])
    change(said)
    zipped(tmp_path / "evidence.zip", [(SAID, json.dumps(said)), (ROW, contents[ROW])])
    with pytest.raises(RefusedError, match=named):
        load(tmp_path / "evidence.zip")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"schema": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"schema": 1}'])
def test_what_is_no_description_is_refused(tmp_path, contents, text):
    zipped(tmp_path / "evidence.zip", [(SAID, text), (ROW, contents[ROW])])
    with pytest.raises(RefusedError, match="says nothing that can be checked"):
        load(tmp_path / "evidence.zip")


def test_the_command_says_what_is_amiss_and_ends_with_1_and_with_2_where_there_is_no_file(tmp_path, oodbench, contents):
    zipped(tmp_path / "evidence.zip", [*contents.items(), ("../evil", b"")])
    code, out, _ = oodbench("verify", "evidence.zip")
    assert code == 1 and out.startswith("does not hold  archive: it holds a file called ../evil")
    code, _, err = oodbench("verify", "nothing.zip")
    assert code == 2 and "there is no evidence nothing.zip" in err
    code, _, err = oodbench("verify", ".")
    assert code == 2 and ". is a folder: `oodbench evidence . -o evidence.zip` makes evidence of it" in err
    (tmp_path / "text.zip").write_text("no zip")
    assert oodbench("verify", "text.zip")[0] == 1


def test_more_than_an_archive_may_hold_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 1000)
    with pytest.raises(archive.OodbenchError, match="choose fewer rows"):
        write(tmp_path / "evidence.zip", good())
    assert not list(tmp_path.iterdir())
