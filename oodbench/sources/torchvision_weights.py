"""Weights that torchvision names, `torchvision:resnet18.IMAGENET1K_V1`, fetched and held against the digest there."""

import re
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.sources.download import download
from oodbench.sources.source import RemoteFile

SCHEME = "torchvision:"

_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""The first digits of a file's SHA-256 stand in its name."""


def file_of(name: str) -> RemoteFile:
    """The file of the weights `name`.

    Raises:
        OodbenchError: torchvision has no such weights, or does not say what their digest is.
    """
    from oodbench.networks.of_torchvision import weights_of

    architecture, _, tag = name.removeprefix(SCHEME).partition(".")
    weights = weights_of(architecture, tag)
    if not tag:
        raise OodbenchError(
            f"{name} has weights under several names: say which, such as {SCHEME}{architecture}.{weights.name}"
        )
    digits = _DIGITS.search(weights.url)
    if digits is None:
        raise OodbenchError(
            f"torchvision does not say the digest of {name}: get {weights.url} yourself, if you trust it"
        )
    megabytes = weights.meta.get("_file_size")
    return RemoteFile((weights.url,), f"sha256:{digits[1]}", int(megabytes * 2**20) if megabytes else None)


def fetch(name: str, folder: Path) -> Path:
    """Download and verify the file of the weights `name`, into `folder`.

    Raises:
        OodbenchError: what went wrong on the way.
    """
    return download(file_of(name), folder)


def local_file(name: str, folder: Path) -> Path:
    """Find the file of the weights `name` that was fetched into `folder`.

    Raises:
        OodbenchError: it is not there.
    """
    path = folder / file_of(name).name
    if not path.is_file():
        raise OodbenchError(f"the weights {name} are not there yet: `oodbench data fetch {name}`")
    return path
