"""Packs: what goes in comes out, and every defect is named."""

import h5py
import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.images import catalogue, packs
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack, write_pack


def images(count=5, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 6, 3), dtype=np.uint8)
    return ImageSet("mine", pixels, np.arange(count), "made up")


@pytest.fixture
def hdf5(tmp_path):
    def write(**datasets):
        path = tmp_path / "bad.h5"
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file[name] = data
        return path

    return write


def refusal(path):
    with pytest.raises(OodbenchError) as caught:
        read_pack(path, "bad")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip(tmp_path):
    before = images()
    write_pack(tmp_path / "mine.h5", before, {"split": "test"})
    after = read_pack(tmp_path / "mine.h5", "mine")
    assert after.fingerprint == before.fingerprint
    assert after.source == "made up"
    with h5py.File(tmp_path / "mine.h5") as file:
        assert file.attrs["split"] == "test"
        assert file.attrs["name"] == "mine"


def test_fingerprint_follows_pixels_labels_order_and_shape():
    one = images()
    others = [
        ImageSet("mine", one.images[::-1], one.labels[::-1], ""),
        ImageSet("mine", one.images, one.labels + 1, ""),
        ImageSet("mine", one.images.transpose(0, 2, 1, 3), one.labels, ""),
        ImageSet("mine", one.images.reshape(5, 6, 8, 3), one.labels, ""),
    ]
    assert len({each.fingerprint for each in [one, *others]}) == 5
    assert ImageSet("other", one.images.copy(), one.labels, "elsewhere").fingerprint == one.fingerprint


def test_first_images():
    assert len(images().first(2)) == 2
    assert images().first(2).images.tolist() == images().images[:2].tolist()
    assert len(images().first(None)) == len(images().first(9)) == 5


def test_missing_labels_are_minus_one(hdf5):
    assert read_pack(hdf5(images=images().images), "mine").labels.tolist() == [-1] * 5


PIXELS = images().images


@pytest.mark.parametrize(
    ("datasets", "told"),
    [
        ({"labels": np.arange(5)}, "no dataset 'images', only ['labels']"),
        ({"images": PIXELS.astype(np.float32) / 255}, "float32"),
        ({"images": np.full((2, 4, 4, 3), np.nan)}, "float64 and holds NaN"),
        ({"images": PIXELS.astype(np.int64)}, "int64"),
        ({"images": PIXELS[..., 0]}, "shape (5, 8, 6) (grey?"),
        ({"images": PIXELS[..., :1]}, "shape (5, 8, 6, 1) (grey?"),
        ({"images": PIXELS[0, 0]}, "shape (6, 3):"),
        ({"images": PIXELS.transpose(0, 3, 1, 2)}, "channels first?"),
        ({"images": PIXELS[:0]}, "no images"),
        ({"images": PIXELS, "labels": np.arange(4)}, "(4,)"),
        ({"images": PIXELS, "labels": np.arange(5.0)}, "float64"),
    ],
)
def test_says_what_is_wrong(hdf5, datasets, told):
    assert told in refusal(hdf5(**datasets))


def test_missing_file(tmp_path):
    assert "no image pack" in refusal(tmp_path / "none.h5")


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "cut.h5"
    write_pack(path, images(500))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    assert "not a whole HDF5 file" in refusal(path)


def test_not_hdf5(tmp_path):
    path = tmp_path / "page.h5"
    path.write_text("<html>not found</html>")
    assert "not a whole HDF5 file" in refusal(path)


def test_a_pack_cannot_read_other_files(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(96)))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = PIXELS
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (2, 4, 4, 3), np.uint8, external=[(str(secret), 0, 96)])
    assert "points elsewhere" in refusal(path)
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
    assert "points elsewhere" in refusal(path)
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
        file["images"] = h5py.SoftLink("/linked/images")
    assert "points elsewhere" in refusal(path)
    layout = h5py.VirtualLayout(PIXELS.shape, np.uint8)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", PIXELS.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("images", layout)
    assert "points elsewhere" in refusal(path)


def test_a_missing_set_says_where_it_was_looked_for(tmp_path):
    write_pack(tmp_path / "textures.h5", images())
    with pytest.raises(OodbenchError) as caught:
        catalogue.load("texture", tmp_path)
    for part in ("did you mean 'textures'", str(tmp_path / "texture.h5"), "--data", "OODBENCH_DATA"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", ""])
def test_names_are_not_paths(tmp_path, name):
    with pytest.raises(OodbenchError, match="not the name of an image set"):
        catalogue.load(name, tmp_path)


def test_the_catalogue_lists_built_ins_and_packs(tmp_path):
    write_pack(tmp_path / "textures.h5", images())
    assert catalogue.names(tmp_path)[-1] == "textures"
    assert "digits-test" in catalogue.names(tmp_path)
    assert catalogue.names(tmp_path / "none") == catalogue.names(tmp_path)[:-1]
    assert catalogue.load("textures", tmp_path).name == "textures"


def test_a_pack_that_says_to_hold_more_than_it_has_is_not_read(tmp_path):
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**5, 100, 100, 3), np.uint8, chunks=(1, 100, 100, 3), compression="gzip")
    assert "more than the file has room for" in refusal(path)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_images_that_compress_as_well_as_can_be_are_read(tmp_path, monkeypatch, compression):
    monkeypatch.setattr(packs, "ROOM", 1000)
    path = tmp_path / "black.h5"
    with h5py.File(path, "w") as file:
        pixels = np.full((9, 500, 500, 3), 7, np.uint8)
        file.create_dataset("images", data=pixels, chunks=(1, 500, 500, 3), compression=compression)
    assert len(read_pack(path, "black")) == 9
