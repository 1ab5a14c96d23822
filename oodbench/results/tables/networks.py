"""The network that a result was scored with, and its comparison with that of another result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.basics.errors import OodbenchError
from oodbench.results.store import Cell
from oodbench.results.tables.lines import network_notes

if TYPE_CHECKING:
    from oodbench.detector import Detector


@dataclass(frozen=True)
class NetworkBehind:
    """The network that a result was scored with.

    Attributes:
        called: for people.
        digest: SHA-256 of its weights; "" if unknown.
        recipe: the file that the run trained, whose name has a key of all that the training was told; "" of a network
            that was given, whose file anybody may have named.
        given: the checkpoint or kept network that it came as; "" if the run trained it.
        objective: how the detector has its network trained, if the result says it.
    """

    called: str
    digest: str
    recipe: str
    given: str
    objective: str

    @classmethod
    def of(cls, cell: Cell) -> NetworkBehind:
        """Read it from the attributes of a cell."""
        attributes = cell.attributes()
        digest, file, given = (
            str(attributes.get(name, "")) for name in ("network_digest", "network_file", "checkpoint")
        )
        title = ", ".join(network_notes(attributes)) or f"network {file or attributes.get('network', '')}"
        weights = f", weights {digest[:8]}" if digest else ""
        return cls(f"{title}{weights}", digest, "" if given else file, given, str(attributes.get("objective", "")))

    def is_same_as(self, other: NetworkBehind) -> bool:
        """True if the weights are the same, as far as both results say it."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return (self.given, self.recipe) == (other.given, other.recipe)

    def trained_as(self, other: NetworkBehind) -> bool:
        """True if one run's training would have given both: on other machines it rounds to other weights."""
        return bool(self.recipe) and self.recipe == other.recipe


def objective_of(network: NetworkBehind, name: str, detectors: Mapping[str, type[Detector]]) -> str:
    """The objective of the network of the detector `name`; "" if neither its result nor the method itself tells it.

    Results of before this was stored do not say it, so the method is asked, with parameters as they usually are.
    """
    if network.objective or name not in detectors:
        return network.objective
    try:
        return detectors[name]().objective().identity
    except OodbenchError:  # what it imports is not installed here
        return ""
