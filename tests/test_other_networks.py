"""Pages about networks that others trained say what the figures beside them are."""

import re

import pytest

from benchmarks.other_networks import PAGES, ROBUST_DETECTORS, ROBUST_TASKS, SCENES, TEXTURES, accuracies, means
from benchmarks.real_photographs import BEGIN, END
from oodbench.results import reference
from oodbench.suitefiles import suitefile

ROBUST, _ = PAGES["robust-classifiers"]
IMAGENET, _ = PAGES["imagenet-small"]


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


def test_every_figure_at_imagenets_size_is_the_references():
    rows = reference.shipped("measured")
    rows = rows[(rows["suite"] == "imagenet-small-adv") & (rows["limit"] == 0)]
    clean = rows[(rows["task"] == "clean") & (rows["images"] == 0)].set_index(["detector", "ood", "metric"])["value"]
    shown = rows_of(IMAGENET)
    assert len(shown) > 10
    for name, *cells in shown:
        for ood, cell in zip((SCENES, TEXTURES), cells, strict=True):
            both = (100 * clean[name, ood, metric] for metric in ("fpr95", "auroc"))
            assert cell.rstrip("‡") == " / ".join(f"{one:.1f}" for one in both)
    page = IMAGENET.read_text(encoding="utf-8")
    attacked = rows[(rows["task"] == "linf") & (rows["metric"] == "auroc")].groupby("detector")["value"].mean()
    assert f"leaves MSP {100 * attacked['msp']:.1f} and energy {100 * attacked['energy']:.1f}." in page
    assert f"recognises {100 * rows[rows['metric'] == 'accuracy']['value'].max():.1f} %" in page.replace("\n", " ")


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
