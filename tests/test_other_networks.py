"""Pages about networks that others trained say what the figures beside them are."""

import re

import pytest

from benchmarks.other_networks import PAGES, ROBUST_DETECTORS, ROBUST_TASKS, accuracies, means
from benchmarks.real_photographs import BEGIN, END
from oodbench.results import reference
from oodbench.suitefiles import suitefile

ROBUST, _ = PAGES["robust-classifiers"]


@pytest.fixture(scope="module")
def measured():
    return reference.read(ROBUST.parent / "measured.csv")


def rows_of(page):
    block = page.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block[2:]]


def test_every_figure_of_the_robust_networks_is_the_references(measured):
    auroc, accuracy = means(measured, "auroc"), accuracies(measured)
    rows = rows_of(ROBUST)
    assert {name for name, *_ in rows} == set(accuracy.index)
    for name, known, *cells in rows:
        assert known == f"{accuracy[name]:.1f}"
        for detector, cell in zip(ROBUST_DETECTORS, cells, strict=True):
            said = " / ".join(f"{auroc[name, detector, task]:.1f}" for task in ROBUST_TASKS)
            assert cell.replace("‡", "") == said


def test_every_figure_of_its_text_stands_in_its_table():
    page = ROBUST.read_text(encoding="utf-8")
    table = set(re.findall(r"\d+\.\d", page.split(BEGIN)[1].split(END)[0]))
    text = page.split(BEGIN)[0] + page.split(END)[1]
    figures = re.findall(r"(?<![\d.])\d\d\.\d(?!\d)", text)
    assert len(figures) > 4
    assert set(figures) <= table


@pytest.mark.parametrize("file", sorted(ROBUST.parent.glob("*.toml")), ids=lambda file: file.stem)
def test_its_suites_are_what_was_measured(file, measured):
    suite = suitefile.read(str(file))
    rows = measured[measured["suite"] == suite.name]
    assert set(rows["suite_fingerprint"]) == {suite.fingerprint}
