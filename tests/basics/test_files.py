"""Files are whole or absent, also where somebody was killed, and what a full disk says is one line."""

import signal
import stat
import subprocess
import sys

import pytest

from oodbench.basics import files
from oodbench.basics.errors import StorageError
from oodbench.basics.files import atomic, write_atomic

HALFWAY = """
import sys, time
from pathlib import Path
from oodbench.basics.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("half", flush=True)
    time.sleep(60)
"""


def names(folder):
    return [file.name for file in folder.iterdir()]


def halfway(path):
    """A process that stands in the middle of writing a file."""
    writer = subprocess.Popen([sys.executable, "-c", HALFWAY, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "half\n"
    return writer


def test_what_a_killed_writer_left_is_cleared_and_what_a_living_one_holds_is_not(tmp_path):
    path = tmp_path / "a [1].csv"
    dead, living = halfway(path), halfway(path)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert len([name for name in names(tmp_path) if name.endswith(".tmp")]) == 2
    write_atomic(path, b"whole")
    (left,) = [name for name in names(tmp_path) if name.endswith(".tmp")]
    assert path.read_bytes() == b"whole"
    assert (tmp_path / left).read_bytes() == b"half"
    living.kill()
    living.wait()
    write_atomic(path, b"again")
    assert names(tmp_path) == ["a [1].csv"]


def test_a_temporary_file_that_another_writer_clears_before_it_is_held_is_made_anew(tmp_path, monkeypatch):
    hold, cleared = files._try_lock, []

    def late(handle):
        if not cleared:
            cleared.append(True)
            files._clear_leftovers(tmp_path / "it")  # another writer comes between
        return hold(handle)

    monkeypatch.setattr(files, "_try_lock", late)
    files.write_atomic(tmp_path / "it", b"whole")
    assert cleared
    assert (tmp_path / "it").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_failing_block_leaves_what_was_there(tmp_path):
    path = tmp_path / "kept.h5"
    write_atomic(path, b"as it was")
    with pytest.raises(ValueError, match="broken"), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("broken")
    assert path.read_bytes() == b"as it was"
    assert names(tmp_path) == ["kept.h5"]


def test_a_link_stays_and_what_it_leads_to_is_written_with_its_permissions(tmp_path):
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "mine.csv", tmp_path / "link.csv"
    file.write_bytes(b"before")
    file.chmod(0o600)
    link.symlink_to(file)
    write_atomic(link, b"after")
    assert link.is_symlink() and file.read_bytes() == b"after"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    write_atomic(tmp_path / "new.csv", b"new")
    assert stat.S_IMODE((tmp_path / "new.csv").stat().st_mode) == 0o644


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_atomic(tmp_path / "file" / "a.csv", b"")


def test_of_many_that_want_a_file_each_has_it_to_itself_whatever_the_others_do_to_it(tmp_path):
    script = """
import os, sys, time
from pathlib import Path
from oodbench.basics.files import locked
for number in range(30):
    with locked(Path("part")):
        descriptor = os.open("inside", os.O_CREAT | os.O_EXCL)
        time.sleep(0.001)
        os.close(descriptor)
        os.unlink("inside")
        os.replace("part", f"whole-{sys.argv[1]}") if number % 2 else os.unlink("part")
"""
    many = [subprocess.Popen([sys.executable, "-c", script, str(number)], cwd=tmp_path) for number in range(4)]
    assert [each.wait(timeout=60) for each in many] == [0, 0, 0, 0]
