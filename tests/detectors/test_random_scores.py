"""Detectors that draw: median smoothing, ROSS, MC dropout."""

import numpy as np
import pytest
import torch
from torch import nn

from oodbench.basics.draws import CommonDraws, DrawsPerImage
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.dropout import Dropout
from oodbench.detectors.energy import Energy
from oodbench.detectors.median import Median
from oodbench.detectors.ross import ROSS
from oodbench.images.resident import IDImages
from oodbench.networks.network import Network, Representation, as_input
from oodbench.scoring.fitting import FittingImages, fit

IMAGES = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(2))


class Linear(Network):
    """Logits are linear in the pixels, with dropout layers where they are asked for."""

    def __init__(self, *dropouts):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.dropouts = nn.Sequential(*dropouts)
        self.fc = nn.Linear(192, 3)
        self.fc.weight.data = torch.randn((3, 192), generator=generator) / 4
        self.fc.bias.data = torch.zeros(3)

    def represent(self, images):
        features = self.dropouts(images).flatten(1)
        return Representation(self.fc(features), features, ())


def fitted(detector, network=None, shown=None):
    fit([detector], network or Linear(), 3, shown or FittingImages())
    return detector


def test_the_median_is_that_of_the_bases_scores_of_noisy_copies():
    detector, draws = fitted(Median(Median.Parameters(n=5, sigma=0.3))), DrawsPerImage(range(4), "x")
    base = fitted(Energy())
    rows = torch.stack([base.score(IMAGES + 0.3 * draws.normal(number, IMAGES)) for number in range(5)])
    assert detector.score_drawn(IMAGES, draws).tolist() == rows.sort(0).values[2].tolist()


def test_ross_stretches_what_lies_above_the_quantile():
    """By hand: copies that score 1, 2, 3, 4, 10 have the median 3 and lie 1 + ... = (2+1+0+1+7)/5 = 2.2 from it."""
    detector = fitted(ROSS(ROSS.Parameters(n=5, stretch=0.11)), shown=held_out())
    detector._around = lambda images, draws: torch.tensor([[2.0], [4.0], [1.0], [10.0], [3.0]], dtype=torch.float64)
    detector._quantile = 1.0
    assert detector.score(IMAGES[:1]).item() == pytest.approx(1 + 2 * (1 + 0.11 / 2.2))
    detector._quantile = 3.5
    assert detector.score(IMAGES[:1]).item() == pytest.approx(3.0)


def held_out():
    pixels = (IMAGES * 255).to(torch.uint8).repeat(10, 1, 1, 1)
    return FittingImages(heldout=IDImages(pixels, torch.zeros(40, dtype=torch.int64)))


def test_the_quantile_is_that_of_medians_of_held_out_images_and_is_told():
    detector = ROSS(ROSS.Parameters(n=3, sigma=0.2))
    (report,) = fit([detector], Linear(), 3, held_out())
    median = fitted(Median(Median.Parameters(base="gen", n=3, sigma=0.2)))
    seen = as_input(held_out().heldout.images)
    rows = torch.sort(torch.randperm(40)).values
    medians = median.score_drawn(seen[rows], DrawsPerImage(range(40), "tuning"))
    assert report.tuned["id_images"] == 40
    # The tuning images come shuffled, so noise meets other images: the quantile is close, not equal.
    assert report.tuned["quantile"] == pytest.approx(float(medians.quantile(0.05)), abs=float(medians.std()))


def test_copies_that_score_alike_divide_by_nothing():
    detector = fitted(ROSS(), shown=held_out())
    detector._around = lambda images, draws: torch.full((25, 4), 2.0, dtype=torch.float64)
    detector._quantile = 2.0
    assert torch.equal(detector.score(IMAGES), torch.full((4,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize("base", ["median", "ross", "dropout"])
def test_what_draws_itself_is_no_base(base):
    with pytest.raises(OodbenchError, match=f"smooths '{base}'"):
        Median(Median.Parameters(base=base))


def test_a_base_that_is_not_known_is_named():
    with pytest.raises(OodbenchError, match="energy"):
        Median(Median.Parameters(base="enrgy"))


@pytest.mark.parametrize("wrong", [{"n": 0}, {"sigma": 0.0}, {"sigma": -1.0}])
def test_parameters_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="choose"):
        Median.Parameters(**wrong)


def test_dropout_averages_probabilities_over_masks_of_its_layers():
    network = Linear(nn.Dropout(0.5))
    detector, draws = fitted(Dropout(Dropout.Parameters(n=4)), network), CommonDraws("x")
    probabilities = []
    for number in range(4):
        kept = (draws.uniform(number, IMAGES, "dropouts.0/1") >= 0.5).float() * 2
        probabilities.append(network.fc((IMAGES * kept).flatten(1)).double().softmax(1))
    largest = torch.stack(probabilities).mean(0).amax(1)
    torch.testing.assert_close(detector.score_drawn(IMAGES, draws), torch.logit(largest), rtol=1e-5, atol=1e-5)
    assert not torch.equal(detector.score_drawn(IMAGES, CommonDraws("y")), detector.score_drawn(IMAGES, draws))


def test_dropout_of_feature_maps_drops_whole_ones_and_nothing_stays_behind():
    seen = []
    network = Linear(nn.Dropout2d(0.5)).eval()
    before = network(IMAGES)
    detector = fitted(Dropout(Dropout.Parameters(n=1)), network)
    handle = network.fc.register_forward_pre_hook(lambda _, given: seen.append(given[0].view(4, 3, 64)))
    detector.score_drawn(IMAGES, DrawsPerImage(range(4), "x"))
    handle.remove()
    whole = (seen[0] == 0).all(2)
    assert whole.any()
    assert torch.equal((seen[0] != 0).any(2), ~whole)
    torch.testing.assert_close(seen[0][~whole], 2 * IMAGES.view(4, 3, 64)[~whole])
    assert torch.equal(network(IMAGES), before)


@pytest.mark.parametrize("layers", [(), (nn.Dropout(0.0),), (nn.ReLU(),)])
def test_a_network_without_dropout_is_refused_by_name(layers):
    with pytest.raises(OodbenchError, match=r"dropout needs a network with dropout layers, and Linear has none"):
        fitted(Dropout(), Linear(*layers))


@pytest.mark.parametrize("layer", [nn.AlphaDropout(0.5), nn.Dropout(1.0)])
def test_a_layer_that_cannot_be_drawn_for_is_refused_by_name(layer):
    with pytest.raises(OodbenchError, match="dropout cannot draw for 'dropouts.0'"):
        fitted(Dropout(), Linear(layer))


def test_a_deterministic_score_draws_nothing():
    detector = fitted(Energy())
    assert detector.draws() == 0
    with pytest.raises(TypeError, match="energy draws nothing"):
        detector.score_drawn(IMAGES, CommonDraws("x"))


def test_a_base_that_learns_or_has_a_training_of_its_own_takes_both_along():
    assert Median(Median.Parameters(base="vim")).observes()
    assert not Median(Median.Parameters(base="energy")).observes()
    assert Median(Median.Parameters(base="oe")).objective().uses_outliers
    tuning = ROSS(ROSS.Parameters(base="odin")).tuning()
    assert tuning.outliers
    assert np.isfinite(tuning.passes.both)
