"""What `torchrun` starts for tests/basics/test_team.py: each process leaves what it found in the folder it is given."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.basics.team import join_team
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks import build
from oodbench.networks.network import Network, Representation, as_input
from oodbench.objective import Objective, frozen
from oodbench.registry import discover
from oodbench.suite import Recipe
from oodbench.training.loop import TrainingData, train


class Linear(Network):
    """One layer: no batch norm, so that a step over parts of a batch is the step over the whole."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(48, 3)
        with torch.no_grad():
            self.fc.weight.copy_(torch.linspace(-1, 1, 144).view(3, 48))
            self.fc.bias.zero_()

    def represent(self, images):
        features = images.flatten(1)
        return Representation(self.fc(features), features, ())


@dataclass(frozen=True)
class Mined(Objective):
    """Outliers ranked by the network, the brightest first; both halves of a step count."""

    id_batch: int = 8
    outlier_batch: int = 4

    def epoch_outliers(self, network, pool, id_count, generator):
        candidates = pool.consecutive(0, 40, generator)
        with frozen(network), torch.no_grad():
            found = pool.measured(candidates, lambda some: network(as_input(some))[:, 2], 8, "mining")
        return candidates[found.argsort(stable=True)[:20]]

    def loss(self, network, batch, generator):
        with frozen(network):  # as a training attack does in the middle of a step
            images = batch.outliers.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(network(images).sum(), images)
        outliers = (batch.outliers + 0.01 * gradient.sign()).detach()
        target = torch.full((len(outliers),), 2)
        return cross_entropy(network(batch.images), batch.labels) + cross_entropy(network(outliers), target)


def trained(team, folder):
    """Weights after two epochs over 40 images."""
    generator = torch.Generator().manual_seed(5)
    images, pool = (torch.randint(0, 256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8) for n in (40, 60))
    data = TrainingData(IDImages(images, torch.arange(40) % 2), OutlierPool(pool, 0, (), team))
    network = Linear()
    train(network, Mined(), Recipe(epochs=2, learning_rate=0.1, augment=()), data, 1, folder / "state", team=team)
    return network.fc.weight.detach().flatten().tolist()


def trained_by_all_methods(team, folder):
    """A digest of the weights that each method's training ends with, by what identifies the method."""
    registry = discover()
    generator = torch.Generator().manual_seed(6)
    images, pool = (torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8) for n in (20, 90))
    data = TrainingData(IDImages(images, torch.arange(20) % 2), OutlierPool(pool, 4, ("crop", "flip"), team))
    few = {"ccu": {"components": 2}, "ccu-msp": {"components": 2}, "atd": {"epochs": 1, "steps": 2}}
    found = {}
    for name in registry.names():
        method = registry[name]
        objective = method(method.Parameters(**few[name]) if name in few else None).objective()
        if objective.identity in found:
            continue
        network = objective.adapt(build("small-cnn", 2 + objective.reject_outputs, seed=1), (3, 32, 32))
        recipe = Recipe(epochs=1, learning_rate=0.01, augment=("crop",))
        train(network, objective, recipe, data, 1, folder / f"{len(found)}.state", team=team)
        learned = torch.cat([weights.detach().flatten() for weights in network.parameters()])
        assert learned.isfinite().all(), name
        found[objective.identity] = digest(learned.numpy().tobytes())
    return found


def refuse_on(rank, team):
    def work():
        if team.rank == rank:
            raise OodbenchError(f"process {rank} refuses")
        return team.rank

    return work


def message(of):
    try:
        return of()
    except OodbenchError as error:
        return str(error)


def main(folder):
    with join_team(torch.device("cpu")) as (team, _):
        mine = team.share(11, 4)
        found = {
            "size": team.size,
            "share": [mine.start, mine.stop],
            "all": team.all(lambda: team.rank),
            "first": team.first(lambda: 10 + team.rank),
            "mean": team.mean(torch.tensor([float(team.rank), 2.0])).tolist(),
            "refused": [message(lambda which=which: team.together(refuse_on(which, team))) for which in (0, 1)],
            "refused first": message(lambda: team.first(refuse_on(0, team))),
            "trained": trained(team, folder),
            "methods": trained_by_all_methods(team, folder),
            "kept": (folder / "state").is_file(),
        }
        (folder / f"{team.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
