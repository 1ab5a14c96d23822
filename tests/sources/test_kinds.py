"""Files go by what is in them: what is read is read under any name, and what is not is called what it is."""

import bz2
import gzip
import io
import pickle

import h5py
import numpy as np
import pytest
import torch
from archive_making import jpeg, written, zip_bytes
from packing import pack_files, pack_pixels
from scipy.io import savemat

from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import read_pack

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3), dtype=np.uint8)
LABELS = np.array([3, 1, 0, 2, 1])


def packed(path, tmp_path):
    said = []
    found = read_pack(pack_pixels(path, "mine", 32, tmp_path / "data", said.append, replace=True), "mine")
    return found.pixels(), found.labels.tolist(), "\n".join(said)


def idx_of(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.mark.parametrize("images", ["t10k-images.idx3-ubyte", "t10k-images-idx3-ubyte", "images.bin"])
@pytest.mark.parametrize(("pack", "ending"), [(bytes, ""), (gzip.compress, ".gz")])
@pytest.mark.parametrize("zipped_labels", [True, False])
def test_idx_under_every_name_with_its_labels(tmp_path, images, pack, ending, zipped_labels):
    name = images.replace("images", "labels").replace("idx3", "idx1")
    path = written(tmp_path / f"{images}{ending}", pack(idx_of(PIXELS[..., 0])))
    with pytest.raises(OodbenchError, match=f"labels in {name}.*not beside it"):
        packed(path, tmp_path)
    labels = idx_of(LABELS.astype(np.uint8))
    same = zipped_labels == bool(ending) or "idx1" not in name
    written(tmp_path / (f"{name}{ending}" if same else f"{name}{'.gz' if zipped_labels else ''}"), pack(labels))
    pixels, found, said = packed(path, tmp_path)
    assert np.array_equal(pixels, np.repeat(PIXELS[..., :1], 3, 3))
    assert found == LABELS.tolist()
    assert "5 images of 9 x 8 pixels" in said and "4 labels" in said


def test_labels_are_found_beside_images_whatever_their_case(tmp_path):
    path = written(tmp_path / "T10K-IMAGES.IDX3-UBYTE", idx_of(PIXELS[..., 0]))
    with pytest.raises(OodbenchError, match="labels in t10k-labels.idx1-ubyte"):
        packed(path, tmp_path)
    written(tmp_path / "T10K-LABELS.IDX1-UBYTE", idx_of(LABELS.astype(np.uint8)))
    assert packed(path, tmp_path)[1] == LABELS.tolist()


def saved(content, **how):
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


IMAGES, FIRST = torch.from_numpy(PIXELS), torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (IMAGES, None),
        (FIRST.contiguous(), None),
        ((FIRST, torch.from_numpy(LABELS)), LABELS),
        ({"images": IMAGES, "labels": torch.from_numpy(LABELS)}, LABELS),
        ({"data": FIRST, "targets": torch.from_numpy(LABELS)}, LABELS),
        ({"data": FIRST, "targets": LABELS.tolist()}, LABELS),
        ({"image": PIXELS, "label": LABELS}, LABELS),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_torch_save(tmp_path, content, labels, zipped):
    path = written(tmp_path / "x.dat", saved(content, _use_new_zipfile_serialization=zipped))
    pixels, found, _ = packed(path, tmp_path)
    assert np.array_equal(pixels, PIXELS)
    assert found == ([-1] * 5 if labels is None else labels.tolist())


def test_arrays_of_numpy_in_every_order_of_axes(tmp_path):
    for array in (PIXELS, PIXELS.transpose(0, 3, 1, 2), np.asfortranarray(PIXELS)):
        np.save(tmp_path / "x.npy", array)
        assert np.array_equal(packed(tmp_path / "x.npy", tmp_path)[0], PIXELS)
    np.save(tmp_path / "x.npy", PIXELS[..., 0])
    assert np.array_equal(packed(tmp_path / "x.npy", tmp_path)[0], np.repeat(PIXELS[..., :1], 3, 3))


def test_hdf5_of_others(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = PIXELS, LABELS[:, None]
    pixels, labels, _ = packed(tmp_path / "x.h5", tmp_path)
    assert np.array_equal(pixels, PIXELS) and labels == LABELS.tolist()
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["X"], file["y"] = PIXELS.transpose(1, 2, 3, 0).T, LABELS[None].astype(float)
    with (tmp_path / "x.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    pixels, labels, _ = packed(tmp_path / "x.mat", tmp_path)
    assert np.array_equal(pixels, PIXELS) and labels == LABELS.tolist()


def test_what_is_neither_images_nor_labels_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", image=PIXELS, label=LABELS[:, None, None], fine=LABELS)
    for name, write in (("x.h5", h5py.File), ("y.mat", None)):
        content = {"imgs": PIXELS if write else PIXELS.transpose(1, 2, 3, 0), "target": LABELS, "fine": LABELS}
        if write:
            with write(tmp_path / name, "w") as file:
                file.update(content)
        else:
            savemat(tmp_path / name, content)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"data": BATCH, "labels": LABELS.tolist(), "fine": 0}))
    for name in ("x.npz", "x.h5", "y.mat", "x.pkl"):
        pixels, labels, said = packed(tmp_path / name, tmp_path)
        assert labels == LABELS.tolist()
        assert pixels.shape[:3] == ((5, 8, 9) if name != "x.pkl" else (5, 4, 4))
        assert "1 (neither images nor labels by their names): fine" in said


