"""The table of a terminal: what is beside what, how wide, what stands above it once and below it if at all."""

import json
import re

import pytest

from oodbench.results.tables import View, brief, render_compact, tidy
from oodbench.results.tables.flags import Flagged
from oodbench.statistics.severity import AT_MOST, NO, WITHIN

OOD = [("a", [0.0, 1.0, 9.5, 9.5]), ("b", [9.5] * 4)]


def add_tasks(stored, folder, tasks, **about):
    """Cells with several tasks, all in one file each."""
    return [stored(folder, task=task, **about) for task in tasks][-1]


def grid(text):
    """The words of the lines between the rule and the next empty line."""
    return [line.split() for line in re.split("-{9,}\n", text)[1].split("\n\n")[0].splitlines()]


def test_detectors_stand_below_each_other_and_tasks_side_by_side(tmp_path, stored):
    cells = [
        add_tasks(stored, tmp_path, ("clean", "linf"), detector="msp", ood=OOD),
        add_tasks(stored, tmp_path, ("clean",), detector="atom", ood=[("a", [0.0] * 4), ("b", [0.0] * 4)]),
    ]
    text = render_compact(tidy(cells, {}))
    above, below = text.split("-" * 20)[0].splitlines(), grid(text)
    assert above[0] == "digits, version 2, fingerprint ffffffff"
    assert above[1] == "seed 1"
    assert above[3].split() == ["clean", "linf"]
    assert above[4].split() == ["detector", "FPR@95", "AUROC", "FPR@95", "AUROC"]
    # Half of a passes, all of b: 75 %; the best of its task is marked, and what was not measured is no number.
    assert below == [["msp", "75.00", "25.00", "75.00", "25.00"], ["atom", "0.00*", "100.00*", "–", "–"]]
    assert "OOD images attacked within 32/255" in text


