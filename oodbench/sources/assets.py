"""Files that are neither image sets nor networks, and are fetched by the user's own decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oodbench.corruptions.frost_files import PHOTOGRAPHS
from oodbench.sources.download import download
from oodbench.sources.source import RemoteFile


@dataclass(frozen=True)
class Asset:
    """A group of files that are fetched together.

    Attributes:
        title: what they are, and what for.
        files: to download.
        folder: where they go, below the data folder.
        terms: licence, as far as it is known.
    """

    title: str
    files: tuple[RemoteFile, ...]
    folder: str
    terms: str


_FROST = "https://raw.githubusercontent.com/bethgelab/imagecorruptions/master/imagecorruptions/frost/"

ASSETS: Mapping[str, Asset] = {
    "frost-photographs": Asset(
        "the frost photographs of ImageNet-C, for --set corruption.frost=data/frost (Hendrycks and Dietterich 2019)",
        tuple(RemoteFile((f"{_FROST}{name}",), f"sha256:{digest}", 700_000) for name, digest in PHOTOGRAPHS.items()),
        "frost",
        "nobody has found a licence of the photographs; the code around them is Apache-2.0",
    )
}
"""By the name that `oodbench data fetch` takes."""


def fetch_asset(name: str, data: Path) -> Path:
    """The folder with an asset's files, downloaded and verified.

    Raises:
        OodbenchError: what went wrong on the way.
    """
    asset = ASSETS[name]
    for file in asset.files:
        download(file, data / asset.folder)
    return data / asset.folder
