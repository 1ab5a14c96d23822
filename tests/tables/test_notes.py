"""What a table says below itself, from frames made by hand."""

import pandas as pd

from oodbench.tables.notes import about_cost


def test_what_an_attack_cost_and_what_its_stops_hide():
    rows = [
        {"cell": "a", "looks": 40.0, "retired": 0.0, "hidden": 0.0},
        {"cell": "a", "looks": 60.0, "retired": 0.2, "hidden": 0.0002},
        {"cell": "b", "looks": 900.0, "retired": 0.0, "hidden": 0.0},
    ]
    said = about_cost(pd.DataFrame(rows))
    assert said.startswith("attacked with 50 to 900 passes an image on average; up to 10% of the images")
    assert "0.01 points lower at most" in said
    assert about_cost(pd.DataFrame(rows[2:])) == "attacked with 900 passes an image on average"
