"""The L-infinity attack through its task against as many bare passes with the gradient of the images."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.compare import Ratio, Row, interleaved
from benchmarks.setting import CLASSES, OOD, Setting, images
from oodbench.attacks.goal import Goal
from oodbench.fitting import fit
from oodbench.networks.network import Network
from oodbench.scoring import Attack, exact, score_attacked
from oodbench.tasks.linf import Linf

STEPS = 40


def measure(setting: Setting) -> Iterator[Row]:
    """For each network, MSP under 40 steps: start, checks, final score and digest of the images included."""
    for name, count in setting.sizes.attacked.items():
        yield _measure(setting, name, count)


def _measure(setting: Setting, name: str, count: int) -> Row:
    network, victims = setting.network(name), images(OOD, count, seed=4)
    detector = setting.registry["msp"]()
    fit([detector], network, CLASSES)
    attack = Attack(detector, Linf(epsilon=8, steps=STEPS), Goal.of(detector), "benchmark")
    batches = setting.tensors(victims)
    works = [lambda: score_attacked(attack, victims, setting.device), lambda: bare(network, batches)]
    ratio = Ratio.of(*interleaved(works, setting.sizes.repetitions, setting.device))
    note = f"{count} images; the task does {STEPS + 3} forward and {STEPS} backward passes, and checks a few images"
    against = f"{STEPS} forward and input-gradient passes"
    return Row("attack", f"linf, msp, {name}", against, "cost", ratio, 1.10, note)


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
