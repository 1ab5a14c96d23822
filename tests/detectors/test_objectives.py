"""What a step of each training-based method minimises, by hand; batches and costs as the protocol has them."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.detectors.acet import ACET, AttackedExposure
from oodbench.detectors.msp import cross_entropy_to_uniform
from oodbench.detectors.oe import OE
from oodbench.detectors.rowl import ROWL, AttackedOpenWorld, OpenWorld, ROWLFixed
from oodbench.detectors.sofl import SOFL, PseudoLabelled
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.objective import Batch, Objective
from tests.detectors.steps import Linear, batch, random_images


def test_acet_attacks_the_second_half_and_takes_the_mean_over_all():
    network, given = Linear(3), batch()
    objective = AttackedExposure(weight=0.7)
    loss = objective.loss(network, given, torch.Generator().manual_seed(5))
    hardened = objective.harden(network, given.outliers, torch.Generator().manual_seed(5))
    assert torch.equal(hardened[:2], given.outliers[:2])
    assert (hardened[2:] - given.outliers[2:]).abs().max() <= 8 / 255 + 1e-6
    before, after = (cross_entropy_to_uniform(network(images[2:])) for images in (given.outliers, hardened))
    assert (after > before).all()
    uniform = -network(hardened).log_softmax(1).mean(1) - torch.log(torch.tensor(3.0))
    expected = cross_entropy(network(given.images), given.labels) + 0.7 * (
        uniform.mean() + torch.log(torch.tensor(3.0))
    )
    torch.testing.assert_close(loss, expected)


def test_acet_has_the_papers_batches():
    objective = ACET().objective()
    assert (objective.id_batch, objective.outlier_batch, objective.weight) == (128, 128, 1.0)
    # 256 ID images: two steps of 128 outliers, half of them attacked with 5 steps.
    assert objective.epoch_passes(256) == Passes(512 + 128 * 7, 512 + 128 * 5)


def test_sofl_keeps_a_preferred_reject_class_and_draws_one_otherwise():
    objective = PseudoLabelled(reject_outputs=3)
    logits = torch.full((400, 5), -1.0)
    logits[:100, 3] = 1  # prefers reject class 3
    logits[100:, 1] = 1  # prefers an ID class
    labels = objective.pseudo_labels(logits, torch.Generator().manual_seed(0))
    assert (labels[:100] == 3).all()
    counts = torch.bincount(labels[100:], minlength=5)
    assert counts[:2].sum() == 0
    assert counts[2:].min() > 70


def test_sofl_keeps_the_first_reject_class_too():
    logits = torch.full((50, 5), -1.0)
    logits[:, 2] = 1  # of two ID and three reject classes
    assert (PseudoLabelled(reject_outputs=3).pseudo_labels(logits, torch.Generator().manual_seed(0)) == 2).all()


def test_outlier_exposure_weighs_outliers_half_unless_told_otherwise():
    network, given = Linear(3), batch()
    id_loss = cross_entropy(network(given.images), given.labels)
    outlier_loss = -network(given.outliers).log_softmax(1).mean()
    for detector, weight in ((OE(), 0.5), (OE(OE.Parameters(weight=2.0)), 2.0)):
        loss = detector.objective().loss(network, given, torch.Generator())
        torch.testing.assert_close(loss, id_loss + weight * outlier_loss)


def test_sofl_loss_by_hand():
    network, given = Linear(5), batch()
    objective = PseudoLabelled(reject_outputs=2, weight=5.0)
    loss = objective.loss(network, given, torch.Generator().manual_seed(3))
    labels = objective.pseudo_labels(network(given.outliers), torch.Generator().manual_seed(3))
    expected = cross_entropy(network(given.images), given.labels) + 5 * cross_entropy(network(given.outliers), labels)
    torch.testing.assert_close(loss, expected)


def test_sofl_trains_twice():
    objective = SOFL(SOFL.Parameters(reject=10)).objective()
    first, second = objective.phases()
    assert first == Objective(reject_outputs=10)
    assert (second.id_batch, second.outlier_batch, second.reject_outputs) == (64, 320, 10)
    assert objective.uses_outliers


def open_world():
    labels = torch.arange(30) % 3
    pool = OutlierPool(torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 2, 2), 5, ("flip",))
    return IDImages(random_images(30), labels), pool


def test_rowl_trains_on_one_class_more():
    id_images, pool = open_world()
    whole = OpenWorld().training_set(id_images, pool, torch.Generator().manual_seed(0))
    assert torch.equal(whole.images[:30], id_images.images)
    assert torch.bincount(whole.labels).tolist() == [10, 10, 10, 10]
    levels = whole.images[30:, 0, 0, 0].tolist()
    assert levels == [(levels[0] + step) % 20 for step in range(10)]
    again = OpenWorld().training_set(id_images, pool, torch.Generator().manual_seed(0))
    assert torch.equal(whole.images, again.images)


def test_rowl_as_published_sees_every_image_twice():
    network, given = Linear(4), batch(0)
    loss = ROWL().objective().loss(network, given, torch.Generator())
    torch.testing.assert_close(loss, 2 * cross_entropy(network(given.images), given.labels))


def test_fixed_rowl_moves_images_towards_a_wrong_class():
    network, given = Linear(4), batch(0)
    objective = ROWLFixed(ROWLFixed.Parameters(epsilon=16, step=4)).objective()
    assert objective == AttackedOpenWorld(attack=TrainingAttack(16, 4, 5))
    disguised = objective.disguised(network, given, torch.Generator().manual_seed(0))
    change = (disguised - given.images).abs().flatten(1).amax(1)
    assert (change > 8 / 255).all()
    assert change.max() <= 16 / 255 + 1e-6
    own = network(given.images).log_softmax(1)[range(3), given.labels]
    disguised_own = network(disguised).log_softmax(1)[range(3), given.labels]
    assert disguised_own.mean() < own.mean()


def test_fixed_rowl_never_aims_at_the_right_class():
    aims = []

    @dataclass(frozen=True)
    class Spy(TrainingAttack):
        def perturb(self, climbed, network, images, generator):
            # -CE to the wrong label, read off one-hot logits: 0 where the label is, far below elsewhere.
            aims.append(
                torch.stack([climbed(torch.eye(4)[[label] * len(images)] * 50) for label in range(4)]).argmax(0)
            )
            return images

    given = Batch(random_images(300) / 255, torch.arange(300) % 4, random_images(0))
    AttackedOpenWorld(attack=Spy()).disguised(Linear(4), given, torch.Generator().manual_seed(0))
    assert (aims[0] != given.labels).all()
    for label in range(4):
        assert len(aims[0][given.labels == label].unique()) == 3


def test_rowl_decides_by_argmax_over_all_outputs(toy, toy_images):
    detector = ROWL()
    detector.attach(toy("out4"), 3)
    representation = detector.network.represent(toy_images)
    assert torch.equal(detector.predict(representation), representation.logits.argmax(1))
    decisions = detector.as_published(detector.score_representation(representation).numpy())
    assert ((decisions == -1) == (representation.logits.argmax(1) == 3).numpy()).all()


@pytest.mark.parametrize("wrong", [dict(epsilon=-1), dict(epsilon=256), dict(step=0), dict(steps=0)])
def test_a_training_attack_needs_a_ball_and_steps(wrong):
    with pytest.raises(ValueError, match="choose epsilon from 0 to 255"):
        ROWLFixed.Parameters(**wrong)


@pytest.mark.parametrize("reject", [0, -1])
def test_sofl_needs_a_reject_output(reject):
    with pytest.raises(ValueError, match="choose 1 or more"):
        SOFL.Parameters(reject=reject)
