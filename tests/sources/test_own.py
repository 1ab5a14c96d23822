"""One's own images, in every format that `oodbench data pack` takes."""

import gzip
import io
import pickle

import numpy as np
import pytest
from archive_making import jpeg, png, tar_bytes, written, zip_bytes
from packing import pack_files, pack_pixels
from scipy.io import savemat

from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import read_pack
from oodbench.sources import archives

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([3, 1, 0, 2, 1])


def as_mat(path):
    savemat(path / "x.mat", {"X": PIXELS.transpose(1, 2, 3, 0), "y": LABELS[:, None]})
    return path / "x.mat"


def as_npz(path):
    np.savez_compressed(path / "x.npz", images=PIXELS, labels=LABELS)
    return path / "x.npz"


def as_batch(path):
    rows = PIXELS.transpose(0, 3, 1, 2).reshape(5, -1)
    return written(path / "data_batch_1", pickle.dumps({"data": rows, "labels": LABELS.tolist()}))


@pytest.mark.parametrize("write", [as_mat, as_npz, as_batch])
def test_arrays_keep_their_pixels_and_labels(tmp_path, write):
    found = read_pack(pack_pixels(write(tmp_path), "mine", 32, tmp_path / "data"), "mine")
    assert np.array_equal(found.images, PIXELS)
    assert found.labels.tolist() == LABELS.tolist()


def test_an_array_without_labels(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    found = read_pack(pack_pixels(tmp_path / "x.npy", "mine", 32, tmp_path), "mine")
    assert np.array_equal(found.images, PIXELS)
    assert set(found.labels) == {-1}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_finds_the_labels_beside_it(tmp_path, pack):
    grey = PIXELS[..., 0]
    images = bytes([0, 0, 8, 3]) + np.array([5, 8, 8], ">u4").tobytes() + grey.tobytes()
    path = written(tmp_path / "t10k-images-idx3-ubyte", pack(images))
    with pytest.raises(OodbenchError, match="labels in t10k-labels-idx1-ubyte, which is not beside it"):
        pack_pixels(path, "mine", 32, tmp_path)
    labels = bytes([0, 0, 8, 1]) + np.array([5], ">u4").tobytes() + LABELS.astype(np.uint8).tobytes()
    written(tmp_path / "t10k-labels-idx1-ubyte", pack(labels))
    found = read_pack(pack_pixels(path, "mine", 32, tmp_path), "mine")
    assert np.array_equal(found.images, np.repeat(grey[..., None], 3, 3))
    assert found.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("archive", [tar_bytes, zip_bytes, None])
def test_files_are_kept_as_they_are(tmp_path, archive):
    entries = [("cats/1.jpg", jpeg(1, (50, 40))), ("dogs/2.png", png(PIXELS[0])), ("dogs/readme.txt", b"no image")]
    path = tmp_path / "pets"
    for name, content in entries if archive is None else []:
        written(path / name, content)
    if archive:
        written(path, archive(entries))
    found = read_pack(pack_files(path, "pets", tmp_path / "data"), "pets")
    assert list(found.images.files()) == [content for _, content in entries[:2]]
    assert found.labels.tolist() == [0, 1]


class Runs:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npz", b"PK no archive", "a zip archive, but is not whole"),
        ("x.npy", b"\x93NUMPY no array", "not an array of 8-bit RGB images"),
        ("x.mat", b"MATLAB 5.0 MAT-file", "a Matlab file from which no images can be read"),
        ("x-images-idx3-ubyte", bytes([0, 0, 8, 3, 9]), "labels in x-labels-idx1-ubyte"),
        ("batch", pickle.dumps(Runs()), "asks for builtins.print"),
        ("batch", pickle.dumps({"data": np.zeros((2, 10), np.uint8), "labels": [0, 1]}), "no images of"),
        ("batch", pickle.dumps({"data": PIXELS.reshape(5, -1), "labels": [0, 1]}), "no images of"),
        ("x.tar", b"no archive", "looks to be text"),
    ],
)
def test_what_is_broken_is_named_and_leaves_nothing(tmp_path, capsys, name, content, said):
    path = written(tmp_path / name, content)
    with pytest.raises(OodbenchError, match=said) as caught:
        pack_pixels(path, "mine", 32, tmp_path / "data")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "data").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": PIXELS}, "it holds z and no 'images'"),
        ({"images": PIXELS / 255}, "images are float64"),
        ({"images": PIXELS, "labels": LABELS[:3]}, "expected integers"),
        ({"images": np.array([{}])}, "archive of arrays from which no images"),
    ],
)
def test_archives_of_other_arrays_are_refused(tmp_path, arrays, said):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(OodbenchError, match=said):
        pack_pixels(tmp_path / "x.npz", "mine", 32, tmp_path)


