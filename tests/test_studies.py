"""Experiments behind pages of the documentation, in their small form."""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import ndtr

from oodbench.metrics import METRICS
from studies import coverage, promises


def test_the_truth_of_a_population_is_what_a_formula_says(monkeypatch):
    monkeypatch.setattr(coverage, "GRID", 20_000)
    truth = coverage.apart(100, 100, 2).truth("default")
    assert truth["auroc"] == pytest.approx(ndtr(2**0.5), abs=1e-3)
    assert truth["fpr95"] == pytest.approx(1 - ndtr(2 - 1.6448536), abs=1e-3)
    assert truth["detection_error"] == pytest.approx(ndtr(-1), abs=1e-3)
    few = coverage.rare(0.01, 500, 50).truth("default")
    assert (few["auroc"], few["fpr95"]) == pytest.approx((0.995, 0.0095), abs=2e-4)


def test_coverage_counts_the_draws_whose_interval_holds_the_truth(monkeypatch):
    monkeypatch.setattr(coverage, "GRID", 20_000)
    setting = coverage.apart(30, 30, 1)
    monkeypatch.setattr(
        coverage, "intervals", lambda *scores: dict.fromkeys(METRICS, (0.0, float(np.mean(scores[0]) > 1)))
    )
    counted = coverage.single(setting, "default", 200, seed=1)["auroc"]
    assert counted.held == counted.width  # the interval is [0, 1] or [0, 0]
    assert 0.3 < counted.held < 0.7


def test_a_table_of_coverage(monkeypatch):
    monkeypatch.setattr(coverage, "GRID", 20_000)
    monkeypatch.setattr(coverage, "SETTINGS", coverage.SETTINGS[:1])
    monkeypatch.setattr(coverage, "PAIRS", coverage.PAIRS[3:4])
    result = CliRunner().invoke(coverage.main, ["--replications", "20"], catch_exceptions=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    first = [line.split("|")[1].strip() for line in lines if "---" not in line]
    assert first == ["values", "normal, 1 apart", "differences", "2 and 1 apart"]
    assert "standard error of a coverage of 95 %: 4.9" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("least: ")


def test_promises_are_kept_over_simulated_splits():
    found = CliRunner().invoke(promises.main, ["--splits", "100", "--seed", "3"])
    assert found.exit_code == 0, found.output
    assert found.output.count("| yes") == 18
    assert not promises.Kept("", "", promised=0.05, realised=0.06, error=0.004).holds