BATCH = np.arange(240, dtype=np.uint8).reshape(5, 48)


@pytest.mark.parametrize("keys", [str, str.encode])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_batch_of_cifar_that_was_written_again(tmp_path, keys, protocol):
    content = {keys("data"): BATCH, keys("labels"): LABELS.tolist()}
    pixels, labels, _ = packed(written(tmp_path / "batch", pickle.dumps(content, protocol)), tmp_path)
    assert np.array_equal(pixels, BATCH.reshape(5, 3, 4, 4).transpose(0, 2, 3, 1))
    assert labels == LABELS.tolist()


def test_matlab_counts_images_by_the_last_axis_and_keeps_labels_beyond_ten(tmp_path):
    twelve = np.random.default_rng(1).integers(0, 256, (12, 9, 8, 3), np.uint8)
    savemat(tmp_path / "x.mat", {"X": twelve.transpose(1, 2, 3, 0), "y": np.arange(1, 13)[:, None]})
    pixels, labels, said = packed(tmp_path / "x.mat", tmp_path)
    assert np.array_equal(pixels, twelve) and labels == list(range(1, 13))
    assert "left out: nothing" in said
    savemat(tmp_path / "x.mat", {"X": twelve[:10].transpose(1, 2, 3, 0), "y": np.arange(1.0, 11)[:, None]})
    pixels, labels, said = packed(tmp_path / "x.mat", tmp_path)
    assert labels == [*range(1, 10), 0] and "label 10 became 0" in said
    savemat(tmp_path / "x.mat", {"images": twelve, "labels": np.arange(12.0)})
    assert np.array_equal(packed(tmp_path / "x.mat", tmp_path)[0], twelve)
    savemat(tmp_path / "x.mat", {"images": np.moveaxis(twelve[..., 0], 0, -1)})
    assert np.array_equal(packed(tmp_path / "x.mat", tmp_path)[0], np.repeat(twelve[..., :1], 3, 3))


def test_hdf5_that_reads_other_files_is_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = PIXELS
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other.h5", "images")
    with pytest.raises(OodbenchError, match="no 'images'"):
        packed(tmp_path / "x.h5", tmp_path)


