"""What is left of an evaluation, counted by oodbench's own plan of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from benchmarks.gpu.slices import DONE, Records
from benchmarks.gpu.steps import Evaluation, Place, Step
from oodbench import compute, settings, suitefile
from oodbench.errors import OodbenchError
from oodbench.images import catalogue
from oodbench.plan import NetworkPlan, SuitePlan, plan
from oodbench.registry import Registry
from oodbench.request import Request, choose_device
from oodbench.variation import restrict, vary

ASSUMED = 10e12
"""Operations a second where nothing has been measured: as in docs/cost.md. Small networks are bound by the starts of
their kernels and reach less."""


@dataclass(frozen=True)
class Left:
    """What an evaluation still takes.

    Attributes:
        networks: trained already, and all.
        epochs: of the trainings that are not done: done already, and all.
        groups: scores of one image set under one task: stored already, and all.
        operations: floating-point operations that are left; those of epochs that are done already are among them.
    """

    networks: tuple[int, int]
    epochs: tuple[int, int]
    groups: tuple[int, int]
    operations: float

    @property
    def done(self) -> bool:
        """Nothing is left."""
        return self.groups[0] == self.groups[1]

    def __str__(self) -> str:
        epochs = f" ({self.epochs[0]} of {self.epochs[1]} epochs of the others)" if self.epochs[1] else ""
        return (
            f"{self.networks[0]} of {self.networks[1]} networks trained{epochs}, "
            f"{self.groups[0]} of {self.groups[1]} sets scored"
        )


def there(evaluation: Evaluation, place: Place) -> list[str]:
    """The OOD sets of its suite that can be loaded, in their order; none of them named if all can.

    Raises:
        OodbenchError: not one can.
    """
    sets = [ood.set for ood in suitefile.load(evaluation.suite).ood]
    known = catalogue.names(place.data)
    found = [name for name in sets if name in known]
    if not found:
        raise OodbenchError(
            f"{place.data} has none of the OOD sets of suite {evaluation.suite}: {', '.join(sets)}. Carry packs there, "
            "or pieces of them, and say where they are with --data and --pieces"
        )
    return [] if found == sets else found


def left(evaluation: Evaluation, place: Place, registry: Registry) -> Left:
    """What is left of it. Its images are loaded for that.

    Raises:
        OodbenchError: a set is missing or broken, and so on.
    """
    suite = vary(
        restrict(suitefile.load(evaluation.suite), there(evaluation, place)), evaluation.tasks, (), evaluation.threat
    )
    device = choose_device(place.device)
    request = Request(
        suites=(suite,),
        detectors=tuple(registry[name] for name in evaluation.detectors),
        seed=1,
        device=device,
        data=place.data,
        out=place.results,
        limit=evaluation.limit,
        images=evaluation.images,
        settings=tuple(settings.parse(text) for text in evaluation.settings),
        compute=compute.choose("auto", False, False, device),
    )
    (planned,) = plan(request, registry)
    untrained = [network for network in planned.networks if network.to_train]
    count, epochs = len(planned.networks), planned.suite.training.epochs if planned.suite.training else 0
    wanted = sum(len(planned.wanted(cell)) for network in planned.networks for cell in network.cells)
    missing = sum(len(cell.missing) for network in planned.networks for cell in network.cells)
    return Left(
        networks=(count - len(untrained), count),
        epochs=(
            sum(_epochs_done(network) for network in untrained),
            sum(len(network.objective.phases()) * epochs for network in untrained),
        ),
        groups=(wanted - missing, wanted),
        operations=sum(_operations(planned, network) for network in planned.networks),
    )


def _operations(planned: SuitePlan, network: NetworkPlan) -> float:
    passes = replace(planned, networks=(network,)).passes()
    return float(passes.forward + passes.backward) * network.operations


def _epochs_done(network: NetworkPlan) -> int:
    unfinished = network.file.with_suffix(".unfinished")
    if not unfinished.is_file():
        return 0
    return int(torch.load(unfinished, map_location="cpu", weights_only=True)["epochs"])


def seconds(step: Step, operations: float, records: Records, steps: Iterable[Step]) -> tuple[float, str]:
    """How long so many operations of `step` take, and what that rests on.

    What was measured here with the same suite counts; where nothing was, the assumed rate.
    """
    suite = step.evaluation.suite if step.evaluation else ""
    alike = [each.name for each in steps if each.evaluation and each.evaluation.suite == suite]
    measured = [records[name] for name in alike if name in records and records[name].outcome == DONE]
    done = [record for record in measured if record.operations and record.seconds]
    if not done:
        return operations / ASSUMED, "at an assumed 10 TFLOP/s; small networks take longer"
    rate = sum(record.operations for record in done) / sum(record.seconds for record in done)
    return operations / rate, f"at the {rate / 1e12:.3g} TFLOP/s that were measured here"
