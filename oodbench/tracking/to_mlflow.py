"""A run's record as a run of MLflow, at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME or "oodbench"."""

import os

# Without it, MLflow reports what it is used for to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow

from oodbench.tracking.record import Record

EXPERIMENT = "oodbench"


def log(record: Record) -> str:
    """Log a record as a run, inside one that is active already; return where it is."""
    inside = mlflow.active_run() is not None
    with mlflow.start_run(experiment_id=None if inside else _experiment(), run_name=record.name, nested=inside) as run:
        mlflow.log_params(dict(record.parameters))
        mlflow.log_metrics(dict(record.metrics))
        for name, text in record.files().items():
            mlflow.log_text(text, name)
    return f"run {run.info.run_id} at {mlflow.get_tracking_uri()}"


def _experiment() -> str | None:
    """The number of our own experiment, made if need be; None where the environment names an experiment."""
    if os.environ.keys() & {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"}:
        return None
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    return str(experiment.experiment_id if experiment else mlflow.create_experiment(EXPERIMENT))
