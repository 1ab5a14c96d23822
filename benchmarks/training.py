"""One epoch of ATOM, mining included, against the bare passes that it needs."""

import copy
from collections.abc import Iterator

import torch
from torch.nn.functional import cross_entropy

from benchmarks.attack import input_gradient
from benchmarks.compare import Ratio, Row, Work, interleaved
from benchmarks.setting import CLASSES, OUTLIERS, TRAIN, Setting, images
from oodbench.basics.passes import Passes
from oodbench.images.imageset import ImageSet
from oodbench.images.resident import OutlierPool, resident
from oodbench.networks.network import Network
from oodbench.networks.precision import EXACT, Compute
from oodbench.objective import Objective, frozen
from oodbench.suite import Recipe
from oodbench.training import loop

AUGMENTATIONS = ("crop", "flip")
POOL, STEPS = 4, 5
"""Candidates ranked for each outlier, and steps of the attack: defaults of the method."""


def measure(setting: Setting) -> Iterator[Row]:
    """For each network, an epoch through the training loop: augmentation, optimizer and kept state included."""
    objective = setting.registry["atom"]().objective()
    for name, count in setting.sizes.trained.items():
        network = setting.network(name, CLASSES + objective.reject_outputs)
        id_images = images(TRAIN, count, seed=5)
        epoch = epoch_of(setting, name, id_images)
        bare = _bare(setting, objective, network, id_images)
        times = interleaved([epoch, bare], setting.sizes.repetitions, setting.device)
        note = f"{count} ID images: {objective.epoch_passes(count)}"
        yield Row("training", f"atom, an epoch, {name}", "these passes alone", "cost", Ratio.of(*times), 1.15, note)


def outliers_of(objective: Objective, id_count: int) -> int:
    """Outliers trained on in an epoch over `id_count` ID images."""
    return id_count * objective.outlier_batch // objective.id_batch


def epoch_of(setting: Setting, name: str, id_images: ImageSet, compute: Compute = EXACT) -> Work:
    """An epoch of ATOM over `id_images` through the training loop, from the same weights each time it is called."""
    objective = setting.registry["atom"]().objective()
    network = setting.network(name, CLASSES + objective.reject_outputs)
    wanted = outliers_of(objective, len(id_images))
    pool = resident(images(OUTLIERS, POOL * wanted, seed=6), setting.device).images
    data = loop.TrainingData(resident(id_images, setting.device), OutlierPool(pool, 0, AUGMENTATIONS))
    recipe = Recipe(epochs=1, learning_rate=1e-4, augment=AUGMENTATIONS)
    unfinished = setting.new_folder() / "unfinished"

    def epoch() -> None:
        loop.train(copy.deepcopy(network), objective, recipe, data, seed=1, unfinished=unfinished, compute=compute)
        unfinished.unlink()

    return epoch


def _bare(setting: Setting, objective: Objective, network: Network, id_images: ImageSet) -> Work:
    network = copy.deepcopy(network)
    labels = torch.from_numpy(id_images.labels).to(setting.device)
    whole = torch.cat(setting.tensors(id_images))
    wanted = outliers_of(objective, len(id_images))
    rounds = POOL * wanted // len(id_images)
    pool = setting.tensors(id_images) * rounds
    steps = [
        (batch, targets, whole[torch.arange(len(batch) * objective.outlier_batch // objective.id_batch) % len(whole)])
        for batch, targets in zip(
            torch.split(whole, objective.id_batch), torch.split(labels, objective.id_batch), strict=True
        )
    ]
    counted = _count(pool, steps)
    if counted != objective.epoch_passes(len(id_images)):
        raise RuntimeError(f"the bare side does {counted}, the epoch {objective.epoch_passes(len(id_images))}")

    def bare() -> None:
        with frozen(network), torch.no_grad():
            for batch in pool:
                network(batch)
        for batch, targets, outliers in steps:
            victims = outliers[len(outliers) // 2 :]
            with frozen(network):
                for _ in range(STEPS):
                    input_gradient(network, victims)
                with torch.no_grad():
                    network(victims)
                    network(victims)
            network.train()
            network.zero_grad(set_to_none=True)
            logits = network(torch.cat([batch, outliers]))
            rejected = torch.full((len(outliers),), CLASSES, device=setting.device)
            loss = cross_entropy(logits, torch.cat([targets, rejected]))
            loss.backward()  # type: ignore[no-untyped-call]

    return bare


def _count(pool: list[torch.Tensor], steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> Passes:
    """What `_bare` does, in passes."""
    total = Passes(forward=sum(map(len, pool)))
    for batch, _, outliers in steps:
        victims = len(outliers) - len(outliers) // 2
        total += Passes(1, 1) * (len(batch) + len(outliers)) + Passes(STEPS + 2, STEPS) * victims
    return total
