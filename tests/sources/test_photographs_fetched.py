"""`oodbench data` with photographs, which are packed as files that nobody has decoded yet."""

import hashlib
import re

import h5py
import pytest
from archive_making import jpeg, zip_bytes

from oodbench.sources.catalogue import SOURCES
from oodbench.sources.photographs import photographs
from oodbench.sources.source import RemoteFile, Source


@pytest.fixture
def scenes(served, published):
    """Photographs behind an address that nobody publishes a digest for."""
    content = zip_bytes([(f"scenes/{number}.jpg", jpeg(number)) for number in range(4)])
    served.files["/scenes.zip"] = content
    file = RemoteFile((f"{served.url}/scenes.zip",), "", None)
    published("scenes", Source("Scenes", (file,), photographs(), 4, "free"))
    return content


def test_photographs_that_nobody_vouches_for(oodbench, tmp_path, scenes):
    code, _, err = oodbench("data", "fetch", "scenes")
    assert code == 2
    assert "nobody publishes a digest of scenes.zip" in err
    assert re.search(r"^missing  scenes +4 +\?  Scenes$", oodbench("data", "list")[1], re.M)
    listed = " ".join(oodbench("data", "show", "scenes")[1].split())
    assert re.search(r"4 images, a download of a size not known from 127\.0\.0\.1:\d+; free\. Nobody publishes", listed)
    code, out, err = oodbench("data", "fetch", "scenes", "--unverified")
    assert code == 0, err
    digest = hashlib.sha256(scenes).hexdigest()
    assert f"scenes.zip is sha256:{digest}. It is recorded in the pack" in out
    with h5py.File(tmp_path / "data" / "scenes.h5") as pack:
        assert pack.attrs["digests"] == f"sha256:{digest} (found, not published)"
        assert len(pack["labels"]) == 4
    assert oodbench("data", "verify")[:2] == (0, "good  scenes: 4 photographs, all of them decoded\n")


def test_fetching_photographs_says_that_verifying_decodes_them(oodbench, served, scenes):
    cut = jpeg(9)[:-40]  # its header is whole, which is as far as a reader of headers comes
    served.files["/scenes.zip"] = zip_bytes([("scenes/0.jpg", jpeg(0)), *((f"scenes/{n}.jpg", cut) for n in (1, 2, 3))])
    code, out, err = oodbench("data", "fetch", "scenes", "--unverified")
    assert code == 0, err
    last = out.splitlines()[-1]
    assert "have not been decoded yet" in last and "`oodbench data verify scenes`" in last
    code, out, _ = oodbench("data", "verify", "scenes")
    assert code == 1 and "3 of 4 image files cannot be decoded" in out


def test_photographs_are_counted_before_there_is_a_pack(oodbench, tmp_path, scenes, published):
    source = SOURCES["scenes"]
    published("scenes", Source(source.title, source.files, source.read, 5, "free"))
    code, _, err = oodbench("data", "fetch", "scenes", "--unverified")
    assert code == 2
    assert "should have 5 images and 4 were read" in err
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["downloads"]


def test_a_pack_of_photographs_that_was_tampered_with_is_found_out(oodbench, tmp_path, scenes):
    assert oodbench("data", "fetch", "scenes", "--unverified")[0] == 0
    with h5py.File(tmp_path / "data" / "scenes.h5", "a") as pack:
        pack["files"][:100] = 0
    code, out, _ = oodbench("data", "verify", "scenes")
    assert code == 1
    assert out.startswith("BAD   scenes: ")
    assert "its image files are not what they were" in out
    assert re.search(r"1 of 4 image files cannot be decoded:\n  .*\.jpg: no image that Pillow reads", out)
