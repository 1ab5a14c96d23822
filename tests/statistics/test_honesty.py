"""Flags of an attack: counted from what it left behind, said where they are many."""

from math import isnan

import numpy as np
import pytest

from oodbench.metrics import curve
from oodbench.statistics import honesty

APART = curve([1.0, 2.0], [-1.0, -2.0])


def test_shares_are_counted_per_image():
    extras = {
        "stuck": np.array([1.0, 0.0, 0.0, 0.0]),
        "objective_before": np.array([1.0, 2.0, 3.0, 4.0]),
        "objective_after": np.array([1.0, 2.5, 3.0, 4.5]),
    }
    found = honesty.measure_flags(APART, extras, {})
    assert {name: found[name] for name in ("stuck", "unmoved", "ties")} == {"stuck": 0.25, "unmoved": 0.5, "ties": 0.0}


def test_ties_are_counted_over_pairs_and_bracket_the_auroc():
    id_scores, ood_scores = [1.0, 1.0, 0.5, 0.2], [1.0, 0.5, 0.5, 0.1, 0.0]
    ties = honesty.measure_flags(curve(id_scores, ood_scores), {}, {})["ties"]
    assert ties == (2 * 1 + 1 * 2) / 20
    won = np.mean([[one >= other for other in ood_scores] for one in id_scores])
    lost = np.mean([[one > other for other in ood_scores] for one in id_scores])
    assert won - lost == pytest.approx(ties)


def test_a_task_that_leaves_nothing_is_not_flagged():
    shares = honesty.measure_flags(APART, {}, {})
    assert isnan(shares["stuck"])
    assert isnan(shares["unmoved"])
    assert honesty.flag_texts([shares]) == {}


def test_checks_come_from_the_attributes():
    found = honesty.measure_flags(APART, {}, {"check_square": 0.02, "check_unbounded": 0.9, "hardware": "cpu"})
    assert found["square"] == 0.02
    assert len(honesty.flag_texts([found])) == 2
    assert "climbed on 90% of the images only" in honesty.flag_texts([found])["unbounded"]


def test_only_what_is_not_tolerated_is_said():
    quiet = {name: flag.tolerated for name, flag in honesty.FLAGS.items()}
    assert honesty.flag_texts([quiet]) == {}
    said = honesty.flag_texts([{**quiet, "stuck": 0.71}])
    assert said["stuck"] == "no gradient at the start of the attack on 71% of the images, so it could not climb"


def test_of_two_attacks_the_worse_counts():
    one, other = dict.fromkeys(honesty.FLAGS, float("nan")), dict.fromkeys(honesty.FLAGS, 0.1)
    assert honesty.larger_of(one, other) == other
    assert honesty.larger_of(one | {"stuck": 0.2}, other)["stuck"] == 0.2


def test_an_image_that_was_left_alone_is_not_one_that_could_not_be_moved():
    extras = {"objective_before": np.array([9.0, 1.0]), "objective_after": np.array([9.0, 1.0])}
    assert honesty.measure_flags(APART, extras, {})["unmoved"] == 1
    assert honesty.measure_flags(APART, {**extras, "retired": np.array([1.0, 0.0])}, {})["unmoved"] == 0.5


def left(kind, epsilon=0, side="out", **aurocs):
    return honesty.TaskAUROCs({"kind": kind, "epsilon": epsilon, "side": side}, aurocs)


def test_a_task_that_leaves_more_than_a_weaker_one_is_named():
    tasks = {
        "clean": left("clean", a=0.9, b=0.9),
        "linf": left("linf", 8, a=0.5, b=0.3),
        "mine": left("linf-adaptive", 8, a=0.5, b=0.3),
        "certified": left("certified", 8, a=0.1, b=0.0),
    }
    assert honesty.disordered_tasks(tasks) == {}
    said, beyond = honesty.disordered_tasks({**tasks, "mine": left("linf-adaptive", 8, a=0.52, b=0.34)})["mine"]
    assert said == "it leaves 3.00 points more of the AUROC than linf, which it should outdo: it missed something"
    assert beyond == pytest.approx(0.03)
    assert list(honesty.disordered_tasks({**tasks, "certified": left("certified", 8, a=0.6, b=0.6)})) == ["certified"]
    assert "than clean" in honesty.disordered_tasks({**tasks, "linf": left("linf", 8, a=0.95, b=0.9)})["linf"][0]


