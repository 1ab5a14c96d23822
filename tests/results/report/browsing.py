"""How the tests of the page drive a browser."""

import json
from contextlib import contextmanager

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


@contextmanager
def shown(chromium, path, width=1280, scheme="light", address=""):
    """The page open in a window at an `address` within it; afterwards nothing may have been logged, or asked for
    elsewhere.
    """
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chromium.get("about:blank")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    chromium.get(f"{path.as_uri()}#{address}" if address else path.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = {
        event["params"]["request"]["url"].partition("#")[0]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}


def names(browser):
    """Detectors in the order of the leaderboard."""
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#board tbody th")]


def column(browser, name):
    """The heading of a column, called as in `linf/fpr95`."""
    return browser.find_element(By.CSS_SELECTOR, f"#board th[data-column='{name}']")


def draw_everything(browser):
    """Open all details and scroll past every chart, each of which must then hold a drawing."""
    browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    WebDriverWait(browser, 10).until(
        lambda _: browser.execute_script(
            "return [...document.querySelectorAll('details.cell')].every((one) => one.querySelector('.chart'))"
        )
    )
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart")
    for chart in charts:
        browser.execute_script("arguments[0].scrollIntoView()", chart)
        WebDriverWait(browser, 10).until(lambda _, chart=chart: chart.find_elements(By.CSS_SELECTOR, "svg"))
    return charts
