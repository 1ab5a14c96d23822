"""What `data pack` makes of folders and archives as people have them, and what it says of them."""

import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from archive_making import jpeg, png, tar_bytes, written, zip_bytes
from packing import pack_files, pack_pixels
from PIL import Image

from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import note_of, read_pack, skipped
from oodbench.sources.classes import sorted_names
from oodbench.sources.verify import pack_difference, verify


def grey(level):
    return png(np.full((8, 8, 3), level, np.uint8))


def packed(path, tmp_path, pack=None, **how):
    """Labels, first value of each image, class names, and all that was said."""
    said = []
    size, how = [] if pack else [8], {"replace": True, **how}
    target = (pack or pack_pixels)(path, "mine", *size, tmp_path / "data", said.append, **how)
    found = read_pack(target, "mine")
    return found.labels.tolist(), found.pixels()[:, 0, 0, 0].tolist(), found.classes, "\n".join(said)


def folder(path, names):
    for level, name in enumerate(names):
        written(path / name, grey(level))
    return path


@pytest.mark.parametrize("pack", [pack_pixels, pack_files])
def test_hidden_and_system_folders_are_no_classes_and_are_named(tmp_path, pack):
    path = folder(tmp_path / "pets", ["cats/1.png", "dogs/1.png"])
    junk = (".ipynb_checkpoints", ".git", ".thumbnails", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found")
    for name in junk:
        written(path / name / "1.png", grey(9))
    for name in ("cats/Thumbs.db", "cats/.DS_Store", "dogs/._1.png"):
        written(path / name, b"?")
    labels, _, classes, said = packed(path, tmp_path, None if pack is pack_pixels else pack)
    assert (labels, classes) == ([0, 1], ("cats", "dogs"))
    for name in (*junk, "cats/Thumbs.db"):
        assert name in said
    assert "10 (hidden or left behind by a system)" in said


def test_links_to_class_folders_are_followed_once_and_loops_end(tmp_path):
    pool = folder(tmp_path / "pool", ["a/1.png", "b/1.png"])
    path = folder(tmp_path / "pets", ["c/1.png", "c/2.png"])
    for name in "ab":
        (path / name).symlink_to(pool / name)
    (path / "c" / "up").symlink_to(path)
    (path / "above").symlink_to(tmp_path)
    (path / "again").symlink_to(path / "c")
    (path / "gone").symlink_to(tmp_path / "nowhere")
    labels, levels, classes, said = packed(path, tmp_path)
    assert (labels, levels, classes) == ([0, 1, 2, 2], [0, 1, 0, 1], ("a", "b", "c"))
    assert "3 (link to a folder that is read already): above, again, c/up" in said
    assert "1 (link that leads nowhere): gone" in said


def test_every_suffix_that_pillow_reads_is_read_whatever_its_case(tmp_path):
    image = Image.new("RGB", (8, 8), (50, 60, 70))
    kinds = {"tif": "TIFF", "GIF": "GIF", "jfif": "JPEG", "PPM": "PPM", "webp": "WEBP", "tga": "TGA", "jp2": "JPEG2000"}
    for suffix, kind in kinds.items():
        file = io.BytesIO()
        image.save(file, kind)
        written(tmp_path / "set" / suffix / f"x.{suffix}", file.getvalue())
    written(tmp_path / "set" / "bare" / "no-suffix", jpeg(0, (8, 8)))
    written(tmp_path / "set" / "bare" / "y.JPEG.txt", jpeg(1, (8, 8)))
    labels, _, classes, said = packed(tmp_path / "set", tmp_path)
    assert sorted(classes) == sorted([*kinds, "bare"])
    assert len(labels) == len(kinds) + 2
    assert "left out: nothing" in said


def powershell(entries):
    return zip_bytes([("set\\", b""), *((f"set\\{name}".replace("/", "\\"), content) for name, content in entries)])


@pytest.mark.parametrize(
    "archive",
    [
        powershell,
        zip_bytes,
        tar_bytes,
        lambda entries: tar_bytes([(f"./{name}", content) for name, content in entries], "w:gz"),
        lambda entries: zip_bytes([("__MACOSX/._a.png", b"?"), *((f"set/{name}", one) for name, one in entries)]),
    ],
)
@pytest.mark.parametrize("pack", [pack_pixels, pack_files])
def test_archives_of_all_makers_have_the_same_classes(tmp_path, archive, pack):
    entries = [("cat/1.png", grey(1)), ("cat/2.png", grey(2)), ("dog/1.png", grey(3)), ("readme.txt", b"words")]
    path = written(tmp_path / "x.bin", archive(entries))
    labels, levels, classes, said = packed(path, tmp_path, None if pack is pack_pixels else pack)
    assert (labels, levels, classes) == ([0, 0, 1], [1, 2, 3], ("cat", "dog"))
    assert "0  cat: 2 images" in said and "1  dog: 1 image" in said
    assert "(no image): " in said and "readme.txt" in said


def test_the_first_folder_is_the_class(tmp_path):
    names = ["cat/1.png", "cat/young/1.png", "cat/old/1.png", "dog/young/1.png", "dog/young/very/1.png"]
    labels, _, classes, said = packed(folder(tmp_path / "pets", names), tmp_path)
    assert (sorted(labels), classes) == ([0, 0, 0, 1, 1], ("cat", "dog"))
    assert "4 images in further folders inside a class" in said


def test_folders_around_the_classes_are_not_counted(tmp_path):
    path = folder(tmp_path / "set", ["a/b/cat/1.png", "a/b/dog/1.png"])
    written(path / "notes" / "x.csv", b"1,2")
    labels, _, classes, said = packed(path, tmp_path)
    assert (labels, classes) == ([0, 1], ("cat", "dog"))
    assert "(inside a/b)" in said
    assert "notes/x.csv" in said


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["only/1.png", "only/2.png"], ["a/b/1.png", "a/b/2.png"]])
def test_what_has_no_two_folders_has_no_labels(tmp_path, names):
    labels, _, classes, said = packed(folder(tmp_path / "set", names), tmp_path)
    assert (labels, classes) == ([-1, -1], ())
    assert "labels: none" in said


