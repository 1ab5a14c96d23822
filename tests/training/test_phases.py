"""Trainings in several phases: each with its own recipe, groups and optimizer, and resumed in any of them."""

from dataclasses import dataclass, replace

import pytest
import torch

from oodbench.objective import Objective
from oodbench.suite import Recipe
from oodbench.training.loop import epochs_done, train
from tests.training.loopsubjects import RECIPE, Linear, Spy, data, seen, weights


@dataclass(frozen=True)
class Shorter(Spy):
    """A phase with a recipe of its own."""

    def recipe(self, of_suite):
        return replace(of_suite, epochs=2, learning_rate=0.02, warm_up=0.5, drops=())


@dataclass(frozen=True)
class ThenShorter(Objective):
    """Another phase before it."""

    id_batch: int = 4

    def phases(self):
        return (Spy(), Shorter())


def test_a_phase_may_have_a_recipe_of_its_own(tmp_path, rates):
    seen.clear()
    train(Linear(), ThenShorter(), Recipe(epochs=1, learning_rate=0.6), data(), 1, tmp_path / "x")
    # Three steps an epoch: one epoch at 0.6, then one up to 0.02 and one down from there.
    assert rates[:3] == [0.6] * 3
    assert rates[3:] == pytest.approx([0.02 * sixth / 3 for sixth in (0.5, 1.5, 2.5, 2.5, 1.5, 0.5)])
    assert [batch.done for _, batch in seen] == pytest.approx([0, 1 / 3, 2 / 3, *(step / 6 for step in range(6))])
    assert epochs_done(tmp_path / "x") == 3


@dataclass(frozen=True)
class Second(Objective):
    """The second of two phases, with a parameter group of its own."""

    id_batch: int = 10
    outlier_batch: int = 3

    def parameter_groups(self, network):
        return [{"params": list(network.fc.parameters()), "lr": 0.5, "weight_decay": 0.0}]


@dataclass(frozen=True)
class TwoPhases(Objective):
    """Plain training, then another."""

    def phases(self):
        return (Objective(id_batch=10), Second())


@dataclass(frozen=True)
class HeadByAdam(Second):
    """Only the last layer learns, by another optimizer."""

    outlier_batch: int = 0

    def optimizer(self, groups, recipe):
        return torch.optim.Adam(groups, betas=(0.5, 0.9))

    def loss(self, network, batch, generator):
        assert [name for name, each in network.named_parameters() if each.requires_grad] == ["fc.weight", "fc.bias"]
        return super().loss(network, batch, generator)


@dataclass(frozen=True)
class ThenHead(Objective):
    """Everything learns, then the last layer alone."""

    def phases(self):
        return (Objective(id_batch=10), HeadByAdam())


def test_what_is_in_no_parameter_group_stays_as_it_is(tmp_path):
    plain, network = Linear(), Linear()
    train(plain, Objective(id_batch=10), Recipe(epochs=2), data(), 1, tmp_path / "plain")
    train(network, ThenHead(), Recipe(epochs=2), data(), 1, tmp_path / "x")
    assert torch.equal(network.bn.weight, plain.bn.weight)
    assert not torch.equal(network.fc.weight, plain.fc.weight)
    assert all(each.requires_grad for each in network.parameters())


def test_a_phase_steps_by_its_own_optimizer(tmp_path):
    network = Linear()
    with torch.no_grad():
        before = network.fc.weight.clone()
    train(network, HeadByAdam(), Recipe(epochs=1), data(), 1, tmp_path / "x")
    # The first step of Adam is as long as its rate wherever there is a gradient.
    torch.testing.assert_close((network.fc.weight - before).abs(), torch.full_like(before, 0.5), rtol=1e-3, atol=0)
    state = torch.load(tmp_path / "x", weights_only=True)["optimizer"]
    assert state["param_groups"][0]["betas"] == (0.5, 0.9)


def test_every_phase_starts_with_a_fresh_optimizer_and_its_own_rates(tmp_path, monkeypatch):
    rates, momenta = [], []
    step = torch.optim.SGD.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        momenta.append(len(self.state))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    train(Linear(), TwoPhases(), RECIPE, data(), 1, tmp_path / "x")
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.5, 0.5, 0.05, 0.005])
    assert momenta[0] == momenta[4] == 0


@pytest.mark.parametrize(
    ("objective", "killed_in_step"),
    [*((TwoPhases(), step) for step in (3, 4, 5, 7)), (ThenShorter(), 13), (ThenShorter(), 16)],
)
def test_a_training_killed_in_any_phase_goes_on_to_the_same_weights(tmp_path, monkeypatch, objective, killed_in_step):
    whole = Linear()
    train(whole, objective, RECIPE, data(), 1, tmp_path / "whole")
    step, steps = torch.optim.SGD.step, []

    def mortal(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == killed_in_step + 1:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(torch.optim.SGD, "step", mortal)
        train(Linear(), objective, RECIPE, data(), 1, tmp_path / "killed")
    resumed = Linear()
    train(resumed, objective, RECIPE, data(), 1, tmp_path / "killed")
    assert torch.equal(weights(resumed), weights(whole))
