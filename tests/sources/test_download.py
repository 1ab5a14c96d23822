"""Downloads over a net that breaks."""

import hashlib

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.sources import download as downloading
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
    (tmp_path / "a.bin.other").write_bytes(b"kept before")
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT
    assert (tmp_path / "a.bin.other").read_bytes() == b"kept before"
    assert (tmp_path / "a.bin.other1").read_bytes() == b"something else"


def test_a_broken_connection_goes_on_where_it_stopped(served, tmp_path):
    served.files["/a.bin"], served.broken["/a.bin"] = CONTENT, 2
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert [wanted for _, wanted in served.asked] == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]


@pytest.mark.parametrize("manner", ["stall", "reset"])
def test_a_server_that_falls_silent_or_hangs_up_is_asked_again(served, tmp_path, monkeypatch, manner):
    monkeypatch.setattr(downloading, "TIMEOUT", 0.3)
    served.files["/a.bin"], served.broken["/a.bin"], served.manner = CONTENT, 2, manner
    assert download(remote(served, "/a.bin"), tmp_path).read_bytes() == CONTENT
    assert len(served.asked) == 3
    assert all(wanted for _, wanted in served.asked[1:])


def test_a_server_that_stays_silent_is_named_and_what_came_is_kept(served, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "TIMEOUT", 0.3)
    served.files["/a.bin"], served.broken["/a.bin"], served.manner = CONTENT, 9, "stall"
    with pytest.raises(OodbenchError, match=r"a.bin could not be fetched: http://127.0.0.1:\d+/a.bin: .*timed out"):
        download(remote(served, "/a.bin"), tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size > len(CONTENT) // 2


def test_a_trickle_is_waited_for(served, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "TIMEOUT", 0.3)
    content = CONTENT[:2000]
    served.files["/a.bin"], served.pace = content, 0.03  # longer in all than the longest silence that is borne
    assert download(remote(served, "/a.bin", content=content), tmp_path).read_bytes() == content


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


def unproven(served, *paths, digest="", size=None):
    return RemoteFile(tuple(f"{served.url}{path}" for path in paths), digest, size)


def test_without_a_published_digest_it_takes_a_word(served, tmp_path):
    served.files["/a.bin"] = CONTENT
    file = unproven(served, "/a.bin")
    with pytest.raises(OodbenchError, match=r"nobody publishes a digest of a\.bin.*--unverified"):
        download(file, tmp_path)
    assert served.asked == []
    assert download(file, tmp_path, unverified=True).read_bytes() == CONTENT
    with pytest.raises(OodbenchError, match="--unverified"):
        download(file, tmp_path)  # that it lies there proves nothing either


def test_a_page_is_never_taken_for_a_file(served, tmp_path):
    served.files["/a.bin"] = b"<!DOCTYPE html><html>Google Drive can't scan this file for viruses</html>"
    with pytest.raises(OodbenchError, match="a web page came instead of the file"):
        download(unproven(served, "/a.bin"), tmp_path, unverified=True)
    assert list(tmp_path.iterdir()) == []


def test_the_first_digits_of_a_digest_will_do(served, tmp_path):
    served.files["/a.bin"] = CONTENT
    whole = hashlib.sha256(CONTENT).hexdigest()
    file = unproven(served, "/a.bin", digest=f"sha256:{whole[:8]}")
    assert (file.abridged, file.proven) == (8, True)
    assert download(file, tmp_path).read_bytes() == CONTENT
    other = unproven(served, "/a.bin", digest=f"sha256:{'0' if whole[0] != '0' else '1'}{whole[1:8]}")
    with pytest.raises(OodbenchError, match=r"expected sha256:.{8}\.\.\."):
        download(other, tmp_path / "other")


def by_hand(digest):
    return RemoteFile((), digest, None, "ILSVRC.tar", "from image-net.org, after a login")


def test_a_file_behind_a_login_is_asked_for_and_never_removed(tmp_path):
    file = by_hand(f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    with pytest.raises(OodbenchError, match=r"cannot be downloaded \(from image-net\.org, after a login\): put it"):
        download(file, tmp_path)
    (tmp_path / "ILSVRC.tar").write_bytes(b"half of it")
    with pytest.raises(OodbenchError, match="is not the right file: its digest is md5:.*get it again"):
        download(file, tmp_path)
    assert (tmp_path / "ILSVRC.tar").read_bytes() == b"half of it"
    (tmp_path / "ILSVRC.tar").write_bytes(CONTENT)
    assert download(file, tmp_path) == tmp_path / "ILSVRC.tar"


def test_of_a_huge_file_the_size_alone_is_checked(tmp_path):
    file = by_hand(f"size:{len(CONTENT)}")
    (tmp_path / "ILSVRC.tar").write_bytes(CONTENT)
    with pytest.raises(OodbenchError, match="--unverified"):
        download(file, tmp_path)
    assert download(file, tmp_path, unverified=True).is_file()
    (tmp_path / "ILSVRC.tar").write_bytes(CONTENT[:-1])
    with pytest.raises(OodbenchError, match=f"its digest is size:{len(CONTENT) - 1}, expected size:{len(CONTENT)}"):
        download(file, tmp_path, unverified=True)
