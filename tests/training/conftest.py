"""A folder with kept networks, trained once."""

import shutil
import sys

import pytest
import torch

from oodbench import cli
from oodbench.images.packs import write_pack
from tests.training.shelf import KEEP, RUN, SUITE, images


def call(*arguments):
    """The command as a shell would call it; its exit code."""
    before, sys.argv = sys.argv, ["oodbench", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code
    finally:
        sys.argv = before


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of the first parameter group at each step of SGD, as it is taken."""
    found, step = [], torch.optim.SGD.step

    def noted(self, *given, **more):
        found.append(self.param_groups[0]["lr"])
        return step(self, *given, **more)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    return found


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with packs, a suite, results of MSP and OE, and their networks on the shelf `shelf`."""
    folder = tmp_path_factory.mktemp("trained")
    for name, count, seed in (("mine-train", 120, 0), ("mine-test", 40, 1), ("theirs", 40, 2), ("others", 300, 3)):
        write_pack(folder / "data" / f"{name}.h5", images(name, count, seed))
    (folder / "mine.toml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(*RUN) == 0
        assert call(*KEEP) == 0
    return folder


@pytest.fixture
def here(trained, tmp_path, oodbench):
    """A copy of `trained` to work in, without its results; `oodbench` is called in it."""
    for name in ("data", "mine.toml"):
        place = tmp_path / name
        (shutil.copytree if (trained / name).is_dir() else shutil.copy)(trained / name, place)
    return tmp_path
