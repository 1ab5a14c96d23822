"""Every format read back as written, and hostile files refused without harm."""

import gzip
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from oodbench.basics.errors import OodbenchError
from oodbench.sources import archives
from oodbench.sources.archives import members
from oodbench.sources.readers import array, cifar, idx, pictures, svhn

RANDOM = np.random.default_rng(0)


def drawn(count, height=32, width=32):
    return RANDOM.integers(0, 256, (count, height, width, 3), np.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tar(path, entries, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def batch(images, labels, key="labels"):
    """As the archive has them: pickled by Python 2, planar rows."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return pickle.dumps({"data": rows, key: list(labels), "batch_label": "x"}, protocol=2)


def test_cifar_batches_in_order(tmp_path):
    images, labels = drawn(6), [3, 1, 0, 2, 9, 5]
    entries = [
        ("cifar/data_batch_2", batch(images[3:], labels[3:])),
        ("cifar/data_batch_1", batch(images[:3], labels[:3])),
        ("cifar/test_batch", batch(drawn(1), [0])),
        ("cifar/readme.html", b"<html>"),
    ]
    found = cifar(["data_batch_1", "data_batch_2"], "labels")([tar(tmp_path / "c.tar.gz", entries)])
    np.testing.assert_array_equal(found[0], images)
    assert found[1].tolist() == labels


def test_fine_labels(tmp_path):
    path = tar(tmp_path / "c.tar.gz", [("cifar-100-python/train", batch(drawn(2), [99, 0], "fine_labels"))])
    assert cifar(["train"], "fine_labels")([path])[1].tolist() == [99, 0]


class Evil:
    def __init__(self, where):
        self.where = where

    def __reduce__(self):
        return os.mkdir, (self.where,)


@pytest.mark.parametrize("content", [b"not a pickle", pickle.dumps([1]), pickle.dumps({"data": "text"})])
def test_other_pickles_are_refused(tmp_path, content):
    path = tar(tmp_path / "c.tar.gz", [("test_batch", content)])
    with pytest.raises(OodbenchError, match="not a batch of images"):
        cifar(["test_batch"], "labels")([path])


def test_a_pickle_that_wants_to_run_something_does_not(tmp_path):
    mark = tmp_path / "harmed"
    path = tar(tmp_path / "c.tar.gz", [("test_batch", pickle.dumps({"data": Evil(str(mark))}))])
    with pytest.raises(OodbenchError, match=r"it asks for (posix|nt|os)\.mkdir"):
        cifar(["test_batch"], "labels")([path])
    assert not mark.exists()


def test_a_missing_batch_is_named(tmp_path):
    path = tar(tmp_path / "c.tar.gz", [("test_batch", batch(drawn(1), [0]))])
    with pytest.raises(OodbenchError, match="has no data_batch_1"):
        cifar(["data_batch_1", "test_batch"], "labels")([path])


def test_svhn_and_its_tens(tmp_path):
    images, labels = drawn(30), np.array([10, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 3)
    savemat(tmp_path / "t.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]})
    pixels, digits = svhn()([tmp_path / "t.mat"])
    np.testing.assert_array_equal(pixels, images)
    assert digits.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 3


def test_the_first_of_each_digit_in_file_order(tmp_path):
    labels = np.array([1, 1, 10, 1, 2, 10, 2, 2])
    images = drawn(len(labels))
    savemat(tmp_path / "t.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]})
    pixels, digits = svhn(each=2)([tmp_path / "t.mat"])
    assert digits.tolist() == [1, 1, 0, 2, 0, 2]
    np.testing.assert_array_equal(pixels, images[[0, 1, 2, 4, 5, 6]])


def test_broken_svhn(tmp_path):
    (tmp_path / "t.mat").write_bytes(b"MATLAB 5.0" * 20)
    with pytest.raises(OodbenchError, match="not a whole file of SVHN images"):
        svhn()([tmp_path / "t.mat"])


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_pictures_from_everything_in_the_order_of_names(tmp_path, kind):
    images = drawn(3)
    entries = [("set/b/2.png", png(images[2])), ("set/a/1.png", png(images[1])), ("set/a/0.png", png(images[0]))]
    path = tmp_path / f"s.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries:
                archive.writestr(name, content)
    else:
        tar(path, entries, "w:gz" if kind == "tar.gz" else "w")
    pixels, labels = pictures(r".*\.png", 32, labelled=True)([path])
    np.testing.assert_array_equal(pixels, images)
    assert labels.tolist() == [0, 0, 1]


def test_the_shorter_side_is_resized_and_the_middle_cut_out(tmp_path):
    wide = np.zeros((36, 72, 3), np.uint8)
    wide[:, 18:54] = 200  # the middle square
    square = drawn(1, 36, 36)[0]
    path = tar(tmp_path / "s.tar.gz", [("0.png", png(wide)), ("1.png", png(square))])
    pixels, _ = pictures(r".*\.png", 32)([path])
    assert pixels.shape == (2, 32, 32, 3)
    assert (pixels[0, :, 1:-1] == 200).all()
    expected = np.asarray(Image.fromarray(square).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pixels[1], expected)  # a 36 x 36 image is resized and not cropped


def test_grey_and_transparent_pictures_become_rgb(tmp_path):
    grey, clear = io.BytesIO(), io.BytesIO()
    Image.new("L", (32, 32), 9).save(grey, "PNG")
    Image.new("RGBA", (32, 32), (1, 2, 3, 0)).save(clear, "PNG")
    path = tar(tmp_path / "s.tar.gz", [("0.png", grey.getvalue()), ("1.png", clear.getvalue())])
    pixels, _ = pictures(r".*\.png", 32)([path])
    assert pixels[:, 0, 0].tolist() == [[9, 9, 9], [1, 2, 3]]


def test_a_broken_picture_is_named(tmp_path):
    path = tar(tmp_path / "s.tar.gz", [("0.png", png(drawn(1)[0])[:100])])
    with pytest.raises(OodbenchError, match=r"0\.png is not a whole image"):
        pictures(r".*\.png", 32)([path])


def test_a_list_chooses_and_must_be_complete(tmp_path):
    images = drawn(2)
    entries = [(f"test_256/Places365_test_{number:08}.jpg", png(images[0])) for number in (13, 14)]
    path = tar(tmp_path / "p.tar", entries, "w")
    with pytest.raises(OodbenchError, match="holds 1 of the 10000 images"):
        pictures(r".*\.jpg", 32, listed="places365-test-10000.txt.gz")([path])


def test_nothing_that_matches(tmp_path):
    with pytest.raises(OodbenchError, match="holds no image whose name matches"):
        pictures(r".*\.jpg", 32)([tar(tmp_path / "s.tar.gz", [("a.txt", b"x")])])


def test_names_that_lead_elsewhere_and_links_do_nothing(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "s.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../up.png", "/tmp/oodbench-absolute.png"):
            content = png(drawn(1)[0])
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo("link.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert [name for name, _ in members(path)] == ["../up.png", "/tmp/oodbench-absolute.png"]
    assert len(pictures(r".*\.png", 32)([path])[0]) == 2
    assert [path.name for path in (tmp_path).iterdir()] == ["inside"]
    assert [path.name for path in (inside).iterdir()] == ["s.tar"]
    assert not Path("/tmp/oodbench-absolute.png").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "LARGEST", 1 << 20)
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("0.png", bytes(1 << 24))
    else:
        tar(path, [("0.png", bytes(1 << 24))])
    assert path.stat().st_size < 1 << 18
    with pytest.raises(OodbenchError, match="unpacks to more than 1 MiB"):
        list(members(path))


@pytest.mark.parametrize("cut", [10, 200, 2000])
def test_a_truncated_archive_is_refused(tmp_path, cut):
    whole = tar(tmp_path / "s.tar.gz", [(f"{number}.png", png(drawn(1)[0])) for number in range(3)])
    whole.write_bytes(whole.read_bytes()[:cut])
    with pytest.raises(OodbenchError, match="not a whole archive"):
        list(members(whole))


def test_arrays(tmp_path):
    images = drawn(5)
    np.save(tmp_path / "a.npy", images)
    pixels, labels = array(count=3)([tmp_path / "a.npy"])
    np.testing.assert_array_equal(pixels, images[:3])
    assert labels.tolist() == [-1] * 3


@pytest.mark.parametrize("wrong", [np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32), np.uint8), np.array([Evil("/x")])])
def test_other_arrays_are_refused(tmp_path, wrong):
    np.save(tmp_path / "a.npy", wrong)
    with pytest.raises(OodbenchError, match="not an array of 8-bit RGB images"):
        array()([tmp_path / "a.npy"])


def idx_file(path, values):
    head = bytes([0, 0, 8, values.ndim]) + b"".join(length.to_bytes(4, "big") for length in values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))
    return path


def test_idx(tmp_path):
    images, labels = drawn(3, 28, 28)[..., 0], np.array([7, 2, 1], np.uint8)
    pixels, found = idx([idx_file(tmp_path / "i.gz", images), idx_file(tmp_path / "l.gz", labels)])
    np.testing.assert_array_equal(pixels, np.stack([images] * 3, 3))
    assert found.tolist() == [7, 2, 1]
    with pytest.raises(OodbenchError, match="which are not images .N, H, W. and their labels"):
        idx([tmp_path / "i.gz", idx_file(tmp_path / "l.gz", labels[:2])])
    (tmp_path / "i.gz").write_bytes(b"x" * 50)
    with pytest.raises(OodbenchError, match="not a whole idx file"):
        idx([tmp_path / "i.gz", tmp_path / "l.gz"])
