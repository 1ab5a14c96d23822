"""A run's record as a run of Trackio, in the project TRACKIO_PROJECT or "oodbench"; its files lie in TRACKIO_DIR."""

import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import trackio

from oodbench.tracking.record import Record


def log(record: Record) -> str:
    """Log a record as a run; return where it is."""
    project = os.environ.get("TRACKIO_PROJECT", "oodbench")
    with redirect_stdout(StringIO()), TemporaryDirectory() as folder:  # standard output is the table's
        run = trackio.init(project=project, name=None, config={"title": record.name, **record.parameters})
        try:
            trackio.log({**record.metrics, "results": trackio.Table(dataframe=record.frame.astype(str))})
            for name, text in record.files().items():
                Path(folder, name).write_text(text, encoding="utf-8")
            trackio.log_artifact(folder, name=f"oodbench-{run.name}", type="results")
        finally:
            trackio.finish()
    return f"run {run.name} of project {project}; `trackio show --project {project}` shows it"
