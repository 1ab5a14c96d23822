"""A detector in words, as its class tells them."""

from oodbench.detector import Detector
from oodbench.objective import Objective


def about_detector(cls: type[Detector]) -> str:
    """What it is, what it needs and is tuned on, and its parameters: a line each."""
    parameters = ", ".join(f"{name}={value}" for name, value in vars(cls().parameters).items())
    return "\n".join(
        [
            f"{(cls.__doc__ or '').strip().splitlines()[0]} {cls.paper}",
            f"needs {needs(cls)}; tuned on {tuned_on(cls)}",
            f"parameters: {parameters or 'none'}",
        ]
    )


def needs(cls: type[Detector]) -> str:
    """What there must be before it can score, such as "a plainly trained network"."""
    detector = cls()
    objective = detector.objective()
    training = "a training of its own" if objective != Objective() else "a plainly trained network"
    found = [f"{training} with outliers" if objective.uses_outliers else training]
    found += [f"a fit on {_id_images(cls)} training images"] if detector.observes() else []
    return ", ".join(found)


def tuned_on(cls: type[Detector]) -> str:
    """Which images its parameters are chosen on, such as "held-out ID images"; "nothing" where none is."""
    wanted = cls().tuning()
    if wanted:
        return f"held-out {_id_images(cls)} images" + (" and reserved outliers" if wanted.outliers else "")
    if cls.grid:
        return f"held-out ID images and reserved outliers, {cls.grid[0]} by `oodbench tune`"
    return "nothing"


def _id_images(cls: type[Detector]) -> str:
    return "labelled ID" if cls.reads_labels else "ID"
