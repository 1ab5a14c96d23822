"""What a table says below itself, from frames made by hand."""

import json

import pandas as pd

from oodbench.tables.notes import _disordered, _rising_curves, about_cost

CALLED = {"msp/seed1-abc": "msp (seed 1)"}
CELL = dict(cell="msp/seed1-abc", detector="msp", seed=1, settings="", limit=0, images=0, tuned="", checkpoint="")


def aurocs(**by_task):
    rows = [{**CELL, "task": task, "metric": "auroc", "value": value} for task, value in by_task.items()]
    return pd.DataFrame(rows)


def curve(*values):
    return aurocs(**{f"linf-eps{radius}": value for radius, value in zip((0, 1, 2, 16), values, strict=True)})


def test_a_curve_that_falls_is_not_flagged():
    assert _rising_curves(curve(0.9, 0.5, 0.5005, 0.1), CALLED) == []
    assert _rising_curves(aurocs(clean=0.9, linf=0.1), CALLED) == []


def test_a_curve_that_rises_is_flagged_in_the_order_of_radii():
    (line,) = _rising_curves(curve(0.9, 0.5, 0.1, 0.3), CALLED)
    assert line.startswith("FLAG msp (seed 1), linf: the AUROC rises with the radius by 20.00 points")


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


def test_an_adaptive_attack_beaten_by_the_published_one_is_flagged():
    frame = aurocs(clean=0.9, **{"linf": 0.2, "linf-adaptive": 0.25})
    kinds = {"clean": "", "linf": 8, "linf-adaptive": 8}
    frame["constants"] = [json.dumps({"kind": task, "epsilon": 8}) if kinds[task] else "" for task in frame.task]
    frame["ood"], frame["distance"] = "letters", "near"
    far = frame.assign(ood="drawn", distance="aside", value=0.9)
    (line,) = _disordered(pd.concat([frame, far]), CALLED)
    assert line.startswith("FLAG msp (seed 1), linf-adaptive: it leaves 5.00 points more of the AUROC than linf")
