"""`oodbench data`, from a server on this machine to a score."""

import hashlib
import io
import re
import tarfile
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from archive_making import jpeg, png, tar_bytes, written
from PIL import Image

from oodbench import networks
from oodbench.images.builtin import BUILTINS
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack, write_pack
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.outliers import tiny_images
from oodbench.sources.readers import pictures
from oodbench.sources.source import RemoteFile, Source
from oodbench.sources.trained import TRAINED
from oodbench.suitefiles import suitefile

COUNT = 12


def archive(seed=0):
    random, file = np.random.default_rng(seed), io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for number in range(COUNT):
            content = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8)).save(content, "PNG")
            info = tarfile.TarInfo(f"photos/{number:02}.png")
            info.size = len(content.getvalue())
            tar.addfile(info, io.BytesIO(content.getvalue()))
    return file.getvalue()


@pytest.fixture
def photos(served, published):
    content = archive()
    served.files["/photos.tar.gz"] = content
    file = RemoteFile(
        (f"{served.url}/gone.tar.gz", f"{served.url}/photos.tar.gz"),
        f"sha256:{hashlib.sha256(content).hexdigest()}",
        len(content),
    )
    published("photos", Source("Photographs", (file,), pictures(r"photos/.*\.png", 32), COUNT, "free", "A note."))
    return content


def test_fetched_verified_listed_and_scored(oodbench, tmp_path, photos, served):
    code, out, err = oodbench("data", "fetch", "photos")
    assert code == 0, err
    assert "12 images in data/photos.h5" in out
    pack = read_pack(tmp_path / "data" / "photos.h5", "photos")
    assert pack.images.shape == (COUNT, 32, 32, 3)
    assert served.url in pack.source
    assert oodbench("data", "fetch", "photos")[1] == "photos: data/photos.h5 is there already\n"
    assert oodbench("data", "verify")[:2] == (0, f"good  photos: 12 images, fingerprint {pack.fingerprint[:16]}\n")
    assert re.search(r"^present  photos +12 +<1  Photographs$", oodbench("data", "list")[1], re.M)
    shown = " ".join(oodbench("data", "show", "photos")[1].split())
    assert shown.startswith("photos (present): Photographs; 12 images, less than 1 MB to download from 127.0.0.1:")
    assert shown.endswith("; free. A note. photos.png") and (tmp_path / "photos.png").is_file()
    (tmp_path / "mine.toml").write_text(
        'extends = "digits"\nversion = 1\nood = [{set = "photos", distance = "far"}]\n', encoding="utf-8"
    )
    quick = ("--suite", "mine.toml", "--detector", "msp", "--set", "epochs=1", "--limit", "50")
    code, out, err = oodbench("run", *quick)
    assert code == 0, err
    assert "photos (far, 12 images)" in oodbench("table", "results", "--long")[1]


def test_whether_images_are_those_of_the_measured_figures_is_said(oodbench, tmp_path, photos, published):
    assert "results/reference" not in oodbench("data", "fetch", "photos")[1]
    fingerprint = read_pack(tmp_path / "data" / "photos.h5", "photos").fingerprint
    for measured, said in (
        (fingerprint, "the very images that results/reference was measured on"),
        (
            "0" * 64,
            f"not the images that results/reference was measured on, whose fingerprint is {'0' * 16} (these have",
        ),
    ):
        published("photos", replace(SOURCES["photos"], measured=measured))
        (tmp_path / "data" / "photos.h5").unlink()
        code, out, err = oodbench("data", "fetch", "photos")
        assert code == 0, err
        assert f"photos: {said}" in out
        code, out, _ = oodbench("data", "verify", "photos")
        assert code == 0
        assert said in out


def test_a_run_says_what_to_fetch(oodbench):
    code, _, err = oodbench("run", "--suite", "cifar10", "--detector", "msp")
    assert code == 2
    assert "`oodbench data fetch cifar10-t" in err


