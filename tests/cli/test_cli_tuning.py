"""From the command line: methods that learn and tune, what rows say of it, and what is missing when they cannot."""

import json
import re

import numpy as np
import pytest

from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.results.store import cells

QUICK = ("--set", "epochs=1", "--limit", "150", "--suite", "digits")

BROKEN = """
from dataclasses import dataclass

import torch
from oodbench.detector import Detector
from oodbench.objective import Objective


class Broken(Detector):
    '''Not a number for one image.'''

    name = "broken"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        return torch.where(torch.arange(len(representation.logits)) == 3, torch.nan, 1.0)


@dataclass(frozen=True)
class Diverging(Objective):
    def loss(self, network, batch, generator):
        return super().loss(network, batch, generator) * float("nan")


class Diverged(Broken):
    '''Cannot be trained.'''

    name = "diverged"

    def objective(self):
        return Diverging()


class Unsettled(Broken):
    '''Cannot learn from what it is shown.'''

    name = "unsettled"

    def settle(self):
        from oodbench.basics.errors import OodbenchError

        raise OodbenchError("unsettled: too few of everything")
"""


def stored(folder):
    return {str(cell.attributes()["detector"]): cell for cell in cells(folder)}


def test_what_was_tuned_on_what_with_which_result_is_kept_and_shown(oodbench, tmp_path):
    code, out, err = oodbench("run", "--detector", "odin", "--detector", "mahalanobis", "--detector", "knn", *QUICK)
    assert code == 0, err
    tuned = {name: json.loads(cell.attributes()["tuned"]) for name, cell in stored(tmp_path / "results").items()}
    assert tuned["knn"] == {}
    assert (tuned["odin"]["source"], tuned["odin"]["id_images"], tuned["odin"]["outliers"]) == ("heldout", 97, 1000)
    assert len(tuned["odin"]["tried"]) == 21
    assert len(tuned["mahalanobis"]["weights"]) == 3
    out = oodbench("table", "--long")[1]
    assert "odin (seed 1, epochs=1, 150 images of each set): tuned on 97 images held out of training" in out
    assert "magnitude" in out


def test_tuning_on_test_images_is_flagged_in_the_row(oodbench):
    code, out, err = oodbench("run", "--detector", "odin", "--set", "odin.tuning=id-test", *QUICK)
    assert code == 0, err
    assert "tuned on ID test images" in " ".join(out.split())
    out = oodbench("table", "--long")[1]
    assert "tuned on ID test images" in next(line for line in out.splitlines() if line.startswith("| odin"))
    assert "of the ID test set, which is a leak" in out


