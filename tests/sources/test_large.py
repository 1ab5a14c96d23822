"""Sets of photographs in the layouts of their archives: ImageNet with its development kit, lists, other folders."""

import io
import tarfile

import h5py
import numpy as np
import pytest
from archive_making import jpeg, tar_bytes, written, zip_bytes
from scipy.io import savemat

from oodbench.basics.errors import OodbenchError
from oodbench.images.photographs import write_photographs
from oodbench.sources import photographs as module
from oodbench.sources.photographs import imagenet_train, imagenet_val, photographs

SYNSETS = [(1, "n03", 0), (2, "n01", 0), (3, "n02", 0), (4, "n00", 2)]
"""Number, WordNet name and number of children: the last one is no class but a parent of two."""


def development_kit(path, truth):
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    synsets = np.array([(number, name, "word", "gloss", children) for number, name, children in SYNSETS], kinds)
    file = io.BytesIO()
    savemat(file, {"synsets": synsets[:, None]})
    lines = "".join(f"{number}\n" for number in truth).encode()
    folder = "ILSVRC2012_devkit_t12/data"
    entries = [(f"{folder}/meta.mat", file.getvalue()), (f"{folder}/ILSVRC2012_validation_ground_truth.txt", lines)]
    return written(path, tar_bytes(entries, "w:gz"))


def test_imagenet_validation_in_the_order_of_names_with_torchvisions_classes(tmp_path):
    kit = development_kit(tmp_path / "kit.tar.gz", [1, 3, 2])
    images = [(f"ILSVRC2012_val_0000000{number}.JPEG", jpeg(number)) for number in (1, 2, 3)]
    archive = written(tmp_path / "val.tar", tar_bytes(reversed(images)))
    found = list(imagenet_val([archive, kit]).files)
    assert [(name, content) for name, content, _ in found] == images
    assert [label for *_, label in found] == [2, 1, 0]  # n03, n02, n01, numbered in the order of their names


def test_another_number_of_images_than_of_labels_is_refused(tmp_path):
    kit = development_kit(tmp_path / "kit.tar.gz", [1, 3])
    archive = written(tmp_path / "val.tar", tar_bytes([("ILSVRC2012_val_00000001.JPEG", jpeg())]))
    with pytest.raises(OodbenchError, match="holds 1 images and .* labels of 2"):
        list(imagenet_val([archive, kit]).files)


@pytest.mark.parametrize(
    "content", [[], [("data/meta.mat", b"MATLAB"), ("ILSVRC2012_validation_ground_truth.txt", b"1")]]
)
def test_something_else_than_the_development_kit_is_refused(tmp_path, content):
    kit = written(tmp_path / "kit.tar.gz", tar_bytes(content, "w:gz"))
    with pytest.raises(OodbenchError, match="is not ImageNet's development kit"):
        imagenet_val([tmp_path / "val.tar", kit])


def test_imagenet_training_is_an_archive_of_archives(tmp_path):
    images = {
        wordnet_id: [(f"{wordnet_id}_{number}.JPEG", jpeg(number)) for number in range(2)]
        for wordnet_id in ("n02", "n01")
    }
    archive = written(
        tmp_path / "train.tar", tar_bytes([(f"{name}.tar", tar_bytes(one)) for name, one in images.items()])
    )
    found = list(imagenet_train([archive]).files)
    assert [(name, label) for name, _, label in found] == [
        ("n01/n01_0.JPEG", 0),
        ("n01/n01_1.JPEG", 0),
        ("n02/n02_0.JPEG", 1),
        ("n02/n02_1.JPEG", 1),
    ]
    assert found[3][1] == images["n02"][1][1]


def test_files_are_as_they_are_in_the_order_of_the_archive(tmp_path):
    one, two = jpeg(1), jpeg(2, (500, 20))
    entries = [
        ("SUN/images/b.jpg", two),
        ("SUN/list.txt", b"b.jpg"),
        ("SUN/images/._a.jpg", b"x"),
        ("SUN/images/a.jpg", one),
    ]
    path = written(tmp_path / "s.tar.gz", tar_bytes(entries, "w:gz"))
    assert list(photographs()([path]).files) == [("SUN/images/b.jpg", two, -1), ("SUN/images/a.jpg", one, -1)]


@pytest.fixture
def lists(monkeypatch):
    known = {"wanted": {"a.jpg", "b.jpg", "c.jpg"}, "barred": {"b.jpg"}, None: set()}
    monkeypatch.setattr(module, "names_listed", lambda name: frozenset(known[name]))


def test_a_list_chooses_and_another_one_bars(tmp_path, lists):
    entries = [(f"images/{name}.jpg", jpeg(number)) for number, name in enumerate("dcba")]
    path = written(tmp_path / "s.zip", zip_bytes(entries))
    assert [name for name, *_ in photographs(listed="wanted", without="barred")([path]).files] == [
        "images/c.jpg",
        "images/a.jpg",
    ]


def test_a_list_must_be_complete(tmp_path, lists):
    path = written(tmp_path / "s.zip", zip_bytes([("images/a.jpg", jpeg())]))
    with pytest.raises(OodbenchError, match="holds 1 of the 3 images that the set consists of"):
        list(photographs(listed="wanted")([path]).files)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_what_is_no_image_is_named(tmp_path, content):
    path = written(tmp_path / "s.tar.gz", tar_bytes([("a/0.jpg", jpeg()), ("a/1.jpg", content)], "w:gz"))
    with pytest.raises(OodbenchError, match=r"a/1\.jpg is not an image"):
        list(photographs()([path]).files)


def test_a_truncated_archive_of_archives_is_refused(tmp_path):
    whole = tar_bytes([("n01.tar", tar_bytes([("0.JPEG", jpeg()), ("1.JPEG", jpeg(1))]))])
    path = written(tmp_path / "train.tar", whole[:2500])
    with pytest.raises(OodbenchError, match="is not a whole archive"):
        list(imagenet_train([path]).files)


def test_a_pack_of_photographs_gives_them_back(tmp_path):
    files = [("a/0.jpg", jpeg(0), 3), ("ä/1.jpg", jpeg(1), -1)]
    assert write_photographs(tmp_path / "data" / "p.h5", iter(files), "somewhere", {"terms": "free"}) == 2
    with h5py.File(tmp_path / "data" / "p.h5") as pack:
        ends = pack["ends"][()].tolist()
        found = [pack["files"][start:end].tobytes() for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        names = [name.decode() for name in pack["names"][()]]
        assert list(zip(names, found, pack["labels"][()].tolist(), strict=True)) == files
        assert (pack.attrs["name"], pack.attrs["source"], pack.attrs["terms"]) == ("p", "somewhere", "free")


def test_a_pack_of_photographs_is_whole_or_not_there(tmp_path):
    def breaks():
        yield "a", jpeg(), 0
        raise OodbenchError("no more")

    for photographs_ in (breaks(), iter([])):
        with pytest.raises(OodbenchError):
            write_photographs(tmp_path / "p.h5", photographs_, "somewhere")
    assert list(tmp_path.iterdir()) == []


def test_links_inside_are_passed_over(tmp_path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        link = tarfile.TarInfo("0.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    path = written(tmp_path / "train.tar", tar_bytes([("n01.tar", inner.getvalue())]))
    assert list(imagenet_train([path]).files) == []