def test_packs_of_ones_own_that_a_suite_needs_are_asked_for(oodbench, tmp_path, photos):
    (tmp_path / "mine.toml").write_text(
        'extends = "digits"\nversion = 1\n'
        'ood = [{set = "photos", distance = "far"}, {set = "cats", distance = "far"}]\n'
    )
    code, out, err = oodbench("data", "fetch", "--suite", "mine.toml")
    assert code == 2
    assert "12 images in data/photos.h5" in out
    assert err.splitlines()[-1].startswith("oodbench: cats is no public set") and "data pack PATH cats`" in err
    written(tmp_path / "cats.tar", tar_bytes([("1.jpg", jpeg())]))
    assert oodbench("data", "pack", "cats.tar", "cats")[0] == 0
    code, out, err = oodbench("data", "fetch", "--suite", "mine.toml")
    assert code == 0, err
    assert "cats: data/cats.h5" in out


def test_an_archive_of_other_content_is_never_a_pack(oodbench, tmp_path, photos, served):
    served.files["/photos.tar.gz"] = archive(seed=1)
    code, _, err = oodbench("data", "fetch", "photos")
    assert code == 2
    assert "expected sha256" in err
    assert not (tmp_path / "data" / "photos.h5").exists()


def test_another_number_of_images_is_never_a_pack(oodbench, tmp_path, photos, published):
    source = SOURCES["photos"]
    published("photos", Source(source.title, source.files, source.read, COUNT + 1, "free"))
    code, _, err = oodbench("data", "fetch", "photos")
    assert code == 2
    assert "should have 13 images and 12 were read" in err
    assert not (tmp_path / "data" / "photos.h5").exists()


def test_one_that_fails_does_not_stop_the_others(oodbench, tmp_path, photos):
    code, _, err = oodbench("data", "fetch", "nothing", "photos")
    assert code == 2
    assert "unknown public image set 'nothing'" in err
    assert (tmp_path / "data" / "photos.h5").is_file()


def test_a_folder_of_ones_own_becomes_a_pack(oodbench, tmp_path):
    for folder, level in (("cats", 10), ("dogs", 200)):
        for number in range(2):
            path = tmp_path / "pets" / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48), (level, level, number)).save(path)
    code, out, err = oodbench("data", "pack", "pets", "pets", "--size", "16")
    assert code == 0, err
    assert out.splitlines() == [
        "data/pets.h5: 4 images of 16 x 16 pixels",
        "  2 classes, labels in the order of the folders' names:",
        "      0  cats: 2 images",
        "      1  dogs: 2 images",
        "  left out: nothing",
    ]
    pack = read_pack(tmp_path / "data" / "pets.h5", "pets")
    assert pack.images.shape == (4, 16, 16, 3)
    assert pack.labels.tolist() == [0, 0, 1, 1]
    assert pack.images[2, 0, 0].tolist() == [200, 200, 0]


@pytest.mark.parametrize("kind", [(), ("--files",)])
def test_folders_must_be_the_same_classes_in_training_and_testing(oodbench, tmp_path, kind):
    for first, folder, classes in ((0, "train", "abc"), (1, "test", "ac"), (2, "again", "abc")):
        for number in range(24):
            one, grey = classes[number % len(classes)], 9 * number + first
            written(tmp_path / folder / one / f"{number}.png", png(np.full((40, 32, 3), grey, np.uint8)))
        written(tmp_path / folder / classes[0] / "._0.png", b"left by a Mac")
        assert oodbench("data", "pack", folder, folder, *kind)[0] == 0
    text = (
        'version = 1\nood = [{set = "letters", distance = "far"}]\nnetwork = {name = "small-cnn"}\n[tasks.clean]\n'
        '[training]\nepochs = 1\n[id]\ntrain = "train"\nclasses = 3\n'
    )
    (tmp_path / "mine.toml").write_text(f'{text}test = "test"')
    code, _, err = oodbench("run", "--suite", "mine.toml", "--detector", "msp")
    assert code == 2
    assert "ID sets 'train' and 'test' have other classes (b), so their labels do not mean the same" in err
    if not kind:  # photographs are no images of the letters' size
        (tmp_path / "mine.toml").write_text(f'{text}test = "again"')
        code, _, err = oodbench("run", "--suite", "mine.toml", "--detector", "msp", "--limit", "12")
        assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pack", "nowhere", "mine"), "there is no nowhere"),
        (("pack", ".", "Mine"), "cannot be the name of a pack"),
        (("pack", ".", "letters"), "cannot be the name of a pack"),
        (("pack", ".", "mine"), "holds no image files"),
        (("fetch",), "nothing to fetch"),
        (("fetch", "cifar10-tset"), "did you mean 'cifar10-test'"),
    ],
)
def test_what_cannot_be_is_refused(oodbench, arguments, said):
    code, _, err = oodbench("data", *arguments)
    assert code == 2
    assert said in err


