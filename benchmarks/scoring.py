"""Clean scoring through the harness, results stored, against the bare network over the same images."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.compare import Ratio, Row, interleaved
from benchmarks.setting import OOD, TEST, TRAIN, Setting, images
from oodbench.networks.network import Network
from oodbench.scoring.batches import exact

POST_HOC = ("msp", "energy", "ash", "knn", "vim")
"""Two from the logits, three from the features; the last two learn from ID training images first."""


def measure(setting: Setting) -> Iterator[Row]:
    """For each network, one detector that learns nothing, then five that share a pass."""
    for name, count in setting.sizes.scored.items():
        yield from _measure(setting, name, count)


def _measure(setting: Setting, name: str, count: int) -> Iterator[Row]:
    sizes = setting.sizes
    tests = [images(TEST, count // 2, seed=1), images(OOD, count // 2, seed=2)]
    train = images(TRAIN, sizes.fitted, seed=3)
    data, checkpoint = setting.write_packs(*tests, train), setting.write_checkpoint(name)
    network = setting.network(name)
    tested = [batch for each in tests for batch in setting.tensors(each)]
    learned = setting.tensors(train)
    works = [
        lambda: setting.run(name, checkpoint, data, ["msp"]),
        lambda: forward(network, tested),
        lambda: setting.run(name, checkpoint, data, POST_HOC),
        lambda: forward(network, [*learned, *tested]),
    ]
    alone, bare, together, bare_fitted = interleaved(works, sizes.repetitions, setting.device)
    note = f"{count} images: plan, read, score, store"
    yield Row("scoring", f"msp, {name}", "forward passes alone", "cost", Ratio.of(alone, bare), 1.10, note)
    note = f"{count} images; both sides also pass {sizes.fitted} training images"
    ratio = Ratio.of(together, bare_fitted)
    yield Row("scoring", f"{', '.join(POST_HOC)}, {name}", "forward passes alone", "cost", ratio, 1.30, note)


def forward(network: Network, batches: Sequence[Tensor]) -> Tensor:
    """Logits (N, outputs) on the CPU: what no harness can do without."""
    with exact(network), torch.no_grad():
        return torch.cat([network(batch).cpu() for batch in batches])
