"""ATD: what its steps minimise, by hand; that each part learns from its own term alone; what is given and refused."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.detectors.atd import ATD, ATDNetwork, AttackedDiscriminator, Hardening
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch
from oodbench.suite import Recipe
from oodbench.training.loop import TrainingData, train
from tests.detectors.steps import batch, random_images

SUITE = Recipe(epochs=1, learning_rate=0.05, augment=())
ATTACK = TrainingAttack(epsilon=4, step=2, steps=2)


class Backbone(Network):
    """Five features behind a batch norm, whose running statistics must stay as they are."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.below, self.norm, self.fc = torch.nn.Linear(12, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3)

    def represent(self, images):
        features = self.norm(self.below(images.flatten(1))).tanh()
        return Representation(self.fc(features), features, ())


def network(seed=0):
    made = ATDNetwork(Backbone())
    made.draw(torch.Generator().manual_seed(seed))
    return made.train()


class Unmoved(AttackedDiscriminator):
    """Without an attack, so that the loss can be worked out."""

    def features(self, whole, images, sign, generator):
        whole.base_model.eval()
        with torch.no_grad():
            return whole.represent(images).features


def test_weights_are_drawn_by_seed_alone():
    one, other = network(), network()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(network(1).discriminator[0].weight, one.discriminator[0].weight)
    drawn = torch.cat([part.weight.flatten() for part in one.generator.modules() if isinstance(part, torch.nn.Linear)])
    assert float(drawn.detach().std()) == pytest.approx(0.02, rel=0.02)


def test_discriminator_and_generator_minimise_their_cross_entropies():
    whole, given = network(), batch(6)
    found = Unmoved(alpha=0.25).loss(whole, given, torch.Generator().manual_seed(7))
    whole = network()
    noise = torch.randn(3, 100, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        whole.base_model.eval()
        of_id, of_outliers = (whole.represent(images).features for images in (given.images, given.outliers))
        made = whole.generator(noise)
        told = whole.discriminator(torch.cat([of_id, of_outliers, made])).numpy()[:, 0]
        whole.discriminator.eval()  # by statistics that the step has moved
        taken = whole.discriminator(made).numpy()[:, 0]
    of_id, of_outliers, of_made = np.log1p(np.exp(-told[:3])), np.log1p(np.exp(told[3:9])), np.log1p(np.exp(told[9:]))
    expected = of_id.mean() + 0.25 * of_outliers.mean() + 0.75 * of_made.mean() + np.log1p(np.exp(-taken)).mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def gradients(objective, whole, given=None):
    given = given or batch(6)
    objective.loss(whole, given, torch.Generator().manual_seed(1)).backward()
    return {name: each.grad for name, each in whole.named_parameters() if each.grad is not None}


def test_the_generator_learns_and_the_classifier_does_not():
    whole = network()
    before = {name: value.clone() for name, value in whole.base_model.state_dict().items()}
    found = gradients(AttackedDiscriminator(attack=ATTACK), whole)
    assert {name.partition(".")[0] for name in found} == {"discriminator", "generator"}
    assert all(
        grad.abs().sum() > 0 for name, grad in found.items() if name.startswith("generator") and "weight" in name
    )
    assert all(torch.equal(value, before[name]) for name, value in whole.base_model.state_dict().items())
    assert all(part.training for part in whole.modules())


def test_neither_learns_from_the_loss_of_the_other():
    whole = network()
    made = whole.generator(torch.randn(4, 100))
    Unmoved().taken_for_id(whole, made).backward()
    assert all(each.grad is None for each in whole.discriminator.parameters())
    # Made-up features count for nothing in the discriminator's loss at alpha 1: only its own term moves the generator.
    one, other = (gradients(Unmoved(alpha=alpha), network()) for alpha in (1.0, 0.0))
    for name, grad in one.items():
        if name.startswith("generator."):
            torch.testing.assert_close(grad, other[name], rtol=1e-3, atol=1e-6)


def test_a_generator_that_learns_is_taken_for_id_more_often():
    whole, objective = network(), Unmoved()
    groups = [{**group, "lr": 0.003} for group in objective.parameter_groups(whole)[1:]]
    noise = torch.randn(64, 100, generator=torch.Generator().manual_seed(2))
    optimizer = objective.optimizer(groups, SUITE)
    losses = []
    for _ in range(20):
        losses.append(objective.taken_for_id(whole, whole.generator(noise)))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_images_are_attacked_to_look_like_the_other_side():
    whole, images = network(), random_images(8) / 255
    with torch.no_grad():
        for weight in whole.discriminator.parameters():
            weight.mul_(10)  # log-odds far enough apart to be told
    objective = AttackedDiscriminator(attack=TrainingAttack(epsilon=16, step=4, steps=5))
    whole.eval()
    with torch.no_grad():
        plain = whole.id_log_odds(whole.represent(images).features)
    for sign in (1.0, -1.0):
        attacked = objective.features(whole, images, sign, torch.Generator().manual_seed(0))
        with torch.no_grad():
            change = whole.id_log_odds(attacked) - plain
        assert (sign * change <= 1e-6).all() and (sign * change).sum() < 0


@pytest.mark.parametrize(("id_images", "outliers"), [(3, 0), (1, 6), (1, 0)])
def test_the_last_batch_may_be_small(id_images, outliers):
    given = batch(6)
    few = Batch(given.images[:id_images], given.labels[:id_images], given.outliers[:outliers])
    assert Unmoved().loss(network(), few, torch.Generator()).isfinite()


def test_the_whole_training_hardens_the_classifier_first_and_leaves_it_then(tmp_path):
    id_images = IDImages(random_images(12), torch.arange(12) % 3)
    data = TrainingData(id_images, OutlierPool(random_images(20, 4), 0, ()))
    objective = AttackedDiscriminator(attack=ATTACK, hardening=ATTACK, epochs=2)
    hardened, _ = objective.phases()
    assert hardened == Hardening(attack=ATTACK)
    whole, alone = ATDNetwork(Backbone()), ATDNetwork(Backbone())
    train(alone, hardened, SUITE, data, 1, tmp_path / "alone")
    train(whole, objective, SUITE, data, 1, tmp_path / "whole")
    after = whole.base_model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in alone.base_model.state_dict().items())
    assert not torch.equal(after["fc.weight"], Backbone().fc.weight)
    assert all(each.requires_grad for each in whole.parameters())


