"""Detectors of one's own that go to work: what of them a file holds, and what is refused."""

import numpy as np
import pytest

import oodbench
from oodbench.basics.errors import OodbenchError
from tests.scoring.test_deployed import LETTERS, TRAIN, Own

PLUGIN = """
from oodbench.detector import Detector

class Mine(Detector):
    name = "mine"
    paper = "nobody, nowhere"

    def observe(self, representation, labels):
        self.mean = representation.features.mean(0).double()
        self.more = {MORE}

    def score_representation(self, representation):
        return -(representation.features.double() - self.mean).norm(dim=1)
"""


def test_a_plugins_tensors_are_kept_for_free_and_what_no_file_can_hold_is_named(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{MORE}", "{1: [self.mean, 0.5, None]}"))
    made = oodbench.fit(Own().eval(), "mine", train=TRAIN, plugins=[tmp_path / "mine.py"])
    made.save(tmp_path / "mine.ood")
    again = oodbench.load_detector(tmp_path / "mine.ood", Own().eval(), plugins=[tmp_path / "mine.py"])
    assert np.array_equal(again(LETTERS), made(LETTERS))
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{MORE}", "lambda: 1"))
    made = oodbench.fit(Own().eval(), "mine", train=TRAIN, plugins=[tmp_path / "mine.py"])
    with pytest.raises(OodbenchError, match="mine keeps 'more', of the type function"):
        made.save(tmp_path / "no.ood")
    assert not (tmp_path / "no.ood").exists()


def test_what_cannot_go_to_work_is_refused():
    for how, told in (
        ({"detector": "all", "train": TRAIN}, "one detector goes to work"),
        ({"detector": "msp"}, "there are no images"),
        ({"detector": "knn", "images": LETTERS}, "learns from ID training images"),
    ):
        with pytest.raises(OodbenchError, match=told):
            oodbench.fit(Own().eval(), **how)
