"""The results of checking evidence: findings, line by line, and the scores of a row on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from oodbench.basics.arrays import Floats
from oodbench.board.archive import Indices, Row
from oodbench.board.description import Case
from oodbench.images.imageset import ImageSet
from oodbench.suite import Suite


class Status(StrEnum):
    """The result of a check."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """The result of one check, as a line.

    Attributes:
        status: the result.
        what: what was checked.
        said: why, for people.
    """

    status: Status
    what: str
    said: str

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.status:<13}  {self.what}: {self.said}"


@dataclass(frozen=True, eq=False)
class VerifiedSet:
    """One OOD set, as it was scored here.

    Attributes:
        sources: the whole set.
        indices: places of the attacked images in it.
        scores: theirs, of this machine.
        clean: scores of the images at these places as they are.
        images: SHA-256 of the attacked images.
    """

    sources: ImageSet
    indices: Indices
    scores: Floats
    clean: Floats
    images: str


@dataclass(frozen=True, eq=False)
class VerifiedRow:
    """The results of one row.

    Attributes:
        row: as the archive has it.
        findings: in the order in which things were looked at.
        suite: with the row's settings; None where it is not known.
        id_scores: of this machine; none where the row was not scored.
        sets: those that were scored here.
        cases: that it is about, see `oodbench.board.claims.covered_cases`; none where something does not hold,
            or was not checked.
    """

    row: Row
    findings: tuple[Finding, ...]
    suite: Suite | None = None
    id_scores: Floats = field(default_factory=lambda: np.empty(0))
    sets: Mapping[str, VerifiedSet] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()

    @property
    def amiss(self) -> Finding | None:
        """The first finding that does not hold, or else that was not checked; None where all was, and holds."""
        for status in (Status.FAILS, Status.UNCHECKED):
            for finding in self.findings:
                if finding.status == status:
                    return finding
        return None