def test_a_failing_detector_is_named_and_the_others_are_done(oodbench, tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(BROKEN)
    names = ("diverged", "broken", "unsettled", "msp", "energy")
    chosen = [part for name in names for part in ("--detector", name)]
    code, _, err = oodbench("run", *chosen, "--plugin", plugin, *QUICK)
    assert code == 2
    assert "Traceback" not in err
    assert "digits: detector 'broken' gave NaN" in err
    assert "digits: diverged: training diverged in epoch 0" in err
    assert "digits: unsettled: too few of everything" in err
    assert {name for name, cell in stored(tmp_path / "results").items() if cell.read()} == {"msp", "energy"}
    rows = [line for line in oodbench("table", "--long")[1].splitlines() if line.startswith("| ") and "seed" in line]
    assert {line.split()[1]: "failed: " in line for line in rows} == {
        "msp": False,
        "energy": False,
        "diverged": True,
        "broken": True,
        "unsettled": True,
    }


DEAF = """
from oodbench.detectors.msp import MSP


class Deaf(MSP):
    '''MSP whose published attack climbs a constant.'''

    name = "deaf"

    def published_objective(self, images):
        return 0 * images.sum((1, 2, 3))
"""


def test_an_attack_that_stood_still_is_flagged_under_the_table(oodbench, tmp_path):
    (tmp_path / "deaf.py").write_text(DEAF)
    quick = ("--set", "epochs=1", "--set", "linf.steps=20", "--limit", "60", "--suite", "digits-adv", "--task", "linf")
    code, out, err = oodbench("run", "--detector", "deaf", "--detector", "msp", "--plugin", "deaf.py", *quick)
    assert code == 0, err
    assert "‡ not to be believed, may be off by (points): deaf linf " in out
    out = oodbench("table", "--long")[1]
    flags = [line for line in out.splitlines() if line.startswith("- FLAG deaf") and "no gradient" in line]
    assert len(flags) == 1
    assert "FLAG msp" not in out or "no gradient" not in out.partition("FLAG msp")[2].partition("\n")[0]
    assert "FLAG deaf (seed 1" in flags[0]
    assert "no gradient at the start of the attack on 100% of the images" in flags[0]
    assert "nothing better than the clean image for 100% of the images" in flags[0]


def test_rows_in_the_published_convention_say_whose_threshold_they_use(oodbench):
    code, _, err = oodbench("run", "--detector", "rowl", "--detector", "msp", *QUICK)
    assert code == 0, err
    assert "own threshold" not in oodbench("table", "results", "--long")[1]
    published = oodbench("table", "results", "--long", "--convention", "published")[1]
    assert "FPR@95 of rowl (seed 1, epochs=1, 150 images of each set) is at its own threshold -0.5" in published
    assert "of msp" not in published


def test_tune_tries_every_value_on_images_that_are_not_the_tests(oodbench, tmp_path):
    code, out, err = oodbench("tune", "--detector", "knn", "--over", "k=1,5,500", *QUICK)
    assert code == 2
    assert "k is 500 and there are 150" in err
    code, out, err = oodbench("tune", "--detector", "knn", "--over", "k=1,5", *QUICK)
    assert code == 0, err
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()[:4]]
    assert rows[0] == ["k", "ID acc.", "clean FPR@95", "clean AUROC", "mean FPR@95"]
    means = {row[0]: float(row[-1].rstrip("†‡")) for row in rows[2:]}
    best, other = sorted(means, key=lambda value: means[value])
    behind, low, high = map(
        float, re.search(rf"k = {other} lies (\S+) points .* interval (\S+) to (\S+)\)\.\n", out).groups()
    )
    assert low <= 0 < high
    assert behind == pytest.approx(means[other] - means[best], abs=0.011)
    assert f"[detectors.knn]\nk = {best}\n" in out
    assert "97 ID images held out of training against 150 reserved outliers" in out
    groups = [(group.task, group.image_set) for cell in cells(tmp_path / "results") for group in cell.read()]
    assert set(groups) == {("id", "digits-train-heldout"), ("clean", "digits-outliers-reserved")}
    assert len(list((tmp_path / "results" / "networks").glob("*.safetensors"))) == 1


def test_tune_takes_a_trained_network_and_tries_parameters_of_a_training_too(oodbench, tmp_path):
    code, out, err = oodbench("tune", "--detector", "knn", "--over", "k=1,5", "--pretrained", "--suite", "digits")
    assert code == 0, err
    assert "pretrained network digits/plain" in err
    assert "train for" not in err and "labels" not in err
    assert not (tmp_path / "results" / "networks").exists()
    code, out, err = oodbench("tune", "--detector", "msp", "--over", "training.epochs=1,2", *QUICK[2:])
    assert code == 0, err
    assert "train for 1 epoch," in err and "train for 2 epochs," in err
    assert re.search(r"lowest mean is that of training.epochs = (\d); for a run: --set training.epochs=\1$", out)
    assert oodbench("tune", "--detector", "msp", "--over", "x=1", "--pretrained", "--checkpoint", "a", *QUICK)[0] == 2


HIDING = """
from dataclasses import dataclass

from oodbench.detector import Detector


class Hiding(Detector):
    '''The largest logit, with a parameter that hides its gradient.'''

    name = "hiding"
    paper = "nobody, nowhere"

    @dataclass(frozen=True)
    class Parameters:
        hide: int = 0

    def score_representation(self, representation):
        scores = representation.logits.double().max(1).values
        return scores.detach() + 0 * scores if self.parameters.hide else scores
"""

ATTACKED = """
extends = "digits"
version = 1

[tasks.clean]
"""


