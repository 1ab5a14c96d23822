"""HDF5 files are whole or absent, and a full disk is one error and never a crash, wherever it strikes."""

import resource
import signal
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from oodbench.basics.errors import StorageError
from oodbench.basics.hdf5 import new_hdf5


def fill(path, parts=40):
    with new_hdf5(path) as target:
        data = target.file.create_dataset("a", (0,), "i8", maxshape=(None,), chunks=(512,), compression="lzf")
        for number in range(parts):
            data.resize((512 * number + 512,))
            data[512 * number :] = np.random.default_rng(number).integers(0, 1 << 40, 512)
            target.file.flush()
        target.file.create_dataset("names", data=["one", "two"], dtype=h5py.string_dtype())
        target.file.attrs["about"] = "x" * 100


@contextmanager
def files_of_at_most(size):
    """A limit to the size of any file that this process writes to, its own output included: keep it short."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_was_written_is_read(tmp_path):
    fill(tmp_path / "pack.h5")
    with h5py.File(tmp_path / "pack.h5") as file:
        assert file["a"].shape == (512 * 40,)
        assert (file["a"][512 * 7 : 512 * 8] == np.random.default_rng(7).integers(0, 1 << 40, 512)).all()
        assert file["names"].asstr()[()].tolist() == ["one", "two"]
        assert file.attrs["about"] == "x" * 100


@pytest.mark.parametrize("size", [0, 1, 100, 800, 2048, 5000, 20_000, 100_000, 150_000])
def test_wherever_a_disk_ends_there_is_one_error_and_nothing_is_left(tmp_path, size, capfd):
    told = r"cannot write .*pack\.h5: File too large; choose another folder"
    with pytest.raises(StorageError, match=told), files_of_at_most(size):
        fill(tmp_path / "pack.h5")
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_that_was_there_stays_as_it_was(tmp_path):
    fill(tmp_path / "pack.h5", parts=3)
    before = (tmp_path / "pack.h5").read_bytes()
    with pytest.raises(StorageError), files_of_at_most(10_000):
        fill(tmp_path / "pack.h5")
    assert (tmp_path / "pack.h5").read_bytes() == before


def test_long_work_can_stop_where_there_is_no_room(tmp_path):
    rounds = 0
    with pytest.raises(StorageError), files_of_at_most(20_000), new_hdf5(tmp_path / "pack.h5") as target:
        for rounds in range(1000):
            target.file[f"a{rounds}"] = np.random.default_rng(0).integers(0, 1 << 40, 1000)
            target.file.flush()
            target.require_room()
    assert rounds < 10


def test_an_error_of_the_block_itself_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no image"), new_hdf5(tmp_path / "pack.h5"):
        raise ValueError("no image")
    assert list(tmp_path.iterdir()) == []
