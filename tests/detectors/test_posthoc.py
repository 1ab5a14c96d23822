"""Post-hoc scores against their papers' formulas, by hand."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from oodbench import networks
from oodbench.detectors.energy import Energy
from oodbench.detectors.gen import GEN
from oodbench.detectors.maxlogit import MaxLogit
from oodbench.networks.network import Representation

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 0.4, 0.3], [12.0, -3.0, 0.0]])


def score(detector, logits=LOGITS, classes=3):
    detector.fit(networks.build("small-cnn", classes, seed=0), classes, None)
    return detector.score_representation(Representation(torch.tensor(logits), torch.zeros(len(logits), 1), ())).numpy()


def test_maxlogit():
    assert score(MaxLogit()).tolist() == [2.0, 0.5, 12.0]


def test_maxlogit_and_energy_leave_reject_outputs_out():
    rejecting = np.c_[LOGITS, [100.0, 100.0, 100.0]]
    for detector in (MaxLogit, Energy, GEN):
        np.testing.assert_array_equal(score(detector(), rejecting), score(detector()))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_energy(temperature):
    expected = temperature * logsumexp(LOGITS / temperature, axis=1)
    np.testing.assert_allclose(score(Energy(Energy.Parameters(temperature=temperature))), expected, rtol=1e-12)


@pytest.mark.parametrize(("gamma", "top"), [(0.1, 100), (0.1, 2), (0.5, 1)])
def test_gen(gamma, top):
    p = -np.sort(-softmax(LOGITS, axis=1))[:, :top]
    expected = -(p**gamma * (1 - p) ** gamma).sum(1)
    np.testing.assert_allclose(score(GEN(GEN.Parameters(gamma=gamma, top=top))), expected, rtol=1e-6)


def test_gen_still_orders_and_has_a_gradient_where_the_softmax_is_one():
    logits = torch.tensor([[50.0, 0.0, 0.0], [60.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    detector = GEN()
    detector.fit(networks.build("small-cnn", 3, seed=0), 3, None)
    scores = detector.score_representation(Representation(logits, torch.zeros(2, 1), ()))
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores[1] > scores[0]
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 0] > 0).all()


@pytest.mark.parametrize(
    ("parameters", "values"),
    [(Energy.Parameters, {"temperature": 0.0}), (GEN.Parameters, {"gamma": 1.0}), (GEN.Parameters, {"top": 0})],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose|between"):
        parameters(**values)
