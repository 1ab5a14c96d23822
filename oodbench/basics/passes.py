"""Passes: the cost of work, counted in images through the network before any of it is done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Passes:
    """Images that go forward through the network, and images whose gradient comes back."""

    forward: int = 0
    backward: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, times: int) -> "Passes":
        return Passes(self.forward * times, self.backward * times)

    @property
    def both(self) -> int:
        """The number of passes of either kind."""
        return self.forward + self.backward

    def __str__(self) -> str:
        return f"{self.forward:,} forward and {self.backward:,} backward passes"
