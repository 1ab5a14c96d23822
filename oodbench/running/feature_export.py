"""Writing a feature pack of a suite's images, by the network that a run would score with."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
from oodbench.basics.threads import on_threads
from oodbench.detector import Detector, Tuning
from oodbench.images.imageset import ImageSet
from oodbench.networks import checkpoints, feature_packs
from oodbench.networks.feature_packs import FeaturePack, FeatureSet
from oodbench.networks.network import Network, Representation
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.results.conditions import condition_attributes, place_text
from oodbench.running import network_provenance
from oodbench.running.feature_runs import (
    HELD_OUT_IMAGES,
    LIMIT,
    OBJECTIVE,
    SUITE,
    heldout_name,
    reserved_name,
    suite_text,
)
from oodbench.running.label_check import CLASSES
from oodbench.running.plan import SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Request
from oodbench.running.train_or_load import provide
from oodbench.scoring.representing import represent_set
from oodbench.suite import Suite

EVERY = 1 << 40
"""A number of images that no set has."""


class _Exported(Detector):
    """A detector that learns from every set, so that a plan loads all of them; it is never fitted and never scores."""

    name = "features"
    paper = ""
    trained_for: type[Detector] | None = None
    heldout = outliers = train = True

    @classmethod
    def observes(cls) -> bool:
        """True where ID training images are wanted and there are some."""
        return cls.train

    def objective(self) -> Objective:
        """The objective of the network whose features are written: that of the method which it is trained for."""
        return self.trained_for(self.parameters).objective() if self.trained_for else Objective()

    def tuning(self) -> Tuning | None:
        """Tuning on all images that the suite holds out and reserves."""
        return Tuning(images=EVERY, outliers=self.outliers) if self.heldout else None

    def score_representation(self, representation: Representation) -> Tensor:
        """Raise TypeError: this detector has no score."""
        raise TypeError("features are written, not scored")


def export(
    request: Request, trained_for: type[Detector] | None, train: bool, path: Path, registry: Registry, say: Say
) -> FeaturePack:
    """Write the logits and features that the network of a run gives for its images.

    Args:
        request: of one suite; its detectors do not matter.
        trained_for: a detector whose way of training the network has; None for a plainly trained one.
        train: whether to write the ID training images, too.
        path: of the pack.
        registry: the detectors.
        say: told what is being done, a line at a time.

    Returns:
        The pack, as it is read again.

    Raises:
        OodbenchError: as for a run; or the pack cannot be written.
    """
    (original,) = request.suites
    exported = _exported_class(original, trained_for, train)
    (suite_plan,) = plan(replace(request, suites=(replace(original, tasks={}),), detectors=(exported,)), registry)
    suite, (network_plan,) = suite_plan.suite, suite_plan.networks
    with on_threads(network_plan.threads):
        network = provide(suite_plan, network_plan, request.machinery, say)
        sets = {
            name: _feature_set(network, images, request.machinery.device)
            for name, images in _image_sets(suite_plan, train).items()
        }
    provenance = network_provenance.metadata(network_plan.file)
    here = condition_attributes(request.machinery.setup)
    about = {
        **{name: provenance[name] for name in KEPT if name in provenance},
        feature_packs.TRAINED_SEED: provenance.get(network_provenance.SEED, ""),
        network_provenance.TRAINED_ON: network_provenance.trained_on(network_plan.file),
        SUITE: suite_text(suite),
        "network_digest": checkpoints.weights_digest(network),
        "made_on": f"{place_text(here['hardware'], here['torch'])}, oodbench {here['oodbench']}",
        OBJECTIVE: network_plan.objective.identity if not request.source.checkpoint else "",
        LIMIT: str(request.sample.limit or ""),
        HELD_OUT_IMAGES: suite_plan.image_sets.held_out,
        CLASSES: json.dumps(suite_plan.images[suite.id.test].classes),
    }
    feature_packs.write(path, sets, _head(network), {name: text for name, text in about.items() if text})
    return feature_packs.read(path)


KEPT = (network_provenance.HELD_OUT, network_provenance.RESERVED)
"""Keys of a network's provenance that go into the pack unchanged."""


def _exported_class(suite: Suite, trained_for: type[Detector] | None, train: bool) -> type[_Exported]:
    """The `_Exported` for a suite, with the name and the parameters of the method that its network is trained for."""
    outliers = bool(suite.outliers and suite.outliers.reserved)
    # With the method's name and class of parameters it gets the values that the suite and the run set for the method.
    method = {"name": trained_for.name, "Parameters": trained_for.Parameters} if trained_for else {}
    wanted = {
        **method,
        "trained_for": trained_for,
        "train": train and suite.id.train is not None,
        "heldout": bool(suite.id.heldout),
        "outliers": outliers,
    }
    return type("_Exported", (_Exported,), {**wanted, "__module__": __name__})


def _image_sets(suite_plan: SuitePlan, train: bool) -> dict[str, ImageSet]:
    """The image sets to write, by their names in the pack."""
    suite, images = suite_plan.suite, suite_plan.images
    sets = {name: images[name] for name in (suite.id.test, *(ood.set for ood in suite.tested))}
    if train and suite.id.train in images:
        sets[str(suite.id.train)] = images[str(suite.id.train)]
    if suite_plan.image_sets.heldout:
        sets[heldout_name(suite)] = suite_plan.image_sets.heldout
    if suite.outliers and suite.outliers.reserved and suite.outliers.set in images:
        sets[reserved_name(suite)] = images[suite.outliers.set].first(suite.outliers.reserved)
    return sets


def _feature_set(network: Network, images: ImageSet, device: torch.device) -> FeatureSet:
    _, height, width, _ = images.images.shape
    return FeatureSet(
        represent_set(network, images, device),
        torch.from_numpy(images.labels),
        images.fingerprint,
        images.source,
        (height, width),
        torch.from_numpy(images.indices),
    )


def _head(network: Network) -> tuple[Tensor, Tensor] | None:
    """Weight (outputs, D) and bias (outputs,) of the last layer; None where that is not linear."""
    try:
        head = network.head
    except OodbenchError:
        return None
    weight = head.weight.detach().cpu()
    return weight, head.bias.detach().cpu() if head.bias is not None else torch.zeros(len(weight))
