"""What a board comes to in words: only figures that can be believed lead, and nothing is called better than it is."""

import pytest

from oodbench.results.report import boards
from oodbench.results.report.model import Row, Signs, Task, Value
from oodbench.results.report.verdict import verdict

KINDS = {
    "clean": {"kind": "clean"},
    "linf": {"kind": "linf", "epsilon": 8, "side": "out"},
    "linf-adaptive": {"kind": "linf-adaptive", "epsilon": 8, "side": "out"},
    "linf-in": {"kind": "linf", "epsilon": 8, "side": "in"},
    "compositional": {"kind": "compositional", "epsilon": 8, "side": "out"},
    "certified": {"kind": "certified", "epsilon": 1},
    "linf-eps4": {"kind": "linf", "epsilon": 4, "side": "out"},
}


def task(name, threats=1, curve=""):
    about = KINDS[name]
    said = [f"way {number}" for number in range(threats)]
    attack = about.get("epsilon", 0) > 0 and name != "certified"
    return Task(name, said, about["kind"] == "clean", attack, curve, curve, about.get("epsilon", 0))


def row(detector, doubted=(), apart=(), name="", **figures):
    """A row with AUROCs in percent by task, `_` for `-`; a triple is a value and its interval."""
    by_name = {key.replace("_", "-"): value for key, value in figures.items()}
    values = {
        key: Value(*(each / 100 for each in (value if isinstance(value, tuple) else (value,))))
        for key, value in by_name.items()
    }
    return Row(
        name=name or detector,
        detector=detector,
        paper="",
        outliers=None,
        accuracy=0.9,
        accuracy_text="90.00",
        apart=dict.fromkeys(apart, "other code"),
        id_set="ids",
        n_id=40,
        constants={key: KINDS[key] for key in values},
        threats=dict.fromkeys(values, "way 0"),
        means={key: {"all": {"auroc": value, "fpr95": Value(0.5)}} for key, value in values.items()},
        panels=[],
        operating=[],
        flags={},
        signs={"all": Signs({}, list(doubted))},
        sheets={},
        provenance={},
    )


def said(rows, *names, view="all"):
    tasks = [each if isinstance(each, Task) else task(each) for each in names]
    return [(one.text, one.aside) for one in verdict(rows, tasks, view)]


def test_the_best_under_attack_leads_and_the_nearest_is_named():
    rows = [row("msp", clean=84, linf=1.5), row("atom", clean=91.5, linf=61.29), row("oe", clean=96, linf=3)]
    first, second = said(rows, "clean", "linf")
    assert first == (
        "Under attack (linf), atom keeps an AUROC of 61.29 %; nothing else is above 3.00 % (oe).",
        "",
    )
    assert second[0] == (
        "On images as they are, oe has an AUROC of 96.00 %, the highest; nothing else is above 91.50 % (atom)."
    )


def test_a_figure_that_is_not_to_be_believed_is_named_beside_the_headline_and_never_in_it():
    rows = [row("gram", linf=99, doubted=["linf"]), row("atom", linf=61), row("msp", linf=2), row("klm", linf=1)]
    ((text, aside),) = said(rows, "linf")
    assert text.startswith("Under attack (linf), atom keeps an AUROC of 61.00 %; nothing else that can be believed is")
    assert "2.00 % (msp)" in text
    assert aside == "Not counted, since flagged as too good or not to be believed: gram 99.00 %."
    ((text, aside),) = said([row("gram", linf=99, doubted=["linf"])], "linf")
    assert (text, aside) == ("Under attack (linf), no figure can be believed: all 1 are flagged.", "")


def test_where_attacks_have_one_threat_the_strongest_counts():
    rows = [row("weakly", linf=80, linf_adaptive=5), row("atom", linf=63, linf_adaptive=61)]
    ((text, _),) = said(rows, "linf", "linf-adaptive")
    assert text.startswith("Under attack (the worst of linf, linf-adaptive), atom keeps an AUROC of 61.00 %")
    assert "above 5.00 % (weakly)" in text
    # What a stronger attack measured may be believed where the weaker one may not, and the other way round.
    doubted = [row("acet", linf=58, linf_adaptive=54, doubted=["linf"]), row("msp", linf=1)]
    assert "acet keeps an AUROC of 54.00 %" in said(doubted, "linf", "linf-adaptive")[0][0]
    doubted = [
        row("acet", linf=58, linf_adaptive=54, doubted=["linf-adaptive"]),
        row("atom", linf=61, linf_adaptive=60),
    ]
    assert "atom keeps an AUROC of 60.00 %" in said(doubted, "linf", "linf-adaptive")[0][0]


