"""What is left of an evaluation, counted by oodbench's own plan of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from benchmarks.gpu.slices import DONE, Records
from benchmarks.gpu.steps import Evaluation, Place, Step
from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.images import catalogue
from oodbench.networks import compute
from oodbench.registry import Registry
from oodbench.running import plan_cost
from oodbench.running.imagesets import Sample
from oodbench.running.plan import NetworkPlan, SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Machinery, NetworkSource, Request, choose_device
from oodbench.suitefiles import settings, suitefile
from oodbench.suitefiles.selection import restrict, vary
from oodbench.training.loop import epochs_done

ASSUMED = 10e12
"""Operations a second where nothing has been measured, as in docs/cost.md."""

STARTS = 1e-3
"""Seconds in which a GPU is given the work of one pass over a batch, assumed too: no pass of a training step takes
less, also where the network is small."""


@dataclass(frozen=True)
class Left:
    """What an evaluation still takes.

    Attributes:
        networks: trained already, and all.
        epochs: of the trainings that are not done: done already, and all.
        groups: scores of one image set under one task: stored already, and all.
        scoring: seconds that scores and attacks are assumed to take.
        trainings: the same of each training, by the name of the network's file.
    """

    networks: tuple[int, int]
    epochs: tuple[int, int]
    groups: tuple[int, int]
    scoring: float
    trainings: Mapping[str, float]

    @property
    def done(self) -> bool:
        """Nothing is left."""
        return self.groups[0] == self.groups[1]

    def assumed(self, elsewhere: Collection[str] = ()) -> float:
        """Seconds, those of trainings that are counted `elsewhere` left out."""
        return self.scoring + sum(took for name, took in self.trainings.items() if name not in elsewhere)

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
        sample=Sample(place.data, evaluation.limit, evaluation.images),
        machinery=Machinery(device, compute=compute.choose("auto", False, False, device)),
        out=place.results,
        settings=tuple(settings.parse(text) for text in evaluation.settings),
        source=NetworkSource(pretrained=evaluation.pretrained),
    )
    (planned,) = plan(request, registry)
    untrained = [network for network in planned.networks if network.to_train]
    epochs = {network.file.name: _epochs(planned, network) for network in untrained}
    wanted = sum(len(planned.wanted_pairs(cell)) for cell in planned.cells)
    missing = sum(len(cell.missing) for cell in planned.cells)
    return Left(
        networks=(len(planned.networks) - len(untrained), len(planned.networks)),
        epochs=(sum(done for done, _ in epochs.values()), sum(all_ for _, all_ in epochs.values())),
        groups=(wanted - missing, wanted),
        scoring=sum(_scoring(planned, network) for network in planned.networks),
        trainings={
            network.file.name: _training(planned, network)
            * (1 - epochs[network.file.name][0] / epochs[network.file.name][1])
            for network in untrained
        },
    )


def _scoring(planned: SuitePlan, network: NetworkPlan) -> float:
    every = plan_cost.passes(replace(planned, networks=(network,)))
    trained = plan_cost.training_passes(planned, network)
    return _operations(every, network) / ASSUMED - _operations(trained, network) / ASSUMED


def _training(planned: SuitePlan, network: NetworkPlan) -> float:
    passes = plan_cost.training_passes(planned, network)
    starts = STARTS * (passes.forward + passes.backward) / network.objective.id_batch
    return max(_operations(passes, network) / ASSUMED, starts)


def _operations(passes: Passes, network: NetworkPlan) -> float:
    return float(passes.forward + passes.backward) * network.operations


def _epochs(planned: SuitePlan, network: NetworkPlan) -> tuple[int, int]:
    """Of its training: done already, and all."""
    each = planned.suite.training.epochs if planned.suite.training else 0
    return epochs_done(network.file.with_suffix(".unfinished")), len(network.objective.phases()) * each


def slower(step: Step, records: Records, steps: Iterable[Step]) -> float | None:
    """How many times as long as assumed the steps took here that are done and of the same suite; None if none is."""
    suite = step.evaluation.suite if step.evaluation else ""
    alike = [each.name for each in steps if each.evaluation and each.evaluation.suite == suite]
    done = [records[name] for name in alike if name in records and records[name].outcome == DONE]
    assumed = sum(record.assumed for record in done)
    return sum(record.seconds for record in done) / assumed if assumed else None
