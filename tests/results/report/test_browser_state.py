"""What of the page goes into its address and into files, in a real browser (see test_browser.py)."""

import csv
import io
from xml.etree import ElementTree

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.results.report.browsing import column, draw_everything, shown


def looks(browser):
    """Whatever of the page its address holds."""
    chosen = {
        box.find_element(By.XPATH, "..").text.split("\n")[0]: Select(box).first_selected_option.text
        for box in browser.find_elements(By.CSS_SELECTOR, "main > .controls select")
    }
    ticked = [one.is_selected() for one in browser.find_elements(By.CSS_SELECTOR, ".controls input[type=checkbox]")]
    opened = [one.text.split("\n")[0] for one in browser.find_elements(By.CSS_SELECTOR, "details.cell[open] .name")]
    return browser.find_element(By.ID, "board").text, chosen, ticked, opened


def test_the_address_holds_what_is_shown_and_a_reload_shows_it_again(chromium, page):
    with shown(chromium, page) as browser:
        assert "#" not in browser.current_url
        usual = looks(browser)
        column(browser, "clean/auroc").find_element(By.TAG_NAME, "button").click()
        column(browser, "clean/auroc").find_element(By.TAG_NAME, "button").click()
        browser.find_element(By.ID, "filter").send_keys("able fox")
        Select(browser.find_element(By.XPATH, "//label[starts-with(., 'OOD images')]//select")).select_by_visible_text(
            "cats"
        )
        Select(browser.find_element(By.XPATH, "//label[starts-with(., 'Bars show')]/select")).select_by_visible_text(
            "AUROC"
        )
        browser.find_element(By.XPATH, "//label[.='linf-eps8']/input").click()
        browser.find_element(By.XPATH, "//label[.='95 % intervals']/input").click()
        browser.find_element(By.LINK_TEXT, "able").click()
        found = looks(browser)
        assert found != usual and found[3] == ["able"]
        assert browser.find_element(By.ID, "sets").text == "AUROC by task and set"
        browser.refresh()
        assert looks(browser) == found
        assert column(browser, "clean/auroc").get_attribute("aria-sort") == "ascending"
        Select(browser.find_element(By.CSS_SELECTOR, "#which select")).select_by_index(1)
        browser.refresh()
        assert "7 images of each set" in browser.find_element(By.TAG_NAME, "h1").text


@pytest.mark.parametrize(
    "address",
    ["sort=gone/fpr95&order=up&view=x&metric=x&task=gone&keep=7&row=gone&results=99", "%E0%A4%A", "row-999", "a=b=c&&"],
)
def test_an_address_that_asks_for_what_is_not_there_shows_the_page(chromium, page, address):
    with shown(chromium, page, address=address) as browser:
        assert browser.find_element(By.TAG_NAME, "h1").text.startswith("toys")
        assert column(browser, "/name")


def test_intervals_are_shown_on_demand(chromium, page):
    with shown(chromium, page) as browser:
        assert not browser.find_elements(By.CSS_SELECTOR, "#board .interval")
        browser.find_element(By.XPATH, "//label[.='95 % intervals']/input").click()
        cells = browser.find_elements(By.CSS_SELECTOR, "#board .interval")
        assert cells and all(" to " in cell.text for cell in cells)


def saved(browser, button):
    """The name and the text of the file that a button saves."""
    browser.execute_script("window.files = []; window.save = (name, type, text) => files.push([name, text])")
    browser.execute_script("arguments[0].click()", button)
    ((name, text),) = browser.execute_script("return files")
    return name, text


def test_the_table_is_saved_as_csv(chromium, page):
    with shown(chromium, page, address="filter=able+fox") as browser:
        name, text = saved(browser, browser.find_element(By.XPATH, "//button[.='Save as CSV']"))
        assert name == "toys-version-1.csv"
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["detector"] for row in rows] == ["able", "</script>'\"<b>fox</b>"]
        shown_first = browser.find_elements(By.CSS_SELECTOR, "#board tbody tr:first-child td")[1:3]
        on_page = [float(cell.text.split()[0].rstrip("†‡")) for cell in shown_first]
        figures = [float(rows[0][f"clean {metric} %"]) for metric in ("fpr95", "auroc")]
        assert figures == pytest.approx(on_page, abs=0.006)
        assert float(rows[0]["linf auroc % low"]) < float(rows[0]["linf auroc %"]) < float(rows[0]["linf auroc % high"])
        assert rows[1]["linf auroc %"] == ""
        formula = browser.execute_script("return csv([['=1+1', '+x', 'a,\"b\"', -3]])")
        assert formula == '\'=1+1,\'+x,"a,""b""",-3\r\n'


def test_a_chart_is_saved_as_an_svg_that_stands_alone(chromium, page):
    with shown(chromium, page) as browser:
        draw_everything(browser)
        buttons = browser.find_elements(By.XPATH, "//figcaption/button[.='SVG']")
        assert len(buttons) == len(browser.find_elements(By.CSS_SELECTOR, ".chart"))
        curve = browser.find_element(By.CSS_SELECTOR, ".curves figcaption button")
        for button, names in ((buttons[0], ("cats", "able")), (curve, ("able", "baker"))):
            name, text = saved(browser, button)
            drawing = ElementTree.fromstring(text)
            assert name.endswith(".svg") and drawing.tag == "{http://www.w3.org/2000/svg}svg"
            assert "var(" not in text and "class=" not in text
            words = ["".join(one.itertext()) for one in drawing.iter("{http://www.w3.org/2000/svg}text")]
            assert set(names) <= set(words)