def test_a_given_classifier_is_left_alone_and_must_be_given():
    objective = ATD(ATD.Parameters(backbone="given")).objective()
    assert objective.phases() == (objective,)
    with pytest.raises(OodbenchError, match="--set start=FILE"):
        objective.recipe(SUITE)
    recipe = objective.recipe(Recipe(epochs=5, start="robust.safetensors", augment=("crop",)))
    assert (recipe.epochs, recipe.learning_rate, recipe.weight_decay, recipe.augment) == (20, 1e-4, 0.0, ("crop",))


def test_parameters_reach_the_training():
    objective = ATD(ATD.Parameters(4, 1, 3, alpha=0.2, epochs=7, learning_rate=0.01)).objective()
    assert objective.attack == TrainingAttack(4, 1, 3)
    assert objective.hardening == TrainingAttack(4, 1, 7)
    assert (objective.alpha, objective.epochs) == (0.2, 7)
    slower, own = objective.parameter_groups(network())
    assert slower["lr"] == pytest.approx(0.01 / 1.5)
    assert objective.optimizer([slower, own], SUITE).defaults["betas"] == (0.5, 0.999)
    assert objective.epoch_passes(256) == Passes(6, 3) * 512


def test_the_score_is_the_log_odds_of_which_the_paper_prints_the_probability():
    whole = network().eval()
    detector = ATD()
    detector.attach(whole, 3)
    detector.settle()
    images = random_images(5) / 255
    scores = detector.score(images).detach()
    log_odds = whole.discriminator(whole.base_model.represent(images).features)[:, 0].detach()
    torch.testing.assert_close(scores, log_odds.double())
    torch.testing.assert_close(detector.published_objective(images), -softplus(-scores))
    np.testing.assert_allclose(ATD.as_published(scores.numpy()), torch.sigmoid(log_odds).numpy(), rtol=1e-6)


def test_a_network_without_a_discriminator_is_refused():
    detector = ATD()
    detector.attach(Backbone(), 3)
    with pytest.raises(OodbenchError, match="--set atd.backbone=given in place of --checkpoint"):
        detector.settle()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alpha": 1.5}, "it is a share"),
        ({"alpha": float("nan")}, "it is a share"),
        ({"epochs": 0}, "both must be above 0"),
        ({"learning_rate": float("nan")}, "both must be above 0"),
        ({"backbone": "mine"}, "choose one of 'trained', 'given'"),
        ({"steps": 0}, "choose epsilon from 0 to 255"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        ATD.Parameters(**wrong)
