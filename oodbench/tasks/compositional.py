"""The worst corruption, then the L-infinity attack from there. Chen et al. 2021, arXiv:2006.15207."""

from dataclasses import dataclass

from oodbench.corruptions.levels import LEVELS, SEVERITIES
from oodbench.tasks.corruption import check_types, worst_text
from oodbench.tasks.linf import Linf
from oodbench.tasks.versions import Versions


@dataclass(frozen=True)
class Compositional(Linf):
    """Each OOD image corrupted as `Corruption` does, then moved as `Linf` does inside the ball around that version.

    The radius counts from the corrupted image; the two are not searched jointly.

    Attributes:
        types: as in `Corruption`.
        severities: as in `Corruption`.
        frost: as in `Corruption`.
    """

    kind = "compositional"

    types: tuple[str, ...] = tuple(LEVELS)
    severities: tuple[int, ...] = SEVERITIES
    frost: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self.types)
        self.versions()  # which checks the rest
        if self.side != "out":
            raise ValueError(f"side is {self.side!r}: corruptions are searched for OOD images only, choose 'out'")

    def versions(self) -> Versions:
        """The image itself and its corruptions."""
        return Versions(self.types, self.severities, self.frost)

    def threat(self) -> str:
        """A phrase for both parts."""
        return f"OOD images in the worst of {worst_text(self.versions())}, then: {super().threat()}"
