"""Packs in pieces: what is put together is what was taken apart, or nothing is."""

import json
import lzma
from hashlib import sha256

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.images import drawing, pieces
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import note_of, read_pack, write_pack
from oodbench.images.photographs import write_photographs
from oodbench.images.sheet import Picture, sheet

MOST = 20_000


@pytest.fixture
def birds(tmp_path):
    """A pack of 40 images in data/, and its images."""
    images = ImageSet("birds", drawing.smooth_noise(40, np.random.default_rng(1)), np.arange(40) % 4, "drawn")
    write_pack(
        tmp_path / "data" / "birds.h5", images, {"note": "none of them flies", "classes": '["a", "b", "c", "d"]'}
    )
    return images


@pytest.fixture
def taken_apart(birds, tmp_path):
    return pieces.split("birds", tmp_path / "data", tmp_path / "pieces", MOST)


def test_put_together_it_is_the_same_set(birds, taken_apart, tmp_path):
    files = taken_apart.files(tmp_path / "pieces")
    sizes = [file.stat().st_size for file in files]
    assert len(sizes) > 1
    assert sizes[:-1] == [MOST] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= MOST
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == sorted(
        [*(file.name for file in files), "birds.pieces.json"]
    )
    assert pieces.pieces_in(tmp_path / "pieces") == [taken_apart]
    pack = pieces.join(taken_apart, tmp_path / "pieces", tmp_path / "there")
    found = read_pack(pack, "birds")
    assert found.fingerprint == birds.fingerprint
    assert found.classes == ("a", "b", "c", "d")
    assert found.source == "drawn"
    assert note_of(pack) == "none of them flies"


def test_any_xz_reads_them(taken_apart, tmp_path):
    content = b"".join(file.read_bytes() for file in taken_apart.files(tmp_path / "pieces"))
    (tmp_path / "mine.h5").write_bytes(lzma.decompress(content))
    assert read_pack(tmp_path / "mine.h5", "birds").fingerprint == taken_apart.fingerprint


def test_a_pack_of_image_files(tmp_path):
    drawn = sheet([Picture(np.zeros((8, 8, 3), np.uint8), "x")], 1, "x")
    write_photographs(tmp_path / "photos.h5", [(f"{number}.png", drawn, number) for number in range(3)], "drawn")
    before = read_pack(tmp_path / "photos.h5", "photos").fingerprint
    found = pieces.split("photos", tmp_path, tmp_path / "pieces", 1000)
    pack = pieces.join(found, tmp_path / "pieces", tmp_path / "there")
    assert pack.read_bytes() == (tmp_path / "photos.h5").read_bytes()
    assert read_pack(pack, "photos").fingerprint == before


def test_what_is_there_is_left_alone_and_other_images_are_refused(birds, taken_apart, tmp_path):
    pack = tmp_path / "data" / "birds.h5"
    before = pack.stat().st_mtime_ns
    assert pieces.join(taken_apart, tmp_path / "pieces", tmp_path / "data") == pack
    assert pack.stat().st_mtime_ns == before
    write_pack(pack, birds.first(3))
    with pytest.raises(OodbenchError, match="other images than the pieces"):
        pieces.join(taken_apart, tmp_path / "pieces", tmp_path / "data")


def lose(folder):
    (folder / "birds.h5.xz.1").unlink()


def damage(folder):
    content = bytearray((folder / "birds.h5.xz.2").read_bytes())
    content[100] ^= 1
    (folder / "birds.h5.xz.2").write_bytes(content)


def swap(folder):
    first, second = folder / "birds.h5.xz.1", folder / "birds.h5.xz.2"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def say(**more):
    def change(folder):
        path = folder / "birds.pieces.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))

    return change


def bomb(folder):
    """One piece, rightly named, of far more than it says."""
    content = lzma.compress(bytes(50_000_000))
    (folder / "birds.h5.xz.1").write_bytes(content)
    say(digests=[sha256(content).hexdigest()], size=1000)(folder)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose, "lacks birds.h5.xz.1: put all pieces"),
        (damage, "birds.h5.xz.2 is not as it was"),
        (swap, "birds.h5.xz.1 is not as it was"),
        (say(fingerprint="0" * 64), "other images came of the pieces"),
        (say(size=10_000_000), "end before the pack does"),
        (say(size=100), "hold more than the pack"),
        (bomb, "hold more than the pack"),
        (say(name="../birds"), "not the name of an image set"),
        (say(digests="none"), "digests: expected a list"),
        (say(digests=[]), "at least one byte and one piece"),
        (lambda folder: (folder / "birds.pieces.json").write_text("[1]"), "expected an object"),
        (lambda folder: (folder / "birds.pieces.json").write_text("{"), "does not say what its pieces are"),
    ],
)
def test_what_is_not_whole_is_refused_and_nothing_is_left(taken_apart, tmp_path, harm, said):
    folder, there = tmp_path / "pieces", tmp_path / "there"
    harm(folder)
    with pytest.raises(OodbenchError, match=said):
        for one in pieces.pieces_in(folder):
            pieces.join(one, folder, there)
    assert not there.is_dir() or list(there.iterdir()) == []


def test_by_the_command(oodbench, birds, tmp_path):
    code, out, err = oodbench("data", "split", "birds", "--to", "pieces", "--most", "1")
    assert code == 0, err
    assert "birds.h5.xz.1: 0.1 MB" in out
    assert f"fingerprint {birds.fingerprint[:16]}" in out
    assert oodbench("data", "join", "pieces", "--data", "there")[0] == 0
    assert read_pack(tmp_path / "there" / "birds.h5", "birds").fingerprint == birds.fingerprint
    code, _, err = oodbench("data", "join", "data")
    assert code == 2
    assert "`oodbench data split`" in err
    code, _, err = oodbench("data", "split", "fish", "--to", "pieces")
    assert code == 2
    assert "there is no image pack data/fish.h5" in err


@pytest.mark.parametrize("name", ["../birds", "a/b", ".hidden", "a\\b", "\x1b[2J", "b" * 300, ""])
def test_no_piece_says_where_its_pack_is_written_to(taken_apart, tmp_path, name):
    table = tmp_path / "pieces" / "birds.pieces.json"
    table.write_text(json.dumps({**json.loads(table.read_text()), "name": name}))
    with pytest.raises(OodbenchError, match="not the name of an image set") as caught:
        pieces.pieces_in(tmp_path / "pieces")
    assert "\x1b" not in str(caught.value)
    with pytest.raises(OodbenchError, match="not the name of an image set"):
        pieces.split(name, tmp_path / "data", tmp_path / "others", MOST)
    assert not (tmp_path / "others").exists()


def test_pieces_of_something_else_go_by_their_own_name(tmp_path):
    content = lzma.compress(b"no pack at all")
    (tmp_path / "birds.h5.xz.1").write_bytes(content)
    one = pieces.Pieces("birds", "0" * 64, 14, (sha256(content).hexdigest(),))
    with pytest.raises(
        OodbenchError, match="the pieces of birds in .* are of no pack: what came of them is not"
    ) as caught:
        pieces.join(one, tmp_path, tmp_path / "there")
    assert ".tmp" not in str(caught.value)
    assert not list((tmp_path / "there").iterdir())
