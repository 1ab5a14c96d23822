"""Outlier mining against the reference's selection (golden/mining.json), and the arithmetic around it."""

import pytest
import torch

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.detectors.atom import ATOM, AttackedOutliers, MinedOutliers, MiningParameters, most_informative
from oodbench.images.resident import OutlierPool
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch


@pytest.mark.parametrize("q", ["0.0", "0.125", "0.25", "0.5", "0.75"])
def test_selects_what_the_reference_selects(golden, q):
    case = golden("mining")
    selected = most_informative(torch.tensor(case["outlier_logit"]), case["wanted"], float(q))
    assert selected.tolist() == case["selected"][q]


class BrightnessNetwork(Network):
    """Two classes; the outlier logit (last) is the image's mean, so bright images are plain outliers."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.modes: list[bool] = []

    def represent(self, images):
        self.modes.append(self.training)
        brightness = images.mean((1, 2, 3)) * self.gain
        logits = torch.stack([torch.zeros_like(brightness), torch.zeros_like(brightness), brightness], 1)
        return Representation(logits, brightness[:, None], ())


def grey(levels):
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()


def pool(size, mined_from=0):
    return OutlierPool(grey([level % 256 for level in range(size)]), mined_from, ())


def mined_levels(objective, size, id_count, mined_from=0, seed=0):
    network = BrightnessNetwork().train()
    outliers = objective.epoch_outliers(network, pool(size, mined_from), id_count, torch.Generator().manual_seed(seed))
    assert network.training
    assert network.modes == [False] * len(network.modes)
    assert network.gain.requires_grad
    return outliers.all()[:, 0, 0, 0]


def test_q_zero_takes_the_hardest_quarter_of_the_pool():
    # 8 ID images want 16 outliers out of 64 consecutive ones: here the whole pool, in some order.
    levels = mined_levels(MinedOutliers(q=0.0), size=64, id_count=8)
    assert sorted(levels.tolist()) == list(range(16))


def test_q_skips_that_share_of_the_pool():
    levels = mined_levels(MinedOutliers(q=0.25), size=64, id_count=8)
    assert sorted(levels.tolist()) == list(range(16, 32))


def test_candidates_are_neighbours_from_where_mining_begins():
    # 1 ID image: 2 outliers out of 8 neighbours of a pool of 200; the hardest two are the first two of the window,
    # unless the window runs over the end: as published, into what stands in front of where windows begin.
    for seed in range(50):
        first, second = sorted(mined_levels(MinedOutliers(q=0.0), 200, 1, mined_from=150, seed=seed).tolist())
        assert second == first + 1
        assert first >= 150 or first == 0


def test_a_small_pool_is_gone_round_again():
    levels = mined_levels(MinedOutliers(q=0.0), size=16, id_count=8)
    assert sorted(levels.tolist()) == [level for level in range(4) for _ in range(4)]


def test_mined_outliers_are_shuffled_and_seeded():
    one, same, other = (mined_levels(MinedOutliers(q=0.0), 64, 8, seed=seed).tolist() for seed in (3, 3, 4))
    assert one == same
    assert one != other
    assert one != sorted(one)


def test_the_second_half_of_the_outliers_is_attacked_towards_id():
    network = BrightnessNetwork().train()
    outliers = grey([100] * 6) / 255
    hardened = AttackedOutliers(attack=TrainingAttack(epsilon=8, step=2, steps=5)).harden(
        network, outliers, torch.Generator().manual_seed(0)
    )
    assert torch.equal(hardened[:3], outliers[:3])
    # The outlier logit is brightness: the attack darkens, by 8 levels from a start of at most +8 within 5 steps of 2.
    change = (hardened[3:] - outliers[3:]).mul(255).round()
    assert change.min() == -8
    assert change.max() <= 0
    assert network.training
    assert network.modes == [False] * len(network.modes)


def test_loss_by_hand():
    network = BrightnessNetwork().train()
    images, outliers = grey([0, 0]) / 255, grey([255, 255, 255, 255]) / 255
    batch = Batch(images, torch.tensor([0, 1]), outliers)
    loss = MinedOutliers(weight=2.0).loss(network, batch, torch.Generator())
    log3, rejected = torch.log(torch.tensor(3.0)), torch.log(2 + torch.e * torch.ones(())) - 1
    torch.testing.assert_close(loss, log3 + 2 * rejected)


def test_cost_of_an_epoch_is_what_the_protocol_says():
    # 64 ID images: 128 outliers out of 512 candidates; half of the 128 attacked with 5 steps.
    assert MinedOutliers().epoch_passes(64) == Passes(512 + 192, 192)
    assert AttackedOutliers().epoch_passes(64) == Passes(512 + 192 + 64 * 7, 192 + 64 * 5)


@pytest.mark.parametrize("q", [-0.1, 0.8])
def test_refuses_a_q_that_leaves_too_little(q):
    with pytest.raises(ValueError, match=r"choose 0 to 0\.75"):
        MiningParameters(q=q)


def test_an_epoch_mines_at_least_once():
    with pytest.raises(ValueError, match="minings is 0"):
        MiningParameters(minings=0)


def test_parameters_reach_the_objective():
    parameters = ATOM.Parameters(q=0.5, weight=0.3, minings=4, epsilon=32, step=8, steps=3)
    attack = TrainingAttack(32, 8, 3)
    assert ATOM(parameters).objective() == AttackedOutliers(q=0.5, weight=0.3, minings=4, attack=attack)
    assert ATOM(parameters).objective().choices_per_epoch == 4
