"""Labels by a list of classes, of which images may show a part."""

import numpy as np
import pytest
from archive_making import jpeg, tar_bytes, written
from packing import pack_files, pack_pixels

from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import read_pack
from oodbench.sources.classes import listed_classes


def listed(tmp_path, text):
    return listed_classes(str(written(tmp_path / "classes.txt", text.encode())))


def photographs(tmp_path, *names):
    return written(tmp_path / "photographs.tar", tar_bytes([(name, jpeg(seed)) for seed, name in enumerate(names)]))


@pytest.mark.parametrize(
    "pack", [pack_files, lambda path, name, *rest, **more: pack_pixels(path, name, 8, *rest, **more)]
)
def test_some_of_imagenets_classes_have_the_labels_of_all_of_them(tmp_path, pack):
    path = photographs(tmp_path, "val/n02102040/ILSVRC2012_val_1.JPEG", "val/n01440764/n03888257_2.JPEG")
    said = []
    pack(path, "few", tmp_path, said.append, classes=listed_classes("imagenet-1k"))
    found = read_pack(tmp_path / "few.h5", "few")
    # English springer and tench, as every network of ImageNet-1k numbers them; a folder counts before a file's name.
    assert sorted(found.labels) == [0, 217]
    assert len(found.classes) == 1000
    assert found.classes[217] == "n02102040"
    assert any("1,000 classes" in line and "imagenet-1k, with images of 2" in line for line in said)


def test_an_images_own_name_may_begin_with_its_class(tmp_path):
    path = photographs(tmp_path, "n01440764_tench.JPEG", "n02102040.jpg", "n03888257-1.png")
    found = read_pack(pack_files(path, "few", tmp_path, classes=listed_classes("imagenet-1k")), "few")
    assert found.labels.tolist() == [0, 217, 701]


def test_the_innermost_folder_and_the_longest_name_count(tmp_path):
    classes = listed(tmp_path, "sea\nsea_lion\nlion\n")
    path = photographs(tmp_path, "sea/lion/1.jpg", "lion/sea/2.jpg", "sea_lion_3.jpg", "sea_4.jpg", "lion/sea_5.jpg")
    found = read_pack(pack_files(path, "few", tmp_path, classes=classes), "few")
    by_name = dict(zip(found.images.names(), found.labels.tolist(), strict=True))
    assert by_name == {
        "sea/lion/1.jpg": 2,
        "lion/sea/2.jpg": 0,
        "sea_lion_3.jpg": 1,
        "sea_4.jpg": 0,
        "lion/sea_5.jpg": 2,
    }


@pytest.mark.parametrize(
    "text",
    [
        "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
        "\ufeffn01440764\r\nn01443537\r\n",
        "n01440764\ta fish\nn01443537\tanother\n\n",
    ],
)
def test_lists_as_people_write_them(tmp_path, text):
    assert listed(tmp_path, text).names == ("n01440764", "n01443537")


def test_a_class_may_have_a_name_of_several_words(tmp_path):
    assert listed(tmp_path, "aquarium fish\nmaple tree").names == ("aquarium fish", "maple tree")


def test_images_of_no_class_are_named_and_nothing_is_written(tmp_path):
    path = photographs(tmp_path, "n01440764/1.jpg", "scenes/2.jpg", "n014407641_3.jpg")
    with pytest.raises(
        OodbenchError, match=r"2 images are of no class of imagenet-1k .*scenes/2\.jpg, n014407641_3\.jpg"
    ):
        pack_files(path, "few", tmp_path, classes=listed_classes("imagenet-1k"))
    assert not (tmp_path / "few.h5").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "names 0 classes"),
        (b"one\n", "names 1 class,"),
        (b"one\n\ntwo\n", "has empty lines among them"),
        (b"one\ntwo\none\n", "has one more than once"),
        (b"\xff\xd8\xff\xe0 a photograph", "cannot be read as a list of classes"),
    ],
)
def test_what_is_no_list_of_classes_is_refused(tmp_path, content, said):
    with pytest.raises(OodbenchError, match=said):
        listed_classes(str(written(tmp_path / "classes.txt", content)))


def test_from_the_shell(oodbench, tmp_path):
    photographs(tmp_path, "n01440764/1.jpg")
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8, 3), np.uint8))
    code, out, err = oodbench("data", "pack", "photographs.tar", "few", "--files", "--classes", "imagenet-1k")
    assert code == 0, err
    assert "0  n01440764: 1 image" in out
    code, _, err = oodbench("data", "pack", "photographs.tar", "few", "--classes", "imagenet-21")
    assert code == 2
    assert "imagenet-21 cannot be read as a list of classes (No such file or directory)" in err
    assert oodbench("data", "pack", "photographs.tar", "few", "--classes", ".")[0] == 2
    code, _, err = oodbench("data", "pack", "x.npy", "few", "--classes", "imagenet-1k")
    assert code == 2
    assert "leave --classes out" in err


def test_names_from_archives_command_no_terminal(tmp_path):
    hostile = "\x1b[2Jcat"
    path = photographs(tmp_path, f"{hostile}/0.jpg", "dog/1.jpg")
    said = []
    pack_files(path, "few", tmp_path, said.append)
    assert r"\x1b[2Jcat: 1 image" in "\n".join(said) and "\x1b" not in "".join(said)
    broken = written(tmp_path / "broken.tar", tar_bytes([(f"{hostile}.jpg", jpeg(0)[:99]), ("b.jpg", jpeg(1))]))
    with pytest.raises(OodbenchError) as caught:
        pack_files(broken, "few", tmp_path)
    assert r"\x1b[2Jcat.jpg" in str(caught.value) and "\x1b" not in str(caught.value)
    with pytest.raises(OodbenchError) as caught:
        pack_files(path, "few", tmp_path, classes=listed_classes("imagenet-1k"))
    assert "\x1b" not in str(caught.value)
