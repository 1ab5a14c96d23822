"""A detector in words, as its class tells them."""

from oodbench.detector import Detector
from oodbench.objective import Objective


def about_detector(cls: type[Detector]) -> str:
    """What it is, what it needs and is tuned on, and its parameters: a line each."""
    detector = cls()
    objective, tuning_wanted = detector.objective(), detector.tuning()
    images = "labelled ID" if detector.reads_labels else "ID"
    training = "a training of its own" if objective != Objective() else "a plainly trained network"
    needs = [f"{training} with outliers" if objective.uses_outliers else training]
    needs += [f"a fit on {images} training images"] if detector.observes() else []
    tuned = "nothing"
    if tuning_wanted:
        tuned = f"held-out {images} images" + (" and reserved outliers" if tuning_wanted.outliers else "")
    elif cls.grid:
        tuned = f"held-out ID images and reserved outliers, {cls.grid[0]} by `oodbench tune`"
    parameters = ", ".join(f"{name}={value}" for name, value in vars(detector.parameters).items())
    return "\n".join(
        [
            f"{(cls.__doc__ or '').strip().splitlines()[0]} {cls.paper}",
            f"needs {', '.join(needs)}; tuned on {tuned}",
            f"parameters: {parameters or 'none'}",
        ]
    )
