"""What notebooks call, cell by cell, and what they are told when they call it wrongly."""

import numpy as np
import pytest
import torch

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.msp import MSP
from oodbench.images import builtin
from oodbench.metrics import METRICS
from oodbench.metrics import evaluate as all_metrics
from oodbench.networks import build
from oodbench.scoring.fitting import fit
from oodbench.tasks import Linf


def brightness(images):
    """A score that can be followed by hand: dark images are in-distribution."""
    return -images.mean((1, 2, 3))


def grey(levels):
    """One 4 x 4 image of each grey level."""
    return np.broadcast_to(np.asarray(levels, np.uint8)[:, None, None, None], (len(levels), 4, 4, 3))


DARK, BRIGHT = grey([10, 20, 30, 40]), grey([35, 100, 200, 255])


def value(frame, metric, **where):
    for column, wanted in where.items():
        frame = frame[frame[column] == wanted]
    (found,) = frame.loc[frame["metric"] == metric, "value"]
    return found


def test_one_line_for_a_function_of_ones_own():
    frame = oodbench.evaluate(brightness, DARK, BRIGHT)
    assert value(frame, "auroc") == 1 - 1 / 16  # 35 is darker than 40
    assert value(frame, "fpr95") == 1 / 4
    assert set(frame["metric"]) == set(METRICS)
    assert set(zip(frame["task"], frame["ood"], frame["n_id"], frame["n_ood"], strict=True)) == {("clean", "ood", 4, 4)}


def test_floats_and_bytes_are_the_same_images():
    as_float = torch.from_numpy(DARK.copy()).permute(0, 3, 1, 2) / 255
    assert oodbench.evaluate(brightness, as_float, BRIGHT).equals(oodbench.evaluate(brightness, DARK, BRIGHT))
    as_array = as_float.numpy()
    assert oodbench.evaluate(brightness, as_array, BRIGHT).equals(oodbench.evaluate(brightness, DARK, BRIGHT))


def test_scores_may_be_arrays_and_sets_have_names():
    frame = oodbench.evaluate(lambda images: brightness(images).numpy(), DARK, {"near": DARK, "far": grey([250, 255])})
    assert value(frame, "auroc", ood="near") == 0.5
    assert value(frame, "auroc", ood="far") == 1


def test_an_attack_moves_ood_images_inside_the_ball():
    frame = oodbench.evaluate(brightness, DARK, grey([50, 55]), attack="linf-adaptive", epsilon=16)
    assert value(frame, "auroc", task="clean") == 1
    # At best they become as dark as 34 and 39: each is darker than the darkest image alone, of four.
    assert value(frame, "auroc", task="linf-adaptive") == 1 - 2 / 8
    attacked = frame[frame["task"] == "linf-adaptive"]
    assert set(attacked["epsilon"]) == {16}
    assert set(attacked["blind"].dropna()) <= {0.0}
    by_task = oodbench.evaluate(brightness, DARK, grey([50, 55]), attack=Linf(epsilon=16, objective="adaptive"))
    assert value(by_task, "auroc", task="linf") == 1 - 2 / 8


def test_a_fitted_detector_scores_as_it_does_in_a_run():
    network = build("small-cnn", 10, mean=(0.5,) * 3, std=(0.5,) * 3, seed=0)
    detector = MSP()
    fit([detector], network.eval(), 10)
    id_images, ood_images = builtin.make("digits-test").images[:50], builtin.make("letters").images[:40]
    frame = oodbench.evaluate(detector, id_images, ood_images, intervals=True, attack="linf", epsilon=4)
    with torch.no_grad():
        scores = [
            detector.score(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
            for images in (id_images, ood_images)
        ]
    assert value(frame, "auroc", task="clean") == pytest.approx(all_metrics(*scores)["auroc"], abs=1e-3)
    assert value(frame, "auroc", task="linf") < value(frame, "auroc", task="clean")
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["high"]).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((brightness, DARK, BRIGHT[:0]), "ood_images 'ood' are torch.uint8 (0, 4, 4, 3)"),
        ((brightness, DARK.astype(int), BRIGHT), "give uint8 (N, H, W, 3), or float"),
        ((brightness, DARK.astype(np.float32), BRIGHT), "id_images are torch.float32 (4, 4, 4, 3)"),
        ((brightness, torch.full((2, 3, 4, 4), 1.5), BRIGHT), "id_images leave [0, 1]"),
        ((lambda images: images, DARK, BRIGHT), "it must give one number an image"),
        ((lambda images: brightness(images) * torch.nan, DARK, BRIGHT), "NaN or infinity"),
    ],
)
def test_what_cannot_be_scored_is_told(arguments, told):
    with pytest.raises(OodbenchError) as caught:
        oodbench.evaluate(*arguments)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"attack": "linf"}, "an attack needs both"),
        ({"epsilon": 8}, "an attack needs both"),
        ({"attack": "liNf", "epsilon": 8}, "did you mean 'linf'"),
        ({"attack": "corruption", "epsilon": 8}, "moves nothing inside a ball: leave epsilon=8 out"),
        ({"attack": Linf(), "epsilon": 8}, "says its own radius: leave epsilon=8 out"),
        ({"attack": Linf}, "make one, such as Linf()"),
        ({"attack": 8, "epsilon": 8}, "give a name, as 'linf-adaptive', or a task"),
        ({"attack": "certified", "epsilon": 8}, "knows no bounds of its score"),
        ({"attack": "linf", "epsilon": True}, "write 8 for 8/255"),
        ({"attack": "linf", "epsilon": 8 / 255}, "write 8 for 8/255"),
        ({"attack": "linf", "epsilon": "8"}, "write 8 for 8/255"),
        ({"attack": "linf", "epsilon": float("nan")}, "write 8 for 8/255"),
        ({"attack": "linf", "epsilon": 300}, "choose 0 to 255"),
        ({"attack": "linf", "epsilon": -1}, "choose 0 to 255"),
        ({"attack": "linf-adaptive", "epsilon": 2.5}, "whole levels of 1/255"),
        ({"convention": "publised"}, "did you mean 'published'"),
        ({"device": "tpu"}, "choose auto, cpu"),
    ],
)
def test_what_cannot_be_done_is_told(options, told):
    with pytest.raises(OodbenchError) as caught:
        oodbench.evaluate(brightness, DARK, BRIGHT, **options)
    assert told in str(caught.value)


