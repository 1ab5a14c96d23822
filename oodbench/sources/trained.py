"""Trained networks that the public keeps, fetched and verified like data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oodbench.errors import OodbenchError
from oodbench.sources.download import download
from oodbench.sources.source import RemoteFile

FOLDER = "networks"
"""Where, below the data folder, they are kept."""

TOLERATED = 0.002
"""How far a measured accuracy may lie from the known one: rounding differs a little from machine to machine."""


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        title: what it is, and who trained it.
        file: its checkpoint.
        network: the architecture, as suites name it; a suite also says how pixels are normalised.
        on: the ID test set that its accuracy is known on.
        accuracy: there, in [0, 1], measured by this project; None where it is not known.
        terms: licence, as far as it is known.
    """

    title: str
    file: RemoteFile
    network: str
    on: str
    accuracy: float | None
    terms: str


def _of_dice(set_name: str, digest: str, size: int) -> RemoteFile:
    path = f"checkpoints/{set_name}/densenet/checkpoint_100.pth.tar"
    name = f"densenet-{set_name.replace('-', '').lower()}.pth.tar"
    return RemoteFile((f"https://raw.githubusercontent.com/deeplearning-wisc/dice/master/{path}",), digest, size, name)


TRAINED: Mapping[str, Trained] = {
    "densenet-cifar10": Trained(
        "DenseNet-BC(100, 12) on CIFAR-10, by the authors of DICE (Sun and Li 2022, arXiv:2111.09805)",
        _of_dice("CIFAR-10", "sha256:deaefd082911a1c6c92aacdcfecf03c71b932acc5c08b779c85c44eccdc0c817", 3_381_795),
        "densenet-bc-100-12",
        "cifar10-test",
        0.9403,
        "the repository states none",
    ),
    "densenet-cifar100": Trained(
        "DenseNet-BC(100, 12) on CIFAR-100, by the authors of DICE (Sun and Li 2022, arXiv:2111.09805)",
        _of_dice("CIFAR-100", "sha256:56cbe261c2612976e11aedcbd60ba00766e8c01c78f96c3f18ff561ead804d47", 3_505_315),
        "densenet-bc-100-12",
        "cifar100-test",
        None,
        "the repository states none",
    ),
}
"""By the name that --checkpoint takes."""


def fetch_trained(name: str, data: Path) -> Path:
    """The checkpoint of a trained network in the data folder, downloaded and verified.

    Raises:
        OodbenchError: what went wrong on the way.
    """
    return download(TRAINED[name].file, data / FOLDER)


def checkpoint(given: str, data: Path) -> Path:
    """The file that `--checkpoint` means: a path, or the name of a trained network that has been fetched.

    Raises:
        OodbenchError: neither.
    """
    path = Path(given)
    if path.is_file() or given not in TRAINED:
        if not path.is_file():
            raise OodbenchError(
                f"there is no checkpoint {given}: give --checkpoint the path of a file, or one of {', '.join(TRAINED)}"
            )
        return path
    fetched = data / FOLDER / TRAINED[given].file.name
    if not fetched.is_file():
        raise OodbenchError(f"network {given!r} is not there yet: `oodbench data fetch {given}`")
    return fetched


def surprise(given: str, id_test: str, accuracy: float) -> str | None:
    """What to say if a trained network does not reach the accuracy that is known of it; None if it does."""
    known = TRAINED.get(given)
    if known is None or known.accuracy is None or known.on != id_test or abs(accuracy - known.accuracy) <= TOLERATED:
        return None
    return (
        f"{given} should be right on {known.accuracy:.2%} of {id_test} and is on {accuracy:.2%}: is the normalisation, "
        "or the order of the classes, another one?"
    )
