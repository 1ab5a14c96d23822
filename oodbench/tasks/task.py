"""Task: the contract between the runner and the code that alters images before they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from oodbench.basics.passes import Passes
from oodbench.tasks.versions import Versions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from oodbench.attacks.attack_goal import Goal
    from oodbench.tasks.versions import Indices

ID_TASK = "id"
"""The name under which clean ID test scores are kept; no task of a suite may take it."""

NORMS = {"linf": "L-infinity", "l2": "L2"}
"""Names of norms in texts."""

SIDES = ("out", "in", "both")
"""Which images are attacked: OOD images, ID images or both."""


@dataclass(frozen=True)
class Altered:
    """A batch as a detector will see it.

    Attributes:
        images: float (N, C, H, W) in [0, 1], on the 8-bit grid.
        extras: objectives, flags and the like that are stored for each image, arrays (N,).
    """

    images: Tensor
    extras: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


class Task:
    """How images are altered. Subclasses are frozen dataclasses whose fields are what a suite may say of them.

    First each detector takes, of each OOD image, the version that it most takes for ID; then it is attacked from there.
    A task that says nothing leaves images as they are.

    Attributes:
        kind: what a suite calls it.
        epsilon: radius of the ball in which images move, in 1/255 of pixel space; 0 where none does.
        side: who is attacked, one of `SIDES`.
        certifies: it bounds scores instead of altering images.
        smooths: it scores noisy copies of images, see `oodbench.tasks.smoothed`.
        together: batches of the usual size that `alter` is given at once.
        norm: in which the ball is measured, a key of `oodbench.attacks.balls.BALLS`.
        eot: draws, at least, over which an attack takes the mean of a random score at each look.
    """

    kind: ClassVar[str]
    certifies: ClassVar[bool] = False
    smooths: ClassVar[bool] = False
    together: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    epsilon: int = 0
    side: str = "out"
    eot: int = 50

    def versions(self) -> Versions:
        """The versions of an image that are tried before an attack: the image itself, if the task has no others."""
        return Versions()

    def attacks(self) -> bool:
        """True where images move inside a ball, after the choice of a version."""
        return self.epsilon > 0 and not self.certifies

    def climbs(self) -> bool:
        """True where the task follows gradients of a score."""
        return self.attacks()

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The batch as it will be scored.

        Args:
            goal: of a fitted detector whose network stands in evaluation mode with frozen weights.
            images: float (N, C, H, W) in [0, 1], on the 8-bit grid.
            indices: (N,) of each image in its set; with `purpose` they seed what is random, image by image.
            purpose: text that names seed and image set.
        """
        return Altered(images)

    def stops_at(self) -> float:
        """The share of the ID scores that an attacked image has to pass for the attack to stop."""
        return 1.0

    def passes(self) -> Passes:
        """The cost of the attack on one image and of its score, in passes of the plain network."""
        return Passes()

    def random_passes(self) -> Passes:
        """The same cost for a random score; a look counts as one pass, however many draws it takes."""
        return self.passes()

    def threat(self) -> str:
        """One phrase for people: who alters what, by how much."""
        return "images as they are"


LATER = {"later": True}
"""Metadata of a field that was added after the first results: `constants` names it where it is not the default."""


L2_MOST = 99_999
"""The largest L2 radius: about the diagonal of the pixel range of an image of 224 pixels, in 1/255."""


def constants(task: Task) -> dict[str, Any]:
    """A task in JSON's types: its kind and the value of every field.

    A field with the metadata `LATER` is left out where it has its default.
    """
    defaults = {field.name: field.default for field in fields(task) if field.metadata.get("later")}  # type: ignore[arg-type]
    values = asdict(task).items()  # type: ignore[call-overload]
    named = {name: value for name, value in values if name not in defaults or value != defaults[name]}
    return {"kind": task.kind, **named}


def attacked_text(side: str) -> str:
    """The images that a threat moves, in words."""
    return {
        "out": "OOD images attacked; ID clean",
        "in": "ID images attacked; OOD clean",
        "both": "OOD and ID images attacked",
    }[side]


def check_radius(epsilon: int) -> None:
    """Raise ValueError for anything but 0 to 255 levels."""
    if isinstance(epsilon, bool) or epsilon not in range(256):
        raise ValueError(f"epsilon is {epsilon}, but it counts whole levels of 1/255: choose 0 to 255")


def check_l2_radius(epsilon: int) -> None:
    """Raise ValueError for anything but a whole number from 0 to `L2_MOST`."""
    if isinstance(epsilon, bool) or epsilon not in range(L2_MOST + 1):
        raise ValueError(
            f"epsilon is {epsilon}, but an L2 radius counts whole 1/255 of pixel space: choose 0 to {L2_MOST}, 128 for "
            "the 0.5 of the literature"
        )


def check_side(side: str) -> None:
    """Raise ValueError for anything but one of `SIDES`."""
    if side not in SIDES:
        raise ValueError(f"side is {side!r}: choose one of {', '.join(map(repr, SIDES))}")
