"""Pages about networks that others trained say what the figures beside them are."""

import re

import pandas as pd
import pytest

from docs._pages import real_photographs
from docs._pages.other_networks import (
    LARGER,
    ROBUST_DETECTORS,
    ROBUST_TASKS,
    SCENES,
    SMALL,
    TABLES,
    TEXTURES,
    accuracies,
    means,
)
from docs._pages.real_photographs import BEGIN, END
from oodbench.registry import discover
from oodbench.results import reference
from oodbench.results.check import Status, check
from oodbench.results.folder import find_results
from oodbench.results.tables import tidy
from oodbench.suitefiles import suitefile

ROBUST = TABLES["robust-classifiers"].page
IMAGENET = TABLES["imagenet-small"].page
LARGER_PAGE = TABLES["larger-network"].page
SEEDS_PAGE = TABLES["other-seeds"].page


@pytest.fixture(scope="module")
def measured():
    return reference.read(ROBUST.parent / "measured.csv")


@pytest.fixture(scope="module")
def on_larger():
    return reference.read(LARGER_PAGE.parent / "measured.csv")


def inside(table):
    """What stands between a table's marks on its page."""
    return table.page.read_text(encoding="utf-8").split(table.begin)[1].split(table.end)[0].strip()


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
    rows = reference.shipped_reference("measured")
    rows = rows[(rows["suite"] == "imagenet-small-adv") & (rows["limit"] == 0)]
    clean = rows[(rows["task"] == "clean") & (rows["images"] == 0)].set_index(["detector", "ood", "metric"])["value"]
    shown = rows_of(IMAGENET)
    assert len(shown) > 10
    attacked = rows[rows["task"] == "linf"].groupby(["detector", "metric"])["value"].mean()
    assert set(rows[rows["task"] == "linf"]["images"]) == {50}
    for name, *cells, left in shown:
        for ood, cell in zip((SCENES, TEXTURES), cells, strict=True):
            both = (100 * clean[name, ood, metric] for metric in ("fpr95", "auroc"))
            assert cell.rstrip("‡") == " / ".join(f"{one:.1f}" for one in both)
        assert left.rstrip("‡") == " / ".join(f"{100 * attacked[name, metric]:.1f}" for metric in ("fpr95", "auroc"))
    page = IMAGENET.read_text(encoding="utf-8")
    most = attacked[:, "auroc"].max()
    assert f"FPR@95 is 100.0 for each, and no AUROC is above {100 * most:.1f}." in page.replace("\n  ", " ")
    assert attacked[:, "fpr95"].min() == 1
    assert f"recognises {100 * rows[rows['metric'] == 'accuracy']['value'].max():.1f} %" in page.replace("\n", " ")


def test_every_figure_of_the_larger_network_is_the_references_and_of_the_small_one_its_pages(on_larger):
    of_small = {name: (clean, linf) for name, _, clean, _, linf, *_ in rows_of(real_photographs.PAGE)}
    whole = on_larger[(on_larger["settings"] == "") & (on_larger["limit"] == 0)]
    fpr95, auroc = means(whole, "fpr95"), means(whole, "auroc")
    shown = rows_of(LARGER_PAGE)
    assert {name for name, *_ in shown} == set(on_larger["detector"])
    for name, clean_small, clean, linf_small, linf in shown:
        assert (clean_small, linf_small) == of_small[name]
        for task, cell in (("clean", clean), ("linf", linf)):
            place = LARGER, name, task
            assert cell.rstrip("‡") == (f"{fpr95[place]:.2f} / {auroc[place]:.2f}" if place in auroc else "–")
    page = LARGER_PAGE.read_text(encoding="utf-8")
    assert f"recognises {accuracies(on_larger)[LARGER]:.2f} %" in page.replace("\n", " ")


def test_the_scores_beside_the_larger_networks_page_give_its_figures(on_larger):
    cells = find_results(LARGER_PAGE.parent / f"{LARGER}.zip").cells
    assert {cell.path.parent.name for cell in cells} == set(on_larger["detector"])
    verdicts = check(cells, on_larger, discover())
    assert len(verdicts) == len(on_larger)
    assert [one.said for one in verdicts if one.status is not Status.PASS] == []


