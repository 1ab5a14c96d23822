"""Means over OOD sets and over seeds, from scores whose metrics can be counted by hand."""

import json
import math
import re
import statistics

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.results.tables import View, render, render_compact, tidy
from oodbench.results.tables.summary import summarise

ALL_PASS, NONE_PASS, HALF_PASS = (9.5,) * 4, (0.0,) * 4, (0.0, 1.0, 9.5, 9.5)
"""Of an OOD set, against ID scores of 2 to 9: FPR@95 is 1, 0 and 1/2."""

MEANS = json.dumps({"all": ["a", "b", "c"], "near": ["a"], "far": ["b", "c"], "paper": ["a", "b"]})


def cell_of(tmp_path, stored, a=ALL_PASS, b=NONE_PASS, c=HALF_PASS, **about):
    sets = [(name, scores) for name, scores in (("a", a), ("b", b), ("c", c)) if scores]
    return stored(tmp_path, ood=sets, means=MEANS, **about)


def values(cells, view, metric="fpr95"):
    """(line, set or mean) to value."""
    entries = summarise(tidy(cells, {}), view)
    return {(entry.line, entry.ood): entry.value for entry in entries if entry.metric == metric}


def test_a_mean_is_over_sets_and_unweighted(tmp_path, stored):
    cell = cell_of(tmp_path, stored, a=ALL_PASS * 50)
    assert values([cell], View()) == {("msp (seed 1)", "mean:all"): 0.5}


def test_every_mean_of_the_suite_and_any_choice_of_sets(tmp_path, stored):
    cell = cell_of(tmp_path, stored)
    found = values([cell], View(by="mean"))
    assert {ood: value for (_, ood), value in found.items()} == {
        "mean:all": 0.5,
        "mean:near": 1.0,
        "mean:far": 0.25,
        "mean:paper": 0.5,
    }
    assert list(values([cell], View(sets=("far",))).values()) == [0.25]
    assert list(values([cell], View(sets=("near", "c"))).values()) == [0.75]
    assert {ood for _, ood in values([cell], View(by="ood", sets=("paper",)))} == {"a", "b"}


def test_a_mean_that_one_file_has_over_other_sets_moves_no_other_row(tmp_path, stored):
    """Whichever file is read last, and of two files as well: the mean over more sets counts, and a note says so."""
    told = "Other means: stored with odin (seed 1), the mean 'all' is over a; every row here has it over a, b, c."
    sets = [("a", ALL_PASS), ("b", NONE_PASS), ("c", HALF_PASS)]
    cell = cell_of(tmp_path, stored)
    other = stored(tmp_path, "odin", ood=sets, means='{"all": ["a"]}')
    for cells in ([cell, other], [other, cell]):
        found = values(cells, View())
        assert found == {("msp (seed 1)", "mean:all"): 0.5, ("odin (seed 1)", "mean:all"): 0.5}
        assert told in render(tidy(cells, {}))
        assert told.replace(" (seed 1)", "") in " ".join(render_compact(tidy(cells, {})).split())
    assert "Other means" not in render(tidy([cell], {})) + render(tidy([other], {}))
    many = [
        cell,
        stored(tmp_path, "energy", ood=sets, means='{"all": ["b"]}'),
        stored(tmp_path, "gen", ood=sets, means='{"all": ["b"]}'),
    ]
    assert set(values(many, View()).values()) == {0.0}  # as most have it


def test_a_set_aside_has_a_row_of_its_own_and_enters_no_mean(tmp_path, stored):
    means = json.dumps({"all": ["a", "b"]})
    cell = stored(tmp_path, ood=[("a", ALL_PASS), ("b", NONE_PASS), ("c", ALL_PASS)], means=means, aside=("c",))
    for by, others in (("task", {"mean:all": 0.5}), ("ood", {"a": 1.0, "b": 0.0}), ("mean", {"mean:all": 0.5})):
        found = values([cell], View(by=by))
        assert {ood: value for (_, ood), value in found.items()} == {**others, "c": 1.0}
    assert [ood for _, ood in values([cell], View(sets=("a",)))] == ["mean:a"]
    said = render(tidy([cell], {}))
    assert "Percent; mean over 2 OOD sets, unweighted: a (near, 4 images), b (near, 4 images), c (aside," in said
    assert "| mean over |" in re.sub(" +", " ", said)


