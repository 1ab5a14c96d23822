"""A run's results with an experiment tracker: what it gets, and what is said where it cannot."""

import io
import json
import sys
import time

import numpy as np
import pandas as pd
import pytest

import oodbench as package
from oodbench.basics.errors import OodbenchError
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.results.tables import load_results
from oodbench.tracking import log, require
from oodbench.tracking.record import SHORT, make_record

QUICK = ("run", "--suite", "digits", "--detector", "msp", "--limit", "20", "--set", "epochs=1", "--jobs", "1")


@pytest.fixture
def record(stored, tmp_path):
    folder = tmp_path / "results"
    both = (("letters", (0.0, 1.0, 2.5, 9.0)), ("noise", (0.0, 0.0, 0.5, 0.5)))
    about = {"means": json.dumps({"all": ["letters", "noise"]}), "code": "0" * 64, "suite": "digits-adv"}
    stored(folder, ood=both, **about)
    stored(folder, seed=2, ood=(("letters", (0.0, 0.0, 0.0, 0.0)), both[1]), **about)
    stored(folder, detector="energy", parameters=json.dumps({"long": "x" * 600}), **about)
    return make_record(cells(folder), tmp_path, discover())


def test_metrics_are_means_over_seeds_and_over_the_suites_sets(record):
    one = record.metrics["digits-adv/msp/linf/letters/auroc"]
    # Of 8 ID images, 2 to 9: all above 0 and 1, seven above 2.5, none above 9 and one equal.
    assert one == pytest.approx(((8 + 8 + 7 + 0.5) / 32 + 1) / 2)
    assert record.metrics["digits-adv/msp/linf/noise/auroc"] == 1
    assert record.metrics["digits-adv/msp/linf/auroc"] == pytest.approx((one + 1) / 2)
    assert record.metrics["digits-adv/msp/accuracy"] == pytest.approx(7 / 8)
    assert "digits-adv/energy/linf/letters/auroc" in record.metrics
    assert "digits-adv/energy/linf/auroc" not in record.metrics  # of two sets one was measured
    assert np.isfinite(list(record.metrics.values())).all()


def test_a_record_says_what_was_run_and_all_that_is_known_of_it(record):
    assert record.name == "digits-adv: energy, msp"
    assert record.parameters["seed"] == "1, 2"
    assert len(record.parameters["parameters"]) == SHORT
    assert "checkpoint" not in record.parameters  # there was none
    known = json.loads(record.files()["provenance.json"])
    assert [cell["detector"] for cell in known["cells"]] == ["energy", "msp", "msp"]
    assert {"letters", "noise"} <= {one["ood"] for one in known["image_sets"]}
    assert "x" * 600 in known["cells"][0]["parameters"]


def require_package(name):
    return pytest.importorskip(name, reason=f"needs the extra {name!r}")


@pytest.fixture
def mlflow(monkeypatch, tmp_path):
    """MLflow with a store of files, of which nothing is left afterwards."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    library = require_package("mlflow")
    before = library.get_tracking_uri()
    library.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield library
    library.set_tracking_uri(before)


def runs(mlflow):
    experiment = mlflow.get_experiment_by_name("oodbench")
    return mlflow.MlflowClient().search_runs([experiment.experiment_id])


def test_mlflow_has_frame_report_and_provenance_as_one_run(oodbench, mlflow, tmp_path):
    code, out, err = oodbench(*QUICK, "--log", "mlflow")
    assert code == 0, err
    (run,) = runs(mlflow)
    assert f"MLflow: run {run.info.run_id} at " in out
    assert run.info.run_name == "digits: msp" and run.info.status == "FINISHED"
    frame = load_results(tmp_path / "results")
    auroc = frame[(frame.metric == "auroc") & (frame.task == "clean")].set_index("ood").value
    for ood, value in auroc.items():
        assert run.data.metrics[f"digits/msp/clean/{ood}/auroc"] == pytest.approx(value)
    assert run.data.metrics["digits/msp/clean/auroc"] == pytest.approx(auroc.mean())
    assert run.data.params["settings"] == "epochs=1" and run.data.params["network_digest"] == frame.network_digest[0]

    def text(name):
        return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{name}")

    kept = pd.read_csv(io.StringIO(text("results.csv")))
    assert kept["value"].tolist() == pytest.approx(frame["value"].tolist())
    assert text("report.html").startswith("<!") and "digits" in text("report.html")
    assert json.loads(text("provenance.json"))["cells"][0]["network_digest"] == frame.network_digest[0]
    said = []
    package.run("digits", "msp", limit=20, parameters={"epochs": 1}, log="mlflow", say=said.append)
    assert "MLflow: run" in said[-1] and len(runs(mlflow)) == 2  # the same results, logged again


def test_a_run_inside_an_active_one_is_its_child(mlflow, record):
    with mlflow.start_run() as outer:
        log(record, ["mlflow"])
        assert mlflow.active_run().info.run_id == outer.info.run_id
    (child,) = mlflow.MlflowClient().search_runs(["0"], f"tags.mlflow.parentRunId = '{outer.info.run_id}'")
    assert child.data.metrics == pytest.approx(dict(record.metrics))


def test_results_are_kept_and_shown_where_a_tracker_does_not_take_them(oodbench, mlflow, monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow, "log_metrics", lambda _: 1 / 0)
    code, out, err = oodbench(*QUICK, "--log", "mlflow")
    assert code == 2
    assert "MLflow did not take the results (division by zero): they are stored all the same" in err
    assert "Traceback" not in err
    assert "msp" in out and len(cells(tmp_path / "results")) == 1
    assert mlflow.active_run() is None


def test_wandb_takes_it_without_a_server(record, monkeypatch, tmp_path):
    require_package("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    (said,) = log(record, ["wandb"])
    assert said.startswith("Weights & Biases: run ")
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    until = time.monotonic() + 30  # its own process writes it, in a while
    while b"digits-adv/msp/linf/letters/auroc" not in kept.read_bytes() and time.monotonic() < until:
        time.sleep(0.1)
    assert b"digits-adv/msp/linf/letters/auroc" in kept.read_bytes()
    assert list(kept.parent.glob("files/media/html/*.html")) and list(kept.parent.glob("files/media/table/*.json"))


def test_trackio_takes_it(record, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = require_package("trackio")
    monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path / "trackio")
    (said,) = log(record, ["trackio"])
    assert said.startswith("Trackio: run ")
    kept = [path.read_bytes() for path in (tmp_path / "trackio").rglob("*") if path.is_file()]
    assert any(b"digits-adv/msp/linf/letters/auroc" in content for content in kept)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["mlflow", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_said_before_anything_is_done(oodbench, monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    code, out, err = oodbench(*QUICK, "--log", name)
    assert (code, out) == (2, "")
    assert f"pip install 'oodbench[{name}]'" in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_called_like_a_tracker_is_none(monkeypatch, tmp_path):
    (tmp_path / "wandb").mkdir()  # as Weights & Biases leaves it behind
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if "site-packages" not in p)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(OodbenchError, match=r"oodbench\[wandb\]"):
        require(["wandb"])


def test_other_trackers_are_refused(oodbench):
    with pytest.raises(OodbenchError, match="did you mean 'mlflow'"):
        require(["mlflw"])
    code, _, err = oodbench(*QUICK, "--log", "mlflw")
    assert code == 2 and "'mlflow'" in err