def test_a_score_that_is_an_array_is_searched_at_random():
    def array(images):
        return brightness(images).detach().numpy()

    frame = oodbench.evaluate(array, DARK, grey([50, 55]), attack="linf-adaptive", epsilon=16)
    assert value(frame, "auroc", task="linf-adaptive") == 1 - 2 / 8
    assert set(frame[frame["task"] == "linf-adaptive"]["blind"]) == {1.0}
    with pytest.raises(OodbenchError, match="linf-adaptive does without, by random search"):
        oodbench.evaluate(array, DARK, BRIGHT, attack="linf", epsilon=16)


def test_images_between_levels_are_scored_but_not_attacked():
    between = torch.full((2, 3, 4, 4), 100.5 / 255)
    assert value(oodbench.evaluate(brightness, DARK, between), "auroc") == 1
    with pytest.raises(OodbenchError, match="whole levels"):
        oodbench.evaluate(brightness, DARK, between, attack="linf", epsilon=4)


def test_a_notebook_from_run_to_a_table_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    asked = dict(tasks=["clean", "linf"], limit=40, parameters={"epochs": 1, "linf.steps": 2}, say=said.append)
    ran = oodbench.run("digits-adv", ["msp", "energy"], **asked)
    assert any("msp, energy" in line for line in said)

    frame = oodbench.load_results("results")
    rows = ["detector", "task", "ood", "metric"]
    assert frame.sort_values(rows, ignore_index=True).equals(ran.sort_values(rows, ignore_index=True))
    aurocs = frame[frame["metric"] == "auroc"].pivot_table(index="detector", columns="task", values="value")
    assert list(aurocs.index) == ["energy", "msp"]
    assert list(aurocs.columns) == ["clean", "linf"]
    assert (aurocs["linf"] <= aurocs["clean"]).all()

    again = oodbench.run("digits-adv", "msp", **asked)
    assert set(again["date"]) <= set(frame["date"])  # what is there is not done again

    with pytest.raises(OodbenchError, match="did you mean 'msp'"):
        oodbench.run("digits-adv", "mps")


def test_tasks_and_the_error_are_there_before_anything_is_evaluated(monkeypatch):
    monkeypatch.delattr(oodbench, "tasks", raising=False)  # as in a fresh process, where nothing has imported them
    with pytest.raises(oodbench.OodbenchError, match="radius"):
        oodbench.evaluate(brightness, DARK, BRIGHT, attack=oodbench.tasks.Linf(epsilon=8), epsilon=4)


def test_a_run_gives_back_what_it_was_asked_for_whatever_else_its_folder_holds(tmp_path):
    def asked(**more):
        return oodbench.run(
            "digits-adv", "msp", pretrained=True, limit=20, out=tmp_path, say=lambda _: None, **more
        ).set_index(["task", "ood", "metric"])["value"]

    first = asked(tasks=["clean"], only=["letters"])
    asked(tasks=["clean", "linf"], only=["letters", "uniform-noise"], parameters={"linf.steps": 1})
    more = asked(tasks=["clean", "linf"], only=["letters", "uniform-noise"])
    again = asked(tasks=["clean"], only=["letters"])
    assert again.to_dict() == pytest.approx(first.to_dict(), nan_ok=True)
    assert len(more) > 2 * len(first)
    assert set(again.index.get_level_values("ood")) == {"", "letters"}
