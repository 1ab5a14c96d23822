"""A detector in words, as its class tells them."""

from oodbench.detector import Detector
from oodbench.objective import Objective


def about_detector(cls: type[Detector]) -> str:
    """Return what a detector is, what it needs and is tuned on, and its parameters: a line each."""
    parameters = ", ".join(f"{name}={value}" for name, value in vars(cls().parameters).items())
    return "\n".join(
        [
            f"{(cls.__doc__ or '').strip().splitlines()[0]} {cls.paper}",
            f"needs {needs(cls)}; tuned on {tuned_on(cls)}",
            f"parameters: {parameters or 'none'}",
        ]
    )


def needs(cls: type[Detector]) -> str:
    """Return what there must be before a detector can score, such as "a plainly trained network"."""
    detector = cls()
    objective = detector.objective()
    training = "a training of its own" if objective != Objective() else "a plainly trained network"
    needed = [f"{training} with outliers" if objective.uses_outliers else training]
    needed += [f"a fit on {_id_images(cls)} training images"] if detector.observes() else []
    return ", ".join(needed)


def tuned_on(cls: type[Detector]) -> str:
    """Return which images a detector's parameters are chosen on, such as "held-out ID images"; or "nothing"."""
    tuning = cls().tuning()
    if tuning:
        return f"held-out {_id_images(cls)} images" + (" and reserved outliers" if tuning.outliers else "")
    if cls.grid:
        return f"held-out ID images and reserved outliers, {cls.grid[0]} by `oodbench tune`"
    return "nothing"


def _id_images(cls: type[Detector]) -> str:
    return "labelled ID" if cls.reads_labels else "ID"
