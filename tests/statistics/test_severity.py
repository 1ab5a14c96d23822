"""How far off a flag says that a number may be, counted by hand."""

from math import isnan

import numpy as np
import pytest

from oodbench.metrics import auroc, curve, fpr95
from oodbench.statistics import honesty, severity
from oodbench.statistics.severity import Effect, SetFlags

IDS, OOD = np.arange(1.0, 11), np.array([0.0, 0.5, 5.5, 20.0])
"""AUROC (10 + 10 + 5 + 0) / 40; at the threshold that keeps all, 1, half of the OOD images pass."""


def effects(ood_extras=None, id_extras=None, shares=(float("nan"), float("nan")), **found):
    quiet = dict.fromkeys(honesty.FLAGS, float("nan"))
    arrays = [{name: np.array(rows) for name, rows in (extras or {}).items()} for extras in (id_extras, ood_extras)]
    counted = {name: rows.mean() for extras in arrays for name, rows in extras.items() if name in honesty.FLAGS}
    return severity.flag_effects(IDS, OOD, {**quiet, **counted, **found}, *arrays, shares)


def test_images_on_which_the_attack_failed_might_have_passed_everything():
    assert effects({"stuck": [1.0, 0, 0, 0]}) == {"stuck": Effect(0.25, 0.25)}
    assert effects({"stuck": [0.0, 0, 1, 0]}) == {"stuck": Effect(0.125, 0)}
    assert effects({"stuck": [0.0, 0, 0, 1]}) == {"stuck": Effect(0, 0)}  # it has passed all of them already


def test_attacked_id_images_might_have_fallen_below_everything():
    found = effects(id_extras={"stuck": [0.0] * 9 + [1]})["stuck"]
    assert found.auroc == pytest.approx(3 / 40)  # the image of 10 beats three of four
    assert found.fpr95 == 0.5  # and one of ten below all moves the threshold there


def test_who_left_the_ball_did_more_than_allowed():
    found = effects({"outside": [0.0, 0, 0, 1]})["outside"]
    assert found == Effect(0.25, 0.25)
    assert (
        "may be up to 25.00 points higher"
        in statements({"outside": 0.25, **rest("outside")}, {"outside": found})[0].text
    )


def statements(values, effects):
    return severity.flag_statements([SetFlags(values, effects)])


def rest(*names):
    return {name: float("nan") for name in honesty.FLAGS if name not in names}


def test_no_attack_does_more_than_the_bound():
    generator = np.random.default_rng(0)
    ids, ood = generator.normal(1, size=50), generator.normal(size=40)
    rows = generator.random(40) < 0.3
    bound = severity.flag_effects(ids, ood, {**rest(), "stuck": rows.mean()}, {}, {"stuck": rows.astype(float)})[
        "stuck"
    ]
    for _ in range(20):
        stronger = np.where(rows, ood + generator.exponential(3, 40), ood)
        assert auroc(curve(ids, ood)) - auroc(curve(ids, stronger)) <= bound.auroc


def test_of_a_share_counted_on_some_images_the_worst_are_assumed():
    found = effects(outguessed=0.3, shares=(float("nan"), 0.3))["outguessed"]
    assert found == Effect(0.5, 0.5)  # two of four, the ones that pass least, are all that was rejected


def test_a_share_of_id_images_that_may_fall_further_moves_the_threshold():
    ids, ood = np.r_[np.full(97, 10.0), np.full(3, -10.0)], np.zeros(100)
    found = severity.flag_effects(ids, ood, {**rest(), "outguessed": 0.03}, {}, {}, (0.03, float("nan")))["outguessed"]
    fallen = np.r_[np.full(94, 10.0), np.full(6, -10.0)]
    before, after = (curve(scores, ood) for scores in (ids, fallen))
    assert found == Effect(pytest.approx(auroc(before) - auroc(after)), fpr95(after) - fpr95(before))
    assert found.fpr95 == 1  # three of a hundred decide whether every OOD image passes


def test_both_sides_may_fail_at_once():
    found = effects(outguessed=0.5, shares=(0.1, 0.5))["outguessed"]
    # 10 falls below all, 0 and 0.5 rise above all: 5.5 then beats five of ten, and the others win everywhere.
    assert found == Effect(pytest.approx(25 / 40 - 4 / 40), 0.5)


def test_ties_go_to_either_side_and_what_others_reached_is_measured():
    assert effects(ties=0.25)["ties"].auroc == 0.125
    found = effects(square=0.4, square_gain=0.02, unconverged=0.03)
    assert (found["square"].auroc, found["unconverged"].auroc) == (0.02, 0.03)


