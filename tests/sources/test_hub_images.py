"""Data sets on the Hugging Face hub as packs, from a server of one's own that answers as the hub does."""

import io
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import read_pack
from oodbench.sources.hub_images import HubImages
from oodbench.sources.kinds import kind_of
from tests.localhub import COMMIT, local_hub

ADDRESS = f"hf://datasets/org/birds@{COMMIT}"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with the data set org/birds: its files, to be put in, and what was asked."""
    with local_hub("datasets", "org/birds", monkeypatch, tmp_path / "cache") as there:
        yield there


def picture(shade, side=8):
    out = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def birds(hub):
    files, _ = hub
    files |= {
        f"test/{kind}/{n}.png": picture(10 * n + add) for add, kind in enumerate(("owl", "wren")) for n in range(3)
    }
    files |= {"test/notes.txt": b"notes", "README.md": b"# birds", "train/owl/9.png": picture(200)}
    return hub


def test_a_folder_becomes_a_pack_that_says_from_where(birds, oodbench, tmp_path):
    _, asked = birds
    code, out, err = oodbench("data", "fetch", f"{ADDRESS}/test", "--as", "birds-test", "--size", 8)
    assert code == 0, err
    pack = read_pack(tmp_path / "data" / "birds-test.h5", "birds-test")
    assert pack.images[:, 0, 0, 0].tolist() == [0, 10, 20, 1, 11, 21]
    assert pack.labels.tolist() == [0, 0, 0, 1, 1, 1] and pack.classes == ("owl", "wren")
    assert pack.source.startswith(f"{ADDRESS}/test, shorter side")
    assert "6 image files" in out and "1 file: test/notes.txt" in out
    assert not [path for _, path in asked if path.endswith(("train/owl/9.png", ".txt", ".md"))]
    before = len(asked)
    code, out, err = oodbench("data", "fetch", f"{ADDRESS}/test", "--as", "birds-test", "--size", 8)
    assert code == 0 and "is there already" in out
    assert len(asked) == before
    code, _, err = oodbench("data", "fetch", f"{ADDRESS}/train", "--as", "birds-test")
    assert code == 2 and "of other images: give these another name with --as" in err
    (tmp_path / "data" / "birds-test.h5").unlink()
    assert oodbench("data", "fetch", f"{ADDRESS}/test", "--as", "birds-test", "--size", 8)[0] == 0
    assert [path for _, path in asked[before:]] == [f"/api/datasets/org/birds/tree/{COMMIT}/test"]  # files are kept


def test_files_are_kept_as_they_are_under_the_folders_name(birds, oodbench, tmp_path):
    code, _, err = oodbench("data", "fetch", f"{ADDRESS}/test", "--files")
    assert code == 0, err
    pack = read_pack(tmp_path / "data" / "test.h5", "test")
    assert pack.source == f"{ADDRESS}/test" and len(pack) == 6
    code, out, _ = oodbench("data", "verify", "test")
    assert code == 0, out


def test_archives_and_safetensors_are_one_file(hub, oodbench, tmp_path):
    files, asked = hub
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for name in ("a/1.png", "b/1.png"):
            archive.writestr(name, picture(30))
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    files["deep/Some Birds.ZIP"] = buffer.getvalue()
    files["two.safetensors"] = safetensors.numpy.save({"images": images, "labels": np.array([1, 0])})
    code, _, err = oodbench(
        "data", "fetch", f"{ADDRESS}/deep/Some Birds.ZIP", f"{ADDRESS}/two.safetensors", "--size", 4
    )
    assert code == 0, err
    assert read_pack(tmp_path / "data" / "some-birds.h5", "x").labels.tolist() == [0, 1]
    two = read_pack(tmp_path / "data" / "two.h5", "two")
    assert np.array_equal(two.images, images) and two.labels.tolist() == [1, 0]
    assert two.source == f"{ADDRESS}/two.safetensors"
    assert not [path for _, path in asked if "/tree/" in path]


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{COMMIT[:12]}"])
def test_what_is_not_pinned_is_refused_and_the_commit_named(birds, oodbench, revision):
    code, _, err = oodbench("data", "fetch", f"hf://datasets/org/birds{revision}/test")
    assert code == 2
    assert (
        f"is not pinned: what a branch or a tag names may change, and the images with it; write {ADDRESS}/test" in err
    )


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            "hf://datasets/org",
            "is not the address of a data set on the hub: write hf://datasets/org/name@COMMIT/folder",
        ),
        (f"hf://org/net@{COMMIT}/net.safetensors", "is not the address of a data set on the hub"),
        (f"{ADDRESS}/../other", "is not the address of a data set on the hub"),
        (f"{ADDRESS}/nowhere", "there is no folder 'nowhere' in org/birds at c0ffeec0ffee"),
        (f"{ADDRESS}/none.zip", "cannot fetch none.zip of org/birds at c0ffeec0ffee"),
        (f"hf://datasets/org/other@{COMMIT}/test", "cannot fetch test of org/other"),
        (f"{ADDRESS}/tables", "there are no image files in hf://datasets/org/birds@"),
        (f"{ADDRESS}/pickled.zip", "holds 'torch': from the hub only image files, archives of them and safetensors"),
        (f"{ADDRESS}/cut.safetensors", "from which no images can be read"),
        (f"{ADDRESS}/cut.zip", "is not whole"),
        (f"{ADDRESS}/broken", "cannot be read, and nothing was written"),
        (f"{ADDRESS}/digits-test.zip", "cannot be the name of a pack"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_says_why(birds, oodbench, tmp_path, address, told):
    files, _ = birds
    with zipfile.ZipFile(pickled := io.BytesIO(), "w") as archive:
        archive.writestr("x/data.pkl", b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    whole = safetensors.numpy.save({"images": np.zeros((2, 4, 4, 3), np.uint8)})
    files |= {"tables/train.parquet": b"PAR1", "pickled.zip": pickled.getvalue(), "cut.safetensors": whole[:-20]}
    files |= {"broken/a.png": picture(1), "broken/b.png": picture(1)[:40], "cut.zip": pickled.getvalue()[:30]}
    code, _, err = oodbench("data", "fetch", address)
    assert code == 2
    assert told in err and "Traceback" not in err
    assert not list((tmp_path / "data").glob("*.h5"))


def test_without_a_network_it_says_what_to_check(oodbench, monkeypatch):
    httpx = pytest.importorskip("httpx", reason="the library's errors are others")

    def refused(*_, **__):
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_tree", refused)
    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", refused)
    code, _, err = oodbench("data", "fetch", f"{ADDRESS}/test")
    assert code == 2 and "check the address, the network" in err and "Traceback" not in err
    code, _, err = oodbench("data", "fetch", "hf://datasets/org/birds/test")
    assert code == 2 and "write hf://datasets/org/birds@COMMIT, the 40 hex digits" in err


def test_a_listing_that_leads_out_of_its_folder_is_refused(birds, oodbench, tmp_path):
    files, _ = birds
    files["test/../../../evil.png"] = picture(1)
    code, _, err = oodbench("data", "fetch", f"{ADDRESS}/test")
    assert code == 2 and "leads out of its folder" in err
    assert not list(tmp_path.rglob("evil.png"))


def test_one_of_several_that_fails_leaves_the_others(birds, oodbench, tmp_path):
    code, _, err = oodbench("data", "fetch", f"{ADDRESS}/nowhere", f"{ADDRESS}/train", "--size", 8)
    assert code == 2 and "nowhere" in err
    assert (tmp_path / "data" / "train.h5").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cifar10-test", "--as", "mine"], "--as, --size, --files"),
        ([f"{ADDRESS}/a", f"{ADDRESS}/b", "--as", "mine"], "--as names one pack"),
    ],
)
def test_options_that_say_nothing_are_usage_errors(oodbench, tmp_path, arguments, told):
    code, _, err = oodbench("data", "fetch", *arguments)
    assert code == 2 and told in err
    assert list(tmp_path.iterdir()) == []


def test_names_of_packs_come_from_the_end_of_the_address():
    names = {"": "birds", "/test": "test", "/deep/Some Folder": "some-folder", "/x/Test_1.tar.gz": "test_1"}
    assert {end: HubImages.parse(ADDRESS + end).pack_name for end in names} == names
    assert str(HubImages.parse(f"{ADDRESS}/test/")) == f"{ADDRESS}/test"


def test_safetensors_are_known_by_their_first_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(safetensors.numpy.save({"images": np.zeros((1, 2, 2, 3), np.uint8)}))
    assert kind_of(path) == "safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")  # says that it is larger than it is
    with pytest.raises(OodbenchError, match="not known"):
        kind_of(path)
