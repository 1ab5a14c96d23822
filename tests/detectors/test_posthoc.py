"""Post-hoc scores against their papers' formulas, by hand."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from sklearn.neighbors import NearestNeighbors

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.detectors.ash import ASH, shaped
from oodbench.detectors.energy import Energy
from oodbench.detectors.gen import GEN
from oodbench.detectors.knn import KNN
from oodbench.detectors.maxlogit import MaxLogit
from oodbench.detectors.react import ReAct
from oodbench.detectors.rmds import RMDS
from oodbench.detectors.vim import ViM, principal_dimensions
from oodbench.networks.network import Representation
from oodbench.objective import Objective
from oodbench.registry import discover
from oodbench.scoring.fitting import fit
from tests.detectors.features import FeatureNetwork, learned, random_features

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 0.4, 0.3], [12.0, -3.0, 0.0]])


def score(detector, logits=LOGITS, classes=3):
    fit([detector], networks.build("small-cnn", classes, seed=0), classes)
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
    fit([detector], networks.build("small-cnn", 3, seed=0), 3)
    scores = detector.score_representation(Representation(logits, torch.zeros(2, 1), ()))
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores[1] > scores[0]
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 0] > 0).all()


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (Energy.Parameters, {"temperature": 0.0}),
        (GEN.Parameters, {"gamma": 1.0}),
        (GEN.Parameters, {"top": 0}),
        (KNN.Parameters, {"k": 0}),
        (ViM.Parameters, {"dimensions": 0}),
        (ReAct.Parameters, {"percentile": 0.0}),
        (ASH.Parameters, {"percentile": 100.0}),
    ],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose|between"):
        parameters(**values)


def test_knn_by_hand():
    bank = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]])
    query = torch.tensor([[5.0, 0.0]])
    # On the unit circle the query is (1, 0): distances 0, sqrt 2, sqrt(2 - sqrt 2), 2.
    for k, distance in ((1, 0.0), (2, np.sqrt(2 - np.sqrt(2))), (3, np.sqrt(2)), (4, 2.0)):
        detector, network = learned(KNN(KNN.Parameters(k=k)), bank)
        assert detector.score_representation(network.seen(query)).item() == pytest.approx(-distance, abs=1e-6)


def test_knn_is_scikit_learns():
    bank, queries = random_features(80), random_features(20, seed=1)
    detector, network = learned(KNN(KNN.Parameters(k=7)), bank)
    unit_bank, unit_queries = (each / each.norm(dim=1, keepdim=True) for each in (bank, queries))
    neighbours = NearestNeighbors(n_neighbors=7).fit(unit_bank.numpy())
    expected = -neighbours.kneighbors(unit_queries.numpy())[0][:, -1]
    np.testing.assert_allclose(detector.score_representation(network.seen(queries)), expected, rtol=1e-5, atol=1e-6)


def test_knn_refuses_a_k_beyond_the_training_set():
    with pytest.raises(OodbenchError, match=r"k is 50 and there are 10.*knn\.k"):
        learned(KNN(), random_features(10))


def test_vim_by_hand():
    # Weight rows span the first axis; the features' second axis varies most, the third is what is left over.
    head = torch.nn.Linear(3, 2)
    head.weight.data, head.bias.data = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), torch.tensor([1.0, -1.0])
    # pinv(W) b = (1, 0, 0), so the origin is (-1, 0, 0).
    features = torch.tensor([[4.0, 9.0, 0.5], [-5.0, 9.0, -0.5], [3.0, -9.0, -0.7], [-6.0, -9.0, 0.4]])
    detector, network = learned(ViM(ViM.Parameters(dimensions=2)), features, classes=2, head=head)
    largest = network.seen(features).logits.amax(1)
    centred = (features + torch.tensor([1.0, 0.0, 0.0])).double().numpy()
    _, vectors = np.linalg.eigh(centred.T @ centred / 4)
    residual = np.abs(centred @ vectors[:, 0])
    alpha = largest.double().mean().item() / residual.mean()
    query = torch.tensor([[2.0, 1.0, 3.0]])
    missed = abs((query + torch.tensor([1.0, 0.0, 0.0])).double().numpy() @ vectors[:, 0])
    expected = logsumexp(network.seen(query).logits.double().numpy(), axis=1) - alpha * missed
    with torch.no_grad():
        np.testing.assert_allclose(detector.score_representation(network.seen(query)), expected, rtol=1e-6, atol=1e-5)


def test_vim_takes_a_last_layer_that_adds_nothing():
    features, heads = random_features(), [torch.nn.Linear(5, 3), torch.nn.Linear(5, 3, bias=False)]
    heads[1].weight.data = heads[0].weight.data
    heads[0].bias.data.zero_()
    with torch.no_grad():
        scores = [
            detector.score_representation(network.seen(features))
            for detector, network in (learned(ViM(ViM.Parameters(dimensions=2)), features, head=head) for head in heads)
        ]
    torch.testing.assert_close(*scores, rtol=1e-6, atol=1e-6)


def test_vim_orders_as_the_paper_s_virtual_probability():
    detector, network = learned(ViM(ViM.Parameters(dimensions=2)), random_features())
    queries = network.seen(random_features(20, seed=1))
    with torch.no_grad():
        virtual = detector._alpha * detector._residual(queries.features)
        probability = torch.cat([queries.logits.double(), virtual[:, None]], 1).softmax(1)[:, -1]
        scores = detector.score_representation(queries)
    assert torch.equal(scores.argsort(), (-probability).argsort())


@pytest.mark.parametrize(("features", "dimensions"), [(2048, 1000), (2047, 512), (768, 512), (342, 171), (767, 383)])
def test_vim_takes_the_authors_number_of_dimensions(features, dimensions):
    assert principal_dimensions(features) == dimensions


def test_vim_refuses_a_principal_space_without_a_residual():
    with pytest.raises(OodbenchError, match=r"5 dimensions and there are 5 features.*vim\.dimensions"):
        learned(ViM(ViM.Parameters(dimensions=5)), random_features())


def test_vim_refuses_features_that_the_principal_space_holds_whole():
    with pytest.raises(OodbenchError, match="no residual outside 2 dimensions"):
        learned(ViM(ViM.Parameters(dimensions=2)), random_features(dimensions=1).expand(60, 5))


def test_react_by_hand():
    features = torch.arange(1.0, 11.0).view(5, 2)
    head = torch.nn.Linear(2, 2)
    head.weight.data, head.bias.data = torch.eye(2), torch.zeros(2)
    # numpy's percentile 80 of 1..10 is 8.2.
    detector, network = learned(ReAct(ReAct.Parameters(percentile=80)), features, classes=2, head=head)
    scores = detector.score_representation(network.seen(torch.tensor([[3.0, 100.0], [4.0, 8.0]])))
    np.testing.assert_allclose(scores.detach(), logsumexp([[3, 8.2], [4, 8]], axis=1), rtol=1e-6)


def test_ash_by_hand():
    # 60 % of five are dropped: 4 and 3 stay, times exp(10 / 7).
    features = torch.tensor([[1.0, 4.0, 2.0, 0.0, 3.0]])
    expected = torch.tensor([[0.0, 4.0, 0.0, 0.0, 3.0]]) * np.exp(10 / 7)
    torch.testing.assert_close(shaped(features, 60), expected)
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 3)
    detector, network = learned(ASH(ASH.Parameters(percentile=60)), features, head=head)
    with torch.no_grad():
        np.testing.assert_allclose(
            detector.score_representation(network.seen(features)),
            logsumexp(head(expected).double(), axis=1),
            rtol=1e-6,
            atol=1e-5,
        )


def test_ash_takes_flat_features_at_high_percentiles():
    # One of a hundred equal features stays, times exp(100): beyond float32. Both logits are 1 * exp(100) and 0.
    head = torch.nn.Linear(100, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [0.0]]).expand(2, 100))
        head.bias.zero_()
    detector, network = learned(ASH(ASH.Parameters(percentile=99)), torch.ones(1, 100), classes=2, head=head)
    with torch.no_grad():
        scores = detector.score_representation(network.seen(torch.ones(1, 100)))
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores, [np.exp(100.0)], rtol=1e-9)
    for dtype in (torch.float32, torch.float64):
        assert shaped(torch.ones(1, 5000, dtype=dtype), 99.99).isfinite().all()


@pytest.mark.parametrize("method", [ReAct, ASH])
def test_features_of_a_network_in_bf16(method):
    features = torch.linspace(0, 10, 40).reshape(4, 10)
    head = torch.nn.Linear(10, 3)
    scores = {}
    for dtype in (torch.float32, torch.bfloat16):
        detector, network = learned(method(), features.to(dtype), head=head.to(dtype))
        with torch.no_grad():
            scores[dtype] = detector.score_representation(network.seen(features.to(dtype)))
    np.testing.assert_allclose(scores[torch.bfloat16], scores[torch.float32], rtol=0.05, atol=0.05)


class Flattened(FeatureNetwork):
    """Images are the features."""

    def represent(self, images):
        features = images.flatten(1)
        return Representation(self.fc(features), features, ())


@pytest.mark.parametrize("climbed", ["published_objective", "logarithm"])
def test_what_attacks_climb_of_ash_has_a_gradient_where_its_scores_are_beyond_float32(climbed):
    detector = ASH(ASH.Parameters(percentile=99.9))
    detector.attach(Flattened(torch.nn.Linear(3 * 16 * 16, 2)), 2)
    images = (0.5 + 0.01 * torch.rand(4, 3, 16, 16)).requires_grad_()
    assert detector.score(images).abs().min() > torch.finfo(torch.float32).max
    objective = detector.surrogates().get(climbed, detector.published_objective)(images)
    (gradient,) = torch.autograd.grad(objective.sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    # It rises with the score.
    assert torch.equal(objective.argsort(), detector.score(images).argsort())


def test_react_takes_features_in_fewer_bits_than_its_last_layer():
    features, head = torch.linspace(0, 10, 40).reshape(4, 10), torch.nn.Linear(10, 3)
    detector, network = learned(ReAct(), features, head=head)
    with torch.no_grad():
        whole = detector.score_representation(network.seen(features))
        seen = network.seen(features)._replace(features=features.bfloat16())
        np.testing.assert_allclose(detector.score_representation(seen), whole, rtol=0.05, atol=0.05)


def test_ash_takes_features_that_are_all_zero():
    assert torch.equal(shaped(torch.zeros(2, 10), 90), torch.zeros(2, 10))


def test_rmds_by_hand():
    features, labels = random_features(90, 4).double(), torch.arange(90) % 3
    detector, network = learned(RMDS(), features.float(), labels)
    query = random_features(6, 4, seed=1)
    centred = features.float().double() - torch.stack([features[labels == c].mean(0) for c in range(3)])[labels]
    within = np.linalg.inv(np.cov(centred.T, bias=True))
    total = np.linalg.inv(np.cov(features.T, bias=True))

    def distance(mean, precision):
        gap = query.double().numpy() - mean
        return np.einsum("nd,de,ne->n", gap, precision, gap)

    nearest = np.min([distance(features[labels == c].mean(0).numpy(), within) for c in range(3)], axis=0)
    expected = distance(features.mean(0).numpy(), total) - nearest
    np.testing.assert_allclose(detector.score_representation(network.seen(query)), expected, rtol=1e-4, atol=1e-4)


def test_rmds_says_what_it_lacks():
    with pytest.raises(OodbenchError, match="rmds: the covariance of 5 features is singular.*give more"):
        learned(RMDS(), random_features(6))


def test_a_network_without_a_linear_head_is_named():
    with pytest.raises(OodbenchError, match="FeatureNetwork does not end in one linear layer"):
        learned(ViM(), random_features(), head=torch.nn.Sequential(torch.nn.Linear(5, 3)))


@pytest.mark.parametrize("name", ["energy", "gen", "maxlogit", "msp", "knn", "vim", "react", "ash", "rmds"])
def test_post_hoc_detectors_share_the_networks_pass(name):
    detector = discover()[name]
    assert detector.score is Detector.score
    assert detector().objective() == Objective()
