"""The training loop: what a step sees, when the learning rate falls, and that a killed training ends the same."""

from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.detectors.oe import OutlierExposure
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.objective import Batch, Objective, frozen
from oodbench.suite import Recipe
from oodbench.training.loop import TrainingData, epochs_done, train
from tests.training.loopsubjects import RECIPE, Linear, Spy, data, seen, weights


def test_every_step_gets_id_images_and_outliers(tmp_path):
    seen.clear()
    given = data()
    train(Linear(), Spy(), Recipe(epochs=2), given, 1, tmp_path / "x")
    assert all(training for training, _ in seen)
    assert [len(batch.images) for _, batch in seen] == [4, 4, 2] * 2
    assert [len(batch.outliers) for _, batch in seen] == [3] * 6
    epochs = [torch.cat([batch.images for _, batch in seen[start : start + 3]]) for start in (0, 3)]
    rows = [{tuple((image * 255).round().flatten().int().tolist()) for image in epoch} for epoch in epochs]
    assert rows[0] == rows[1] == {tuple(image.flatten().tolist()) for image in given.id.images}
    assert not torch.equal(epochs[0], epochs[1])


def test_one_cycle_rises_evenly_to_the_highest_rate_and_falls_evenly_to_nothing():
    recipe = Recipe(epochs=10, warm_up=0.2, learning_rate=0.4)
    assert [recipe.rate(epoch) for epoch in (0, 1, 2, 6, 9)] == pytest.approx([0, 0.5, 1, 0.5, 0.125])
    assert recipe.rate(9.999) == pytest.approx(0.000125)


def test_drops_divide_by_ten_from_the_beginning_of_their_epoch():
    recipe = Recipe(epochs=4, drops=(2, 3))
    assert [recipe.rate(done) for done in (0, 1.99, 2, 3)] == pytest.approx([1, 1, 0.1, 0.01])


def test_every_step_of_every_phase_has_the_rate_that_its_place_in_the_cycle_gives(tmp_path, rates):
    train(Linear(), Spy(), Recipe(epochs=2, warm_up=0.5, learning_rate=0.6), data(), 1, tmp_path / "x")
    assert rates == pytest.approx([0.1, 0.3, 0.5, 0.5, 0.3, 0.1])  # three steps an epoch, the middle of each


@dataclass(frozen=True)
class ChoosesTwice(Spy):
    """Outliers for three steps, then for the rest; each brighter than the last choice's."""

    id_batch: int = 2

    @property
    def choices_per_epoch(self):
        return 2

    def epoch_outliers(self, network, pool, id_count, generator):
        choices.append((len(seen), id_count))
        return pool.picked(torch.arange(3 * self.epoch_steps(id_count)) + 20 * (len(choices) - 1), generator)


choices: list[tuple[int, int]] = []


def test_outliers_are_chosen_for_each_part_of_an_epoch_when_it_begins(tmp_path):
    seen.clear()
    choices.clear()
    levels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 3, 4, 4)
    given = TrainingData(data().id, OutlierPool(levels, 0, ()))
    train(Linear(), ChoosesTwice(), Recipe(epochs=1), given, 1, tmp_path / "x")
    # 5 steps of 2 of the 10 images: three before the second choice, and two after it.
    assert choices == [(0, 6), (3, 4)]
    shown = [(batch.outliers[:, 0, 0, 0] * 255).round().int().tolist() for _, batch in seen]
    assert shown == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [20, 21, 22], [23, 24, 25]]


def test_a_warm_up_without_an_end_or_beside_drops_is_refused():
    with pytest.raises(ValueError, match="warm_up is 1"):
        Recipe(epochs=4, warm_up=1.0)
    with pytest.raises(ValueError, match="choose one"):
        Recipe(epochs=4, warm_up=0.1, drops=(2,))


def test_the_stream_is_consecutive_and_augmented_elsewhere():
    pool = OutlierPool(torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 4, 4), 0, ())
    starts = set()
    for seed in range(30):
        outliers = (
            Spy().epoch_outliers(Linear(), pool, 10, torch.Generator().manual_seed(seed)).all()[:, 0, 0, 0].tolist()
        )
        assert outliers == [(outliers[0] + step) % 20 for step in range(9)]
        starts.add(outliers[0])
    assert len(starts) > 10


def test_learning_rate_falls_at_the_start_of_the_named_epochs(tmp_path, monkeypatch):
    rates = []
    step = torch.optim.SGD.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    train(Linear(), Objective(id_batch=10), RECIPE, data(), 1, tmp_path / "x")
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_one_step_by_hand(tmp_path):
    # Nesterov's first step is lr * (g + momentum * g), weight decay inside g.
    network, twin = Linear(), Linear()
    given = TrainingData(IDImages(data(2).id.images, torch.tensor([0, 1])), None)
    train(network, Objective(), Recipe(epochs=1, learning_rate=0.1, weight_decay=0.01), given, 1, tmp_path / "x")
    cross_entropy(twin.train()(given.id.images / 255), given.id.labels).backward()
    gradient = twin.fc.weight.grad + 0.01 * twin.fc.weight.detach()
    torch.testing.assert_close(network.fc.weight.detach(), twin.fc.weight.detach() - 0.1 * 1.9 * gradient)
    assert not network.training


