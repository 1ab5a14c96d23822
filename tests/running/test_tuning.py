"""What values of a parameter are held against each other: figures of the same tasks, and those that can be believed."""

from oodbench.results.tables.flags import Flagged
from oodbench.running.tuning import Trial, advice, best, chance, common_tasks, notes, render
from oodbench.statistics import severity
from oodbench.statistics.differences import Difference

ASKED = "[detectors.toy]\nk = "


def flagged(task, effect, belief):
    return Flagged("toy/seed1", task, (task,), "blind; not to be believed; next: look", effect, belief)


BLIND = flagged("linf", 0.7, severity.NO)
WEAK = flagged("linf", 0.1, severity.AT_MOST)
MILD = flagged("linf", 0.005, severity.WITHIN)


def lines(trials):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in render("k", trials).splitlines()]


def test_a_value_whose_figure_is_not_to_be_believed_is_never_the_best():
    sound, blind = Trial(1, {"clean": 0.3, "linf": 1.0}), Trial(2, {"clean": 0.3, "linf": 0.3}, [BLIND])
    for trials in ([sound, blind], [blind, sound], [sound, Trial(2, blind.fpr95, [WEAK])]):
        assert best(trials) is sound
        assert advice("toy", "k", trials).endswith(f"{ASKED}1")
        assert "lowest mean is that of k = 1, k = 2 aside, which comes with a figure that is not to be believed" in (
            advice("toy", "k", trials)
        )
    assert [line[-1] for line in lines([sound, blind])[2:]] == ["65.00", "30.00‡"]
    assert notes("k", [sound, blind]) == ["FLAG k = 2, linf: blind; not to be believed.", severity.MARKS]


def test_a_figure_that_is_off_by_little_is_marked_and_counts():
    auroc = {"clean": 0.9, "linf": 0.6}
    trials = [Trial(1, {"clean": 0.3, "linf": 0.5}), Trial(2, {"clean": 0.3, "linf": 0.3}, [MILD], auroc, 0.855)]
    assert best(trials) is trials[1]
    assert lines(trials)[0][1:] == [
        "ID acc.",
        "clean FPR@95",
        "clean AUROC",
        "linf FPR@95",
        "linf AUROC",
        "mean FPR@95",
    ]
    assert lines(trials)[-1] == ["2", "85.50", "30.00", "90.00", "30.00†", "60.00†", "30.00†"]
    assert advice("toy", "k", trials) == f"The lowest mean is that of k = 2; for the suite's file:\n\n{ASKED}2"
    for value, written in (("fast", '"fast"'), (True, "true")):
        assert advice("toy", "k", [Trial(value, {"clean": 0.3})]).endswith(f"{ASKED}{written}")


def test_where_no_value_can_be_believed_none_is_recommended():
    trials = [Trial(value, {"linf": value / 10}, [flag]) for value, flag in ((1, BLIND), (2, WEAK))]
    assert best(trials) is None
    assert advice("toy", "k", trials).startswith("No value can be recommended: each comes with a figure that is not")
    assert ASKED not in advice("toy", "k", trials)


def test_a_mean_is_over_the_tasks_that_all_values_have():
    """Under a certified task some values of a parameter may have no bound; a flag there decides nothing then."""
    trials = [Trial(1, {"clean": 0.2, "linf": 0.1}, [BLIND]), Trial(2, {"clean": 0.3})]
    assert common_tasks(trials) == ["clean"]
    assert [line[2::2] for line in lines(trials)[2:]] == [["20.00", "10.00‡", "20.00"], ["30.00", "–", "30.00"]]
    assert best(trials) is trials[0]
    assert notes("k", trials)[-1] == "linf is in no mean: k = 2 has no figure of it."
    apart = [Trial(1, {"clean": 0.2}), Trial(2, {"linf": 0.3})]
    assert best(apart) is None
    assert "no task of which all have a figure" in advice("toy", "k", apart)
    assert lines(apart)[2][-1] == "–"


def test_a_value_that_may_be_as_good_by_chance_is_named_and_one_that_is_worse_is_not():
    leads = {"5": Difference(0.01, -0.002, 0.022), "10": Difference(0.2, 0.15, 0.25)}
    (note,) = chance("k", leads)
    assert "k = 5 lies 1.00 points above it (95 % interval -0.20 to 2.20)" in note
    assert "k = 10" not in note
    assert chance("k", {"10": leads["10"]}) == []
