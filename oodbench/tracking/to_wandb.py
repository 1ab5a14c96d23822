"""A run's record as a run of Weights & Biases, in the project WANDB_PROJECT or "oodbench"."""

import os

# Without it, the library reports its own errors to its makers.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from oodbench.tracking.record import Record


def log(record: Record) -> str:
    """Log a record as a run; return where it is."""
    project = os.environ.get("WANDB_PROJECT", "oodbench")
    quiet = wandb.Settings(silent=True, console="off")
    with wandb.init(project=project, name=record.name, config=dict(record.parameters), settings=quiet) as run:
        run.summary.update(dict(record.metrics))
        shown = record.frame.astype(dict.fromkeys(record.frame.select_dtypes(["object", "str"]), str))
        run.log({"results": wandb.Table(dataframe=shown), "report": wandb.Html(record.page, inject=False)})
        kept = wandb.Artifact(f"oodbench-{run.id}", type="results")
        for name, text in record.files().items():
            with kept.new_file(name, encoding="utf-8") as file:
                file.write(text)
        run.log_artifact(kept)
        return f"run {run.id} at {run.dir if run.offline else run.url}"
