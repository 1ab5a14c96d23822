"""Metrics against the reference, scikit-learn, and definitions counted by hand.

golden/metrics.json was produced by executing the reference code of Chen et al. 2021 (ATOM).
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realimages import SHARED, needs_real_images
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from oodbench import metrics
from oodbench.basics.errors import OodbenchError
from oodbench.metrics import METRICS, curve, evaluate, in_distribution_report

scores = st.lists(st.floats(-5, 5).map(lambda value: round(value, 1)), min_size=1, max_size=40)


def golden_cases(golden):
    return golden("metrics")["cases"]


@pytest.fixture(scope="module", params=range(21))
def case(request, golden):
    return golden_cases(golden)[request.param]


def test_published_convention_is_the_reference(case):
    measured = evaluate(case["id_scores"], case["ood_scores"], "published")
    expected = case["expected"]["reported"]
    names = {"FPR": "fpr95", "AUROC": "auroc", "DTERR": "detection_error", "AUIN": "aupr_in", "AUOUT": "aupr_out"}
    for theirs, ours in names.items():
        assert measured[ours] == pytest.approx(expected[theirs], abs=1e-12), ours


def test_published_threshold_and_the_share_of_id_it_costs(case):
    points = curve(case["id_scores"], case["ood_scores"])
    threshold = metrics.published_threshold(points)
    assert threshold == case["reference"]["threshold"]
    assert metrics.fnr_at(points, threshold) == pytest.approx(case["reference"]["id_fnr"], abs=1e-12)


@pytest.mark.parametrize("name", ["binary_fnr2_fpr25", "binary_fnr8_fpr25", "binary_accept_all"])
def test_fixed_threshold_is_the_reference(golden, name):
    (case,) = [case for case in golden_cases(golden) if case["name"] == name]
    points = curve(case["id_scores"], case["ood_scores"])
    expected = case["expected"]["reported_fixed_threshold_minus_half"]["FPR"]
    assert metrics.fpr_at(points, -0.5) == pytest.approx(expected, abs=1e-12)


def test_default_convention_is_scikit_learn(case):
    measured = evaluate(case["id_scores"], case["ood_scores"])
    assert measured["auroc"] == pytest.approx(case["reference"]["sklearn_auroc"], abs=1e-12)
    assert measured["aupr_in"] == pytest.approx(case["reference"]["sklearn_ap_in"], abs=1e-12)
    assert measured["aupr_out"] == pytest.approx(case["reference"]["sklearn_ap_out"], abs=1e-12)


@pytest.mark.parametrize("index", range(3))
def test_in_distribution_report_is_the_reference(golden, index):
    case = golden("metrics")["in_distribution_report"][index]
    values = np.asarray(case["scores"], dtype=np.float64)
    threshold = -0.5 if case["method"] == "rowl" else metrics.published_threshold(curve(values, values))
    report = in_distribution_report(values, np.asarray(case["preds"]), np.asarray(case["labels"]), threshold)
    expected = case["expected_percent"]
    assert report.fnr * 100 == pytest.approx(expected["FNR"], abs=0.005)
    assert report.accuracy * 100 == pytest.approx(expected["Acc"], abs=0.005)
    assert report.end_to_end_accuracy * 100 == pytest.approx(expected["EndToEndAcc"], abs=0.005)


def test_who_rejects_all_images_accepts_none_that_is_right():
    scores, labels = np.arange(4.0), np.array([0, 1, 2, -1])
    report = in_distribution_report(scores, np.array([0, 1, 0, 0]), labels, 9.0)
    assert (report.fnr, report.accuracy, report.end_to_end_accuracy) == (1, pytest.approx(2 / 3), 0)
    report = in_distribution_report(scores, np.array([0, 1, 0, 0]), labels, 0.5)
    assert report.end_to_end_accuracy == pytest.approx(1 / 3)  # of three that have a label


@settings(max_examples=200, deadline=None)
@given(scores, scores)
def test_openood_convention_is_what_it_calls_of_scikit_learn(id_scores, ood_scores):
    ours = evaluate(id_scores, ood_scores, "openood")
    is_ood = np.r_[np.zeros(len(id_scores)), np.ones(len(ood_scores))]
    confidence = np.r_[id_scores, ood_scores]
    for metric, positive, values in (("aupr_in", 1 - is_ood, confidence), ("aupr_out", is_ood, -confidence)):
        precision, recall, _ = precision_recall_curve(positive, values)
        assert ours[metric] == pytest.approx(auc(recall, precision), abs=1e-12)
    fpr, tpr, _ = roc_curve(is_ood, -confidence, drop_intermediate=False)
    assert ours["fpr95_oodpos"] == pytest.approx(fpr[np.argmax(20 * tpr >= 19 - 1e-9)], abs=1e-12)
    assert next(iter(ours)) == "fpr95_oodpos"


@settings(max_examples=200, deadline=None)
@given(scores, scores)
def test_against_scikit_learn_and_definitions(id_scores, ood_scores):
    ours = evaluate(id_scores, ood_scores)
    positive = np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))]
    values = np.r_[id_scores, ood_scores]
    assert ours["auroc"] == pytest.approx(roc_auc_score(positive, values), abs=1e-12)
    assert ours["aupr_in"] == pytest.approx(average_precision_score(positive, values), abs=1e-12)
    assert ours["aupr_out"] == pytest.approx(average_precision_score(1 - positive, -values), abs=1e-12)
    id_array, ood_array = np.asarray(id_scores), np.asarray(ood_scores)
    thresholds = [t for t in values if 20 * np.sum(id_array >= t) >= 19 * len(id_array)]
    assert ours["fpr95"] == pytest.approx(np.mean(ood_array >= max(thresholds)), abs=1e-12)
    thresholds = [t for t in values if 20 * np.sum(ood_array <= t) >= 19 * len(ood_array)]
    assert ours["fpr95_oodpos"] == pytest.approx(np.mean(id_array <= min(thresholds)), abs=1e-12)
    errors = [(np.mean(id_array < t) + np.mean(ood_array >= t)) / 2 for t in [*values, np.inf]]
    assert ours["detection_error"] == pytest.approx(min(errors), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(scores, scores)
def test_turning_everything_round_exchanges_in_and_out(id_scores, ood_scores):
    one = evaluate(id_scores, ood_scores)
    other = evaluate([-value for value in ood_scores], [-value for value in id_scores])
    for ours, theirs in [("aupr_in", "aupr_out"), ("fpr95", "fpr95_oodpos"), ("auroc", "auroc")]:
        assert one[ours] == pytest.approx(other[theirs], abs=1e-12)
    assert one["detection_error"] == pytest.approx(other["detection_error"], abs=1e-12)


def test_by_hand_with_a_tie_at_the_threshold():
    # 20 ID scores: 1 (twice), 2, ..., 19. 95 % are 19 images: the threshold must go down to the tied 1s and keeps all.
    id_scores = [1, 1, *range(2, 20)]
    ood_scores = [0, 1, 1, 5]
    measured = evaluate(id_scores, ood_scores)
    assert measured["fpr95"] == 0.75
    # 95 % of 4 OOD images are all 4, caught at 5: ID scores 1, 1, 2, 3, 4, 5 go with them.
    assert measured["fpr95_oodpos"] == 6 / 20
    # Above 5: 6 ID rejected, no OOD accepted: (6/20 + 0) / 2, less than (2/20 + 1/4) / 2 at 2.
    assert measured["detection_error"] == pytest.approx(0.15)
    # As published: index 1 is the second 1, strictly above it lies one OOD image.
    assert evaluate(id_scores, ood_scores, "published")["fpr95"] == 0.25


@pytest.mark.parametrize("n", [20, 60, 140, 1000])
def test_exactly_95_percent_is_enough(n):
    # The lowest n / 20 of n distinct ID scores may go; the one OOD score lies between the last of them and the next.
    assert evaluate(np.arange(n), [n / 20 - 0.5])["fpr95"] == 0
    assert evaluate([0.95 * n - 0.5], np.arange(n))["fpr95_oodpos"] == 0


def test_the_two_fprs_differ_where_shapes_do():
    # 100 ID images in [0, 1), half of OOD below all of them, half above all of them.
    id_scores = np.arange(100) / 100
    ood_scores = np.r_[-np.ones(50), 2 * np.ones(50)]
    measured = evaluate(id_scores, ood_scores)
    assert measured["fpr95"] == 0.5
    assert measured["fpr95_oodpos"] == 1.0


@pytest.mark.parametrize("convention", metrics.CONVENTIONS)
def test_extremes(convention):
    assert evaluate([5.0, 6, 7], [1.0, 2], convention)["auroc"] == 1
    assert evaluate([5.0, 6, 7], [1.0, 2], convention)["fpr95"] == 0
    assert evaluate([1.0, 2], [5.0, 6, 7], convention)["fpr95"] == 1
    equal = evaluate([3.0] * 4, [3.0] * 7, convention)
    assert equal["auroc"] == 0.5
    assert equal["fpr95"] == (0 if convention == "published" else 1)  # a strict threshold rejects every tie
    assert set(equal) == set(METRICS)


@pytest.mark.parametrize(
    ("id_scores", "ood_scores", "told"),
    [
        ([], [1.0], "ID scores have shape"),
        ([1.0], [], "OOD scores have shape"),
        ([[1.0]], [1.0], "ID scores have shape"),
        ([1.0], [float("nan")], "OOD scores hold NaN"),
        ([float("inf")], [1.0], "ID scores hold NaN or infinity"),
    ],
)
def test_refuses_what_has_no_answer(id_scores, ood_scores, told):
    with pytest.raises(OodbenchError, match=told):
        evaluate(id_scores, ood_scores)


def test_unknown_convention():
    with pytest.raises(OodbenchError, match="did you mean 'published'"):
        evaluate([1.0], [0.0], "publised")


def test_accuracy():
    assert metrics.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75


def test_thresholds_given_from_outside_are_strict():
    points = curve([0.0, 1, 2, 3], [-1.0, 1, 1, 5])
    assert [metrics.fpr_at(points, t) for t in (-9, 0.5, 1, 5)] == [1, 0.75, 0.25, 0]
    assert [metrics.fnr_at(points, t) for t in (-9, 0.5, 1, 5)] == [0, 0.25, 0.5, 1]


def test_a_threshold_set_on_clean_images_accepts_and_rejects_what_can_be_counted():
    clean, attacked, ood = np.arange(20.0), np.arange(20.0) - 8, [0.5, 1.0, 1.5, 30.0]
    # 19 of 20 lie at 1 or above: the threshold is 1. Of the attacked, -8 to 11, the nine below 1 are rejected.
    assert metrics.at_clean_threshold(metrics.CleanThreshold(clean, attacked, ood)) == pytest.approx(
        {"fpr95_clean": 0.75, "fnr_clean": 0.45}
    )
    # The reference code rejects up to the score of rank 1, itself included.
    published = metrics.at_clean_threshold(metrics.CleanThreshold(clean, attacked, ood, "published"))
    assert published == pytest.approx({"fpr95_clean": 0.5, "fnr_clean": 0.5})
    fixed = metrics.at_clean_threshold(metrics.CleanThreshold(clean, attacked, ood, "published", operating_point=1.5))
    assert fixed == pytest.approx({"fpr95_clean": 0.25, "fnr_clean": 0.5})


def test_an_attack_on_id_that_did_nothing_rejects_what_was_to_be_rejected():
    scores = np.random.default_rng(0).normal(size=200)
    found = metrics.at_clean_threshold(metrics.CleanThreshold(scores, scores, scores - 3))
    assert found["fnr_clean"] <= 0.05 + 1e-12
    assert found["fpr95_clean"] == metrics.evaluate(scores, scores - 3)["fpr95"]


@needs_real_images
def test_a_real_board_of_fifty_thousand_images_and_each_of_its_classes():
    """MSP of a ViT on ImageNet and NINCO, with the figures that its authors print for each class."""
    folder = SHARED / "spec" / "golden" / "ninco"
    found = np.load(folder / "vit_base_patch16_384_21kpre_msp.npz")
    id_scores, ood_scores, classes = found["scores_id"], found["scores_ood"], found["ood_classes"]
    assert (len(id_scores), len(ood_scores), len(classes)) == (50_000, 4_293, 46)
    pooled = evaluate(id_scores, ood_scores)
    assert pooled["auroc"] == pytest.approx(0.8714531353365945, abs=1e-12)
    assert pooled["fpr95"] == pytest.approx(0.5238760773351968, abs=1e-12)
    published = json.loads((folder / "vit_base_patch16_384_21kpre_msp_published.json").read_text())
    for number, name in enumerate(classes):
        of_class = evaluate(id_scores, ood_scores[found["ood_labels"] == number])
        assert of_class["auroc"] == pytest.approx(published[name]["auroc"], abs=1e-9), name
        assert of_class["fpr95"] == pytest.approx(published[name]["fpr_at_95"], abs=1e-12), name
