"""Downloads over a net that breaks."""

import hashlib

import pytest

from oodbench.errors import OodbenchError
from oodbench.sources.download import download
from oodbench.sources.source import RemoteFile

CONTENT = bytes(range(256)) * 2000


def remote(served, *paths, content=CONTENT, kind="sha256", size=None):
    digest = f"{kind}:{hashlib.new(kind, content).hexdigest()}"
    return RemoteFile(tuple(f"{served.url}{path}" for path in paths), digest, size or len(content))


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_lands_whole_and_is_not_fetched_twice(served, tmp_path, kind):
    served.files["/a.bin"] = CONTENT
    file = remote(served, "/a.bin", kind=kind)
    assert download(file, tmp_path / "new").read_bytes() == CONTENT
    assert download(file, tmp_path / "new").read_bytes() == CONTENT
    assert len(served.asked) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_what_lies_there_is_not_believed_either(served, tmp_path):
    served.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin").write_bytes(b"something else")
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT


def test_a_broken_connection_goes_on_where_it_stopped(served, tmp_path):
    served.files["/a.bin"], served.broken["/a.bin"] = CONTENT, 2
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert [wanted for _, wanted in served.asked] == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_later_call_goes_on_too(served, tmp_path):
    served.files["/a.bin"], served.broken["/a.bin"] = CONTENT, 3
    file = remote(served, "/a.bin")
    with pytest.raises(OodbenchError, match="could not be fetched"):
        download(file, tmp_path)
    kept = (tmp_path / "a.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert served.asked[-1] == ("/a.bin", f"bytes={kept}-")


def test_a_server_that_cannot_resume_starts_again(served, tmp_path):
    served.files["/a.bin"], served.broken["/a.bin"], served.resumes = CONTENT, 1, False
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT


def test_all_there_but_the_name(served, tmp_path):
    served.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT


def test_the_next_mirror_is_tried(served, tmp_path):
    served.files["/mirror/a.bin"] = CONTENT
    file = remote(served, "/gone/a.bin", "/mirror/a.bin")
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in served.asked] == ["/gone/a.bin", "/mirror/a.bin"]


def test_a_wrong_mirror_does_not_spoil_the_next(served, tmp_path):
    served.files |= {"/a/a.bin": b"other" * 1000, "/b/a.bin": CONTENT}
    assert download(remote(served, "/a/a.bin", "/b/a.bin"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONTENT[:-1] + b"?", "its digest is sha256:"),
        (b"\n<!DOCTYPE html><html>please log in</html>", "a web page came instead of the file"),
    ],
)
def test_something_else_is_refused_and_removed(served, tmp_path, content, said):
    served.files["/a.bin"] = content
    with pytest.raises(OodbenchError, match=said):
        download(remote(served, "/a.bin"), tmp_path)
    assert [path.name for path in (tmp_path).iterdir()] == []


def test_a_file_without_end_is_given_up(served, tmp_path):
    served.files["/a.bin"] = b"x" * 2_000_000
    with pytest.raises(OodbenchError, match=r"larger than the 1,000 bytes"):
        download(remote(served, "/a.bin", size=1000), tmp_path)


@pytest.mark.parametrize("answer", [(404, b"gone"), (500, b"oops"), (403, b"no")])
def test_refusals_are_told(served, tmp_path, answer):
    served.answers["/a.bin"] = answer
    with pytest.raises(OodbenchError, match=r"a\.bin could not be fetched: http://127.*Try again later"):
        download(remote(served, "/a.bin"), tmp_path)


def test_nobody_there(tmp_path):
    file = RemoteFile(("http://127.0.0.1:9/a.bin",), "md5:00", 10)
    with pytest.raises(OodbenchError, match="refused"):
        download(file, tmp_path)


def test_only_addresses_of_the_web(tmp_path):
    with pytest.raises(OodbenchError, match="not an address of the web"):
        download(RemoteFile(("file:///etc/passwd",), "md5:00", 10), tmp_path)