def figure(cells, view, metric="fpr95"):
    (entry,) = [entry for entry in summarise(tidy(cells, {}), view) if entry.metric == metric]
    return entry


def test_a_mean_is_over_the_sets_that_were_measured_and_says_which_were_not(tmp_path, stored):
    cells = [cell_of(tmp_path, stored, detector=name, b=None) for name in ("msp", "atom")]
    assert values(cells, View()) == {("msp (seed 1)", "mean:all"): 0.75, ("atom (seed 1)", "mean:all"): 0.75}
    entry = figure(cells[:1], View())
    assert (entry.missing, entry.incomplete) == (("b",), False)
    assert figure(cells[:1], View(sets=("near",))).value == 1.0
    assert figure(cells[:1], View(sets=("far",))).value == 0.5
    said = render(tidy(cells, {}))
    assert "mean over 2 OOD sets, unweighted: a (near, 4 images), c (near, 4 images); 8 ID images." in said
    assert "Left out of the suite's OOD sets: b." in said
    assert "incomplete" not in said


def test_what_was_chosen_and_never_measured_has_no_value(tmp_path, stored):
    entry = figure([cell_of(tmp_path, stored, b=None)], View(sets=("b",)))
    assert math.isnan(entry.value)
    assert entry.incomplete
    assert set(values([cell_of(tmp_path / "other", stored, a=None)], View(by="mean"))) == {
        ("msp (seed 1)", f"mean:{name}") for name in ("all", "far", "paper")
    }


def test_rows_over_other_sets_than_the_rest_say_so_and_compete_with_none(tmp_path, stored):
    cells = [
        cell_of(tmp_path, stored),
        cell_of(tmp_path, stored, detector="odin", a=NONE_PASS),
        cell_of(tmp_path, stored, detector="atom", a=None, c=None),  # 0 on the only set that it has
    ]
    entries = [entry for entry in summarise(tidy(cells, {}), View()) if entry.metric == "fpr95"]
    assert [(entry.line, entry.value) for entry in entries] == [
        ("msp (seed 1)", 0.5),
        ("odin (seed 1)", pytest.approx(0.5 / 3)),
        ("atom (seed 1, 1 of 3 OOD sets)", 0.0),
    ]
    assert entries[0].rivals == entries[1].rivals != entries[2].rivals
    said = render(tidy(cells, {}), View(metrics=("fpr95",)))
    assert "**16.67**" in said
    assert "**0.00**" not in said
    assert "Missing: atom (seed 1, 1 of 3 OOD sets), linf: a, c;" in said
    assert "--sets b shows all over what each has" in said
    assert figure(cells[:1], View(sets=("b",))).value == 0.0


def test_choices_of_as_many_sets_are_told_apart_by_name(tmp_path, stored):
    cells = [cell_of(tmp_path, stored, b=None), cell_of(tmp_path, stored, detector="atom", c=None)]
    assert [line for line, _ in values(cells, View())] == ["msp (seed 1, only a, c)", "atom (seed 1, only a, b)"]
    entries = [entry for entry in summarise(tidy(cells, {}), View()) if entry.metric == "fpr95"]
    assert entries[0].rivals != entries[1].rivals


def test_tasks_over_other_sets_have_rows_that_say_so(tmp_path, stored):
    cell_of(tmp_path, stored, task="clean")
    cell = cell_of(tmp_path, stored, b=None, c=None)
    entries = [entry for entry in summarise(tidy([cell], {}), View()) if entry.metric == "fpr95"]
    assert {(entry.task, entry.line): entry.value for entry in entries} == {
        ("clean", "msp (seed 1)"): 0.5,
        ("linf", "msp (seed 1, 1 of 3 OOD sets)"): 1.0,
    }