def test_ten_detectors_and_four_tasks_fit_eighty_columns_however_good_they_are(tmp_path, stored):
    names = ["mahalanobis", "rowl-fixed", *(f"method-{number}" for number in range(8))]
    tasks = ("clean", "corruption", "linf", "compositional")
    cells = [add_tasks(stored, tmp_path, tasks, detector=name, ood=OOD) for name in names]
    text = render_compact(tidy(cells, {}))
    assert max(map(len, text.splitlines())) <= 80
    assert {row[0] for row in grid(text)} == set(names)
    assert all(len(row) == 9 for row in grid(text))


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_what_is_too_wide_is_spread_over_blocks_and_nothing_is_lost(tmp_path, stored, width):
    tasks = [f"clean-{number}" for number in range(8)]
    cells = [add_tasks(stored, tmp_path, tasks, seed=seed, ood=OOD) for seed in (1, 2)]
    text = render_compact(tidy(cells, {}), View(metrics=("fpr95", "auroc", "accuracy")), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("75.00 ± 0.00") == text.count("25.00 ± 0.00") == len(tasks)
    assert text.count("87.50 ± 0.00") == 1  # seven of eight ID images, whatever the task
    for task in tasks:
        assert len(re.findall(rf"{task}\b", text)) in (1, 2)  # once a table


def test_what_all_rows_share_is_said_once_and_what_sets_a_row_apart_in_the_row(tmp_path, stored):
    cells = [
        add_tasks(stored, tmp_path, ("clean",), detector="msp", limit=7, settings="epochs=2"),
        add_tasks(stored, tmp_path, ("clean",), detector="knn", limit=7, settings="epochs=2 knn.k=5"),
    ]
    text = render_compact(tidy(cells, {}))
    assert text.splitlines()[1] == "seed 1, epochs=2, 7 images of each set"
    assert [row[:2] for row in grid(text)] == [["msp", "50.00‡"], ["knn", "(knn.k=5)"]]


def test_a_task_with_settings_of_its_own_stands_in_the_row_of_its_detector(tmp_path, stored):
    """The demo's: a quick attack on fewer images beside what was run in full."""
    cells = []
    for name in ("msp", "atom"):
        cells += [add_tasks(stored, tmp_path, ("clean",), detector=name)]
        cells += [
            stored(
                tmp_path, detector=name, task="linf-adaptive", settings="linf-adaptive.level=quick", images=2, key="c"
            )
        ]
    text = render_compact(tidy(cells, {}))
    assert "linf-adaptive: linf-adaptive.level=quick, 2 of each OOD set" in text
    assert [(row[0], len(row)) for row in grid(text)] == [("msp", 5), ("atom", 5)]
    assert "95 % intervals" in text  # the subset has some, which --long shows


def test_a_task_set_otherwise_for_one_run_leaves_the_run_in_one_row(tmp_path, stored):
    """What is said of a task once is in no row; but a result with other tasks would stand in two rows then."""
    cells = [
        add_tasks(stored, tmp_path, ("clean", "linf")),
        add_tasks(stored, tmp_path, ("clean", "linf-2"), settings="linf-2.steps=2", seed=2, key="cd"),
    ]
    rows = grid(render_compact(tidy(cells, {}), width=200))
    assert [row.count("–") for row in rows] == [2, 2]
    assert [" ".join(row[:-6]) for row in rows] == ["msp (seed 1)", "msp (seed 2, linf-2.steps=2)"]


def test_another_training_is_another_row(tmp_path, stored):
    """Settings of a network are no task's: its figures must not stand in the row of another network."""
    cells = [stored(tmp_path, task="clean"), stored(tmp_path, task="linf", settings="q=0.5", key="cd")]
    text = render_compact(tidy(cells, {}))
    assert len(grid(text)) == 2
    assert "msp (q=0.5)" in text


def test_pretrained_networks_are_named_only_where_a_detector_has_two(tmp_path, stored):
    about = {"trained_on": "a machine", "task": "clean"}
    cells = [stored(tmp_path, detector=name, pretrained=f"digits/{name}", **about) for name in ("msp", "atom")]
    assert render_compact(tidy(cells, {})).splitlines()[1] == "seed 1, pretrained network"
    cells.append(stored(tmp_path, pretrained="digits/other", key="cd", **about))
    text = render_compact(tidy(cells, {}), width=200)
    assert "digits/other" in text and "digits/msp" in text


def test_a_long_name_goes_on_in_lines_of_its_own(tmp_path, stored):
    long = "msp.temperature=1000 msp.another_parameter=0.123456 training.learning_rate=0.01"
    cells = [stored(tmp_path, task="clean"), stored(tmp_path, task="clean", settings=long, key="cd")]
    text = render_compact(tidy(cells, {}))
    assert max(map(len, text.splitlines())) <= 80
    for part in long.split():
        assert part in text


def test_flags_stand_by_what_they_leave_of_a_figure(tmp_path, stored, monkeypatch):
    cells = [stored(tmp_path, detector=name) for name in ("msp", "atom", "oe")]
    frame = tidy(cells, {})
    found = [
        Flagged("atom/seed1-abababababab", "linf", ("linf",), "", 0.8, NO),
        Flagged("msp/seed1-abababababab", "linf", ("linf",), "", 0.12, AT_MOST),
        Flagged("msp/seed1-abababababab", "linf", ("linf",), "", 0.005, WITHIN),
        Flagged("oe/seed1-abababababab", "linf", ("linf",), "", 0.004, WITHIN),
    ]
    monkeypatch.setattr(brief, "find_flags", lambda _: found)
    said = [line for line in render_compact(frame, width=200).splitlines() if line.startswith(("‡", "†"))]
    assert said == [
        "‡ not to be believed, may be off by (points): atom linf 80.00.",
        "‡ too good, the true value is worse by at least (points): msp linf 12.00.",
        "† to be believed within (points): oe linf 0.40.",
    ]


def unwrapped(text):
    return " ".join(text.split())


def test_rows_over_other_sets_than_the_rest_say_so(tmp_path, stored):
    means = json.dumps({"all": ["a", "b"]})
    cells = [stored(tmp_path, ood=OOD, means=means), stored(tmp_path, detector="oe", ood=OOD[:1], means=means)]
    text = render_compact(tidy(cells, {}))
    assert ["oe", "(1", "of", "2", "OOD", "sets)", "50.00", "50.00"] in grid(text)
    assert "Missing: oe (1 of 2 OOD sets), linf: b; the same run again, without --only, goes on there." in unwrapped(
        text
    )
    by_set = render_compact(tidy(cells, {}), View(by="ood"))
    assert ["b", "missing", "missing"] in grid(by_set)
    assert "Missing: oe, linf: b; the same run again, without --only, goes on there." in unwrapped(by_set)


def test_a_table_afterwards_says_what_the_one_of_the_run_said(tmp_path, stored):
    means = json.dumps({"all": ["a", "b", "c"], "near": ["a"], "far": ["b", "c"]})
    frame = tidy([stored(tmp_path, ood=OOD, means=means), stored(tmp_path, detector="oe", ood=OOD, means=means)], {})
    of_run = render_compact(frame, View(sets=("a", "b")))
    assert render_compact(frame) == of_run
    assert "mean over 2 OOD sets" in of_run
    assert "Left out of the suite's OOD sets: c." in of_run


def test_sets_have_rows_and_those_that_stand_aside_have_too(tmp_path, stored):
    cell = stored(tmp_path, ood=OOD, aside=("b",))
    frame = tidy([cell], {})
    assert [row[:2] for row in grid(render_compact(frame, View(by="ood", metrics=("fpr95",))))] == [
        ["msp", "a"],
        ["b", "100.00"],
    ]
    assert [row[0] for row in grid(render_compact(frame))] == ["msp", "b"]


def test_sorted_by_a_metric_of_the_first_task(tmp_path, stored):
    cells = [stored(tmp_path, detector="msp", ood=OOD), stored(tmp_path, detector="atom", ood=[("a", [0.0] * 4)])]
    text = render_compact(tidy(cells, {}), View(sort="auroc", sets=("a",)))
    assert [row[0] for row in grid(text)] == ["atom", "msp"]


def test_suites_never_meet(tmp_path, stored):
    cells = [stored(tmp_path), stored(tmp_path, detector="atom", suite_fingerprint="e" * 64)]
    text = render_compact(tidy(cells, {}))
    assert text.count("digits, version 2, fingerprint") == 2
    assert "*" not in text


def test_a_terminals_width_changes_nothing_in_a_pipe(oodbench, tmp_path, stored, monkeypatch):
    add_tasks(stored, tmp_path / "results", ("clean", "linf", "corruption", "compositional"), ood=OOD)
    _, wide, _ = oodbench("table")
    monkeypatch.setenv("COLUMNS", "50")
    assert oodbench("table")[1] == wide
    assert max(map(len, wide.splitlines())) <= 80


def test_long_is_the_table_with_a_row_each_task(oodbench, tmp_path, stored):
    stored(tmp_path / "results", ood=OOD)
    long = oodbench("table", "--long")[1]
    assert long == oodbench("table", "--format", "github")[1]
    assert "| msp (seed 1) | linf   |" in long
    for arguments in (["--intervals"], ["--compare", "published"]):
        assert "| msp (seed 1) | linf   |" in oodbench("table", *arguments)[1]
    assert oodbench("table", "--format", "csv", "--long")[1].startswith("suite,detector,seed,task,ood,metric")