def test_images_beside_classes_have_no_label_and_empty_folders_are_named(tmp_path):
    path = folder(tmp_path / "set", ["cat/1.png", "dog/1.png", "loose.png"])
    (path / "bird").mkdir()
    written(path / "fish" / "list.csv", b"1,2")
    labels, _, classes, said = packed(path, tmp_path)
    assert (labels, classes) == ([-1, 0, 1], ("cat", "dog"))
    assert "1 image beside the class folders without a label" in said
    assert "no classes, as no image is in them: bird, fish" in said


@pytest.mark.parametrize(
    ("names", "classes", "named"),
    [
        (["cat/1.png", "cat/2.png"], (), "dog"),
        (["cat/persian/1.png", "cat/siamese/1.png"], ("persian", "siamese"), "dog"),
        (["set/cat/1.png", "set/fox/1.png"], ("cat", "fox"), "dog"),
    ],
)
def test_a_folder_without_images_beside_the_only_one_that_has_some_is_named(tmp_path, names, classes, named):
    path = folder(tmp_path / "set", names)
    (path / named).mkdir()
    assert packed(path, tmp_path)[2] == classes
    assert f"no classes, as no image is in them: {named}" in packed(path, tmp_path)[3]


def test_numeric_names_are_in_the_order_of_their_numbers(tmp_path):
    path = folder(tmp_path / "set", [f"{number}/x.png" for number in (10, 9, 1, 2)])
    labels, levels, classes, said = packed(path, tmp_path)
    assert (labels, levels, classes) == ([0, 1, 2, 3], [2, 3, 1, 0], ("1", "2", "9", "10"))
    assert "in the order of the folders' numbers" in said
    assert sorted_names(["10_b", "9_a", "011"]) == ["9_a", "10_b", "011"]
    assert sorted_names(["b2", "a10", "10"]) == ["10", "a10", "b2"]
    assert sorted_names(["1" * 5000, "2"]) == ["2", "1" * 5000]


def test_parts_of_a_set_and_names_that_hardly_differ_are_pointed_out(tmp_path):
    assert "parts of a set" in packed(folder(tmp_path / "set", ["train/a/1.png", "test/a/1.png"]), tmp_path)[3]
    assert "capital letters alone: Cat, cat" in packed(folder(tmp_path / "s", ["cat/1.png", "Cat/1.png"]), tmp_path)[3]


def test_accents_are_the_same_however_they_were_typed(tmp_path):
    typed = ("\u00e9", "e\u0301")
    one, other = (folder(tmp_path / str(len(e)), [f"caf{e}/1.png", "tea/1.png"]) for e in typed)
    assert packed(one, tmp_path)[2] == packed(other, tmp_path)[2] == ("caf\u00e9", "tea")


def test_names_that_are_no_utf_8_are_packed_and_said(tmp_path):
    path = folder(tmp_path / "set", ["cat/1.png", "dog/1.png"])
    (path / "cat").rename(path / os.fsdecode(b"cat\xff"))
    labels, _, classes, said = packed(path, tmp_path, pack_files)
    assert (labels, classes) == ([0, 1], ("cat\\xff", "dog"))
    said.encode()