def test_seeds_share_a_line_with_mean_and_deviation(tmp_path, stored):
    cells = [cell_of(tmp_path, stored, seed=seed, c=c) for seed, c in ((1, HALF_PASS), (2, ALL_PASS), (3, NONE_PASS))]
    (entry,) = [entry for entry in summarise(tidy(cells, {}), View()) if entry.metric == "fpr95"]
    over_sets = [1.5 / 3, 2 / 3, 1 / 3]
    assert entry.line == "msp (3 seeds)"
    assert entry.value == pytest.approx(0.5)
    assert entry.sd == pytest.approx(statistics.stdev(over_sets))
    assert len(entry.cells) == 3
    assert [line for line, _ in values(cells, View(seeds="each"))] == [f"msp (seed {seed})" for seed in (1, 2, 3)]


def test_seeds_over_other_sets_are_not_averaged(tmp_path, stored):
    cells = [cell_of(tmp_path, stored, seed=seed, c=c) for seed, c in ((1, HALF_PASS), (2, ALL_PASS), (3, None))]
    assert values(cells, View()) == {
        ("msp (2 seeds)", "mean:all"): pytest.approx((0.5 + 2 / 3) / 2),
        ("msp (seed 3, 2 of 3 OOD sets)", "mean:all"): 0.5,
    }
    # Where both have the same sets they are seeds of one line.
    assert list(values(cells, View(sets=("paper",)))) == [("msp (3 seeds)", "mean:paper")]


def test_other_settings_are_other_lines(tmp_path, stored):
    cells = [
        cell_of(tmp_path, stored, seed=1),
        cell_of(tmp_path, stored, seed=2, limit=4),
        cell_of(tmp_path, stored, seed=3, settings="epochs=1"),
        cell_of(tmp_path, stored, seed=4, parameters='{"q": 1}'),
    ]
    lines = {line for line, _ in values(cells, View())}
    assert lines == {
        "msp (seed 1)",
        "msp (seed 2, 4 images of each set)",
        "msp (seed 3, epochs=1)",
        "msp (seed 4)",
    }


def test_one_seed_of_two_codes_is_two_lines_told_apart(tmp_path, stored):
    cells = [cell_of(tmp_path, stored, key="ab"), cell_of(tmp_path, stored, key="cd", a=NONE_PASS)]
    assert values(cells, View()) == {
        ("msp (seed 1) ababab", "mean:all"): 0.5,
        ("msp (seed 1) cdcdcd", "mean:all"): pytest.approx(0.5 / 3),
    }


def test_sorted_best_first_whatever_best_means(tmp_path, stored):
    cells = [
        cell_of(tmp_path, stored, detector="worst", a=ALL_PASS, b=ALL_PASS),
        cell_of(tmp_path, stored, detector="unfinished", b=None),
        cell_of(tmp_path, stored, detector="best", a=NONE_PASS),
        cell_of(tmp_path, stored, detector="middle"),
    ]
    order = ["best (seed 1)", "middle (seed 1)", "worst (seed 1)", "unfinished (seed 1, 2 of 3 OOD sets)"]
    assert [line for line, _ in values(cells, View(sort="fpr95"))] == order
    assert [line for line, _ in values(cells, View(sort="auroc"))] == order


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (View(metrics=("auroch",)), "did you mean 'auroc'"),
        (View(sort="fpr59"), "did you mean 'fpr95"),
        (View(sets=("papers",)), "did you mean 'paper'"),
        (View(by="mean", sets=("c",)), "--by ood"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, stored, view, told):
    with pytest.raises(OodbenchError, match=told):
        summarise(tidy([cell_of(tmp_path, stored)], {}), view)
