"""Finds out which detectors need what a run's network does not have: features, or logits.

A network of logits alone (`oodbench.networks.logits_alone`) has no features, one without a head
(`oodbench.networks.headless`) no logits. No detector declares which of them it needs: each is tried on two images.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial

import torch

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.headless import HeadlessNetwork
from oodbench.networks.network import MissingPartError, Network
from oodbench.networks.of_module import ModuleNetwork
from oodbench.networks.user_network import trial
from oodbench.objective import Batch, Objective
from oodbench.running.request import NetworkSource
from oodbench.suite import Suite
from oodbench.training.suite_network import network_in_memory, plain_network

Stage = Callable[[], object]
"""A part of what a run asks of a detector, which may fail."""


def missing_parts(
    source: NetworkSource, suite: Suite, detectors: Sequence[Detector], shape: tuple[int, int, int]
) -> dict[str, str]:
    """Why detectors cannot use the network of a run, by their names, where it lacks features or logits.

    Args:
        source: of the network.
        suite: that names it.
        detectors: not fitted, and left as they are.
        shape: (C, H, W) of the images.
    """
    if not detectors or source.features:
        return {}
    try:
        if source.module is not None:
            network = network_in_memory(source.module, suite, Objective(), shape)
        else:
            network = plain_network(suite, Objective(), 0, shape).eval()
    except OodbenchError:  # whoever plans with it says so
        return {}
    if not _lacks_parts(network):
        return {}
    lacks = {
        detector.name: _first_lack(_stages(detector, network, suite.id.classes, shape, not source.given))
        for detector in detectors
    }
    return {name: lack for name, lack in lacks.items() if lack}


def _lacks_parts(network: Network) -> bool:
    return any(
        isinstance(part, HeadlessNetwork) or (isinstance(part, ModuleNetwork) and part.head_name is None)
        for part in network.modules()
    )


def _first_lack(stages: Iterable[Stage]) -> str:
    """Carry out the stages, and return the first lack of a part of the network that one of them meets; "" if none."""
    for stage in stages:
        try:
            stage()
        except MissingPartError as error:
            return str(error)
        except Exception:  # two images are too few for many a detector, and what else is wrong the run says
            continue
    return ""


def _stages(
    detector: Detector, network: Network, classes: int, shape: tuple[int, int, int], train: bool
) -> Iterator[Stage]:
    """All that a run asks of a detector beside its tuning."""
    if train:
        yield from _training(detector.objective(), network, shape)
    tried, images = type(detector)(detector.parameters), trial(shape)
    yield partial(tried.attach, network, classes)
    if tried.observes():
        yield partial(_observe, tried, images, torch.arange(len(images)) % classes)
    yield tried.settle
    yield partial(_score, tried, images)


def _training(objective: Objective, network: Network, shape: tuple[int, int, int]) -> Iterator[Stage]:
    """What is trained beside the network, and one step of each phase of the training, on copies of the network."""
    images = trial(shape)
    batch = Batch(images, torch.arange(len(images)), images)

    def step(phase: Objective) -> None:
        phase.loss(deepcopy(network).train(), batch, torch.Generator().manual_seed(0))

    yield lambda: objective.adapt(deepcopy(network), shape)
    for phase in objective.phases():
        yield partial(step, phase)


def _observe(detector: Detector, images: torch.Tensor, labels: torch.Tensor) -> None:
    with torch.no_grad():
        detector.observe(detector.network.represent(images), labels)


def _score(detector: Detector, images: torch.Tensor) -> None:
    needs_graph = detector.needs_graph()
    asked = images.clone().requires_grad_(needs_graph)
    with torch.set_grad_enabled(needs_graph):
        detector.score_and_published(asked, detector.network.represent(asked))