def test_every_figure_of_other_seeds_is_the_references_and_of_the_first_one_its_pages():
    rows = reference.read(SEEDS_PAGE.parent / "measured.csv")
    rows = rows[rows["task"] == "clean"].astype({"seed": int})
    value = 100 * rows.set_index(["detector", "seed", "metric"])["value"]
    of_first = {name: clean.rstrip("‡") for name, _, clean, *_ in rows_of(real_photographs.PAGE)}
    shown = rows_of(SEEDS_PAGE)
    assert {name.rstrip("‡") for name, *_ in shown} == set(rows["detector"])
    for name, first, *others, mean, apart in shown:
        name = name.rstrip("‡")
        assert first == of_first[name]
        for seed, cell in zip((2, 3), others, strict=True):
            assert cell == f"{value[name, seed, 'fpr95']:.2f} / {value[name, seed, 'auroc']:.2f}"
        auroc = [float(cell.partition(" / ")[2]) for cell in (first, *others)]
        assert float(mean) == pytest.approx(sum(auroc) / 3, abs=0.011)
        assert float(apart) == pytest.approx(max(auroc) - min(auroc), abs=0.011)


def test_the_scores_beside_the_page_of_other_seeds_give_its_figures():
    rows, cells = (
        reference.read(SEEDS_PAGE.parent / "measured.csv"),
        find_results(SEEDS_PAGE.parent / f"{SMALL}.zip").cells,
    )
    verdicts = check(cells, rows, discover())
    assert len(verdicts) == len(rows)
    assert [one.said for one in verdicts if one.status is not Status.PASS] == []
    # The reference allows whoever trains anew five points; these are the very scores.
    frame = tidy(cells, {})
    for name in ("other-seeds", "other-seeds-attacked"):
        assert TABLES[name].make(frame) == inside(TABLES[name])


def test_every_figure_of_the_text_on_other_seeds_was_measured():
    said, shown = figures_around_the_table(SEEDS_PAGE, 2)
    rows = reference.read(SEEDS_PAGE.parent / "measured.csv")
    known = {f"{100 * one:.2f}" for one in rows[rows["metric"] == "accuracy"]["value"]} | {"87.24"}
    auroc = pd.DataFrame(
        {name: [float(cell.partition(" / ")[2]) for cell in cells[:3]] for name, *cells in rows_of(SEEDS_PAGE)}
    ).T
    over_one_network = auroc.drop(index=["oe", "ntom", "atom"])
    correlation = over_one_network.corr("spearman").to_numpy()[[0, 0, 1], [1, 2, 2]]
    known |= {f"{correlation.min():.2f}", f"{correlation.max():.2f}"}
    known |= set(re.findall(r"\d+\.\d{2}", inside(TABLES["other-seeds-attacked"])))
    assert len(said) > 8
    assert said <= shown | known


def figures_around_the_table(page, decimals):
    """What the text says beside its table, and what the table says."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    inside, after = rest.split(END)
    figure = rf"(?<![\d.])\d+\.\d{{{decimals}}}(?!\d)"
    return set(re.findall(figure, before + after)), set(re.findall(figure, inside))


def test_every_figure_of_its_text_stands_in_its_table():
    said, shown = figures_around_the_table(ROBUST, 1)
    assert len(said) > 4
    assert said <= shown


def test_every_figure_of_the_larger_networks_text_was_measured(on_larger):
    """In its table, under the adaptive attack, with another setting, or as the accuracy of one of the two networks."""
    said, shown = figures_around_the_table(LARGER_PAGE, 2)
    small = reference.shipped_reference("measured").query("suite == @SMALL and detector == 'msp'")
    known = {accuracies(on_larger)[LARGER], accuracies(small)[SMALL]}
    for _, rows in on_larger[on_larger["limit"] > 0].groupby("settings"):
        known |= {*means(rows, "fpr95").values(), *means(rows, "auroc").values()}
    # A reference knows no intervals of what it measured.
    cells = find_results(LARGER_PAGE.parent / f"{LARGER}.zip").cells
    attacked = tidy([cell for cell in cells if cell.path.parent.name in ("energy", "klm", "knn", "msp")], {})
    adaptive = attacked.query("task == 'linf-adaptive' and metric == 'auroc'").groupby("detector")
    known |= {*(100 * adaptive[["value", "low", "high"]].mean()).to_numpy().ravel()}
    assert len(said) > 10
    assert said <= shown | {f"{one:.2f}" for one in known}


@pytest.mark.parametrize(
    "file",
    sorted(path for page in (ROBUST, LARGER_PAGE) for path in page.parent.glob("*.toml")),
    ids=lambda file: file.stem,
)
def test_the_suites_of_a_page_are_what_was_measured(file):
    suite = suitefile.read(str(file))
    rows = reference.read(file.parent / "measured.csv")
    rows = rows[rows["suite"] == suite.name]
    assert set(rows["suite_fingerprint"]) == {suite.fingerprint}
