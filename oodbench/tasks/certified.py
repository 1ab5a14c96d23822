"""Bounds in place of an attack: no image in the ball scores higher than its bound."""

from dataclasses import dataclass, field

from oodbench.tasks.task import LATER, Task, check_radius

BOUNDS = {"intervals": "interval", "linear": "linear"}
"""Kinds of bounds, and the adjective that texts put before "bounds"."""


@dataclass(frozen=True)
class Certified(Task):
    """Each OOD image gets an upper bound of the detector's score over an L-infinity ball around it.

    The AUROC over these bounds is guaranteed: no attack whatever can push it lower (GAUC, Bitterwolf et al. 2020,
    arXiv:2007.08473). Bounds are intervals, which are wide in networks not trained for them: zero says that nothing is
    guaranteed, not that there is an attack. Detectors without a bound have no row.

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        bounds: "intervals", or "linear" for planes (CROWN-IBP), which are never wider and take a pass back for each
            pair of logits.
    """

    kind = "certified"
    certifies = True

    epsilon: int = 8
    bounds: str = field(default="intervals", metadata=LATER)

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        if self.bounds not in BOUNDS:
            raise ValueError(f"bounds is {self.bounds!r}: choose one of {', '.join(map(repr, BOUNDS))}")

    def threat(self) -> str:
        """A phrase for what is guaranteed."""
        return (
            f"no attack within L-infinity {self.epsilon}/255 on OOD images can do worse, by {BOUNDS[self.bounds]} "
            "bounds (0: the bounds are too wide to say anything); ID clean"
        )