def test_seed_decides_the_weights(tmp_path):
    trained = []
    for number, seed in enumerate((1, 1, 2)):
        network = Linear()
        train(network, OutlierExposure(id_batch=4, outlier_batch=3), RECIPE, data(), seed, tmp_path / str(number))
        trained.append(weights(network))
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


@pytest.mark.parametrize("killed_in_epoch", [1, 2, 3])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, killed_in_epoch):
    objective = OutlierExposure(id_batch=4, outlier_batch=3)
    whole = Linear()
    train(whole, objective, RECIPE, data(), 1, tmp_path / "whole")

    class Killed(Exception):
        pass

    @dataclass(frozen=True)
    class Mortal(OutlierExposure):
        def loss(self, network, batch, generator):
            steps.append(1)
            if len(steps) == 3 * killed_in_epoch + 2:
                raise Killed
            return super().loss(network, batch, generator)

    steps: list[int] = []
    with pytest.raises(Killed):
        train(Linear(), Mortal(id_batch=4, outlier_batch=3), RECIPE, data(), 1, tmp_path / "killed")
    resumed = Linear()
    train(resumed, objective, RECIPE, data(), 1, tmp_path / "killed")
    assert torch.equal(weights(resumed), weights(whole))


def test_initialisation_happens_once_and_the_training_set_is_the_objectives(tmp_path):
    called = []

    @dataclass(frozen=True)
    class Prepared(Spy):
        def initialise(self, network, id_images, pool, augmentations, generator):
            called.append((len(id_images), len(pool.images), augmentations))

        def training_set(self, id_images, pool, generator):
            return id_images[:4]

    seen.clear()
    train(Linear(), Prepared(), RECIPE, data(), 1, tmp_path / "x")
    train(Linear(), Prepared(), RECIPE, data(), 1, tmp_path / "x")  # finished: nothing happens again
    assert called == [(10, 40, ("crop",))]
    assert [len(batch.images) for _, batch in seen] == [4] * 4


def test_divergence_is_an_error_with_a_way_out(tmp_path):
    @dataclass(frozen=True)
    class Diverging(Objective):
        def loss(self, network, batch, generator):
            return super().loss(network, batch, generator) * float("nan")

    with pytest.raises(OodbenchError, match="diverged in epoch 0.*learning_rate"):
        train(Linear(), Diverging(), RECIPE, data(), 1, tmp_path / "x")


def test_outlier_exposure_by_hand():
    network = Linear().eval()
    given = data(2, 3)
    batch = Batch(given.id.images / 255, given.id.labels, given.outliers.images / 255)
    loss = OutlierExposure(weight=0.5).loss(network, batch, torch.Generator())
    outlier_logits = network(batch.outliers)
    # Cross-entropy to uniform is U - log K up to sign conventions: -mean_k log p_k = logsumexp - mean.
    uniform = -outlier_logits.log_softmax(1).mean(1).mean()
    torch.testing.assert_close(loss, cross_entropy(network(batch.images), batch.labels) + 0.5 * uniform)


def test_cost_of_an_epoch():
    assert Objective().epoch_passes(100) == Passes(100, 100)
    assert OutlierExposure().epoch_passes(100) == Passes(100 + 2 * 128, 100 + 2 * 128)


def test_identity_is_the_class_and_its_fields():
    assert OutlierExposure().identity == OutlierExposure(weight=0.5).identity
    assert len({OutlierExposure().identity, OutlierExposure(weight=1.0).identity, Objective().identity}) == 3


def test_frozen_restores_what_it_found():
    network = Linear().train()
    network.fc.bias.requires_grad_(False)
    with frozen(network):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.training
    assert network.fc.weight.requires_grad
    assert not network.fc.bias.requires_grad


def test_a_training_that_goes_on_elsewhere_says_both_places(tmp_path):
    def places(epochs, where):
        recipe = Recipe(epochs=epochs, learning_rate=0.1)
        return train(Linear(), Objective(id_batch=5), recipe, data(), 1, tmp_path / "state", where=where).places

    assert places(1, "here") == ("here",)
    assert places(2, "here") == ("here",)
    assert places(3, "there") == ("here", "there")


def test_the_seconds_of_a_training_are_those_of_all_its_parts(tmp_path, monkeypatch):
    ticks = count(0, 7)
    monkeypatch.setattr("oodbench.training.loop.time.monotonic", lambda: next(ticks))

    def seconds(epochs):
        recipe = Recipe(epochs=epochs, learning_rate=0.1)
        return train(Linear(), Objective(id_batch=5), recipe, data(), 1, tmp_path / "state").seconds

    first = seconds(1)
    assert 0 < first < seconds(2) < seconds(4)
    state = torch.load(tmp_path / "state", weights_only=True)
    del state["seconds"]  # as earlier versions left it
    torch.save(state, tmp_path / "state")
    assert np.isnan(seconds(5))


def test_a_training_whose_state_was_carried_over_in_part_is_named(tmp_path):
    broken = tmp_path / "network.unfinished"
    torch.save({"epochs": 3, "network": {}, "optimizer": {}}, broken)
    assert epochs_done(broken) == 3
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(OodbenchError, match="not the whole state of a training"):
        epochs_done(broken)
    torch.save([1], broken)
    with pytest.raises(OodbenchError, match="holds something else"):
        epochs_done(broken)
    assert epochs_done(tmp_path / "none.unfinished") == 0
