"""The index of kept networks, which anybody may have written."""

import shutil
from pathlib import Path

import pytest

from oodbench.training import pretrained
from tests.training.shelf import RUN, SHELF, edit

BROKEN = {
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "no networks": b"{}",
    "networks in a list": b'{"networks": []}',
    "a number": b'{"networks": {"plain": 3}}',
    "nested": b"[" * 100_000,
    "half an entry": b'{"networks": {"plain": {"sha256": ""}}}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_index_is_named(here, oodbench, content):
    (SHELF / "index.json").write_bytes(content)
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2, err
    assert str(SHELF / "index.json") in err
    assert "Traceback" not in err


def moved(networks):
    networks["../../../secret"] = networks.pop("plain")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved, "is not a valid name of a network"),
        (lambda networks: networks["plain"].update(sha256="abc"), "sha256 is not 64 hexadecimal digits"),
        (lambda networks: networks["plain"].update(url="file:///etc/passwd"), "does not begin with https://"),
        (lambda networks: networks["plain"].update(recipe=["a"]), "expected texts by name"),
        (lambda networks: networks["plain"].update(accuracy={"mine-test": "all"}), "could not convert"),
    ],
)
def test_a_hostile_index_is_refused(here, oodbench, change, said):
    edit(change)
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2
    assert said in err


def test_two_shelves_of_one_name_must_hold_the_same(here, oodbench):
    shutil.copytree(SHELF, "data/networks/digits")
    content = Path("data/networks/digits/index.json")
    content.write_text(content.read_text().replace('"url": ""', '"url": "https://example.org"'))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2
    assert "speaks of another file digits/" in err


def test_the_index_is_written_as_it_is_read(tmp_path, trained):
    networks = pretrained.read_index(trained / SHELF / "index.json")
    pretrained.write_index(tmp_path / "shelf" / "index.json", networks)
    assert pretrained.read_index(tmp_path / "shelf" / "index.json") == networks


def test_an_index_that_is_not_printable_or_no_share_is_refused(here, oodbench):
    for change in (
        lambda networks: networks["plain"].update(trained_on="\x1b[2J\x1b]0;owned\x07"),
        lambda networks: networks["plain"].update(note="a\nb"),
        lambda networks: networks["plain"]["recipe"].update({"\x1b[31m": "x"}),
        lambda networks: networks["plain"].update(accuracy={"mine-test": 7.0}),
    ):
        before = (SHELF / "index.json").read_text()
        edit(change)
        for command in ((*RUN, "--pretrained"), ("data", "list", "networks")):
            code, out, err = oodbench(*command)
            assert code == 2 and "is not an index of trained networks" in err
            assert "\x1b" not in out + err
        (SHELF / "index.json").write_text(before)


def test_one_damaged_file_does_not_hide_the_other_networks(here, oodbench):
    file = SHELF / "plain.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, out, err = oodbench("data", "list", "networks")
    assert code == 0, err
    assert "broken   shelf/plain " in out
    said = "shelf/plain is broken: network shelf/plain: data/networks/shelf/plain.safetensors is not the file"
    assert said in " ".join(out.split())
    assert "present  shelf/oe " in out
