"""A score as one graph: the same scores on images that it never saw, whatever their number, or a refusal by name."""

import importlib.util

import numpy as np
import pytest
import torch

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.odin import ODIN
from oodbench.images import builtin
from oodbench.networks import build
from oodbench.scoring.exporting import AGREES, export

TRAIN, LETTERS = builtin.make("digits-train").spread(60), builtin.make("letters").first(9)
NETWORK = build("small-cnn", 10, mean=(0.5, 0.5, 0.5), seed=1).eval()
AS_INPUT = torch.from_numpy(np.array(LETTERS.images)).permute(0, 3, 1, 2) / 255


def test_a_graph_of_torch_scores_other_images_as_the_detector_does(tmp_path):
    made = oodbench.fit(NETWORK, "knn", train=TRAIN)
    found = export(made, tmp_path / "knn.pt2")
    assert found.difference <= AGREES
    graph = torch.export.load(tmp_path / "knn.pt2").module()
    scores = made(LETTERS)
    for count in (1, 2, 9):
        given = graph(AS_INPUT[:count]).numpy()
        assert np.abs(given - scores[:count]).max() <= AGREES * scores.std()
    assert np.array_equal(made(LETTERS), scores)  # tracing left nothing in it


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript"))), reason="the extra onnx is missing"
)
def test_a_graph_of_onnx_scores_other_images_as_the_detector_does(tmp_path):
    import onnxruntime

    made = oodbench.fit(NETWORK, "energy", images=LETTERS)
    export(made, tmp_path / "energy.onnx")
    session, scores = onnxruntime.InferenceSession(tmp_path / "energy.onnx"), made(LETTERS)
    for count in (1, 9):
        (given,) = session.run(["scores"], {"images": AS_INPUT[:count].numpy()})
        assert np.abs(given - scores[:count]).max() <= AGREES * scores.std()


UNTRACEABLE = """
from oodbench.detector import Detector

class Deciding(Detector):
    name = "deciding"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        seen = representation.logits.double()
        self.seen = seen
        return seen.amax(1) if float(seen.mean()) > {LIMIT} else seen.amin(1)
"""


def test_what_is_no_graph_is_refused_by_name_and_leaves_nothing(tmp_path):
    odin = oodbench.fit(NETWORK, ODIN(ODIN.Parameters(magnitude=0.01)), images=LETTERS)
    (tmp_path / "deciding.py").write_text(UNTRACEABLE.replace("{LIMIT}", "0"))
    deciding = oodbench.fit(NETWORK, "deciding", images=LETTERS, plugins=[tmp_path / "deciding.py"])
    before = deciding(LETTERS)
    median = oodbench.fit(NETWORK, "median", images=LETTERS)
    for made, name, told in (
        (median, "m.pt2", "median draws random numbers for each image"),
        (odin, "a.pt2", "odin differentiates while it scores"),
        (deciding, "b.pt2", "the score of deciding is no graph that .pt2 holds"),
        (odin, "c.zip", "ends with neither .pt2 nor .onnx"),
    ):
        with pytest.raises(OodbenchError, match=told):
            export(made, tmp_path / name)
    assert np.array_equal(deciding(LETTERS), before)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py" and path.is_file()] == []