def test_who_is_beaten_without_passing_one_id_image_more_loses_nothing():
    assert effects(square=0.0, square_gain=0.0) == {}
    found = effects(square=0.3, square_gain=0.0)
    assert found["square"].auroc == 0 and isnan(found["square"].fpr95)
    (said,) = statements({**rest("square"), "square": 0.3}, found)
    assert "beats the attack on 30% of the images; the AUROC is too high by 0.00 points at least" in said.text
    assert said.effect == 0


def test_what_was_not_measured_is_not_given_a_size():
    (said,) = statements({**rest("square"), "square": 0.3}, {})
    assert "by how much a figure may be off is not known" in said.text
    assert severity.mark(said.effect) == "‡"


def test_an_effect_is_of_all_sets_also_where_one_alone_would_be_tolerated():
    gains = (0.001, 0.001, 0.001, 0.057)
    several = [SetFlags({**rest("unconverged"), "unconverged": gain}, effects(unconverged=gain)) for gain in gains]
    assert severity.mean_effect("unconverged", several).auroc == pytest.approx(0.015)
    assert severity.mean_effect("unconverged", [*several, SetFlags(rest(), {})]).auroc == pytest.approx(0.012)


def test_an_attack_that_fails_on_one_set_alone_is_flagged_for_the_mean_of_all():
    blind = {**rest("gradient_missing"), "gradient_missing": 0.8}
    sound = {**rest("gradient_missing"), "gradient_missing": 0.0}
    sets = [SetFlags(sound, {})] * 5 + [SetFlags(blind, {"gradient_missing": Effect(0.6, 0.3)})]
    (said,) = severity.flag_statements(sets)
    assert (said.effect, said.belief) == (pytest.approx(0.1), severity.NO)
    assert "does not tell 80% of what the score does" in said.text and "on 1 of 6 OOD sets" in said.text
    assert "AUROC may be up to 10.00 points lower, FPR@95 up to 5.00 points higher" in said.text
    assert severity.flag_statements([SetFlags(sound, {})] * 6) == []
    # Nobody knows what one of two failures hides, so nobody knows it of the mean.
    (said,) = severity.flag_statements([*sets, SetFlags(blind, {})])
    assert "by how much a figure may be off is not known" in said.text


def test_a_wrong_gradient_bounds_nothing_and_a_shaky_score_what_it_shakes():
    assert effects(gradient_error=0.5)["gradient_error"] == Effect(auroc(curve(IDS, OOD)), 0.5)
    assert effects(gradient_error=0.01) == {}
    assert effects(unsteadiness=1e-3)["unsteadiness"].auroc == 0
    assert effects(unsteadiness=10.0)["unsteadiness"].auroc > 0.6


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("stuck", 0.004, "to be believed within 0.40 points"),
        ("stuck", 0.04, "as an upper bound"),
        ("stuck", 0.4, "not to be believed"),
        ("unconverged", 0.4, "an upper bound of how well the detector holds, and not the best one"),
        ("outside", 0.0, "not to be believed"),
    ],
)
def test_a_verdict_goes_by_size(name, size, words):
    assert words in severity.verdict(name, size)


def test_said_is_sorted_by_what_it_may_do():
    means = {**rest("stuck", "ties"), "stuck": 0.5, "ties": 0.1}
    found = statements(means, {"stuck": Effect(0.01, 0.0), "ties": Effect(0.05)})
    assert [one.effect for one in found] == [0.05, 0.01]
    assert [severity.mark(one.effect) for one in found] == ["‡", "†"]


def test_a_shaky_score_may_shake_by_the_wider_spread_of_both_sides():
    # Quartiles lie 4.5 apart for ID and 8.75 for OOD images, a quarter of which is 2.1875: OOD images come 4.375
    # nearer. 4.375 and 4.875 then lose to six ID images each, 9.875 to one, and all four pass the lowest ID image.
    assert effects(unsteadiness=0.25)["unsteadiness"] == Effect(pytest.approx(25 / 40 - 13 / 40), 0.5)


def test_ties_of_more_than_a_point_are_not_to_be_believed_while_a_stuck_climb_is_off_by_a_bounded_size():
    assert severity.belief("stuck", 0.04) == severity.WITHIN
    assert severity.belief("ties", 0.04) == severity.NO
    assert severity.verdict("ties", 0.04) == "not to be believed"


def test_a_flag_is_as_bad_as_the_worse_of_its_two_figures():
    (flag,) = statements({**rest("stuck"), "stuck": 0.5}, {"stuck": Effect(0.004, 0.2)})
    assert (flag.effect, flag.belief) == (0.2, severity.NO)
    assert severity.mark(flag.effect) == "‡"
