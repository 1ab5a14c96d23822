"""Packs of image files: what goes in comes out undecoded, lazily, and every defect is named."""

import struct
import zlib

import h5py
import numpy as np
import pytest
import torch
from photographs import encoded, several
from PIL import Image
from timm.data import create_transform
from torchvision.transforms.functional import pil_to_tensor

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.images import packs
from oodbench.images.decoding import decode_file, require_image
from oodbench.images.photographs import write_photographs
from oodbench.images.preprocessing import Preprocessing
from oodbench.images.resident import resident
from oodbench.images.streaming import Streamed

SMALL = Preprocessing(side=16, crop=0.5)


@pytest.fixture
def pack(tmp_path):
    path = tmp_path / "mine.h5"
    assert write_photographs(path, iter(several()), "made up", {"terms": "none"}) == 7
    return path


def edited(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def test_files_come_back_byte_by_byte_with_their_labels(pack):
    found = packs.read_pack(pack, "mine")
    assert list(found.images.files()) == [content for _, content, _ in several()]
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert found.source == "made up"
    assert found.images.damage() is None
    with h5py.File(pack) as file:
        assert file["names"].asstr()[3] == "n0/3.x"
        assert file.attrs["terms"] == "none"


def test_pixels_are_those_of_timm_before_its_normalisation():
    content = encoded(90, 60, kind="JPEG")
    theirs = create_transform((3, 24, 24), interpolation="bicubic", crop_pct=0.75, mean=(0, 0, 0), std=(1, 1, 1))
    ours = Preprocessing(24, 0.75, "bicubic")(decode_file(content, "here"))
    assert ours.shape == (24, 24, 3)
    assert torch.equal(torch.from_numpy(ours).permute(2, 0, 1) / 255, theirs(decode_file(content, "here")))


def test_whole_images_of_the_right_size_are_not_resampled():
    content = encoded(32, 32)
    ours = Preprocessing(side=32, crop=1.0)(decode_file(content, "here"))
    assert torch.equal(torch.from_numpy(ours).permute(2, 0, 1), pil_to_tensor(decode_file(content, "here")))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_every_kind_of_image_becomes_rgb(mode):
    assert SMALL(decode_file(encoded(40, 30, mode=mode), "here")).shape == (16, 16, 3)


def test_subsets_stay_encoded_until_they_are_looked_at(pack, monkeypatch):
    found = packs.read_pack(pack, "mine", SMALL)
    whole = found.pixels()
    assert whole.shape == found.images.shape == (7, 16, 16, 3)
    looked_at = []
    monkeypatch.setattr(
        Image, "open", lambda *given, real=Image.open, **named: looked_at.append(1) or real(*given, **named)
    )
    some = found.spread(3).first(2)
    assert len(some) == 2
    assert not looked_at
    assert np.array_equal(some.pixels(), whole[some.indices])
    assert len(looked_at) == 2
    rest, out = found.split(3)
    assert sorted([*rest.indices, *out.indices]) == list(range(7))
    assert np.array_equal(out.pixels(), whole[out.indices])


def test_fingerprint_follows_files_preprocessing_labels_and_rows(pack, tmp_path):
    found = packs.read_pack(pack, "mine", SMALL)
    changed = several()
    changed[2] = (changed[2][0], encoded(46, 62, 99), changed[2][2])
    write_photographs(tmp_path / "other.h5", changed, "made up")
    write_photographs(tmp_path / "same.h5", several(), "elsewhere")
    others = [
        packs.read_pack(pack, "mine", Preprocessing(side=16, crop=0.6)),
        packs.read_pack(tmp_path / "other.h5", "mine", SMALL),
        found.first(5),
        found.spread(5),
    ]
    assert len({one.fingerprint for one in [found, *others]}) == 5
    assert packs.read_pack(tmp_path / "same.h5", "another", SMALL).fingerprint == found.fingerprint


def test_streamed_batches_are_the_decoded_images_in_the_order_asked_for(pack):
    found = packs.read_pack(pack, "mine", SMALL)
    whole = torch.from_numpy(found.pixels()).permute(0, 3, 1, 2)
    streamed = resident(found, torch.device("cpu")).images
    assert isinstance(streamed, Streamed)
    assert streamed.shape == whole.shape
    groups = [torch.tensor(rows) for rows in ([6, 0], [3], [1, 1, 5])]
    for rows, batch in zip(groups, streamed.in_turn(groups), strict=True):
        assert torch.equal(batch, whole[rows])
    assert torch.equal(streamed[2:5], whole[2:5])
    assert torch.equal(streamed[torch.tensor([4, 0])], whole[[4, 0]])
    assert streamed[:0].shape == (0, 3, 16, 16)


@pytest.mark.parametrize("batches", [1, 3])
def test_a_damaged_image_is_named_whoever_decodes_it(tmp_path, batches):
    files = several(6)
    files[4] = ("bad.jpg", files[4][1][:-200], 0)
    write_photographs(tmp_path / "mine.h5", files, "made up")
    streamed = Streamed(packs.read_pack(tmp_path / "mine.h5", "mine", SMALL).images, torch.device("cpu"))
    with pytest.raises(OodbenchError, match=r"mine.h5: image 4, bad.jpg, is broken") as caught:
        list(streamed.in_turn(torch.split(torch.arange(6), 6 // batches)))
    assert "\n" not in str(caught.value)


def test_nothing_is_left_of_a_pack_that_could_not_be_written_whole(tmp_path, monkeypatch):
    def breaks():
        yield several()[0]
        raise OodbenchError("the archive ends here")

    with pytest.raises(OodbenchError, match="ends here"):
        write_photographs(tmp_path / "mine.h5", breaks(), "made up")
    with pytest.raises(OodbenchError, match="no image"):
        write_photographs(tmp_path / "mine.h5", [], "made up")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_photographs(tmp_path / "file" / "mine.h5", several(), "made up")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_changed_file_is_found(pack):
    def flip(file):
        file["files"][100] ^= 1

    assert "not what they were" in packs.read_pack(edited(pack, flip), "mine").images.damage()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda file: file.pop("ends"), "needs 'files' and 'ends'"),
        (lambda file: file["ends"].write_direct(np.arange(7)), "where each of its image files ends"),
        (lambda file: file["ends"].write_direct(np.arange(7)[::-1].copy()), "where each of its image files ends"),
        (lambda file: file.attrs.pop("sha256"), "does not say the SHA-256"),
        (lambda file: file.pop("files") and file.__setitem__("files", h5py.ExternalLink("/etc/passwd", "x")), "points"),
    ],
)
def test_defects_of_a_pack_are_named(pack, edit, said):
    with pytest.raises(OodbenchError, match=said):
        packs.read_pack(edited(pack, edit), "mine")


def test_a_truncated_pack_is_refused_before_or_while_reading(pack):
    found = packs.read_pack(pack, "mine", SMALL)
    pack.write_bytes(pack.read_bytes()[:2000])
    with pytest.raises(OodbenchError, match="not a whole HDF5 file"):
        found.pixels()
    with pytest.raises(OodbenchError, match="not a whole HDF5 file"):
        packs.read_pack(pack, "mine")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
"""What Pillow would hand to Ghostscript, a program that files have taken over before."""


def head_of_png(width, height):
    """A PNG that claims a size, without the pixels."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", b""), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POSTSCRIPT, "no image that Pillow reads"),
        (head_of_png(60_000, 60_000), "decompression bomb"),
        (head_of_png(12_000, 9_000), "decompression bomb"),
        (encoded(1, 101), "1 x 101 pixels, more than 100 times as long as wide"),
        (encoded(4000, 2), "4000 x 2 pixels, more than 100 times"),
    ],
)
def test_hostile_images_are_not_decoded(content, said):
    for read in (decode_file, require_image):
        with pytest.raises(OodbenchError, match=rf"it is not an? (whole )?image \(.*{said}"):
            read(content, "it")


def test_a_pack_that_claims_more_than_its_file_holds_is_refused(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as pack:
        pack.create_dataset("images", (10**12, 64, 64, 3), np.uint8, chunks=(1, 64, 64, 3))
    with pytest.raises(OodbenchError, match=r"p\.h5: 'images' says that it holds more than the file has room"):
        packs.read_pack(tmp_path / "p.h5", "p")