def test_links_and_names_that_lead_outside_are_left_out_of_archives(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("a/1.png", "b/1.png", "../c/1.png"):
            info = tarfile.TarInfo(name)
            info.size = len(grey(1))
            archive.addfile(info, io.BytesIO(grey(1)))
        link = tarfile.TarInfo("d/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    labels, _, classes, said = packed(written(tmp_path / "x.tar", file.getvalue()), tmp_path)
    assert (labels, classes) == ([0, 1], ("a", "b"))
    assert "(name leads outside the archive)" in said
    assert "1 (link inside an archive): d/1.png" in said


def test_a_link_in_a_zip_is_no_image_and_the_last_of_two_is_taken(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/1.png", grey(1))
        archive.writestr("b/1.png", grey(2))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/1.png", grey(7))
        link = zipfile.ZipInfo("c/1.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    labels, levels, classes, said = packed(written(tmp_path / "x.zip", file.getvalue()), tmp_path)
    assert (labels, levels, classes) == ([0, 1], [7, 2], ("a", "b"))
    assert "same name once more" in said and "link inside an archive" in said


def test_a_zip_that_is_encrypted_or_of_an_unknown_compression_is_said_to_be(tmp_path):
    content = bytearray(zip_bytes([("a/1.png", grey(1)), ("b/1.png", grey(2))]))
    for at in (content.find(b"PK\x01\x02") + 8, 6):
        content[at] |= 1
    with pytest.raises(OodbenchError, match="without a password"):
        pack_pixels(written(tmp_path / "x.zip", bytes(content)), "mine", 8, tmp_path / "data")


BROKEN = {"a/cut.jpg": jpeg()[:-300], "a/empty.png": b"", "b/words.png": b"no image", "b/phone.heic": b"ftypheic"}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("pack", [pack_pixels, pack_files])
def test_all_that_is_broken_is_named_at_once_or_skipped_and_recorded(tmp_path, kind, pack):
    entries = [("a/1.png", grey(1)), ("b/1.png", grey(2)), *BROKEN.items()]
    path = tmp_path / "set"
    if kind == "zip":
        written(path, zip_bytes(entries))
    for name, content in entries if kind == "folder" else ():
        written(path / name, content)
    pack = None if pack is pack_pixels else pack
    with pytest.raises(OodbenchError, match="4 of 6 image files cannot be read") as caught:
        packed(path, tmp_path, pack)
    for name in BROKEN:
        assert f"\n  {name}: " in str(caught.value)
    assert not list(tmp_path.glob("data/*"))
    labels, levels, classes, said = packed(path, tmp_path, pack, skip_broken=True)
    assert (labels, levels, classes) == ([0, 1], [1, 2], ("a", "b"))
    assert "4 (cannot be read, as --skip-broken says): " in said and "a/cut.jpg (" in said
    assert skipped(tmp_path / "data" / "mine.h5") == "4 broken files left out"
    assert note_of(tmp_path / "data" / "mine.h5").startswith("4 broken image files were left out: a/cut.jpg")
    assert pack_difference("mine", tmp_path / "data") == "mine: 4 broken files left out"
    verdict = verify("mine", tmp_path / "data")
    assert verdict.good and "4 broken image files were left out" in verdict.text


def test_a_class_of_nothing_but_broken_images_keeps_its_label(tmp_path):
    path = folder(tmp_path / "set", ["a/1.png", "c/1.png"])
    written(path / "b" / "1.heic", b"ftypheic")
    labels, _, classes, said = packed(path, tmp_path, skip_broken=True)
    assert (labels, classes) == ([0, 2], ("a", "b", "c"))
    assert "1  b: 0 images" in said


def test_more_broken_files_than_an_attribute_holds_are_recorded(tmp_path):
    path = folder(tmp_path / "set", ["a/1.png", "b/1.png"])
    for number in range(400):
        written(path / "a" / f"{'long' * 50}{number}.png", b"")
    packed(path, tmp_path, skip_broken=True)
    assert skipped(tmp_path / "data" / "mine.h5") == "400 broken files left out"


def test_files_kept_as_they_are_are_decoded_as_they_are_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95)
    path = written(tmp_path / "set" / "x.jpg", file.getvalue()).parent
    said = []
    pack_files(path, "kept", tmp_path / "data", said.append)
    pack_pixels(path, "small", 16, tmp_path / "data")
    kept = read_pack(tmp_path / "data" / "kept.h5", "kept").pixels()[0].astype(int)
    small = read_pack(tmp_path / "data" / "small.h5", "small").pixels()[0].astype(int)
    for square in (kept, small):
        half = len(square) // 2
        assert square[: half - 2].mean() > 240 > 15 > square[half + 2 :].mean()
    assert "1 image: turned as EXIF says" in "\n".join(said)
