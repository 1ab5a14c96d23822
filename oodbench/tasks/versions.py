"""Versions of an image that do not depend on the detector: the image itself, and its corruptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from oodbench.basics.errors import unknown
from oodbench.corruptions.levels import LEVELS, SEVERITIES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

    from oodbench.corruptions.catalogue import Corruption
    from oodbench.corruptions.draws import CounterDraws

Indices: TypeAlias = "npt.NDArray[np.int64]"


@dataclass(frozen=True)
class Versions:
    """The image itself, numbered 0, then corruptions by severity and type, numbered from 1 in the order tried.

    What is random in them is drawn per image, type and severity, so all detectors choose among the same versions,
    whatever the batch. They are made when needed and not kept: 95 of them for 10,000 CIFAR images are 2.9 GB, while
    making one costs a fraction of a CIFAR network's pass. All detectors over a network look at them together.

    Attributes:
        types: names from `oodbench.corruptions.levels`.
        severities: from 1 to 5.
        frost: folder with the public frost photographs; frost is drawn where none is given.

    Raises:
        ValueError: an unknown type or severity.
        OodbenchError: a photograph is missing or another one.
    """

    types: tuple[str, ...] = ()
    severities: tuple[int, ...] = SEVERITIES
    frost: str = ""

    def __post_init__(self) -> None:
        for name in self.types:
            if name not in LEVELS:
                raise ValueError(str(unknown("corruption", name, LEVELS)))
        if not self.severities or not set(self.severities) <= set(SEVERITIES):
            raise ValueError(f"severities is {list(self.severities)}: choose some of {list(SEVERITIES)}")
        if self.frost:
            # torch is imported here and not above, so that suites can be read without it.
            from oodbench.corruptions.frost import photographs

            photographs(Path(self.frost), small=True)  # so that a missing one is reported now

    def __len__(self) -> int:
        return 1 + len(self._corruptions())

    def of(self, pixels: Tensor, indices: Indices, purpose: str) -> Iterator[Tensor]:
        """Yield every version of `pixels`, uint8 (N, 3, H, W), in order; uint8 of the same shape."""
        from oodbench.corruptions.catalogue import corrupt

        yield pixels
        for severity, name in self._corruptions():
            draws = _draws(indices, purpose, name, severity, pixels.device)
            yield corrupt(pixels, name, severity, draws, self._catalogue())

    def chosen(self, pixels: Tensor, indices: Indices, numbers: npt.NDArray[np.int64], purpose: str) -> Tensor:
        """For each of `pixels` the version of its number (N,); uint8 of the same shape."""
        import numpy as np
        import torch

        from oodbench.corruptions.catalogue import corrupt

        versions = pixels.clone()
        for number, (severity, name) in enumerate(self._corruptions(), 1):
            rows = np.flatnonzero(numbers == number)
            if len(rows):
                draws = _draws(indices[rows], purpose, name, severity, pixels.device)
                places = torch.from_numpy(rows).to(pixels.device)
                versions[places] = corrupt(pixels[places], name, severity, draws, self._catalogue())
        return versions

    def _catalogue(self) -> Mapping[str, Corruption]:
        from oodbench.corruptions.catalogue import CORRUPTIONS, with_photographs

        return with_photographs(Path(self.frost)) if self.frost else CORRUPTIONS

    def _corruptions(self) -> list[tuple[int, str]]:
        return [(severity, name) for severity in self.severities for name in self.types]


def _draws(indices: Indices, purpose: str, name: str, severity: int, device: torch.device) -> CounterDraws:
    from oodbench.corruptions.draws import CounterDraws

    return CounterDraws(indices, "corruption", purpose, name, severity, device=device)
