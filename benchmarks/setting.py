"""What all rows share: sizes, images, networks with random weights, and a run of the harness over them."""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from oodbench import networks
from oodbench.images import drawing
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, as_input, batch_size
from oodbench.registry import Registry, discover
from oodbench.running import runner
from oodbench.running.imagesets import Sample
from oodbench.running.planning import plan
from oodbench.running.request import Machinery, NetworkSource, Request
from oodbench.suite import IDSets, NetworkSpec, OODSet, Suite
from oodbench.tasks.clean import Clean

CLASSES = 10
TEST, OOD, TRAIN, OUTLIERS = "bench-test", "bench-ood", "bench-train", "bench-outliers"


@dataclass(frozen=True)
class Sizes:
    """How much work each row is.

    Attributes:
        repetitions: of each comparison.
        scored: ID and OOD test images together, by network.
        fitted: ID training images that detectors learn from.
        attacked: images, by network.
        trained: ID training images of an epoch, by network.
        corrupted: images.
        scores: of each side, for the metrics.
        bounded: scores of each side, for the intervals.
        remembered: test images whose scoring's peak of memory is compared, small and large.
    """

    repetitions: int
    scored: Mapping[str, int]
    fitted: int
    attacked: Mapping[str, int]
    trained: Mapping[str, int]
    corrupted: int
    scores: tuple[int, ...]
    bounded: int
    remembered: tuple[int, int]

    def repeated(self, times: int) -> "Sizes":
        """The same work, `times` repetitions of it."""
        return replace(self, repetitions=times)

    def over(self, networks: Sequence[str]) -> "Sizes":
        """The same work with some of the networks only."""

        def kept(sizes: Mapping[str, int]) -> Mapping[str, int]:
            return {name: count for name, count in sizes.items() if name in networks}

        return replace(self, scored=kept(self.scored), attacked=kept(self.attacked), trained=kept(self.trained))


FULL = Sizes(
    repetitions=5,
    scored={"small-cnn": 20_000, "densenet-bc-100-12": 512},
    fitted=2000,
    attacked={"small-cnn": 4096, "densenet-bc-100-12": 32},
    trained={"small-cnn": 4096, "densenet-bc-100-12": 64},
    corrupted=512,
    scores=(10_000, 1_000_000),
    bounded=10_000,
    remembered=(5000, 40_000),
)
GPU = replace(
    FULL,
    repetitions=3,
    scored={"preactresnet-8-32": 20_000, "resnet18-32x32": 20_000},
    attacked={"preactresnet-8-32": 4096, "resnet18-32x32": 1024},
    trained={"preactresnet-8-32": 4096, "resnet18-32x32": 2048},
)
"""With the networks that are trained there."""

QUICK = Sizes(
    repetitions=1,
    scored={"small-cnn": 256},
    fitted=600,  # more than half of the features, or ViM has nothing left over
    attacked={"small-cnn": 16},
    trained={"small-cnn": 128},
    corrupted=4,
    scores=(1000,),
    bounded=500,
    remembered=(100, 400),
)
"""To try it: the figures mean nothing."""


@dataclass(frozen=True)
class Setting:
    """One run of the benchmarks.

    Attributes:
        sizes: of each row.
        device: where networks run.
        folder: empty, for packs, checkpoints and results; whoever made it removes it.
    """

    sizes: Sizes
    device: torch.device
    folder: Path
    registry: Registry = field(default_factory=discover)

    def network(self, name: str, outputs: int = CLASSES) -> Network:
        """`name` with random weights, in evaluation mode. Batch norm's statistics are those of some images.

        With the statistics it starts from, activations of a deep network would grow beyond float32.
        """
        network = copy.deepcopy(_network(name, outputs))
        return network.to(self.device).eval()

    def tensors(self, images: ImageSet) -> list[Tensor]:
        """`images` as a network takes them, on the device, in the batches in which the harness scores."""
        pixels = torch.from_numpy(images.pixels()).permute(0, 3, 1, 2).contiguous()
        batches = torch.split(as_input(pixels), batch_size(self.device, pixels.shape[-1]))
        return [batch.to(self.device) for batch in batches]

    def new_folder(self) -> Path:
        """An empty one."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def write_packs(self, *sets: ImageSet) -> Path:
        """A folder with `sets` as packs."""
        folder = self.new_folder()
        for images in sets:
            write_pack(folder / f"{images.name}.h5", images)
        return folder

    def write_checkpoint(self, name: str) -> Path:
        """The weights of `network(name)`."""
        path = self.new_folder() / f"{name}.safetensors"
        checkpoints.save(self.network(name), path, {})
        return path

    def run(self, network: str, checkpoint: Path, data: Path, detectors: Sequence[str]) -> Path:
        """`oodbench run` over the test sets in `data`, clean, into an empty results folder, which is returned.

        Raises:
            RuntimeError: a detector failed, so there is nothing to measure.
        """
        request = Request(
            suites=(clean_suite(network),),
            detectors=tuple(self.registry[name] for name in detectors),
            seed=1,
            sample=Sample(data),
            machinery=Machinery(self.device),
            out=self.new_folder(),
            source=NetworkSource(checkpoint),
        )
        if failures := runner.execute(plan(request, self.registry), request.machinery, lambda _: None):
            raise RuntimeError("\n".join(failures))
        return request.out


def clean_suite(network: str) -> Suite:
    """One ID set against one OOD set, as they are."""
    return Suite(
        name="bench",
        version=1,
        title="",
        paper="",
        id=IDSets(test=TEST, classes=CLASSES, train=TRAIN),
        ood=(OODSet(OOD, "far"),),
        network=NetworkSpec(network),
        tasks={"clean": Clean()},
        outliers=None,
        training=None,
        detectors={},
    )


def images(name: str, count: int, seed: int) -> ImageSet:
    """Smooth noise, 32 x 32, every class as often as every other."""
    pixels = drawing.smooth_noise(count, np.random.default_rng(seed))
    return ImageSet(name, pixels, np.arange(count) % CLASSES, "drawn for a benchmark")


@cache
def _network(name: str, outputs: int) -> Network:
    network = networks.build(name, outputs, seed=1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # statistics of all batches seen
    pixels = torch.from_numpy(images("calibration", 64, seed=0).pixels()).permute(0, 3, 1, 2)
    with torch.no_grad():
        network.train()(as_input(pixels))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return network