def test_a_bad_pack_is_found_out(oodbench, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "textures.h5").write_bytes(b"not HDF5")
    code, out, _ = oodbench("data", "verify")
    assert code == 1
    assert out.startswith("BAD   textures")


def test_own_packs_are_listed_and_every_line_fits(oodbench, tmp_path):
    images = np.zeros((12, 8, 8, 3), np.uint8)
    write_pack(tmp_path / "data" / "mine.h5", ImageSet("mine", images, np.full(12, -1), "drawn"))
    code, out, err = oodbench("data", "list")
    assert (code, err) == (0, "")
    assert re.search(r"^present  mine +12 +your own pack$", out, re.M)
    assert max(map(len, out.splitlines())) <= 80
    code, out, err = oodbench("data", "show", "mine")
    assert (code, out, err) == (0, "mine (present): your own pack\nmine.png\n", "")
    code, out, err = oodbench("data", "show", "nobodys")
    assert (code, out) == (2, "") and "image set 'nobodys' is missing" in err


def test_a_part_of_a_set_under_its_name_is_used_and_said(oodbench, tmp_path, photos, published):
    """People have parts of sets, and link them under the suite's name."""
    assert oodbench("data", "fetch", "photos")[0] == 0
    source = SOURCES["photos"]
    published("photos", Source(source.title, source.files, source.read, 5640, "free"))
    listed = " ".join(oodbench("data", "list")[1].split())
    assert "differs photos 12 " in listed
    assert "photos differs: photos has 12 images, not the 5,640 of the public set. " in listed
    assert oodbench("data", "verify")[:2] == (
        1,
        "BAD   photos: photos should have 5,640 images and 12 were read: this is not what the public set was\n",
    )
    (tmp_path / "mine.toml").write_text(
        'extends = "digits"\nversion = 1\nood = [{set = "photos", distance = "far"}, '
        '{set = "letters", distance = "near"}]'
    )
    quick = ("--suite", "mine.toml", "--detector", "msp", "--set", "epochs=1", "--only", "photos")
    code, out, err = oodbench("run", *quick, "--limit", "50")
    assert code == 0, err
    assert "NOTE photos has 12 images, not the 5,640 of the public set" in err
    assert "seed 1, epochs=1, 50 images of each set, other images\n" in out
    out = " ".join(out.split())
    assert "Other images: photos has 12 images, not the 5,640 of the public set: compare with no figure of" in out
    assert "Left out of the suite's OOD sets: letters." in out
    (tmp_path / "data" / "photos.h5").write_bytes(b"not HDF5")
    listed = oodbench("data", "list")[1]
    assert re.search(r"^broken   photos ", listed, re.M)
    assert re.search(r"photos is broken: .*photos\.h5 is not a whole HDF5 file", " ".join(listed.split()))


@pytest.mark.parametrize("name", suitefile.names())
def test_every_name_in_every_suite_has_a_source_or_is_a_pack_that_the_suite_says_how_to_make(name):
    suite = suitefile.load(name)
    suites = resources.files("oodbench.suites")
    text = "".join((suites / f"{one}.toml").read_text("utf-8") for one in suitefile.names() if name.startswith(one))
    packed = set(re.findall(r"oodbench data pack \S+ (\S+)", text))
    named = {suite.id.train, suite.id.test, *(ood.set for ood in suite.ood)}
    named |= {suite.outliers.set} if suite.outliers else set()
    assert named - {None} <= {*SOURCES, *BUILTINS, *packed}


