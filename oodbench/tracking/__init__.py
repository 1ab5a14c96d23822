"""Experiment trackers: a run's results, report page and provenance as one run of MLflow, W&B or Trackio."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from oodbench.basics.errors import OodbenchError, unknown

if TYPE_CHECKING:
    from oodbench.tracking.record import Record

TRACKERS: Mapping[str, str] = {"mlflow": "MLflow", "wandb": "Weights & Biases", "trackio": "Trackio"}
"""What each tracker is called, by the name of its package, which is that of the extra that installs it."""


def require(names: Sequence[str]) -> None:
    """Raise OodbenchError if one of the trackers is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name, as W&B leaves behind, is no package
            raise OodbenchError(
                f"--log {name} needs {TRACKERS[name]}, which is not installed: pip install 'oodbench[{name}]'"
            )


def log(record: "Record", names: Sequence[str]) -> list[str]:
    """Give the record to each of the trackers, as one run.

    Returns:
        Where each tracker has it, a line a tracker.

    Raises:
        OodbenchError: some of them did not take it; the others have it.
    """
    places, refusals = [], []
    for name in dict.fromkeys(names):
        take: Callable[[Record], str] = import_module(f"oodbench.tracking.to_{name}").log
        try:
            places.append(f"{TRACKERS[name]}: {take(record)}")
        except Exception as error:  # a tracker's library may raise anything
            why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            refusals.append(
                f"{TRACKERS[name]} did not take the results ({why}): they are stored all the same; mend that "
                "and give the same command again, which does nothing twice"
            )
    if refusals:
        raise OodbenchError("\n".join([*places, *refusals]))
    return places