class Runs:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.parquet", b"PAR1\x15\x04\x15\x10PAR1", "a Parquet file"),
        ("x.7z", b"7z\xbc\xaf'\x1c\x00\x04", "a 7z archive: unpack it"),
        ("x.rar", b"Rar!\x1a\x07\x01\x00", "a RAR archive: unpack it"),
        ("x.tar.zst", b"\x28\xb5\x2f\xfd\x04\x00", "Zstandard: unpack it"),
        ("x.zip", b"PK\x03\x04 and no more", "a zip archive, but is not whole"),
        ("x.zip", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git LFS"),
        ("x.zip", b"\n<!DOCTYPE html><html>log in</html>", "is a web page"),
        ("x.csv", b"label,pixels\n1,0", "looks to be text"),
        ("x.npy.gz", gzip.compress(b"\x93NUMPY", mtime=0), "compressed by gzip: unpack it"),
        ("x.tar.gz", gzip.compress(bytes(2048), mtime=0)[:5], "is not a whole gzip file"),
        ("x.tar.gz", gzip.compress(bytes(2048), mtime=0)[:12] + b"not deflated", "is not a whole gzip file"),
        ("x.tar.bz2", bz2.compress(b"x" * 99)[:20], "by bzip2, or the beginning of one"),
        ("x.tar.xz", b"\xfd7zXZ\0\0\x04", "by xz, or the beginning of one"),
        ("x.tar.lz4", b"\x04\x22\x4d\x18\x64", "LZ4: unpack it"),
        ("x.html", b"\xef\xbb\xbf\n<!doctype HTML>", "is a web page"),
        ("x.zip", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
        ("x.webp", b"RIFF\0\0\0\0WEBPVP8 ", "one image: give the folder"),
        ("x.gif", b"GIF89a\1\0\1\0", "one image: give the folder"),
        ("x-idx4-ubyte", b"\0\0\x08\x04" + bytes(16), "an idx file, but not of grey images"),
        ("x.pt", zip_bytes([("x/data.pkl", b""), ("x/constants.pkl", b"")]), "a TorchScript archive"),
        ("x.npz", zip_bytes([("a.npy", b"\x93NUMPY no array")]), "an archive of arrays from which no images"),
        ("x.jpg", jpeg(), "one image: give the folder"),
        ("x-labels-idx1-ubyte", idx_of(LABELS.astype(np.uint8)), "an idx file of labels"),
        ("x.zip", b"", "is empty"),
        ("x.bin", b"\xfe\xed\xfa\xce\x01\x02", "begins with fe ed fa ce"),
        ("x.pt", saved({"net": torch.zeros(3)}), "no 'images'"),
        ("x.pt", saved(torch.zeros(5, 3, 8, 8)), "float32.*multiply by 255"),
        ("x.pt", saved(Runs()), r"nothing can be read: it holds objects .*builtins\.print"),
        ("x.pt", saved(torch.zeros(5, 3, 8, 8, dtype=torch.bfloat16)), "float32.*multiply by 255"),
        ("x.pt", saved(IMAGES, _use_new_zipfile_serialization=False)[:600], "nothing can be read: it is damaged"),
        ("x.pkl", pickle.dumps(Runs()), "asks for builtins.print"),
        ("x.h5", b"\x89HDF\r\n\x1a\nand no more", "no images can be read"),
    ],
)
def test_what_is_not_read_is_called_what_it_is_and_nobody_is_told_to_remove_it(tmp_path, capsys, name, content, said):
    path = written(tmp_path / name, content)
    with pytest.raises(OodbenchError, match=said) as caught:
        packed(path, tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "remove" not in message and "delete" not in message
    assert not (tmp_path / "data").exists()
    assert capsys.readouterr().out == ""


def test_arrays_are_no_image_files(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    with pytest.raises(OodbenchError, match="leave --files out"):
        pack_files(tmp_path / "x.npy", "mine", tmp_path / "data")


def test_a_small_file_that_would_fill_the_memory_is_not_read(tmp_path):
    many = torch.zeros(1, dtype=torch.uint8).expand(10**5, 100, 100, 3)  # one byte, seen again and again
    for content in (many, {"images": many}, (many, torch.zeros(3))):
        path = written(tmp_path / "x.pt", saved(content))
        with pytest.raises(OodbenchError, match="unpacks to"):
            packed(path, tmp_path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (10**5, 100, 100, 3), np.uint8, chunks=(1, 100, 100, 3))  # takes no room
    with pytest.raises(OodbenchError, match="unpacks to"):
        packed(tmp_path / "x.h5", tmp_path)
