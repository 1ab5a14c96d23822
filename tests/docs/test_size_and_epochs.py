"""The page about sizes and epochs shows what the scores beside it give, and says nothing else of them."""

import re
from itertools import combinations

import pytest

from docs._pages import sizes
from oodbench.registry import discover
from oodbench.results import reference
from oodbench.results.check import Status, check
from oodbench.results.folder import find_results
from oodbench.results.tables import result_difference, tidy

SCORES = sizes.PAGE.with_name("heldout-validation.zip")


@pytest.fixture(scope="module")
def cells():
    return find_results(SCORES).cells


@pytest.fixture(scope="module")
def trainings(cells):
    frame = tidy(cells, {})
    return {detector: sizes.trainings(frame, detector) for detector in sizes.MARKS}


def test_tables_and_picture_are_those_of_the_scores(trainings):
    page = sizes.PAGE.read_text(encoding="utf-8")
    for detector, (begin, end) in sizes.MARKS.items():
        shown = page.split(begin)[1].split(end)[0].strip()
        assert shown == sizes.table(trainings[detector])
        assert len(shown.splitlines()) > 5
    assert sizes.PICTURE.read_text(encoding="utf-8") == sizes.picture(trainings["atom"])


def test_the_reference_is_of_these_scores(cells):
    rows = reference.read(sizes.PAGE.with_name("measured.csv"))
    verdicts = check(cells, rows, discover())
    assert len(verdicts) == len(rows)
    assert [verdict.said for verdict in verdicts if verdict.status is not Status.PASS] == []


@pytest.fixture(scope="module")
def apart(cells):
    """By how much ATOM's trainings differ under attack, with intervals, and in accuracy; signs left out."""
    results = [(cell, tidy([cell], {})) for cell in cells if cell.path.parent.name == "atom"]
    figures = set()
    for one, other in combinations(results, 2):
        rows, _ = result_difference(*one, *other)
        attacked = rows[(rows["task"] == "linf") & (rows["metric"] == "auroc")]
        figures |= {f"{100 * abs(end):.2f}" for end in attacked[["value", "low", "high"]].to_numpy().flat}
        figures |= {f"{100 * abs(value):.1f}" for value in rows[rows["metric"] == "accuracy"]["value"]}
    return figures


def test_every_figure_of_the_text_stands_in_a_table_or_is_a_difference(apart):
    text = sizes.PAGE.read_text(encoding="utf-8")
    shown = ""
    for begin, end in sizes.MARKS.values():
        before, rest = text.split(begin)
        inside, after = rest.split(end)
        shown, text = shown + inside, before + after
    said = set(re.findall(r"(?<![\d.])\d+\.\d\d?(?!\d)", text))
    assert len(said) > 8
    # What another seed changes, of the page of other seeds; a standard error; the paper's figure.
    assert said - set(re.findall(r"\d+\.\d\d?", shown)) - apart == {"0.7", "1.1", "88.94"}
    published = reference.shipped_reference("published").query("suite == 'cifar10-adv' and detector == 'atom'")
    (of_paper,) = published.query("task == 'linf' and metric == 'auroc' and ood == 'mean:paper'")["value"]
    assert f"{100 * of_paper:.2f}" == "88.94"


def test_operations_are_those_of_the_network_and_a_file_is_found_beside_the_page():
    # A 3x3 convolution over 3 channels to 32, with stride 2: 16 x 16 x 27 x 32 multiplications and as many additions.
    assert sizes.million_operations("preactresnet-8-32") > 2 * 16 * 16 * 27 * 32 / 1e6
    assert sizes.million_operations("narrow.py:width16") < sizes.million_operations("preactresnet-8-32") / 3
