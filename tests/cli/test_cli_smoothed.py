"""`--task smoothed` end to end: guarantees stored, tabled, resumed, refused."""

import io

import pandas as pd
import pytest

from oodbench.results.store import cells

QUICK = ("run", "--suite", "digits-adv", "--pretrained", "--only", "letters", "--limit", "6", "--task", "smoothed")
SET = ("--set", "smoothed.draws=60", "--set", "smoothed.radii=[2,200]", "--set", "smoothed.confidence=0.9")


def frame_of(oodbench):
    out = oodbench("table", "results", "--format", "csv")[1]
    return pd.read_csv(io.StringIO(out), keep_default_na=False, na_values=["nan"])


def test_a_run_stores_what_it_guarantees_once(oodbench, tmp_path):
    command = (*QUICK, *SET, "--detector", "msp", "--detector", "knn", "--set", "knn.k=5")
    code, out, err = oodbench(*command)
    assert code == 0, err
    assert "smoothed-eps2: a guarantee, for OOD images anywhere within 2/255 (L2)." in " ".join(out.split())
    said = " ".join(out.split())
    assert "whose score is the median of 60 noisy copies, sigma 0.25" in said
    assert "90 % for all images of a set together" in said
    assert "smoothed-eps200: 60 draws guarantee nothing beyond L2" in said
    frame = frame_of(oodbench)
    for _, part in frame[frame.metric == "auroc"].groupby("detector"):
        of_task = part.set_index("task")["value"]
        assert list(of_task.index) == ["smoothed", "smoothed-eps2", "smoothed-eps200"]
        assert of_task["smoothed"] >= of_task["smoothed-eps2"] >= of_task["smoothed-eps200"] == 0.0
    assert set(frame[frame.task == "smoothed-eps2"].epsilon) == {2}
    assert "fnr_clean" not in set(frame.metric)  # no ID image moved
    (msp,) = [cell for cell in cells(tmp_path / "results") if "msp" in str(cell.path)]
    dates = {(group.task, group.image_set): group.attributes["date"] for group in msp.read()}
    assert ("smoothed", "digits-test") in dates
    code, _, err = oodbench(*command)
    assert code == 0, err
    assert {(group.task, group.image_set): group.attributes["date"] for group in msp.read()} == dates
    assert oodbench("report", "results", "-o", str(tmp_path / "page.html"))[0] == 0


@pytest.mark.usefixtures("briefly_continued")
def test_an_attack_on_both_sides_stands_between(oodbench):
    more = ("--set", "smoothed.attack=quick", "--set", "smoothed.eot=1", "--threat", "both")
    settings = ("--set", "smoothed.draws=60", "--set", "smoothed.radii=[40]", "--set", "smoothed.confidence=0.9")
    code, out, err = oodbench(*QUICK, *settings, *more, "--detector", "energy", "--limit", "3")
    assert code == 0, err
    frame = frame_of(oodbench)
    of_task = frame[frame.metric == "auroc"].set_index("task")["value"]
    assert of_task["smoothed-both"] >= of_task["smoothed-both-attacked-eps40"] >= of_task["smoothed-both-eps40"]
    assert "smoothed-both-attacked-eps40" in set(frame[frame.metric == "fnr_clean"].task)
    assert "it should outdo" not in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "smoothed.draws=9"), "9 draws guarantee nothing of 6 images together with a confidence of 0.999"),
        (("--set", "smoothed.sigma=0"), "sigma is 0.0: without noise nothing is smoothed"),
        (("--set", "smoothed.radii=[64,16]"), "the smallest first"),
    ],
)
def test_what_guarantees_nothing_is_refused_before_anything_is_scored(oodbench, tmp_path, more, said):
    code, _, err = oodbench(*QUICK, "--detector", "msp", *more)
    assert code == 2
    assert said in " ".join(err.split())
    assert not (tmp_path / "results").exists()