def test_a_damaged_image_among_files_is_named(tmp_path):
    path = written(tmp_path / "x.zip", zip_bytes([("a/1.jpg", jpeg()), ("a/2.jpg", b"text")]))
    said = r"x.zip: 1 of 2 image files cannot be read(.*\n)+  a/2.jpg: no image that Pillow reads"
    with pytest.raises(OodbenchError, match=said):
        pack_files(path, "mine", tmp_path / "data")
    assert not list((tmp_path / "data").glob("*"))


def header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**9, 64, 64, 3), (-5, 8, 8, 3)])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_arrays_that_claim_what_they_do_not_hold_are_refused(tmp_path, kind, shape):
    content = header(shape) + bytes(100)
    path = written(tmp_path / f"x.{kind}", content if kind == "npy" else zip_bytes([("images.npy", content)]))
    with pytest.raises(OodbenchError, match=r"x\.np. is (not an array|an archive of arrays from which no)"):
        pack_pixels(path, "mine", 32, tmp_path)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-20], lambda whole: whole[:300] + b"?" + whole[301:]])
def test_a_damaged_archive_of_arrays_is_refused(tmp_path, damage):
    path = as_npz(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OodbenchError, match="archive of arrays from which no images|not whole"):
        pack_pixels(path, "mine", 32, tmp_path)


@pytest.mark.parametrize("kind", ["npz", "mat"])
def test_arrays_that_unpack_beyond_all_measure_are_not_read(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "LARGEST", 1 << 16)
    black = np.zeros((100, 32, 32, 3), np.uint8)
    path = tmp_path / f"x.{kind}"
    if kind == "npz":
        np.savez_compressed(path, images=black)
    else:
        savemat(path, {"X": black.transpose(1, 2, 3, 0), "y": np.ones((100, 1))}, do_compression=True)
    with pytest.raises(OodbenchError, match="more than 100 times its size"):
        pack_pixels(path, "mine", 32, tmp_path)
    monkeypatch.undo()
    assert pack_pixels(path, "mine", 32, tmp_path).is_file()


def as_pixels(path, data, **how):
    return pack_pixels(path, "mine", 8, data, **how)


def as_files(path, data, **how):
    return pack_files(path, "mine", data, **how)


@pytest.mark.parametrize("pack", [as_pixels, as_files])
def test_another_pack_of_the_name_is_replaced_only_if_somebody_says_so(tmp_path, pack):
    for level in (10, 200):
        for number in range(3):
            written(tmp_path / str(level) / "x" / f"{number}.png", png(np.full((8, 8, 3), level + number, np.uint8)))
    target = pack(tmp_path / "10", tmp_path)
    assert pack(tmp_path / "10", tmp_path) == target  # the same again
    before = target.read_bytes()
    with pytest.raises(OodbenchError, match=r"there is a .*mine\.h5 already, with other images.*say --replace"):
        pack(tmp_path / "200", tmp_path)
    assert target.read_bytes() == before and [*tmp_path.glob("*.h5*")] == [target]
    pack(tmp_path / "200", tmp_path, replace=True)
    assert read_pack(target, "mine").pixels()[0, 0, 0, 0] == 200


def test_files_do_not_replace_the_same_images_as_pixels_nor_arrays_others(tmp_path):
    written(tmp_path / "set" / "x.png", png(np.full((8, 8, 3), 5, np.uint8)))
    np.save(tmp_path / "x.npy", np.full((1, 8, 8, 3), 6, np.uint8))
    target = as_pixels(tmp_path / "set", tmp_path)
    for other in (lambda: as_files(tmp_path / "set", tmp_path), lambda: as_pixels(tmp_path / "x.npy", tmp_path)):
        with pytest.raises(OodbenchError, match="already, with other images"):
            other()
    as_files(tmp_path / "set", tmp_path, replace=True)
    with pytest.raises(OodbenchError, match="already, with other images"):
        as_pixels(tmp_path / "set", tmp_path)
    target.write_bytes(b"damaged")
    with pytest.raises(OodbenchError, match="already, with other images"):
        as_pixels(tmp_path / "set", tmp_path)


@pytest.mark.parametrize("pack", [as_pixels, as_files])
def test_the_same_images_with_other_labels_are_another_pack(tmp_path, pack):
    content = {name: png(np.full((8, 8, 3), level, np.uint8)) for level, name in enumerate(("1.png", "2.png"))}
    for folders in (("a", "b"), ("a", "c")):
        for folder, (name, one) in zip(folders, content.items(), strict=True):
            written(tmp_path / "".join(folders) / folder / name, one)
    pack(tmp_path / "ab", tmp_path)
    with pytest.raises(OodbenchError, match="other images, labels or classes"):
        pack(tmp_path / "ac", tmp_path)  # labels 0 and 1, too, of other classes