def test_sources_say_what_people_need():
    for name, source in SOURCES.items():
        assert suitefile.NAME.fullmatch(name)
        assert name not in BUILTINS
        assert source.title
        assert source.terms
        assert source.count is None or source.count > 0
        for file in source.files:
            kind, _, value = file.digest.partition(":")
            assert (kind, len(value)) in {("md5", 32), ("sha256", 64)} or (kind in ("", "size") and not file.proven)
            assert all(url.startswith(("http://", "https://")) for url in file.urls)
            assert file.urls or file.where
            assert "?" not in file.name


def test_a_trained_network_goes_by_its_name(oodbench, tmp_path, served, monkeypatch):
    from safetensors.torch import save

    from oodbench.networks import build
    from oodbench.sources.trained import TRAINED, Trained

    content = save(build("small-cnn", 10, seed=0).state_dict())
    served.files["/net.safetensors"] = content
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    file = RemoteFile((f"{served.url}/net.safetensors",), digest, len(content), "mine.safetensors")
    monkeypatch.setitem(
        TRAINED, "mine", Trained("Untrained", file, "small-cnn", "digits-test", 0.99, "free", (0.5,) * 3, (0.5,) * 3)
    )
    command = ("run", "--suite", "digits", "--detector", "msp", "--checkpoint", "mine", "--images", "20")
    code, _, err = oodbench(*command)
    assert code == 2
    assert "`oodbench data fetch mine`" in err
    assert oodbench("data", "fetch", "mine")[:2] == (0, "mine: data/networks/mine.safetensors\n")
    listed = oodbench("data", "list", "networks")[1]
    assert re.search(r"^present  mine +<1  Untrained$", listed, re.M)
    assert "cifar10-test" not in listed
    shown = " ".join(oodbench("data", "show", "mine")[1].split())
    assert "mine (present): Untrained; small-cnn, mean 0.5000 0.5000 0.5000, std" in shown
    assert "99.00% right on digits-test" in shown
    assert f"SHA-256 {digest[7:23]}...; free" in shown
    code, out, err = oodbench(*command)
    assert code == 0, err
    assert "checkpoint mine.safetensors" in out
    assert "WARNING: mine should be right on 99.00% of digits-test" in err
    code, _, err = oodbench(*command[:5], "--checkpoint", "nowhere.pt")
    assert code == 2
    assert "there is no trained network nowhere.pt" in err


def test_a_file_by_hand_and_a_number_of_images(oodbench, tmp_path, published):
    content = np.arange(12 * 3072, dtype=np.uint32).astype(np.uint8).tobytes()
    file = RemoteFile((), f"size:{len(content)}", len(content), "tiny.bin", "for those who still have it")
    published("tiny", Source("Tiny", (file,), tiny_images(6), 6, "WITHDRAWN", "", tiny_images))
    code, _, err = oodbench("data", "fetch", "tiny", "--unverified")
    assert code == 2
    assert "tiny.bin cannot be downloaded (for those who still have it): put it into data/downloads" in err
    written(tmp_path / "data" / "downloads" / "tiny.bin", content)
    code, out, err = oodbench("data", "fetch", "tiny", "--unverified", "--count", "3")
    assert code == 0, err
    assert "tiny: 3 images in data/tiny.h5" in out
    assert len(read_pack(tmp_path / "data" / "tiny.h5", "tiny")) == 3
    assert oodbench("data", "verify", "tiny")[0] == 0
    code, _, err = oodbench("data", "fetch", "cifar10-test", "--count", "3")
    assert code == 2
    assert "leave --count out" in err


def test_trained_networks_are_of_networks_that_can_be_built():
    for name, network in TRAINED.items():
        networks.require(network.network)
        assert len(network.mean) == len(network.std) == 3
        assert network.on in SOURCES
        assert network.file.proven
        assert suitefile.NAME.fullmatch(name)
    names = [network.file.name for network in TRAINED.values()]
    assert len(set(names)) == len(names)