@pytest.mark.parametrize(
    "stronger",
    [
        left("linf-adaptive", 4, a=0.9),  # a smaller ball
        left("linf-adaptive", 8, side="in", a=0.9),  # the other images
        left("linf-adaptive", 8, b=0.9),  # another set
        left("compositional", 8, a=0.9),  # not around the image itself
    ],
)
def test_tasks_that_do_not_compare_are_not_held_against_each_other(stronger):
    assert honesty.disordered_tasks({"one": stronger, "linf": left("linf", 8, a=0.1)}) == {}


def test_a_ball_of_l_infinity_holds_that_of_l2_and_not_the_other_way_round():
    strong, weak = left("l2-adaptive", 128, a=0.5), left("l2", 128, a=0.3)
    assert list(honesty.disordered_tasks({"l2-adaptive": strong, "l2": weak})) == ["l2-adaptive"]
    assert honesty.disordered_tasks({"l2-adaptive": left("l2-adaptive", 64, a=0.5), "l2": weak}) == {}
    assert "than clean" in honesty.disordered_tasks({"l2": weak, "clean": left("clean", a=0.2)})["l2"][0]
    assert list(honesty.disordered_tasks({"wide": left("linf-adaptive", 128, a=0.4), "l2": weak})) == ["wide"]
    assert honesty.disordered_tasks({"wide": left("linf-adaptive", 8, a=0.4), "l2": weak}) == {}
    assert honesty.disordered_tasks({"l2-adaptive": strong, "linf": left("linf", 8, a=0.1)}) == {}


def test_a_score_of_the_wrong_sign_is_named_where_every_set_shows_it():
    assert "the wrong way round" in honesty.upside_down_text([(0.05, 500, 500), (0.3, 500, 500)])
    assert honesty.upside_down_text([(0.05, 500, 500), (0.48, 500, 500)]) == ""  # a set that it cannot tell apart
    assert honesty.upside_down_text([]) == ""
    # Eight images of each kind, all of which the score tells apart at random: 0.3 comes up one time in ten.
    assert honesty.upside_down_text([(0.3, 8, 8)]) == ""
    assert honesty.upside_down_text([(0.0, 8, 8)])


def test_an_attack_says_so_from_where_on_others_were_seen_to_beat_it_by_half_a_point():
    quiet = dict.fromkeys(honesty.FLAGS, float("nan"))
    assert honesty.flag_texts([{**quiet, "unconverged": 0.0014}]) == {}
    said = honesty.flag_texts([{**quiet, "unconverged": 0.0016}])
    assert "lower the AUROC by 0.16%" in said["unconverged"]


def test_a_share_of_images_climbed_with_everything_allowed_is_flagged_where_it_is_low():
    # Stored as a share, measured as its negative: less is worse.
    assert honesty.measure_flags(APART, {}, {"check_unbounded": 0.97})["unbounded"] == -0.97
    assert honesty.flag_texts([honesty.measure_flags(APART, {}, {"check_unbounded": 0.97})]) == {}
    assert list(honesty.flag_texts([honesty.measure_flags(APART, {}, {"check_unbounded": 0.94})])) == ["unbounded"]


def test_tasks_of_one_kind_are_not_held_against_each_other():
    # One may climb what the paper climbs and the other the score; radii of one attack are what `rising` looks at.
    assert honesty.disordered_tasks({"one": left("linf", 8, a=0.5), "other": left("linf", 8, a=0.3)}) == {}


def test_a_curve_is_read_by_its_radii_whatever_their_order():
    assert honesty.rising_curves({"linf": [(8, 0.5), (2, 0.7), (4, 0.6)]}) == {}
    text, rise = honesty.rising_curves({"linf": [(4, 0.6), (8, 0.65), (2, 0.7)]})["linf"]
    assert rise == pytest.approx(0.05)
    assert "rises with the radius by 5.00 points" in text
    assert honesty.rising_curves({"linf": [(2, 0.7), (4, 0.7005)]}) == {}


@pytest.mark.parametrize("name", ["outside", "blind", "broken"])
def test_one_image_in_ten_thousand_is_enough_for_what_no_attack_may_do(name):
    quiet = dict.fromkeys(honesty.FLAGS, float("nan"))
    assert list(honesty.flag_texts([{**quiet, name: 1e-4}])) == [name]


@pytest.mark.parametrize("name", ["square_gain", "transfer_gain"])
def test_an_attack_that_others_beat_is_flagged_from_a_fifth_of_a_point_of_auroc_on(name):
    quiet = dict.fromkeys(honesty.FLAGS, float("nan"))
    assert honesty.flag_texts([{**quiet, name: 0.0019}]) == {}
    assert list(honesty.flag_texts([{**quiet, name: 0.0021}])) == [name]
