"""The page as a file: nothing in it breaks out, nothing is loaded from elsewhere, and it stays small."""

import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files

import pytest

from oodbench.basics.words import in_one_line
from oodbench.results.report import boards, render
from oodbench.results.report.page import embedded_json

VENDOR = files("oodbench.results.report") / "vendor"
HOSTILE = "</script><script>document.title='owned'</script><!--\"'&\u2028"


def data_of(page):
    """What the page's data element holds, as a browser cuts it out: up to the first closing tag."""
    _, _, rest = page.partition('<script type="application/json" id="data">')
    return json.loads(rest.partition("</script")[0])


def test_a_hostile_name_stays_a_name(made, data):
    made_cell = made(HOSTILE, settings=HOSTILE, paper=HOSTILE)
    page = render(boards([made_cell], data)).decode()
    ((board,), (row,)) = (found := data_of(page)["boards"]), found[0]["rows"]
    assert row["detector"] == row["paper"] == in_one_line(HOSTILE)
    assert "owned'</script>" not in page
    assert board["suite"] == "toys"


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "&lt;", '"', "\\", "\u2028", "\u2029", "é"])
def test_text_comes_back_and_nothing_in_it_is_markup(text):
    written = embedded_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert not re.search("[<>&\u2028\u2029]", written)


def test_what_is_no_number_is_null():
    assert json.loads(embedded_json([float("nan"), float("inf"), 0.1234567891])) == [None, None, 0.123457]


def test_the_policy_allows_the_pages_own_scripts_and_nothing_from_elsewhere(made, data):
    page = render(boards([made()], data)).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == rules["script-src"].count("sha256-") == 11
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page.partition("<script")[0])


@pytest.mark.parametrize("name", ["d3.min.js", "plot.umd.min.js"])
def test_a_vendored_library_is_the_one_that_the_note_names(name):
    note = (VENDOR / "README.md").read_text()
    assert f"{hashlib.sha256((VENDOR / name).read_bytes()).hexdigest()}" in next(
        line for line in note.splitlines() if line.startswith(f"| {name} ")
    )
    assert "</script" not in (VENDOR / name).read_text()


def test_licences_travel_with_the_page(made, data):
    page = render(boards([made()], data)).decode()
    assert page.count("Permission to use, copy, modify, and/or distribute this software") == 2


def test_ten_detectors_on_four_tasks_stay_under_five_megabytes(made, data):
    tasks = ("clean", "linf", "linf-eps8", "linf-eps16")
    page = render(boards([made("x" * number, tasks=tasks, gap=1.0) for number in range(1, 11)], data))
    assert len(page) < 5e6


def test_the_same_results_give_the_same_page(made, data):
    cells = [made()]
    assert render(boards(cells, data)) == render(boards(cells, data))


def test_thresholds_and_axes_keep_all_their_digits():
    """Scores may differ in their last digits alone: at a rounded threshold every image could be rejected."""
    exact, tiny = -6.906754778648554, 1.8160733879438617e-12
    data = {"threshold": exact, "value": exact, "histogram": {"low": tiny, "high": exact, "counts": {"id": [1, 2]}}}
    found = json.loads(embedded_json({"rows": [data]}))["rows"][0]
    assert found["threshold"] == found["histogram"]["high"] == exact
    assert found["histogram"]["low"] == tiny
    assert found["value"] == -6.90675


def test_a_page_of_scores_that_differ_in_their_last_digits_tells_them_apart(made, data):
    cell = made()
    for group in cell.read():
        cell.add(replace(group, scores=-6.90675478 + 1e-8 * group.scores), cell.attributes())
    board_of_cell = boards([cell], data)
    (row,) = data_of(render(board_of_cell).decode())["boards"][0]["rows"]
    assert row["operating"][0]["threshold"] == board_of_cell[0].rows[0].operating[0].threshold
    for panel in row["panels"]:
        assert panel["histogram"]["low"] < panel["threshold"] < panel["histogram"]["high"]
