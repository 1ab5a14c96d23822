"""How much of the rate at which this device multiplies matrices the harness's work reaches."""

from collections.abc import Iterator
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.attack import STEPS
from benchmarks.compare import Ratio, Row, Work, interleaved
from benchmarks.setting import CLASSES, OOD, TRAIN, Setting, images
from benchmarks.training import epoch_of, outliers_of
from oodbench.attacks.attack_goal import Goal
from oodbench.networks.network import Network
from oodbench.networks.precision import Compute
from oodbench.scoring.attacking import Attack, score_attacked
from oodbench.scoring.batches import Purpose
from oodbench.scoring.fitting import fit
from oodbench.tasks.linf import Linf

SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices whose product sets the pace."""


def measure(setting: Setting) -> Iterator[Row]:
    """For each network an attack in float32, and an epoch of ATOM, in bf16 where the device is a GPU."""
    for name, count in setting.sizes.attacked.items():
        network, victims = setting.network(name), images(OOD, count, seed=4)
        detector = setting.registry["msp"]()
        fit([detector], network, CLASSES)
        task = Linf(epsilon=8, steps=STEPS)
        work = partial(
            score_attacked, Attack(detector, task, Goal.of(detector), Purpose("benchmark")), victims, setting.device
        )
        passes = task.passes() * count
        flops = forward_flops(network) * (passes.forward + passes.backward)
        yield _row(f"linf, msp, {name}, float32", work, flops, torch.float32, setting, f"{count} images")
    precision = torch.bfloat16 if setting.device.type == "cuda" else torch.float32
    objective = setting.registry["atom"]().objective()
    for name, count in setting.sizes.trained.items():
        epoch = epoch_of(setting, name, images(TRAIN, count, seed=5), Compute(bf16=precision == torch.bfloat16))
        passes = objective.epoch_passes(count)
        learned = count + outliers_of(objective, count)  # whose backward pass is two: images' and weights' gradients
        network = setting.network(name, CLASSES + objective.reject_outputs)
        flops = forward_flops(network) * (passes.forward + passes.backward + learned)
        said = f"atom, an epoch, {name}, {str(precision).removeprefix('torch.')}"
        yield _row(said, epoch, flops, precision, setting, f"{count} ID images")


def forward_flops(network: Network) -> int:
    """Of one image of 32 pixels, a multiply-add counting two. A gradient of the image costs about as much again."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 32, 32, device=network.mean.device))
    return int(counter.get_total_flops())


def _row(what: str, work: Work, flops: int, dtype: torch.dtype, setting: Setting, note: str) -> Row:
    device, side = setting.device, SIDE[setting.device.type]
    factors = torch.rand(2, side, side, device=device).to(dtype)
    ours, products = interleaved([work, lambda: factors[0] @ factors[1]], setting.sizes.repetitions, device)
    best = [2 * side**3 / seconds for seconds in products]
    ratio = Ratio.of([flops / seconds for seconds in ours], best)
    note = f"{note}: {flops / 1e9:.3g} GFLOP; products of {side} x {side} at {max(best) / 1e12:.3g} TFLOP/s here"
    return Row("rate", what, "the rate of large matrix products", "share", ratio, note=note)
