"""A run's record as a run of MLflow, at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME or "oodbench"."""

import os

# Without it, MLflow reports what it is used for to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow

from oodbench.tracking.record import Record

EXPERIMENT = "oodbench"


def log(record: Record) -> str:
    """Make the run, inside one that is active already; where it is."""
    inside = mlflow.active_run() is not None
    with mlflow.start_run(experiment_id=None if inside else _experiment(), run_name=record.name, nested=inside) as run:
        mlflow.log_params(dict(record.parameters))
        mlflow.log_metrics(dict(record.metrics))
        for name, text in record.files().items():
            mlflow.log_text(text, name)
    return f"run {run.info.run_id} at {mlflow.get_tracking_uri()}"


def _experiment() -> str | None:
    """The experiment that nobody chose; None where somebody did."""
    if os.environ.keys() & {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"}:
        return None
    found = mlflow.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else mlflow.create_experiment(EXPERIMENT))
