"""The L-infinity attack through its task against as many bare passes with the gradient of the images."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.compare import Ratio, Row, Work, interleaved
from benchmarks.setting import CLASSES, OOD, Setting, images
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.checks import CHECKED_IMAGES
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network, batch_size
from oodbench.scoring.attacking import Attack, score_attacked
from oodbench.scoring.batches import Purpose, exact
from oodbench.scoring.fitting import fit
from oodbench.tasks.linf import Linf

STEPS = 40
SIDE = 32


def measure(setting: Setting) -> Iterator[Row]:
    """For each network MSP under 40 steps: a batch through the task, then, where that is bearable, a whole set.

    A set is more than its batches: a few images are checked, and all are digested.
    """
    for name, count in setting.sizes.attacked.items():
        network, detector = setting.network(name), setting.registry["msp"]()
        fit([detector], network, CLASSES)
        attack = Attack(detector, Linf(epsilon=8, steps=STEPS), Goal.of(detector), Purpose("benchmark"))
        victims = images(OOD, count, seed=4)
        yield _batch(setting, name, attack, victims.first(min(count, batch_size(setting.device, SIDE))))
        if count > CHECKED_IMAGES:
            yield _set(setting, name, attack, victims)


def _batch(setting: Setting, name: str, attack: Attack, victims: ImageSet) -> Row:
    (batch,) = setting.tensors(victims)

    def attacked() -> None:
        with exact(attack.detector.network):
            found = attack.task.alter(attack.goal, batch, victims.indices, str(attack.purpose))
            with torch.no_grad():
                attack.detector.score(found.images)

    note = f"{len(victims)} images; {STEPS + 3} forward and {STEPS} backward passes"
    return _row(setting, f"linf, msp, {name}, a batch", attacked, attack, [batch], note)


def _set(setting: Setting, name: str, attack: Attack, victims: ImageSet) -> Row:
    def attacked() -> None:
        score_attacked(attack, victims, setting.device)

    note = f"{len(victims)} images; {CHECKED_IMAGES} of them are looked at about 40 times more, to check the attack"
    return _row(setting, f"linf, msp, {name}, a set", attacked, attack, setting.tensors(victims), note)


def _row(setting: Setting, what: str, work: Work, attack: Attack, batches: Sequence[Tensor], note: str) -> Row:
    works = [work, lambda: bare(attack.detector.network, batches)]
    ratio = Ratio.of(*interleaved(works, setting.sizes.repetitions, setting.device))
    return Row("attack", what, f"{STEPS} forward and input-gradient passes", "cost", ratio, 1.10, note)


def bare(network: Network, batches: Sequence[Tensor]) -> None:
    """As many forward and input-gradient passes as the attack has steps."""
    with exact(network):
        for batch in batches:
            for _ in range(STEPS):
                input_gradient(network, batch)


def input_gradient(network: Network, images: Tensor) -> Tensor:
    """One forward pass, and the gradient of something simple with respect to `images`, (N, C, H, W)."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).sum(), images)
    return gradient
