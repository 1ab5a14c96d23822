"""A score as one graph: the same scores on images that it never saw, whatever their number, or a refusal by name."""

import importlib.util

import numpy as np
import pytest
import torch

import oodbench
from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detectors.odin import ODIN
from oodbench.images import builtin
from oodbench.networks import build
from oodbench.scoring import exporting
from oodbench.scoring.exporting import export
from oodbench.scoring.graph_check import AGREES, ROUNDING, compare_graph, floats, made_up_images, move_uphill
from oodbench.statistics.repeatability import spread_of

TRAIN, LETTERS = builtin.make("digits-train").spread(60), builtin.make("letters").first(9)
NETWORK = build("small-cnn", 10, mean=(0.5, 0.5, 0.5), seed=1).eval()
AS_INPUT = torch.from_numpy(np.array(LETTERS.images)).permute(0, 3, 1, 2) / 255


def test_a_graph_of_torch_scores_other_images_as_the_detector_does(tmp_path):
    made = oodbench.fit(NETWORK, "knn", train=TRAIN)
    found = export(made, tmp_path / "knn.pt2")
    assert found.agreement.share <= 1
    graph = torch.export.load(tmp_path / "knn.pt2").module()
    scores = made(LETTERS)
    for count in (1, 2, 9):
        given = graph(AS_INPUT[:count]).numpy()
        assert np.abs(given - scores[:count]).max() <= AGREES * scores.std()
    assert np.array_equal(made(LETTERS), scores)  # tracing left nothing in it


needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript"))), reason="the extra onnx is missing"
)


@needs_onnx
def test_a_graph_of_onnx_scores_other_images_as_the_detector_does(tmp_path):
    import onnxruntime

    made = oodbench.fit(NETWORK, "energy", images=LETTERS)
    export(made, tmp_path / "energy.onnx")
    session, scores = onnxruntime.InferenceSession(tmp_path / "energy.onnx"), made(LETTERS)
    for count in (1, 9):
        (given,) = session.run(["scores"], {"images": AS_INPUT[:count].numpy()})
        assert np.abs(given - scores[:count]).max() <= AGREES * scores.std()


@pytest.fixture(scope="module")
def mahalanobis():
    """Made-up images score a thousand times further from ID images than these lie apart."""
    learned = {"heldout": builtin.make("digits-train").first(97), "outliers": builtin.make("digits-outliers").first(97)}
    learned |= {"train": builtin.make("digits-train").spread(300), "calibrate": builtin.make("digits-test").first(60)}
    with pytest.warns(OodbenchWarning):  # nobody trained this network, and images are in two of these sets
        return oodbench.fit(NETWORK, "mahalanobis", **learned)


def off_by(change):
    """A writer of graphs whose scores are changed."""
    honest = exporting._torch

    def written(graph, images):
        content, run = honest(graph, images)
        return content, lambda some: change(run(some))

    return written


def test_a_graph_that_is_off_by_the_spread_of_id_scores_is_refused(tmp_path, monkeypatch, mahalanobis):
    spread = spread_of(mahalanobis.calibration)
    far = floats(mahalanobis.detector.score(made_up_images(12, (32, 32), "tried"))).std()
    assert far > 1000 * spread
    unknown = oodbench.fit(NETWORK, "energy", images=LETTERS)
    for made, size in ((mahalanobis, spread), (unknown, 0.001)):
        monkeypatch.setattr(exporting, "_torch", off_by(lambda scores, size=size: scores + size))
        with pytest.raises(OodbenchError, match=f"the graph of {made.detector.name} gives other scores than the det"):
            export(made, tmp_path / "off.pt2")
        monkeypatch.undo()
    monkeypatch.setattr(exporting, "_torch", off_by(lambda scores: scores * torch.nan))
    with pytest.raises(OodbenchError, match="gives other scores"):
        export(unknown, tmp_path / "off.pt2")
    assert not (tmp_path / "off.pt2").exists()


def test_float32_rounding_of_a_score_is_allowed_by_its_own_size(mahalanobis):
    """Two orders of the same sums differ by some 1e-7 of them, and a score of -10,000 by more than ID images do."""

    def graph(images):
        return (mahalanobis.detector.score(images).double() * (1 + 1e-6)).detach()

    found = compare_graph(mahalanobis.detector, graph, (32, 32), mahalanobis.calibration)
    assert found.share <= 1
    assert found.off > AGREES * found.scale
    assert found.off <= ROUNDING * abs(found.score)


@pytest.mark.parametrize("suffix", [".pt2", pytest.param(".onnx", marks=needs_onnx)])
def test_an_honest_graph_of_scores_that_rounding_moves_most_is_written(tmp_path, mahalanobis, suffix):
    found = export(mahalanobis, tmp_path / f"m{suffix}").agreement
    assert found.share <= 1
    assert found.scale == spread_of(mahalanobis.calibration)
    assert (found.images, found.moved) == (24, 6)


def test_images_are_moved_to_where_scores_of_id_images_lie():
    made = oodbench.fit(NETWORK, "energy", images=LETTERS, calibrate=builtin.make("digits-test").first(60))
    enough = float(np.median(made.calibration))
    drawn_ones = made_up_images(6, (32, 32), "uphill")
    moved = move_uphill(made.detector, drawn_ones, enough)
    assert moved.min() >= 0 and moved.max() <= 1
    before, after = (floats(made.detector.score(images)) for images in (drawn_ones, moved))
    assert (after >= np.minimum(before, enough)).all()
    assert (after > before)[before < enough].all()
    found = compare_graph(made.detector, made.detector.score, (32, 32), made.calibration)
    assert (found.share, found.images) == (0, 24)
    assert found.reached >= (after >= enough).sum()


def test_a_score_without_a_gradient_is_tried_on_images_as_they_are_drawn(tmp_path):
    (tmp_path / "counting.py").write_text(COUNTING)
    made = oodbench.fit(NETWORK, "counting", images=LETTERS, plugins=[tmp_path / "counting.py"])
    found = export(made, tmp_path / "c.pt2").agreement
    assert (found.moved, found.images, found.reached) == (0, 18, None)


COUNTING = """
from oodbench.detector import Detector

class Counting(Detector):
    name = "counting"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        return (100 * representation.logits.double()).round().amax(1).detach()
"""

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
