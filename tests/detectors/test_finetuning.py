"""Methods that go on from a plain network: recipe of the second training, and what its steps minimise, by hand."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.detectors.acet import AttackedExposure
from oodbench.detectors.divoe import DivOE, ExtrapolatedExposure
from oodbench.detectors.energy_ft import BoundedEnergy, EnergyFT
from oodbench.detectors.finetuning import FineTuning
from oodbench.detectors.mixoe import MixedOutliers, MixOE, paste
from oodbench.objective import Objective
from oodbench.suite import Recipe
from oodbench.training.loop import train
from tests.detectors.steps import Linear, batch
from tests.training.loopsubjects import Linear as SmallNetwork
from tests.training.loopsubjects import data

SUITE = Recipe(epochs=3, drops=(2,), learning_rate=0.1, momentum=0.8, weight_decay=1e-3, augment=("crop",))


def test_the_first_training_is_that_of_a_plain_network():
    for detector in (EnergyFT(), MixOE(), DivOE()):
        plain, further = detector.objective().phases()
        assert plain == Objective()
        assert further == detector.objective()
        assert further.uses_outliers


def test_the_second_has_a_recipe_of_its_own_and_the_suites_augmentation():
    recipe = FineTuning(epochs=4, learning_rate=0.01).recipe(SUITE)
    assert (recipe.epochs, recipe.learning_rate) == (4, 0.01)
    assert (recipe.momentum, recipe.weight_decay, recipe.augment) == (0.8, 1e-3, ("crop",))
    assert [recipe.rate(done) for done in (0, 1, 2, 3, 4)] == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)
    assert Objective().recipe(SUITE) is SUITE


def test_fine_tuning_at_next_to_no_rate_ends_where_the_plain_training_does(tmp_path):
    def weights(objective):
        network = SmallNetwork()
        train(network, objective, SUITE, data(), 1, tmp_path / type(objective).__name__)
        return network.fc.weight.detach()

    tuned = weights(BoundedEnergy(id_batch=4, outlier_batch=3, epochs=2, learning_rate=1e-12))
    torch.testing.assert_close(tuned, weights(Objective()), rtol=0, atol=1e-9)


def test_energy_has_a_hinge_on_either_side():
    network, given = Linear(3), batch()
    with torch.no_grad():
        of_id, of_outliers = (-network(images).logsumexp(1) for images in (given.images, given.outliers))
    # Margins between the energies, so that on each side some images lie beyond and some do not.
    m_in, m_out = float(of_id.sort().values[1]) - 0.25, float(of_outliers.sort().values[2]) - 0.125
    loss = BoundedEnergy(weight=0.3, m_in=m_in, m_out=m_out).loss(network, given, torch.Generator())
    hinges = np.mean([max(0, e - m_in) ** 2 for e in of_id.tolist()])
    hinges += np.mean([max(0, m_out - e) ** 2 for e in of_outliers.tolist()])
    assert hinges > 0
    torch.testing.assert_close(
        loss, cross_entropy(network(given.images), given.labels) + 0.3 * hinges, atol=1e-5, rtol=1e-5
    )


def test_energies_beyond_their_margins_are_left_alone():
    network, given = Linear(3), batch()
    loss = BoundedEnergy(m_in=1e3, m_out=-1e3).loss(network, given, torch.Generator())
    torch.testing.assert_close(loss, cross_entropy(network(given.images), given.labels))


def test_a_patch_is_pasted_where_it_was_and_the_label_keeps_the_share_that_is_left():
    images, outliers = torch.zeros(2, 3, 4, 6), torch.ones(2, 3, 4, 6)
    mixed, share = paste(images, outliers, (1, 2, 3, 6))
    assert share == 1 - 8 / 24
    assert mixed.sum() == 2 * 3 * 8
    assert mixed[:, :, 1:3, 2:6].min() == 1
    assert images.sum() == 0  # the batch itself is still needed


def test_mixtures_are_labelled_by_what_they_consist_of(monkeypatch):
    network, given = Linear(3), batch(3)
    monkeypatch.setattr(MixedOutliers, "patch", lambda self, size, generator: (0, 0, 1, 2))
    loss = MixedOutliers(weight=0.6).loss(network, given, torch.Generator())
    mixed = torch.cat([given.outliers[:, :, :1], given.images[:, :, 1:]], 2)
    soft = 0.5 * torch.eye(3) + 0.5 / 3
    expected = cross_entropy(network(given.images), given.labels) + 0.6 * cross_entropy(network(mixed), soft)
    torch.testing.assert_close(loss, expected)


def test_of_unequal_numbers_as_many_are_mixed_as_there_are_pairs():
    network, few, many = Linear(3), batch(2), batch(9)
    for given in (few, many):
        assert MixedOutliers().loss(network, given, torch.Generator().manual_seed(0)).isfinite()


def test_patches_are_drawn_by_the_generator_and_as_large_as_the_beta_distribution_says():
    objective = MixedOutliers(alpha=2.0, beta=2.0)
    shares = []
    for seed in range(400):
        box = objective.patch((64, 64), torch.Generator().manual_seed(seed))
        assert box == objective.patch((64, 64), torch.Generator().manual_seed(seed))
        top, left, bottom, right = box
        assert 0 <= top <= bottom <= 64 and 0 <= left <= right <= 64
        shares.append((bottom - top) * (right - left) / 64**2)
    # Half of an image on average, less what its ends cut off: a square of side s keeps (1 - s / 4)^2 of its area.
    sides = np.sqrt(np.random.default_rng(0).beta(2, 2, 100_000))
    assert np.mean(shares) == pytest.approx(np.mean((sides * (1 - sides / 4)) ** 2), abs=0.03)


def test_divoe_extrapolates_half_of_the_outliers_as_acet_does():
    network, given = Linear(3), batch(6)
    attack = TrainingAttack(3, 1, 5)
    objective = DivOE().objective()
    assert objective == ExtrapolatedExposure(weight=0.5, attack=attack)
    assert (objective.id_batch, objective.outlier_batch) == (128, 128)
    of_acet = AttackedExposure(weight=0.5, attack=attack)
    loss, expected = (each.loss(network, given, torch.Generator().manual_seed(2)) for each in (objective, of_acet))
    assert torch.equal(loss, expected)
    assert objective.epoch_passes(256) == of_acet.epoch_passes(256) == Passes(512 + 128 * 7, 512 + 128 * 5)


def test_parameters_reach_the_training():
    p = EnergyFT.Parameters(epochs=3, learning_rate=0.5, weight=0.2, m_in=-9.0, m_out=-4.0)
    assert EnergyFT(p).objective() == BoundedEnergy(epochs=3, learning_rate=0.5, weight=0.2, m_in=-9.0, m_out=-4.0)
    mixed = MixOE(MixOE.Parameters(epochs=2, alpha=1.0, beta=2.0, weight=3.0)).objective()
    assert mixed == MixedOutliers(epochs=2, alpha=1.0, beta=2.0, weight=3.0)
    assert DivOE(DivOE.Parameters(epsilon=8, step=2, steps=3)).objective().attack == TrainingAttack(8, 2, 3)


@pytest.mark.parametrize(
    ("detector", "wrong", "said"),
    [
        (EnergyFT, {"m_in": -7.0, "m_out": -7.0}, "choose m_in below m_out"),
        (EnergyFT, {"epochs": 0}, "both must be above 0"),
        (EnergyFT, {"learning_rate": float("nan")}, "both must be above 0"),
        (EnergyFT, {"temperature": 0.0}, "choose a number above 0"),
        (MixOE, {"alpha": 0.0}, "both must be above 0"),
        (MixOE, {"learning_rate": -1.0}, "both must be above 0"),
        (DivOE, {"steps": 0}, "choose epsilon from 0 to 255"),
        (DivOE, {"epochs": -1}, "both must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(detector, wrong, said):
    with pytest.raises(ValueError, match=said):
        detector.Parameters(**wrong)
