"""The network that a suite names: as training finds it, or as a checkpoint gives it."""

from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.networks import checkpoints
from oodbench.networks.network import Network
from oodbench.networks.statedicts import split
from oodbench.objective import Objective
from oodbench.sources import trained
from oodbench.suite import Suite


def build_network(
    suite: Suite, objective: Objective, shape: tuple[int, int, int], seed: int, start: Path | None
) -> Network:
    """The suite's network for an objective as training finds it.

    Its weights are those that the suite's recipe starts from, the others depend on the seed only.

    Args:
        suite: that names it.
        objective: of the training.
        shape: (C, H, W) of the images.
        seed: of the training.
        start: weights that training starts from, see `start_file`; None where they are drawn.

    Raises:
        OodbenchError: the weights to start from are of another network, or broken.
    """
    plain = plain_network(suite, objective, seed)
    if start:
        checkpoints.begin(plain, start)
    return objective.adapt(plain, shape)


def given_network(suite: Suite, objective: Objective, shape: tuple[int, int, int], seed: int, file: Path) -> Network:
    """The trained network in `file`, for images (C, H, W), with what the objective keeps beside it if that is there.

    Raises:
        OodbenchError: the file is of another network, or broken.
    """
    plain = plain_network(suite, objective, seed)
    adapted = objective.adapt(plain_network(suite, objective, seed), shape)
    if type(adapted) is not type(plain):
        with suppress(OodbenchError):
            checkpoints.load(adapted, file)
            return adapted
    checkpoints.load(plain, file)
    return plain


def plain_network(suite: Suite, objective: Objective, seed: int) -> Network:
    """The suite's network with an objective's outputs, as it is drawn, without what the objective keeps beside it."""
    spec = suite.network
    outputs = suite.id.classes + objective.reject_outputs
    return networks.build(spec.name, outputs, mean=spec.mean, std=spec.std, seed=seed)


def start_file(suite: Suite, data: Path) -> Path | None:
    """The weights that training starts from, in the folder `data` if they have a name; None where they are drawn.

    Raises:
        OodbenchError: there is no such file.
    """
    named = suite.training.start if suite.training else ""
    return trained.checkpoint(named, data) if named else None


def start_digest(suite: Suite, data: Path) -> str:
    """SHA-256 of the weights that training starts from; "" where they are drawn.

    Raises:
        OodbenchError: there is no such file.
    """
    start = start_file(suite, data)
    return _file_digest(start) if start else ""


def checkpoint_digest(file: Path | None) -> str:
    """What stands for a trained network in keys: SHA-256 of its file; "" without one.

    Raises:
        OodbenchError: there is no such file.
    """
    return _file_digest(file) if file else ""


def _file_digest(given: Path) -> str:
    path, entry = split(given)
    if not path.is_file():
        raise OodbenchError(f"there is no checkpoint {path}: give --checkpoint the path of a file")
    with path.open("rb") as file:
        # A feature pack may be larger than the memory.
        content = mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""
        return digest(memoryview(content), entry) if entry else digest(memoryview(content))
