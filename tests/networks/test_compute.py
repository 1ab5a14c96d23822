"""Precision, compilation, and work that does not fit into memory: what they change and what they must not."""

import os
import shutil

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.images import builtin
from oodbench.images.resident import resident
from oodbench.networks import build
from oodbench.networks.bounds import Box
from oodbench.networks.compute import choose, prepare, training_precision
from oodbench.networks.network import MissingPartError, Network, Representation
from oodbench.networks.precision import EXACT, Compute
from oodbench.registry import discover
from oodbench.scoring.attacking import Attack, score_attacked
from oodbench.scoring.batches import Purpose, exact
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import fit
from oodbench.suite import Recipe
from oodbench.tasks.adaptive import LinfAdaptive
from oodbench.tasks.linf import Linf
from oodbench.tasks.versions import Versions
from oodbench.training.loop import TrainingData, train

CPU = torch.device("cpu")


def test_training_in_bf16_is_coarser_and_hands_out_float32():
    network, images = build("small-cnn", 10, seed=1).eval(), torch.rand(8, 3, 32, 32)
    before = network(images)
    with training_precision(network, Compute(bf16=True)):
        lowered = network.represent(images)
        lowered.logits.sum().backward()
    assert {part.dtype for part in (lowered.logits, lowered.features, *lowered.taps)} == {torch.float32}
    assert {weights.grad.dtype for weights in network.parameters()} == {torch.float32}
    error = (lowered.logits - before).abs().max() / before.abs().max()
    assert 1e-5 < error < 0.05
    torch.testing.assert_close(network(images), before)


def test_exact_precision_leaves_the_network_alone():
    network, images = build("small-cnn", 10, seed=1).eval(), torch.rand(2, 3, 32, 32)
    before = network(images)
    with training_precision(network, EXACT):
        assert torch.equal(network(images), before)


def test_boxes_go_through_a_network_in_bf16_as_they_do_without():
    network = build("small-cnn", 3, seed=1).eval()
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    box = Box.between(images - 0.01, images + 0.01)
    with torch.no_grad():
        exact_features = network.represent(box).features
        with training_precision(network, Compute(bf16=True)):
            features = network.represent(box).features
    torch.testing.assert_close(features.center, exact_features.center)
    torch.testing.assert_close(features.radius, exact_features.radius)


@pytest.mark.parametrize("name", ["headless:test_resnet", "torchvision:squeezenet1_1"])
def test_what_a_network_lacks_stays_away_in_bf16(name):
    pytest.importorskip("timm")
    network = build(name, 3, seed=1).eval()
    with training_precision(network, Compute(bf16=True)), torch.no_grad():
        found = network.represent(torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0)))
    with pytest.raises(MissingPartError):
        assert found.logits is found.features
    assert all(part.dtype == torch.float32 for part in (*found[:2], *found.taps))


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_only_for_networks_that_say_so_and_only_inside(tf32):
    network = prepare(build("small-cnn", 10, seed=1), Compute(tf32=tf32))
    flags = lambda: (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)  # noqa: E731
    before = flags()
    with exact(network):
        assert flags() == (tf32, tf32)
        assert torch.backends.cudnn.deterministic
    assert flags() == before
    assert not torch.backends.cudnn.deterministic


