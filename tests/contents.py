"""What is in a results folder, so that two of them can be compared to the bit."""

from pathlib import Path

from oodbench.results.store import cells

Place = tuple[str, str, str, str]
"""File below the folder, task, image set, and name of an array."""


def arrays(folder: Path) -> dict[Place, bytes]:
    """Every stored array of a group of scores."""
    columns = ("scores", "predictions", "labels", "indices")
    return {
        (str(cell.path.relative_to(folder)), group.task, group.image_set, name): array.tobytes()
        for cell in cells(folder)
        for group in cell.read()
        for name, array in [*((name, getattr(group, name)) for name in columns), *group.extras.items()]
    }
