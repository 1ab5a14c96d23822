"""The worst of all common corruptions, image by image. Chen et al. 2021, arXiv:2006.15207."""

from collections.abc import Sequence
from dataclasses import dataclass

from oodbench.corruptions.levels import LEVELS, SEVERITIES
from oodbench.tasks.task import Task
from oodbench.tasks.versions import Versions


@dataclass(frozen=True)
class Corruption(Task):
    """Each OOD image in the version, of itself and all its corruptions, that the detector most takes for ID.

    The search is by the detector's own score: a worst case over common corruptions against each detector, not a mean
    over them. Of equal scores the first wins, the image as it is being the very first.

    Attributes:
        types: names from `oodbench.corruptions.levels`.
        severities: from 1 to 5.
        frost: folder with the public frost photographs; frost is drawn where none is given.
    """

    kind = "corruption"

    types: tuple[str, ...] = tuple(LEVELS)
    severities: tuple[int, ...] = SEVERITIES
    frost: str = ""

    def __post_init__(self) -> None:
        check_types(self.types)
        self.versions()  # which checks the rest

    def versions(self) -> Versions:
        """The image itself and its corruptions."""
        return Versions(self.types, self.severities, self.frost)

    def threat(self) -> str:
        """A phrase for the number of versions and for how one is chosen."""
        return f"OOD images in the worst of {worst_text(self.versions())}; ID clean"


def check_types(types: Sequence[str]) -> None:
    """Raise ValueError where there are no types: there would be nothing to search."""
    if not types:
        raise ValueError(f"types is []: choose some of {', '.join(LEVELS)}")


def worst_text(versions: Versions) -> str:
    """The versions that are chosen among, in words."""
    frost = " (frost from photographs)" if versions.frost else ""
    return f"{len(versions) - 1} corrupted versions{frost} and their own, by the detector's score"