def test_gradients_repeat_themselves_while_a_network_is_trained(monkeypatch, tmp_path):
    seen = []

    def loss(network, batch, generator):
        seen.append(torch.backends.cudnn.deterministic)
        return network(batch.images).logsumexp(1).mean()

    objective = discover()["msp"]().objective()
    monkeypatch.setattr(type(objective), "loss", lambda self, *given: loss(*given))
    data = TrainingData(resident(builtin.make("digits-train").first(128), CPU), None)
    train(build("small-cnn", 10, seed=1), objective, Recipe(epochs=1), data, 1, tmp_path / "unfinished")
    assert seen == [True, True]
    assert not torch.backends.cudnn.deterministic


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="compiling needs a C++ compiler")
def test_a_compiled_network_says_the_same():
    plain = build("small-cnn", 10, seed=1).eval()
    compiled = prepare(build("small-cnn", 10, seed=1).eval(), choose("auto", False, True, CPU))
    images = torch.rand(8, 3, 32, 32)
    logits, gradients = [], []
    for network in (plain, compiled):
        leaf = images.clone().requires_grad_()
        logits.append(network(leaf))
        gradients.append(torch.autograd.grad(logits[-1].logsumexp(1).sum(), leaf)[0])
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_bf16_is_chosen_on_gpus_only_and_moves_what_it_moves(monkeypatch):
    assert choose("auto", False, False, CPU) == EXACT
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    gpu = choose("auto", True, False, torch.device("cuda"))
    assert gpu == Compute(bf16=True, tf32=True)
    assert not choose("float32", False, False, torch.device("cuda")).bf16
    with pytest.raises(OodbenchError, match="'half' is not known: choose one of auto, float32, bf16"):
        choose("half", False, False, CPU)


def test_what_cannot_compile_is_said_at_once(monkeypatch):
    def no_compiler(function):
        raise RuntimeError("Failed to find C compiler\nand more")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(OodbenchError, match="does not work here \\(Failed to find C compiler\\): leave it out"):
        choose("auto", False, True, CPU)


class Cramped(Network):
    """Another network on a device that cannot take more than `room` images at once."""

    def __init__(self, inner: Network, room: int) -> None:
        super().__init__()
        self.inner, self.room, self.largest = inner, room, 0

    @property
    def head(self):
        return self.inner.head

    def represent(self, images) -> Representation:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.largest = max(self.largest, len(images))
        return self.inner.represent(images)


@pytest.fixture
def letters():
    return builtin.make("letters").first(70)


def detector_over(room):
    network = Cramped(build("small-cnn", 10, seed=1).eval(), room)
    detector = discover()["msp"]()
    fit([detector], network, 10)
    return detector


def test_what_does_not_fit_is_halved_and_scores_the_same(letters):
    ample, cramped = detector_over(1000), detector_over(9)
    corrupted = Versions(("gaussian-noise",), (3,))
    for versions in (Versions(), corrupted):
        one, other = (score_versions([each], letters, versions, Purpose("x"), CPU)[0] for each in (ample, cramped))
        np.testing.assert_allclose(other.scores, one.scores, rtol=1e-5)
        assert one.predictions.tolist() == other.predictions.tolist()
        assert one.extras.keys() == other.extras.keys()
    assert 4 < cramped.network.largest <= 9


@pytest.mark.parametrize("task", [Linf(epsilon=8, steps=2), LinfAdaptive(epsilon=8, level="quick")])
def test_an_attack_that_does_not_fit_is_halved(letters, task):
    ample, cramped = detector_over(1000), detector_over(9)
    few = letters.first(10)
    one, other = (
        score_attacked(Attack(each, task, Goal.of(each), Purpose("x")), few, CPU) for each in (ample, cramped)
    )
    assert len(other.scores) == len(other.digests) == 10
    np.testing.assert_allclose(other.scores, one.scores, rtol=1e-3)
    assert other.checks.keys() == one.checks.keys()


def test_not_even_one_image_is_an_error(letters):
    with pytest.raises(OodbenchError, match="not even one image at a time fits into the GPU's memory"):
        score_versions([detector_over(0)], letters, Versions(), Purpose("x"), CPU)


def test_portions_remember_what_fits():
    tried = []

    def work(which):
        tried.append((which.start, which.stop))
        if which.stop - which.start > 3:
            raise torch.OutOfMemoryError
        return which.stop

    portions = Portions()
    assert list(portions.each(8, work)) == [2, 4, 6, 8]
    assert list(portions.each(3, work)) == [2, 3]
    assert tried == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (0, 2), (2, 3)]
