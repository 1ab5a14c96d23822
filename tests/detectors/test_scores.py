"""Scores against the reference's (golden/attacks.json), and where float32 probabilities stop telling images apart."""

from functools import partial

import numpy as np
import pytest
import torch

from oodbench.detectors.atom import ATOM, id_log_odds
from oodbench.detectors.msp import MSP, cross_entropy_to_uniform, log_odds_of_largest
from oodbench.detectors.ntom import NTOM
from oodbench.detectors.odin import ODIN
from oodbench.detectors.oe import OE
from oodbench.detectors.rowl import ROWL
from oodbench.detectors.sofl import SOFL
from oodbench.networks.network import Representation
from oodbench.scoring.fitting import fit

# The reference scored in float32, in which the logits of out4 and out5 depend on the order of summation: four orders
# and float64 lie up to 2.3e-5 apart, relative to the scores. How scores come from logits is held to 1e-6 below.
SUMMATION = 5e-5


@pytest.mark.parametrize(
    ("detector", "net", "case", "tolerance"),
    [
        (MSP, "out3", "msp_out3", 1e-6),
        (OE, "out3", "msp_out3", 1e-6),
        (ATOM, "out4", "outlier_class_out4", SUMMATION),
        (NTOM, "out4", "outlier_class_out4", SUMMATION),
        (SOFL, "out5", "sofl_out5", SUMMATION),
        (ROWL, "out4", "rowl_hard_out4", 0),
        (partial(ODIN, ODIN.Parameters(magnitude=0.0)), "out3", "odin_T1000_m0_out3", 1e-6),
        (partial(ODIN, ODIN.Parameters(magnitude=0.0006)), "out3", "odin_T1000_m0.0006_out3", 1e-6),
        (partial(ODIN, ODIN.Parameters(magnitude=0.0012)), "out3", "odin_T1000_m0.0012_out3", 1e-6),
        (partial(ODIN, ODIN.Parameters(magnitude=0.0016)), "out3", "odin_T1000_m0.0016_out3", 1e-6),
        (partial(ODIN, ODIN.Parameters(magnitude=0.02, temperature=1.0)), "out3", "odin_T1_m0.02_out3", 1e-6),
    ],
)
def test_published_scores_are_the_references(golden, toy, toy_images, detector, net, case, tolerance):
    fitted = detector()
    fit([fitted], toy(net).float(), 3)
    with torch.no_grad():
        published = fitted.as_published(fitted.score(toy_images.float()).numpy())
    np.testing.assert_allclose(published, golden("attacks")["scores_float32"][case], rtol=tolerance)


@pytest.mark.parametrize(("detector", "net"), [(ATOM, "out4"), (NTOM, "out4"), (SOFL, "out5")])
def test_published_scores_are_what_softmax_gives_the_reject_classes(toy, toy_images, detector, net):
    network = toy(net).float()
    fit([fitted := detector()], network, 3)
    with torch.no_grad():
        published = fitted.as_published(fitted.score(toy_images.float()).numpy())
        rejected = network(toy_images.float()).softmax(1)[:, 3:].sum(1)
    np.testing.assert_allclose(published, -rejected.numpy(), rtol=1e-6)


SATURATING = torch.tensor(
    [
        [16.7, 0.0, -60.0, -60.0],  # log-odds 16.7: a softmax in float32 is 1, the rounded probability is not
        [17.2, 0.0, -60.0, -60.0],
        [18.8, 2.0, 1.9, 1.8],
        [18.0, 0.0, 0.0, 0.0],
        [90.0, 3.0, 1.0, 0.0],
        [3.0, 1.0, 0.5, 0.25],
        [0.0, 0.0, 0.0, 0.0],
        [-3.0, -2.5, 20.0, 40.0],
    ]
)


def representation(logits):
    return Representation(logits, logits, ())


@pytest.mark.parametrize(
    ("detector", "classes", "printed"),
    [
        (MSP, 4, lambda p: p.max(1).values),
        (OE, 4, lambda p: p.max(1).values),
        (ATOM, 3, lambda p: -p[:, 3]),
        (NTOM, 3, lambda p: -p[:, 3]),
        (SOFL, 2, lambda p: -p[:, 2:].sum(1)),
        (ROWL, 3, lambda p: -(p.argmax(1) == 3).float()),
        (partial(ODIN, ODIN.Parameters(magnitude=0.0, temperature=1.0)), 4, lambda p: p.max(1).values),
    ],
)
def test_what_is_printed_is_a_softmax_in_float32_to_the_last_tie(toy, detector, classes, printed):
    made = detector()
    made.attach(toy("out3"), classes)
    if isinstance(made, ODIN):
        made.settle()
    random = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)) * 12
    logits = torch.cat([SATURATING, random])
    _, found = made.score_and_published(torch.zeros(len(logits), 3, 4, 4), representation(logits))
    assert torch.equal(found.scores, printed(logits.softmax(1)))
    # Only nearly so from the score alone.
    derived = made.as_published(made.score_representation(representation(logits)).numpy())
    np.testing.assert_allclose(derived, found.scores.numpy(), atol=1e-6)
    assert made.has_published()


def test_a_softmax_in_float32_ties_where_the_rounded_probability_does_not(toy):
    (made := MSP()).attach(toy("out3"), 4)
    derived = MSP.as_published(made.score_representation(representation(SATURATING)).numpy())
    printed = made.published(representation(SATURATING)).scores.numpy()
    assert (printed == 1).sum() > (derived == 1).sum() > 0


def test_rowl_searches_corruptions_by_the_probability_of_rejection(toy):
    (made := ROWL()).attach(toy("out3"), 3)
    logits = torch.tensor([[2.0, 2.0, 2.0, 2.5], [2.6, -9.0, -9.0, 2.5]])
    found = made.published(representation(logits))
    # The first is rejected, but leaves the reject class less than the second, which is accepted.
    assert found.scores.tolist() == [-1.0, 0.0]
    torch.testing.assert_close(found.search, -logits.softmax(1)[:, 3])
    assert found.search[0] > found.search[1]


def test_log_odds_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 100.0, 0.0]])
    expected = [-np.log(2), 2 - np.log(2), 100 - np.log(2)]
    np.testing.assert_allclose(log_odds_of_largest(logits).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(id_log_odds(logits).numpy(), [np.log(2), np.log(np.exp(2) + 1), 100], rtol=1e-12)
    np.testing.assert_allclose(cross_entropy_to_uniform(logits)[0], np.log(3), rtol=1e-6)


def test_where_float32_probabilities_tie_log_odds_do_not():
    logits = torch.tensor([[20.0, 0.0], [40.0, 0.0], [90.0, 0.0]])
    scores = log_odds_of_largest(logits).numpy()
    assert (np.diff(scores) > 0).all()
    assert MSP.as_published(scores).tolist() == [1.0, 1.0, 1.0]
    assert logits.softmax(1).max(1).values.tolist() == [1.0, 1.0, 1.0]


def test_log_odds_give_a_gradient_where_the_probability_is_flat():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(log_odds_of_largest(logits).sum(), logits)
    np.testing.assert_allclose(gradient.numpy(), [[1.0, -0.5, -0.5]])
