"""A share of the training images: drawn by seed, whatever the order and the batches, in bounded memory."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from oodbench.basics.errors import OodbenchError
from oodbench.detectors.drawing import Drawn
from oodbench.detectors.knn import KNN
from oodbench.detectors.nnguide import NNGuide
from oodbench.networks.network import Representation
from tests.detectors.test_posthoc import learned, random_features


def drawn(count, share, seed=0, least=0, batch=64):
    """Which of `count` images are kept."""
    keeper = Drawn(share, seed, least)
    for rows in torch.split(torch.arange(count, dtype=torch.float64)[:, None], batch):
        keeper.add(rows)
    assert keeper.images == count
    return keeper.rows()[:, 0].long()


@pytest.mark.parametrize(
    ("count", "share", "kept"), [(50000, 0.01, 500), (1281, 0.1, 128), (1000, 0.333, 333), (7, 0.01, 0), (90, 1.0, 90)]
)
def test_the_share_is_exact_and_in_the_order_of_the_images(count, share, kept):
    found = drawn(count, share)
    assert len(found) == kept
    assert (found.diff() > 0).all()


def test_batches_change_nothing_and_the_seed_does():
    found = drawn(20000, 0.01)
    assert torch.equal(drawn(20000, 0.01, batch=512), found)
    assert torch.equal(drawn(20000, 0.01, batch=20000), found)
    assert not torch.equal(drawn(20000, 0.01, seed=1), found)


def test_every_part_of_the_set_has_its_share():
    # Of 2,000 among 100,000, each tenth of the set has 200 on average, with a deviation of 13.
    parts = torch.bincount(drawn(100000, 0.02) // 10000, minlength=10)
    assert ((parts - 200).abs() < 5 * 13.3).all()
    assert parts.unique().numel() > 1


def test_a_larger_share_holds_the_smaller_one():
    small, large = (set(drawn(5000, share).tolist()) for share in (0.02, 0.05))
    assert small < large


def test_as_many_as_are_needed_are_kept_of_a_small_set():
    assert len(drawn(300, 0.01, least=500)) == 300
    assert len(drawn(3000, 0.01, least=500)) == 500
    assert len(drawn(300000, 0.01, least=500, batch=512)) == 3000


def test_what_is_held_stays_near_the_share():
    keeper, most = Drawn(0.01, 0), 0
    for _ in range(400):
        keeper.add(torch.zeros(500, 1))
        most = max(most, keeper._held)
    assert keeper.images == 200000
    # 2,000, six deviations and some; a quarter more between two looks.
    assert most <= 1.25 * (2000 + 6 * 45 + 37)
    assert len(keeper.rows()) == 2000


@pytest.mark.parametrize("bank", [0.0, -0.1, 1.01, float("nan")])
@pytest.mark.parametrize("method", [KNN, NNGuide])
def test_what_is_no_share_is_refused(method, bank):
    with pytest.raises(ValueError, match="bank is .*choose above 0 and at most 1"):
        method.Parameters(bank=bank)


def test_knn_among_a_share_is_knn_over_just_these_images():
    features, queries = random_features(400), random_features(9, seed=1)
    detector, network = learned(KNN(KNN.Parameters(k=3, bank=0.1)), features)
    alone, _ = learned(KNN(KNN.Parameters(k=3)), features[drawn(400, 0.1, batch=7)])
    seen = network.seen(queries)
    assert torch.equal(detector.score_representation(seen), alone.score_representation(seen))
    other, _ = learned(KNN(KNN.Parameters(k=3, bank=0.1, bank_seed=1)), features)
    assert not torch.equal(detector.score_representation(seen), other.score_representation(seen))


def test_knn_says_that_its_share_is_too_small():
    with pytest.raises(OodbenchError, match=r"k is 50 and there are 300.*of which 3 are.*raise --set knn\.bank"):
        learned(KNN(KNN.Parameters(bank=0.01)), random_features(300))


def given(features, logits):
    return Representation(torch.tensor(logits), torch.tensor(features), ())


def guide(features, logits, k, classes=2):
    detector = NNGuide(NNGuide.Parameters(k=k, bank=1.0))
    _, network = learned(KNN(KNN.Parameters(k=1)), random_features(2, len(features[0])), classes=classes)
    detector.attach(network, classes)
    detector.observe(given(features, logits), torch.zeros(len(features), dtype=torch.long))
    detector.settle()
    return detector


def test_nnguide_by_hand():
    # Energies are log 2 more than two equal logits. Unit features (1, 0), (0, 1), (0.6, 0.8); the query is (1, 0).
    level = np.log(2)
    bank = [[2.0, 0.0], [0.0, 5.0], [3.0, 4.0]]
    logits = [[1.0 - level] * 2, [2.0 - level] * 2, [3.0 - level] * 2]
    query = given([[7.0, 0.0]], [[4.0 - level] * 2])
    # Products with the bank: 1 * 1, 0 * 2, 0.6 * 3.
    for k, mean in ((1, 1.8), (2, 1.4), (3, 2.8 / 3)):
        score = guide(bank, logits, k).score_representation(query)
        assert score.item() == pytest.approx(4 * mean, rel=1e-6)


def test_nnguide_is_the_mean_over_neighbours_that_are_taken_one_by_one():
    features, queries = random_features(300), random_features(11, seed=1)
    detector, network = learned(NNGuide(NNGuide.Parameters(k=20, bank=1.0)), features)
    seen, asked = network.seen(features), network.seen(queries)

    def parts(representation):
        unit = representation.features.double().numpy()
        return unit / np.linalg.norm(unit, axis=1, keepdims=True), logsumexp(representation.logits.double(), axis=1)

    (bank, of_bank), (unit, energies) = parts(seen), parts(asked)
    products = -np.sort(-(unit @ (bank * of_bank[:, None]).T), axis=1)[:, :20]
    np.testing.assert_allclose(detector.score_representation(asked), energies * products.mean(1), rtol=1e-5, atol=1e-5)


def test_nnguide_takes_five_images_for_each_neighbour_in_any_case():
    detector, _ = learned(NNGuide(NNGuide.Parameters(k=10)), random_features(400))
    assert detector._bank.shape == (50, 5)
    with pytest.raises(OodbenchError, match=r"nnguide: k is 100 and there are 60 ID training images: .*nnguide\.k"):
        learned(NNGuide(), random_features(60))


def test_nnguide_refuses_a_network_whose_energies_are_negative():
    with pytest.raises(OodbenchError, match="nnguide weighs.*negative with FeatureNetwork.*leave nnguide out"):
        guide([[1.0, 0.0]] * 4, [[-5.0, -6.0]] * 3 + [[5.0, 6.0]], k=2)
