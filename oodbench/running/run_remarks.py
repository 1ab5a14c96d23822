"""Remarks before a run whose network is given: settings that have no effect, and how images go into the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oodbench.networks.network import Network
from oodbench.networks.of_module import channels
from oodbench.suite import Suite
from oodbench.suitefiles import settings

if TYPE_CHECKING:
    from oodbench.detector import Detector
    from oodbench.running.config import RunConfig


def remarks(config: RunConfig, suites: Sequence[Suite], methods: Sequence[type[Detector]]) -> Iterator[str]:
    """The remarks on a run, a line each; none where no network is given.

    Args:
        config: of the run.
        suites: of the run, before its settings are applied.
        methods: the detectors of the run.
    """
    sources = {"a checkpoint": config.checkpoint, "a module": config.module, "a feature pack": config.features}
    came_as = next((name for name, source in sources.items() if source is not None), "")
    idle = settings.training_settings(config.settings, methods) if came_as else []
    if idle:
        texts = " ".join(f"--set {setting.text}" for setting in idle)
        yield f"NOTE {texts}: {came_as} is given and nothing is trained, so this changes the row's name alone"
    if config.module is None or isinstance(config.module, Network) or config.mean is not None or config.std is not None:
        return
    as_they_are = channels(None, None)
    normalised = [
        suite.name for suite in suites if suite.network.mean and (suite.network.mean, suite.network.std) != as_they_are
    ]
    if normalised:
        yield (
            f"NOTE the module gets images in [0, 1] as they are; mean and std of {', '.join(normalised)} are of that "
            "suite's own network: give mean= and std= unless the module normalises inside, and mean='inside' if it does"
        )