def test_a_detector_that_met_only_the_weaker_attack_is_not_called_better_than_one_that_met_the_stronger():
    rows = [row("spared", linf=71), row("atom", linf=63, linf_adaptive=61), row("acet", linf=53, linf_adaptive=47)]
    assert said(rows, "linf", "linf-adaptive") == [
        (
            "Under attack (the worst of linf, linf-adaptive), atom keeps an AUROC of 61.00 %; nothing else that met "
            "the same attacks is above 47.00 % (acet).",
            "Not counted, since measured under a weaker attack alone: spared 71.00 %.",
        )
    ]
    # Where nobody met the stronger one, all are compared; where all that did are flagged, nobody leads.
    assert "spared keeps an AUROC of 71.00 %" in said([rows[0], row("msp", linf=1)], "linf", "linf-adaptive")[0][0]
    flagged = [rows[0], row("gram", linf=99, linf_adaptive=98, doubted=["linf", "linf-adaptive"])]
    ((text, _),) = said(flagged, "linf", "linf-adaptive")
    assert text.endswith("no figure counts: 1 are flagged, and 1 were measured under a weaker attack alone.")


def test_other_threats_are_told_apart_and_attacks_on_ood_images_lead():
    rows = [row("atom", clean=90, linf=61, linf_in=55, compositional=52, certified=51)]
    texts = [text for text, _ in said(rows, "compositional", "certified", "clean", "linf-in", "linf")]
    assert [text.partition(")")[0] for text in texts[:3]] == [
        "Under attack (linf",
        "Under attack (compositional",
        "Under attack on ID images (linf-in",
    ]
    assert texts[0] == "Under attack (linf), atom keeps an AUROC of 61.00 %, where guessing has 50 %."
    assert texts[-1].startswith("Guaranteed, whatever the attack (certified; ")
    assert "atom is sure to keep an AUROC of 51.00 %" in texts[-1]
    assert "nothing better than guessing" in said([row("atom", certified=0)], "certified")[0][0]


def test_what_is_worse_than_guessing_holds_nothing():
    rows = [row("msp", linf=1), row("knn", linf=13.27), row("gram", linf=47, doubted=["linf"])]
    ((text, aside),) = said(rows, "linf")
    assert text == (
        "Under attack (linf), nothing holds: the highest AUROC that can be believed is 13.27 % (knn), and guessing has "
        "50 %."
    )
    assert "gram 47.00 %" in aside


def test_overlapping_intervals_name_no_winner():
    ((text, _),) = said([row("atom", linf=(62, 57.9, 65.9)), row("rowl", linf=(58, 54.6, 61.2))], "linf")
    assert "atom keeps an AUROC of 62.00 % and rowl one of 58.00 %" in text
    assert "do not say which is better" in text
    ((text, _),) = said([row("atom", linf=(62, 60, 65.9)), row("rowl", linf=(58, 54.6, 59.9))], "linf")
    assert "nothing else is above 58.00 % (rowl)" in text


def test_the_luckiest_seed_is_no_headline():
    lucky = [row("a", linf=90, name="a (seed 1)"), row("a", linf=55, name="a (seed 2)")]
    steady = [row("b", linf=80, name="b (seed 1)"), row("b", linf=81, name="b (seed 2)")]
    ((text, _),) = said([*lucky, *steady], "linf")
    assert "b keeps an AUROC of 80.00 to 81.00 % (2 rows) and a (seed 1) one of 90.00 %" in text
    assert "do not say which is better" in text


def test_what_was_not_done_alike_or_stands_apart_is_not_compared():
    rows = [row("atom", linf=61), row("old", linf=99, apart=["linf"])]
    assert said(rows, "linf")[0][0].startswith("Under attack (linf), atom keeps an AUROC of 61.00 %, where")
    ((text, _), (nothing, _)) = said([row("atom", linf=61, clean=90)], task("linf", threats=2), "clean")
    assert text == "Under attack (linf), rows were not treated alike, so none is called the best."
    assert nothing.startswith("On images as they are")


def test_points_of_a_curve_are_told_only_where_there_is_nothing_else():
    rows = [row("atom", linf=61, linf_eps4=70)]
    assert len(said(rows, "linf", task("linf-eps4", curve="linf"))) == 1
    assert "linf-eps4" in said(rows, task("linf-eps4", curve="linf"))[0][0]


def test_without_an_attack_that_is_said_and_without_a_mean_nothing_is():
    texts = [text for text, _ in said([row("msp", clean=84)], "clean")]
    assert texts == [
        "On images as they are, msp has an AUROC of 84.00 %, where guessing has 50 %.",
        "Nothing here was attacked.",
    ]
    assert said([row("msp", clean=84)], "clean", view="near") == []


@pytest.mark.parametrize("view", ["all sets", "cats"])
def test_a_board_has_a_verdict_of_each_view(made, data, view):
    (board,) = boards([made("strong", gap=6.0), made("weak", gap=0.5)], data)
    assert set(board.verdicts) == set(board.views)
    assert board.verdicts[view][0].text.startswith("Under attack (linf), strong keeps an AUROC of ")
