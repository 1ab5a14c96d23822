"""The page in a real browser: it loads alone, sorts, filters, draws every chart, and fits a telephone.

Debian's packages chromium and chromium-driver are enough. Without them these tests are skipped, unless
OODBENCH_BROWSER=required.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from oodbench.results.report import Other, boards, render, site_of, write_site
from oodbench.results.report.model import Signs
from tests.results.report.browsing import column, draw_everything, names, shown
from tests.results.report.conftest import maker


def test_it_loads_alone_and_leads_with_the_leaderboard(chromium, page):
    with shown(chromium, page) as browser:
        assert browser.find_element(By.TAG_NAME, "h1").text.startswith("toys")
        assert names(browser)[:3] == ["able", "baker", "charlie"]
        best = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#board td.best")]
        assert best
        board = browser.find_element(By.ID, "board").rect
        assert board["y"] + board["height"] < 900


def test_operating_points_hold_what_was_promised_against_what_is_delivered(chromium, page):
    with shown(chromium, page) as browser:
        rows = browser.find_elements(By.CSS_SELECTOR, "#points tbody tr")
        assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == names(browser)[:4]
        heads = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#points thead th")]
        assert heads[2:] == [
            "ID rejected, promised",
            "ID rejected, delivered",
            "clean: OOD rejected ↑",
            "linf: OOD rejected ↑",
        ]
        cells = [one.text for one in rows[0].find_elements(By.TAG_NAME, "td")]
        assert cells[1] == "≤ 5.00" and " to " in cells[2]
        assert 0 <= float(cells[4]) <= float(cells[3]) <= 100
        choice = browser.find_element(By.XPATH, "//label[starts-with(., 'ID images kept')]/select")
        Select(choice).select_by_visible_text("99 %")
        assert "too few to promise that 99 % are kept" in browser.find_element(By.ID, "points").text


def test_names_are_text_whatever_they_are(chromium, page):
    with shown(chromium, page) as browser:
        assert "</script>'\"<b>fox</b>" in names(browser)
        assert browser.find_elements(By.CSS_SELECTOR, "#main b b, #board b") == []


def test_sorting_by_pointer_and_by_keyboard(chromium, page):
    with shown(chromium, page) as browser:
        assert column(browser, "linf/fpr95").get_attribute("aria-sort") == "ascending"
        button = column(browser, "clean/auroc").find_element(By.TAG_NAME, "button")
        button.click()
        assert column(browser, "clean/auroc").get_attribute("aria-sort") == "descending"
        assert len(browser.find_elements(By.CSS_SELECTOR, "#board [aria-sort]")) == 1
        values = [
            float(row.text.split()[0]) for row in browser.find_elements(By.CSS_SELECTOR, "#board tbody td:nth-child(4)")
        ]
        assert values == sorted(values, reverse=True)
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        assert column(browser, "clean/auroc").get_attribute("aria-sort") == "ascending"
        browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        assert focused.get_attribute("aria-label") == "Sort by linf FPR@95"
        assert focused.value_of_css_property("outline-style") == "solid"
        browser.switch_to.active_element.send_keys(Keys.SPACE)
        assert column(browser, "linf/fpr95").get_attribute("aria-sort") == "ascending"
        assert names(browser)[-1] == "</script>'\"<b>fox</b>"  # it has no such value


def test_filters_by_detector_set_and_task(chromium, page):
    with shown(chromium, page) as browser:
        label = browser.find_element(By.XPATH, "//label[starts-with(., 'Detector')]")
        box = label.find_element(By.TAG_NAME, "input")
        box.send_keys("bak, CHAR")
        assert names(browser) == ["baker", "charlie"]
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(Keys.DELETE)
        before = browser.find_element(By.CSS_SELECTOR, "#board tbody").text
        box = browser.find_element(By.XPATH, "//label[starts-with(., 'OOD images')]//select")
        Select(box).select_by_visible_text("cats")
        assert browser.find_element(By.CSS_SELECTOR, "#board tbody").text != before
        browser.find_element(By.XPATH, "//label[.='clean']/input").click()
        heads = [head.text for head in browser.find_elements(By.CSS_SELECTOR, "#board th[scope=colgroup]")]
        assert heads == ["linf"]


def test_a_row_that_lacks_a_task_has_no_value_for_it(chromium, page):
    with shown(chromium, page) as browser:
        last = browser.find_elements(By.CSS_SELECTOR, "#board tbody tr")[-1]
        assert [cell.text.split()[0] for cell in last.find_elements(By.TAG_NAME, "td")][3:5] == ["–", "–"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_draws_and_the_page_is_as_wide_as_the_window(chromium, page, width, scheme):
    with shown(chromium, page, width, scheme) as browser:
        charts = draw_everything(browser)
        # Bars for two tasks, two metrics over radii, and for each of the four rows a ROC and a histogram for each set.
        assert len(charts) == 2 + 2 + 4 * 2 * 3
        for chart in charts:
            drawing = chart.find_element(By.CSS_SELECTOR, "svg[aria-label]")
            assert drawing.size["width"] <= width
            assert drawing.find_elements(By.CSS_SELECTOR, "rect, path")
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        boxes = browser.find_elements(By.CSS_SELECTOR, ".sheet img")
        assert boxes
        assert browser.execute_script("return [...arguments[0]].every((image) => image.naturalWidth > 0)", boxes)


def test_the_other_task_of_a_row_draws_too(chromium, page):
    with shown(chromium, page) as browser:
        browser.find_element(By.LINK_TEXT, "able").click()
        row = browser.find_element(By.CSS_SELECTOR, "details.cell[open]")
        assert row.find_element(By.CLASS_NAME, "name").text == "able"
        Select(row.find_element(By.TAG_NAME, "select")).select_by_visible_text("clean")
        assert len(draw_everything(browser)) == 2 + 2 + 4 * 2 * 3
        assert "as in clean" in row.text


def test_the_other_board_is_a_choice_away(chromium, page):
    with shown(chromium, page) as browser:
        Select(browser.find_element(By.CSS_SELECTOR, "#which select")).select_by_index(1)
        assert names(browser) == ["dog"]
        assert "7 images of each set" in browser.find_element(By.TAG_NAME, "h1").text
        assert len(draw_everything(browser)) == 2 + 2 * 3


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_the_theme_follows_the_system_until_the_button_is_pressed(chromium, page, scheme, other):
    def paper(browser):
        channels = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        return "dark" if "23, 24, 26" in channels else "light" if "253, 253, 251" in channels else channels

    with shown(chromium, page, scheme=scheme) as browser:
        assert paper(browser) == scheme
        button = browser.find_element(By.ID, "theme")
        assert button.accessible_name == f"Show the page {other}"
        button.send_keys(Keys.ENTER)
        assert paper(browser) == other
        button.click()
        assert paper(browser) == scheme


def test_a_run_at_work_has_curves_of_single_points_and_means_that_are_incomplete(chromium, made, tmp_path):
    cells = [made("able", tasks=("linf-eps0", "linf-eps8")), made("baker", tasks=("linf-eps0",))]
    cells += [made("charlie", tasks=("linf-eps0",)), made("dog", tasks=("linf-eps0",), sets=("dogs",))]
    path = tmp_path / "report.html"
    path.write_bytes(render(boards(cells, tmp_path)))
    with shown(chromium, path) as browser:
        draw_everything(browser)
        cells = "#board tbody tr td:nth-child(3)"
        firsts = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, cells)]
        assert dict(zip(names(browser), firsts, strict=True))["dog"] == "incomplete"


def test_results_on_some_sets_show_a_view_that_has_values(chromium, made, tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(render(boards([made(sets=("cats",))], tmp_path)))
    with shown(chromium, path) as browser:
        box = browser.find_element(By.XPATH, "//label[starts-with(., 'OOD images')]//select")
        assert Select(box).first_selected_option.text == "near sets"
        assert "incomplete" not in browser.find_element(By.ID, "board").text


def test_what_does_not_fit_is_said_and_the_sorted_column_stands_first_there(chromium, page):
    def heads(browser):
        return [
            head.get_attribute("data-column")
            for head in browser.find_elements(By.CSS_SELECTOR, "#board th[data-column]")
        ]

    natural = ["/name", "clean/fpr95", "clean/auroc", "linf/fpr95", "linf/auroc", "/accuracy"]
    with shown(chromium, page, 1280) as browser:
        assert not browser.find_element(By.CLASS_NAME, "sideways").is_displayed()
        assert heads(browser) == natural
    with shown(chromium, page, 390) as browser:
        assert browser.find_element(By.CLASS_NAME, "sideways").is_displayed()
        assert heads(browser) == ["/name", "linf/fpr95", "linf/auroc", "clean/fpr95", "clean/auroc", "/accuracy"]
        box = column(browser, "linf/fpr95").rect
        assert box["x"] + box["width"] <= 390
        browser.execute_script(
            "arguments[0].click()", column(browser, "clean/auroc").find_element(By.TAG_NAME, "button")
        )
        assert heads(browser)[1:3] == ["clean/auroc", "clean/fpr95"]


def test_charts_draw_without_anybody_scrolling_to_them(chromium, page):
    with shown(chromium, page, width=390) as browser:
        count = len(browser.find_elements(By.CSS_SELECTOR, ".chart"))
        assert count == 4
        WebDriverWait(browser, 10).until(
            lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".chart svg[aria-label]")) == count
        )
        assert browser.execute_script("return scrollY") == 0


def test_on_paper_there_are_all_columns_all_flags_and_all_charts(chromium, page):
    with shown(chromium, page, width=390) as browser:
        browser.execute_cdp_cmd("Page.printToPDF", {})
        drawn = browser.find_elements(By.CSS_SELECTOR, ".chart svg[aria-label]")
        assert len(drawn) == len(browser.find_elements(By.CSS_SELECTOR, ".chart"))
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 690, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        )
        browser.execute_script("dispatchEvent(new Event('beforeprint'))")
        board = browser.find_element(By.ID, "board")
        assert board.rect["x"] + board.rect["width"] <= 690
        assert all(one.get_attribute("open") for one in browser.find_elements(By.CSS_SELECTOR, "details.severity"))
        assert not browser.find_element(By.ID, "theme").is_displayed()
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_verdict_leads_and_follows_the_view(chromium, page):
    with shown(chromium, page) as browser:
        headline = browser.find_element(By.CSS_SELECTOR, ".verdict .headline").text
        assert headline.startswith("Under attack (linf), ")
        box = browser.find_element(By.XPATH, "//label[starts-with(., 'OOD images')]//select")
        Select(box).select_by_visible_text("cats")
        assert browser.find_element(By.CSS_SELECTOR, ".verdict .headline").text != headline


def test_a_figure_is_marked_for_what_is_flagged_of_its_own_sets(chromium, made, tmp_path):
    cell = made("able")
    group = cell.group("linf", "cats")
    cell.add(replace(group, attributes={**group.attributes, "check_gradient_error": 0.5}), cell.attributes())
    path = tmp_path / "report.html"
    path.write_bytes(render(boards([cell], tmp_path)))
    with shown(chromium, path) as browser:
        for view, marked in (("all sets", True), ("cats", True), ("dogs", False)):
            box = browser.find_element(By.XPATH, "//label[starts-with(., 'OOD images')]//select")
            Select(box).select_by_visible_text(view)
            assert ("‡" in browser.find_element(By.CSS_SELECTOR, "#board tbody").text) == marked


def test_ranks_are_of_all_rows_and_leave_out_what_is_not_to_be_believed(chromium, made, tmp_path):
    cells = [made("able", gap=4.0), made("baker", gap=3.0), made("charlie", gap=2.0)]
    found = boards(cells, tmp_path)
    rows = [
        replace(
            row,
            outliers=row.name == "baker",
            signs=dict.fromkeys(found[0].views, Signs({}, ["linf"] if row.name == "able" else [])),
        )
        for row in found[0].rows
    ]
    path = tmp_path / "report.html"
    path.write_bytes(render([replace(found[0], rows=rows)]))
    with shown(chromium, path, address="filter=able+charlie&sort=linf/auroc") as browser:
        assert [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#board td.rank")] == ["2", "–\nnot ranked"]
        assert not browser.find_elements(By.CSS_SELECTOR, "#board .tag")
        browser.find_element(By.ID, "filter").clear()
        browser.find_element(By.ID, "filter").send_keys("baker")
        assert browser.find_element(By.CSS_SELECTOR, "#board .tag").text == "outliers"
        assert browser.find_element(By.CSS_SELECTOR, "#board td.rank").text == "1"
        column(browser, "/name").find_element(By.TAG_NAME, "button").click()
        assert browser.find_element(By.CSS_SELECTOR, "#board td.rank").text == "1"


def test_results_beside_others_are_marked_where_they_differ(chromium, made, tmp_path):
    here, there = made("able", gap=4.0), maker(tmp_path / "there")("able", gap=1.0)
    cells = here.read()
    for group in there.read():
        if group.task == "clean":
            same = next(each for each in cells if (each.task, each.image_set) == (group.task, group.image_set))
            there.add(replace(group, scores=same.scores), {**there.attributes(), "parameters": '{"k": 9}'})
    path = tmp_path / "report.html"
    path.write_bytes(render(boards([here], tmp_path, other=Other("there", [there]))))
    with shown(chromium, path, address="metric=auroc&intervals=on") as browser:
        assert browser.find_element(By.ID, "against").text == "Beside there"
        cells = [cell.text.split() for cell in browser.find_elements(By.CSS_SELECTOR, "#beside tbody td")]
        assert cells[2][:2] == ["0.00", "="]
        assert cells[5][0].startswith("+") and cells[5][1] == "▲" and "to" in cells[5]
        assert len(browser.find_elements(By.CSS_SELECTOR, "#beside .differs")) == 1
        assert cells[6] == ["parameters"]
        browser.find_element(By.CSS_SELECTOR, "#beside summary").click()
        assert 'there: {"k": 9}' in browser.find_element(By.ID, "beside").text


def test_a_figure_that_is_not_to_be_believed_is_neither_better_nor_worse_than_another(chromium, made, tmp_path):
    """The attack found no gradient there, so that its figure looks much better than the one from before."""
    here, there = made("able", gap=4.0), maker(tmp_path / "there")("able", gap=1.0)
    for group in here.read():
        if group.task == "linf":
            here.add(replace(group, extras={"blind": np.ones(len(group.scores))}), here.attributes())
    path = tmp_path / "report.html"
    path.write_bytes(render(boards([here], tmp_path, other=Other("there", [there]))))
    with shown(chromium, path, address="metric=auroc") as browser:
        cells = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#beside tbody td")]
        assert "▲" in cells[2]  # nothing is wrong with images as they are
        assert cells[3].startswith(f"{cells[3][:5]}‡") and "‡" not in cells[4]
        assert "?" in cells[5] and "flagged, not compared" in cells[5] and "▲" not in cells[5]
        assert len(browser.find_elements(By.CSS_SELECTOR, "#beside .differs")) == 1
        said = browser.find_element(By.XPATH, "//p[contains(., 'is in both.')]").text
        assert "1 are better here and 0 worse. 2 are flagged, here or there, and not compared." in said
    path.write_bytes(render(boards([there], tmp_path, other=Other("here", [here]))))
    with shown(chromium, path, address="metric=auroc") as browser:
        cells = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#beside tbody td")]
        assert "▼" in cells[2] and "‡" in cells[4] and "?" in cells[5]


def test_the_index_of_a_site_leads_to_the_results_that_it_speaks_of(chromium, made, tmp_path):
    write_site(site_of(boards([made("able"), made("dog", limit=7)], tmp_path)), tmp_path / "site")
    with shown(chromium, tmp_path / "site" / "index.html", 390) as browser:
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
        links = browser.find_elements(By.CSS_SELECTOR, "h3 a")
        target = links[1].get_attribute("href")
    with shown(chromium, tmp_path / "site" / "toys.html", address=target.partition("#")[2]) as browser:
        assert "7 images of each set" in browser.find_element(By.TAG_NAME, "h1").text
        assert browser.find_element(By.LINK_TEXT, "All suites").get_attribute("href").endswith("/index.html")


def test_a_suite_that_was_attacked_on_fewer_images_opens_with_that(chromium, made, tmp_path):
    path = tmp_path / "report.html"
    cells = [made("able", tasks=("clean",)), made("able", tasks=("linf",), images=30)]
    path.write_bytes(render(boards(cells, tmp_path)))
    with shown(chromium, path) as browser:
        assert browser.find_element(By.CSS_SELECTOR, "h1 small").text == "version 1"
        assert browser.find_element(By.CSS_SELECTOR, ".verdict .headline").text.startswith("Under attack (linf), able")
        assert "On images as they are, able has" in browser.find_element(By.CLASS_NAME, "verdict").text
        browser.find_element(By.CSS_SELECTOR, ".elsewhere button").click()
        assert browser.find_element(By.CSS_SELECTOR, "h1 small").text == "version 1, 30 images of each OOD set"
        assert browser.current_url.endswith("#results=2")


SCORES = {
    "tiny": lambda scores: np.exp(scores - 30),
    "near": lambda scores: -6.90675478 + 1e-8 * scores,
    "high": lambda scores: 1 - 1e-9 * np.exp(-scores),
}
"""Scores that differ where six digits end."""


def test_thresholds_and_axes_of_scores_that_differ_in_their_last_digits_can_be_read(chromium, made, data, tmp_path):
    cells = [made(name, tasks=("clean",)) for name in SCORES]
    for cell, change in zip(cells, SCORES.values(), strict=True):
        for group in cell.read():
            cell.add(replace(group, scores=change(group.scores)), cell.attributes())
    (board,) = found = boards(cells, data)
    path = tmp_path / "report.html"
    path.write_bytes(render(found))
    with shown(chromium, path) as browser:
        shows = browser.find_elements(By.CSS_SELECTOR, "#points tbody tr")
        texts = {row.find_element(By.TAG_NAME, "th").text: row.find_element(By.TAG_NAME, "td").text for row in shows}
        assert {name: float(text) for name, text in texts.items()} == {
            row.name: row.operating[0].threshold for row in board.rows
        }
        draw_everything(browser)
        charts = browser.find_elements(By.CSS_SELECTOR, "svg[aria-label^='Scores against']")
        assert len(charts) == 9
        for chart in charts:
            labels = chart.find_elements(By.CSS_SELECTOR, "g[aria-label='x-axis tick label'] text")
            spans = [(one.rect["x"], one.rect["x"] + one.rect["width"]) for one in labels]
            assert len({one.text for one in labels}) == len(labels) >= 1
            assert all(before[1] < after[0] for before, after in pairwise(spans))
            assert chart.rect["x"] <= spans[0][0] and spans[-1][1] <= chart.rect["x"] + chart.rect["width"]
