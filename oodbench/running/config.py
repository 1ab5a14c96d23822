"""The description of a run in names, numbers and paths, the same for the command line, Python and Ray."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oodbench import tracking
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.team import ALONE, Team
from oodbench.detector import Detector
from oodbench.networks import compute
from oodbench.networks.feature_packs import FeaturePack
from oodbench.networks.named import AT, IN_MEMORY
from oodbench.networks.network import Network
from oodbench.networks.of_module import channels, require_module
from oodbench.networks.wrapping import Wrapping
from oodbench.registry import Registry
from oodbench.running import feature_runs, run_remarks
from oodbench.running.choices import ALL, AUTO, ENGINES, LARGEST_SEED, LOCAL
from oodbench.running.imagesets import Sample
from oodbench.running.ray_cluster import Cluster
from oodbench.running.request import Demands, Machinery, NetworkSource, Request
from oodbench.sources.trained import checkpoint
from oodbench.suite import Suite
from oodbench.suitefiles import settings, suitefile
from oodbench.suitefiles.selection import restrict, vary
from oodbench.suitefiles.settings import NETWORK, Setting


@dataclass(frozen=True)
class RunConfig(Wrapping):
    """The description of a run; `mean` to `preprocessing` are as the suite has them if left out.

    A module in memory gets images as they are if nobody says `mean` or `std`: the suite's are of its own network.

    Attributes:
        suites: names or TOML files, one or several, or "all".
        detectors: names, one or several, or "all", which leaves out what a suite cannot give all that it needs.
        seed: of training and attacks; several as in `range(5)`.
        device: "auto", "cpu", "cuda" or "cuda:N".
        data: folder of image packs.
        out: results folder.
        network: in place of the suite's: a name of `oodbench list networks` or of timm's, "FILE.py:BUILDER" for one of
            your own, or a trained module in evaluation mode, which is scored as it stands.
        checkpoint: a trained network for every detector instead of training: a file, a name of `oodbench data list`, or
            "hf://org/name@revision/file.safetensors".
        features: a feature pack to score in place of images, which says its suite itself; then `suites` is empty.
        pretrained: score with the trained networks that are kept for everybody, each where it is what the run would
            train; the other networks are trained.
        limit: so many images of each ID and OOD set, of each class its share, evenly spread.
        images: so many of each OOD set, in the same way.
        tasks: some of the suite's, or kinds that it lacks; all of the suite's if empty.
        only: OOD sets to keep to; all of the suite's if empty.
        radii: attack at each of these, in 1/255.
        threat: "out", "in" or "both": whose images are attacked.
        parameters: changed for this run, such as {"epochs": 1, "atom.q": 0.25}.
        plugins: files that define detectors.
        keep_images: store the attacked images with the scores.
        thorough: try each attack against others, too, as `--checks full` does; that keeps attacked OOD images.
        again: do what is already there once more.
        precision: of training and mining: "auto", "float32" or "bf16".
        tf32: attack and score in TF32 on a GPU.
        compiled: put networks through `torch.compile`.
        jobs: processes that work side by side, to the same bits; "auto" for as many as cores, memory and work allow.
        shard: a part of the cells, "2/8" for the second of eight; which they are follows from what the run is, so that
            the parts can be carried out anywhere, in any order.
        log: "mlflow", "wandb" or "trackio", one or several: which gets frame, report and provenance as one run.
        engine: "sequential": on this machine; "ray": as the tasks of a Ray cluster.
        address: of the Ray cluster, see `oodbench.running.ray_cluster.Cluster`.
        cpus: of each Ray task.
        say: told what is being done, a line at a time.
    """

    suites: str | Path | Sequence[str | Path] = ()
    detectors: str | Sequence[str] = ()
    _: KW_ONLY
    seed: int | Iterable[int] = 1
    device: str = "auto"
    data: str | Path = "data"
    out: str | Path = "results"
    network: str | nn.Module | None = None
    checkpoint: str | Path | None = None
    features: str | Path | None = None
    pretrained: bool = False
    limit: int | None = None
    images: int | None = None
    tasks: str | Sequence[str] = ()
    only: str | Sequence[str] = ()
    radii: Sequence[int] = ()
    threat: str = "out"
    parameters: Mapping[str, Any] | Sequence[Setting] | None = None
    plugins: Sequence[str | Path] = ()
    keep_images: bool = False
    thorough: bool = False
    again: bool = False
    precision: str = "auto"
    tf32: bool = False
    compiled: bool = False
    jobs: int | str = AUTO
    shard: str | None = None
    log: str | Sequence[str] = ()
    engine: str = "sequential"
    address: str = LOCAL
    cpus: int = 1
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        seeds = tuple(self.seed) if isinstance(self.seed, Iterable) else self.seed  # it may be read only once
        object.__setattr__(self, "seed", seeds)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, in their order."""
        return tuple(self.seed) if isinstance(self.seed, Iterable) else (self.seed,)

    @property
    def plugin_files(self) -> tuple[Path, ...]:
        """Files that define detectors."""
        return tuple(map(Path, self.plugins))

    @property
    def module(self) -> nn.Module | None:
        """The network, if it is a module in memory; None otherwise."""
        return self.network if isinstance(self.network, nn.Module) else None

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings of this run: of the network and of how images go into it, then parameters."""
        if isinstance(self.parameters, Mapping):
            parameters = tuple(Setting(name, value) for name, value in self.parameters.items())
        else:
            parameters = tuple(self.parameters or ())
        return *self._network_settings(), *parameters

    def _network_settings(self) -> Iterator[Setting]:
        name = self.network
        if isinstance(name, nn.Module):
            name = f"{IN_MEMORY}{AT}{type(name).__name__}"
        prepared = asdict(self.preprocessing) if self.preprocessing else None
        mean, std = self.mean, self.std
        # A network of oodbench has its own mean and std.
        if isinstance(self.module, Network) and mean is None and std is None:
            mean, std = (getattr(self.module, name).flatten().tolist() for name in ("mean", "std"))
        elif self.module is not None or mean is not None or std is not None:
            mean, std = map(list, channels(mean, std))
        values = {"name": name, "mean": mean, "std": std, "head": self.head, "taps": self.taps}
        values["preprocessing"] = prepared
        for key, value in values.items():
            if value is not None:
                yield Setting(f"{NETWORK}.{key}", list(value) if isinstance(value, tuple) else value)

    @property
    def trackers(self) -> Sequence[str]:
        """Names of the trackers that get the results."""
        return (self.log,) if isinstance(self.log, str) else tuple(self.log)

    def check(self) -> None:
        """Raise OodbenchError for options that exclude each other, and for values that are missing or not valid."""
        tracking.require(self.trackers)
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if not self.seeds:
            raise OodbenchError("there are no seeds: give one, or some, such as range(5)")
        for seed in self.seeds:
            if not _is_seed(seed):
                raise OodbenchError(f"a seed is {seed!r}: give whole numbers from 0 to {LARGEST_SEED}")
        for name, count in (("limit", self.limit), ("images", self.images)):
            if count is not None and not _is_count(count):
                raise OodbenchError(f"{name} is {count!r}: give a whole number of images, 1 or more, or None for all")
        if not isinstance(self.network, str | None):
            require_module(self.network)
        if self.module is not None and (reason := self._excluded_with_module()):
            raise OodbenchError(
                f"network is a module in memory, and {reason}; or name what builds it as 'FILE.py:BUILDER' and its "
                "weights with checkpoint="
            )
        if self.checkpoint and self.pretrained:
            raise OodbenchError("checkpoint and pretrained exclude each other: both say which networks are scored with")
        if self.features:
            self._check_features()
        elif not _several(self.suites):
            raise OodbenchError("there is no suite: name one, or give a feature pack, which says its own")
        if not _several(self.detectors):
            raise OodbenchError("there is no detector: name one, or 'all'")

    def _check_features(self) -> None:
        """Raise OodbenchError for options that a feature pack excludes."""
        options = {
            "a suite": _several(self.suites),
            "a checkpoint": self.checkpoint,
            "a network": [*self._network_settings()],
            "pretrained networks": self.pretrained,
            "compilation": self.compiled,
            "an attack's radii": self.radii,
            "a threat to ID images": self.threat != "out",
            "attacked images to keep": self.keep_images,
            "thorough checks of attacks": self.thorough,
        }
        options |= {
            f"--set {setting.text}": setting.name.startswith(f"{settings.NETWORK}.") for setting in self.settings
        }
        if excluded := [name for name, value in options.items() if value]:
            raise OodbenchError(
                f"a feature pack says its suite and has no images and no network, so {excluded[0]} cannot be asked for "
                "beside it: leave one of the two out"
            )

    def _excluded_with_module(self) -> str:
        """Why an option cannot be combined with a module in memory; "" if all of them can."""
        if self.checkpoint or self.pretrained:
            return "checkpoint and pretrained would say other weights than it has: leave them out"
        if self.engine != "sequential" or str(self.jobs) not in (AUTO, "1"):
            return "other processes have no part in that memory: leave engine and jobs out"
        return ""

    def cluster(self) -> Cluster | None:
        """The Ray cluster that carries it out; None where this machine does.

        Raises:
            OodbenchError: see `Cluster`.
        """
        return Cluster(self.address, self.device, self.cpus, self.plugin_files) if self.engine == "ray" else None

    def request(self, registry: Registry, device: torch.device, team: Team = ALONE) -> Request:
        """The request that a plan is made for, with everything that the description names.

        Args:
            registry: the detectors.
            device: of this process.
            team: the processes that work on it together.

        Raises:
            OodbenchError: something is missing, or a suite does not support it.
        """
        methods = self._methods(registry)
        limit = self.limit
        if self.features:
            pack = feature_runs.load(Path(self.features))
            suites: tuple[Suite, ...] = (self._vary(feature_runs.suite_of(pack)),)
            limit = min(filter(None, [limit, feature_runs.limit_of(pack)]), default=None)
            methods = self._supported_by_pack(pack, suites[0], methods, self._unnamed(registry), team)
        else:
            suites = tuple(self._vary(suitefile.load(name)) for name in _names(self.suites, suitefile.names))
        if self.engine != "ray":  # whose tasks run on other machines
            compute.require_for_tf32(self.tf32, device)
        settings.check_radii(self.settings, suites if self.radii else ())
        for line in run_remarks.remarks(self, suites, methods) if team.leads else ():
            self.say(line)
        data = Path(self.data)
        given = checkpoint(str(self.checkpoint), data) if self.checkpoint else None
        return Request(
            suites=suites,
            detectors=methods,
            seed=self.seeds[0],
            sample=Sample(data, limit, self.images),
            machinery=Machinery(device, team, compute.choose(self.precision, self.tf32, self.compiled, device)),
            out=Path(self.out),
            settings=self.settings,
            source=NetworkSource(given, self.pretrained, Path(self.features) if self.features else None, self.module),
            demands=Demands(self.again, self.keep_images, self.thorough),
            unnamed=frozenset() if self.features else self._unnamed(registry),  # of a pack they are chosen above
        )

    def _methods(self, registry: Registry) -> tuple[type[Detector], ...]:
        """The detectors that are named; "all" leaves out those that must be named themselves."""
        named = _several(self.detectors)
        methods = tuple(registry[name] for name in _names(self.detectors, registry.names))
        return tuple(method for method in methods if not method.only_by_name or method.name in named)

    def _unnamed(self, registry: Registry) -> frozenset[str]:
        """Names of the detectors that come with "all" and are not named themselves."""
        named = _several(self.detectors)
        return frozenset(registry.names()) - {*named} if ALL in named else frozenset()

    def _supported_by_pack(
        self, pack: FeaturePack, suite: Suite, methods: tuple[type[Detector], ...], unnamed: Container[str], team: Team
    ) -> tuple[type[Detector], ...]:
        """Those of `methods` that a pack has all for; others are left out if `unnamed`, and are an error if named."""
        feature_runs.require_clean(suite)
        _, detectors = settings.apply(self.settings, suite, methods)
        of_all = [detector for detector in detectors if detector.name in unnamed]
        reasons = feature_runs.own_training_reasons(pack, of_all)
        reasons |= feature_runs.unsupported_detectors(pack, suite, detectors)
        lines = [f"{name} {reason}" for name, reason in reasons.items()]
        supported = tuple(method for method in methods if method.name not in reasons)
        if reasons and not (supported and all(name in unnamed for name in reasons)):
            raise OodbenchError("\n".join(lines))
        for line in lines if team.leads else ():
            self.say(f"left out: {line}")
        return supported

    def _vary(self, suite: Suite) -> Suite:
        return vary(restrict(suite, _several(self.only) or suite.only), _several(self.tasks), self.radii, self.threat)


def _is_seed(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Integral):
        return False
    return 0 <= int(value) <= LARGEST_SEED


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Integral):
        return False
    return int(value) > 0


def _several(names: str | Path | Sequence[str | Path]) -> list[str]:
    """One or several names as a list."""
    return [str(name) for name in ([names] if isinstance(names, str | Path) else names)]


def _names(given: str | Path | Sequence[str | Path], every: Callable[[], list[str]]) -> list[str]:
    """Each of the names once, in their order; `every` name for "all"."""
    names = _several(given)
    return every() if ALL in names else list(dict.fromkeys(names))
