"""Training against attacks on ID images, on outliers, and on both: what a step minimises and attacks, and the cost."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.detectors.aloe import ADV, ALOE, AOE, AttackedBoth, AttackedInliers
from oodbench.detectors.at import AT, AttackedTraining, away_from_label
from oodbench.detectors.kplus1_at import AttackedClasses, KPlusOneAT
from oodbench.objective import Objective
from tests.detectors.steps import Linear, batch


@dataclass(frozen=True)
class Darken(TrainingAttack):
    """In place of an attack: half as bright, so that it is seen which images were attacked."""

    def perturb(self, climbed, network, images, generator):
        return images / 2


def uniform_cross_entropy(logits):
    """Cross-entropy to the uniform distribution, less that of the uniform one itself, which is log K."""
    return (-logits.log_softmax(1).mean(1)).mean()


def entropies(network, images, labels):
    return cross_entropy(network(images), labels, reduction="none")


def test_an_image_is_moved_away_from_its_own_label_inside_the_ball():
    network, given = Linear(3), batch()
    attack = TrainingAttack(epsilon=16, step=4, steps=5)
    moved = away_from_label(attack, network, given.images, given.labels, torch.Generator().manual_seed(0))
    assert (moved - given.images).abs().max() <= 16 / 255 + 1e-6
    before, after = (entropies(network, images, given.labels) for images in (given.images, moved))
    assert (after > before).all()
    # Of a linear network with three outputs no image of the ball is worse than that by much: corners are best.
    corners = []
    for label, image in zip(given.labels, given.images, strict=True):
        weights = network.fc.weight
        signs = [(weights[other] - weights[label]).sign().view(3, 2, 2) for other in range(3) if other != label]
        ends = torch.stack([(image + 16 / 255 * sign).clamp(0, 1) for sign in signs])
        corners.append(entropies(network, ends, label.repeat(2)).amax())
    assert (after >= 0.9 * torch.stack(corners)).all()


def test_adversarial_training_sees_attacked_images_alone():
    network, given = Linear(3), batch(0)
    loss = AttackedTraining(attack=Darken()).loss(network, given, torch.Generator())
    torch.testing.assert_close(loss, cross_entropy(network(given.images / 2), given.labels))


def test_aloe_attacks_both_and_its_ablations_one_or_the_other():
    network, given = Linear(3), batch()
    zero = torch.log(torch.tensor(3.0))  # U is logsumexp - mean of the logits: log 3 more than nothing at its lowest
    dark, dark_out = (
        cross_entropy(network(given.images / 2), given.labels),
        uniform_cross_entropy(network(given.outliers / 2)),
    )
    clean_out = uniform_cross_entropy(network(given.outliers))
    both = AttackedBoth(weight=0.7, attack=Darken()).loss(network, given, torch.Generator())
    inliers = AttackedInliers(weight=0.7, attack=Darken()).loss(network, given, torch.Generator())
    torch.testing.assert_close(both, dark + 0.7 * dark_out)
    torch.testing.assert_close(inliers, dark + 0.7 * clean_out)
    assert clean_out > zero


def test_the_outliers_of_aloe_are_moved_to_where_the_network_is_sure():
    network, given = Linear(3), batch(6)
    objective = AttackedBoth(attack=TrainingAttack(8, 2, 5))
    moved = objective.harden(network, given.outliers, torch.Generator().manual_seed(1))
    assert (moved != given.outliers).flatten(1).any(1).all()  # all of them, not the second half
    assert (moved - given.outliers).abs().max() <= 8 / 255 + 1e-6
    before, after = (network(images).softmax(1).amax(1) for images in (given.outliers, moved))
    assert (after > before).all()


def test_a_radius_of_nothing_is_outlier_exposure():
    network, given = Linear(3), batch()
    still = AttackedBoth(attack=TrainingAttack(0, 1, 1))
    loss = still.loss(network, given, torch.Generator())
    expected = cross_entropy(network(given.images), given.labels) + 0.5 * uniform_cross_entropy(network(given.outliers))
    torch.testing.assert_close(loss, expected)


def test_k_plus_one_attacks_every_image_by_its_class_and_takes_the_mean_over_all():
    network, given = Linear(4), batch(5)
    loss = AttackedClasses(attack=Darken()).loss(network, given, torch.Generator())
    log_p = [network(images / 2).log_softmax(1) for images in (given.images, given.outliers)]
    expected = -(log_p[0][range(3), given.labels].sum() + log_p[1][:, 3].sum()) / 8
    torch.testing.assert_close(loss, expected)


def test_k_plus_one_moves_outliers_away_from_the_last_class():
    network, given = Linear(4), batch(6)
    seen = []

    @dataclass(frozen=True)
    class Spy(TrainingAttack):
        def perturb(self, climbed, network, images, generator):
            moved = super().perturb(climbed, network, images, generator)
            seen.append((images, moved))
            return moved

    AttackedClasses(attack=Spy(16, 4, 5)).loss(network, given, torch.Generator().manual_seed(0))
    ((before, after),) = seen
    assert len(before) == 9
    labels = torch.tensor([0, 1, 2, *[3] * 6])
    assert (entropies(network, after, labels) > entropies(network, before, labels)).all()


@pytest.mark.parametrize(
    "objective",
    [AttackedTraining(), AttackedInliers(), AttackedBoth(), AttackedClasses()],
    ids=lambda objective: type(objective).__name__,
)
def test_the_attack_leaves_the_network_to_be_trained_and_its_gradient_alone(objective):
    network = Linear(4).train()
    objective.loss(network, batch(4), torch.Generator().manual_seed(0)).backward()
    assert network.training
    assert all(parameter.requires_grad and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_what_an_epoch_costs():
    # 200 ID images. AT: two steps of 128, 7 gradients and two looks more on each image.
    assert AttackedTraining(attack=TrainingAttack(8, 2, 7)).epoch_passes(200) == Passes(200 * 10, 200 * 8)
    # ALOE: four steps of 64 beside 128 outliers, 2 gradients; AOE leaves its 512 outliers alone.
    assert AttackedBoth().epoch_passes(200) == Passes((200 + 512) * 5, (200 + 512) * 3)
    assert AttackedInliers().epoch_passes(200) == Passes(200 * 5 + 512, 200 * 3 + 512)
    # K + 1: four steps of 64 beside 64, 10 gradients.
    assert AttackedClasses().epoch_passes(200) == Passes((200 + 256) * 13, (200 + 256) * 11)


def test_parameters_reach_the_training():
    parameters = {"epsilon": 32, "step": 8, "steps": 3}
    attack = TrainingAttack(**parameters)
    both = ALOE(ALOE.Parameters(**parameters, weight=0.25)).objective()
    assert both == AttackedBoth(weight=0.25, attack=attack)
    inliers = AOE(AOE.Parameters(**parameters, weight=0.25)).objective()
    assert inliers == AttackedInliers(weight=0.25, attack=attack)
    assert type(both) is not type(inliers) and both != inliers
    assert (both.id_batch, both.outlier_batch) == (64, 128)
    assert AT(AT.Parameters(**parameters)).objective() == AttackedTraining(id_batch=128, attack=attack)
    assert ADV(ADV.Parameters(**parameters)).objective() == AttackedTraining(id_batch=64, attack=attack)
    last = KPlusOneAT(KPlusOneAT.Parameters(**parameters)).objective()
    assert last == AttackedClasses(attack=attack)
    assert last.reject_outputs == 1
    assert not AT().objective().uses_outliers and not ADV().objective().uses_outliers
    assert AttackedTraining() != replace(AttackedTraining(), id_batch=64) != Objective()


@pytest.mark.parametrize("detector", [ALOE, AOE, ADV, AT, KPlusOneAT])
@pytest.mark.parametrize("wrong", [{"epsilon": -1}, {"epsilon": 256}, {"step": 0}, {"steps": 0}])
def test_an_attack_needs_a_ball_and_steps(detector, wrong):
    with pytest.raises(ValueError, match="choose epsilon from 0 to 255"):
        detector.Parameters(**wrong)


def test_k_plus_one_is_scored_by_the_odds_against_its_last_output():
    network, given = Linear(4), batch(6)
    detector = KPlusOneAT()
    detector.attach(network, 3)
    p = network(given.outliers).double().softmax(1)[:, 3]
    torch.testing.assert_close(detector.score(given.outliers), ((1 - p) / p).log())
    assert KPlusOneAT.grid is None