def test_tune_believes_no_attack_without_a_gradient_and_keeps_to_the_tasks_asked(oodbench, tmp_path, briefly_continued):
    (tmp_path / "hiding.py").write_text(HIDING)
    (tmp_path / "mine.toml").write_text(ATTACKED + "[tasks.linf]\nepsilon = 8\nsteps = 40\n")
    tune = ("tune", "--suite", "mine.toml", "--detector", "hiding", "--plugin", "hiding.py", "--limit", "60")
    tune += ("--set", "epochs=1", "--over")
    code, out, err = oodbench(*tune, "hide=0,1")
    assert code == 0, err
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()[:4]]
    assert rows[0][2:] == ["clean FPR@95", "clean AUROC", "linf FPR@95", "linf AUROC", "mean FPR@95"]
    seen, hidden = rows[2:]
    assert float(hidden[4].rstrip("‡")) < float(seen[4].rstrip("†"))
    assert "may be no more than chance" not in out  # of one that can be believed
    assert {figure[-1] for figure in hidden[4:]} == {"‡"}
    (flag,) = (line for line in out.splitlines() if line.startswith("FLAG hide = 1, linf: "))
    assert "no gradient at the start of the attack on 100% of the images" in flag
    assert "‡ flagged, and off by more" in out
    assert "The lowest mean is that of hide = 0, hide = 1 aside" in out
    assert out.endswith("[detectors.hiding]\nhide = 0\n")

    (tmp_path / "mine.toml").write_text(ATTACKED)  # what was measured under linf is still in the files
    code, out, err = oodbench(*tune, "hide=5,0")
    assert code == 0, err
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()[:4]]
    assert table[0][2:] == ["clean FPR@95", "clean AUROC", "mean FPR@95"]
    assert table[3] == [*seen[:4], seen[2]]
    assert "FLAG" not in out


def test_a_plain_checkpoint_serves_whoever_needs_no_more(oodbench, tmp_path):
    oodbench("run", "--detector", "msp", *QUICK)
    (file,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    given = ("--checkpoint", file, "--out", "given", "--detector", "ccu-msp", "--detector", "ccu", "--detector", "msp")
    code, _, err = oodbench("run", *given, *QUICK)
    assert code == 2
    assert "ccu needs the mixtures that are trained with its network and the checkpoint has none: take ccu-msp" in err
    cells = stored(tmp_path / "given").items()
    scores = {name: groups[0].scores.tolist() for name, cell in cells if (groups := cell.read())}
    assert set(scores) == {"ccu-msp", "msp"}
    assert scores["ccu-msp"] == scores["msp"]


SUITE = """
extends = "digits"
version = 1

[id]
train = "digits-train"
test = "digits-test"
classes = 10
heldout = {heldout}

[outliers]
set = "digits-outliers"
reserved = {reserved}
"""


@pytest.mark.parametrize(
    ("heldout", "reserved", "arguments", "told"),
    [
        (0, 100, ["run", "--detector", "odin"], "tuned on ID images held out of training and suite 'mine' holds none"),
        (97, 0, ["run", "--detector", "odin"], "tuned on reserved outliers and suite 'mine' has none"),
        (1290, 10, ["run", "--detector", "msp"], "holds out 1290: too few are left to train on 10 classes"),
        (-1, 10, ["run", "--detector", "msp"], "heldout is -1"),
        (0, 100, ["tune", "--detector", "atom"], "keeps no images to choose parameters on"),
        (97, 100, ["tune", "--detector", "knn"], "names no parameter to try values of"),
        (97, 100, ["tune", "--detector", "knn", "--over", "k"], "--over 'k' is not name=v1,v2"),
        (97, 100, ["tune", "--detector", "knn", "--over", "kk=1"], "unknown parameter 'knn.kk'"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(oodbench, tmp_path, heldout, reserved, arguments, told):
    (tmp_path / "mine.toml").write_text(SUITE.format(heldout=heldout, reserved=reserved))
    code, out, err = oodbench(*arguments, "--suite", "mine.toml", "--limit", "60")
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert out == ""
    assert not list((tmp_path / "results").rglob("*.h5")) if (tmp_path / "results").exists() else True


def test_what_only_fitting_finds_has_a_row_that_says_it(oodbench, tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE.format(heldout=97, reserved=100))
    chosen = ("--detector", "mahalanobis", "--set", "taps=[7]", "--set", "epochs=1")
    code, out, err = oodbench("run", *chosen, "--suite", "mine.toml", "--limit", "60")
    assert code == 2
    assert "wants tap 7" in err
    assert "\nmahalanobis  failed\n" in out
    assert "Failed: mahalanobis wants tap 7" in out


def test_sizes_must_agree(oodbench, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 28, 28, 3), dtype=np.uint8)
    write_pack(tmp_path / "data" / "small.h5", ImageSet("small", pixels, np.full(9, -1), "drawn"))
    text = 'extends = "digits"\nversion = 1\n[[ood]]\nset = "small"\ndistance = "far"\n'
    (tmp_path / "mine.toml").write_text(text)
    code, _, err = oodbench("run", "--suite", "mine.toml", "--detector", "msp")
    assert code == 2
    assert "'small' are 28 x 28 and those of 'digits-test' 32 x 32 pixels" in err
