"""`--set name=value`: the constants that it may change, and whose."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.strict_dataclasses import DeclarationError, build, check_known
from oodbench.recipe import Recipe
from oodbench.suite import NetworkSpec, Suite
from oodbench.suitefiles import network
from oodbench.suitefiles.selection import curve_of, name_before_variants

if TYPE_CHECKING:
    from oodbench.detector import Detector


NETWORK = "network"
"""The owner in front of settings of the network."""


@dataclass(frozen=True)
class Setting:
    """One `name=value`: a bare name, or one behind a detector, a task, `training` or `network` and a dot."""

    name: str
    value: Any

    @property
    def text(self) -> str:
        """The setting as people write it."""
        return f"{self.name}={self.value}"


def parse(text: str) -> Setting:
    """Parse `name=value`; the value is read as TOML if it is valid TOML, else as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise OodbenchError(f"--set {text!r} is not name=value: write for instance --set epochs=1 or --set atom.q=0.25")
    return Setting(name.strip(), _value(value.strip()))


_BETWEEN = re.compile(r" (?=[\w.+-]+=)")
"""The space between two settings of a run, as a result has them; a value may hold spaces."""


def texts(stored: str) -> list[str]:
    """Split the settings of a run, as a result has them, into `name=value` each."""
    return [text for text in _BETWEEN.split(stored) if text]


def parse_values(text: str) -> tuple[str, Sequence[Any]]:
    """Parse `name=v1,v2,...` into a parameter and the values to try."""
    name, equals, values = text.partition("=")
    tried = [_value(value.strip()) for value in values.split(",")]
    if not equals or not name.strip() or "" in tried:
        raise OodbenchError(f"--over {text!r} is not name=v1,v2,...: write for instance --over q=0,0.125,0.5")
    return name.strip(), tried


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def apply(
    settings: Sequence[Setting], suite: Suite, detectors: Sequence[type[Detector]]
) -> tuple[Suite, list[Detector]]:
    """Apply settings, and the suite's own parameters, to a suite and its detectors.

    Raises:
        OodbenchError: a name that nothing here has, with the nearest one that something has; a value that does not fit.
    """
    changes = _changes_by_owner(settings, suite, detectors)
    try:
        return _change_suite(suite, changes), [_configure(detector, suite, changes) for detector in detectors]
    except DeclarationError as error:
        raise OodbenchError(f"suite {suite.name!r} or --set: {error}") from error


def check_radii(settings: Sequence[Setting], suites: Sequence[Suite]) -> None:
    """Check, for a run whose radii are given, that no setting says the radius of an attack as well.

    That holds for the suite's own radius among them too, whose task keeps its name.

    Args:
        settings: of the run.
        suites: as `oodbench.suitefiles.selection.vary` left them.

    Raises:
        OodbenchError: one does.
    """
    for setting in settings:
        owner, _, name = setting.name.rpartition(".")
        if name == "epsilon" and any(changes_task(setting, suite) for suite in suites):
            raise OodbenchError(
                f"--set {setting.text} and --eps both say the radius of {owner!r}: leave one of them out"
            )


def concerns(setting: Setting, detector: type[Detector], known: Container[str]) -> bool:
    """Whether a setting of a run is not one of other detectors alone.

    Args:
        setting: of the run.
        detector: one of the run's.
        known: names of all detectors.
    """
    owner, dot, name = setting.name.rpartition(".")
    if dot:
        return owner == detector.name or owner not in known
    return name in (*_field_names(detector.Parameters), *_field_names(Recipe))


def training_settings(settings: Sequence[Setting], detectors: Sequence[type[Detector]]) -> list[Setting]:
    """The settings that change the training and nothing else: without effect on a network that is given.

    Args:
        settings: of the run.
        detectors: of the run.
    """
    parameter_names = {name for detector in detectors for name in _field_names(detector.Parameters)}
    parts = [(setting, *setting.name.rpartition(".")) for setting in settings]
    return [
        setting
        for setting, owner, dot, name in parts
        if owner == "training" or (not dot and name in _field_names(Recipe) and name not in parameter_names)
    ]


def settings_in_force(settings: Sequence[Setting], suite: Suite) -> tuple[Setting, ...]:
    """The settings with an effect: of each name the last one, and none that a task's constants agree with anyway.

    Args:
        settings: of a run, in their order.
        suite: before they are applied.
    """
    last: dict[str, Setting] = {}
    for setting in settings:
        last.pop(setting.name, None)
        last[setting.name] = setting
    reached = Counter(place for setting in last.values() for place in _task_constants(setting, suite))

    def has_no_effect(setting: Setting) -> bool:
        places = _task_constants(setting, suite)
        so_anyway = all(getattr(suite.tasks[task], name, None) == setting.value for task, name in places)
        # A setting that takes back a part of what a wider name has set does have an effect.
        return bool(places) and so_anyway and all(reached[place] == 1 for place in places)

    return tuple(setting for setting in last.values() if not has_no_effect(setting))


def changed_constants(before: Suite, suite: Suite) -> tuple[str, ...]:
    """The constants of its tasks that a run changed, `task.constant=value` each, sorted, however it was asked for.

    Tasks are called as `--set` takes them, so that a run of more radii or of the other side finds what there is.
    """
    changed = {
        f"{name_before_variants(name)}.{constant}={getattr(task, constant)}"
        for name, task in suite.tasks.items()
        for constant in _field_names(type(task))
        if getattr(task, constant) != getattr(before.tasks[name], constant)
    }
    return tuple(sorted(changed))


def changes_task(setting: Setting, suite: Suite) -> bool:
    """Whether a setting changes a task of the suite, also one that a radius or the side attacked gave another name."""
    owner, dot, _ = setting.name.rpartition(".")
    return bool(dot) and any(task in suite.tasks for task in _owners_called(owner, suite))


def _task_constants(setting: Setting, suite: Suite) -> list[tuple[str, str]]:
    """The constants of tasks that a setting changes, (task, constant) each; none for a setting of something else."""
    owner, _, name = setting.name.rpartition(".")
    return [(task, name) for task in _owners_called(owner, suite)] if changes_task(setting, suite) else []


def _changes_by_owner(
    settings: Sequence[Setting], suite: Suite, detectors: Sequence[type[Detector]]
) -> dict[str, dict[str, Any]]:
    """Sort settings by owner: "training", "network", or the name of a task or a detector."""
    owned = {detector.name: _field_names(detector.Parameters) for detector in detectors}
    owned |= {name: _field_names(type(task)) for name, task in suite.tasks.items()}
    owned["training"] = _field_names(Recipe) if suite.training else []
    owned[NETWORK] = _field_names(NetworkSpec)
    changes: dict[str, dict[str, Any]] = {owner: {} for owner in owned}
    for setting in settings:
        owner, dot, name = setting.name.rpartition(".")
        # A bare name means training or detectors; a task's constants and the network are the benchmark and want their
        # owner named.
        unspoken = [owner_name for owner_name in owned if owner_name not in (*suite.tasks, NETWORK)]
        bare = [owner_name for owner_name in unspoken if name in owned[owner_name]]
        owners = _owners_called(owner, suite) if dot else bare
        if not owners or any(name not in owned.get(owner_name, []) for owner_name in owners):
            full_names = [f"{owner_name}.{field}" for owner_name in owned for field in owned[owner_name]]
            if not dot and (meant := [full for full in full_names if full.endswith(f".{name}")]):
                raise OodbenchError(
                    f"parameter {name!r} belongs to a task or to the network, whose name goes in front: "
                    f"{' or '.join(meant)}"
                )
            bare_names = {field for owner_name in unspoken for field in owned[owner_name]}
            raise unknown("parameter", setting.name, full_names if dot else bare_names)
        for owner_name in owners:
            changes[owner_name][name] = setting.value
    return changes


def _owners_called(owner: str, suite: Suite) -> list[str]:
    """The owners that a name in front of a dot means: itself, and each variant of the task that is called so."""
    if owner in suite.tasks:
        return [owner, *(task for task in suite.tasks if (curve_of(task) or ("",))[0] == owner)]
    return [task for task in suite.tasks if name_before_variants(task) == owner] or [owner]


def _change_suite(suite: Suite, changes: Mapping[str, Mapping[str, Any]]) -> Suite:
    tasks = {name: build(type(task), {**asdict(task), **changes[name]}, [name]) for name, task in suite.tasks.items()}  # type: ignore[call-overload]
    training = suite.training and build(Recipe, {**asdict(suite.training), **changes["training"]}, ["training"])
    return replace(
        suite, tasks=tasks, training=training, network=network.changed_network(suite.network, changes[NETWORK])
    )


def _configure(detector: type[Detector], suite: Suite, changes: Mapping[str, Mapping[str, Any]]) -> Detector:
    suite_parameters = suite.detectors.get(detector.name, {})
    check_known(suite_parameters, _field_names(detector.Parameters), ["detectors", detector.name])
    parameters = {**suite_parameters, **changes[detector.name]}
    return detector(build(detector.Parameters, parameters, ["detectors", detector.name]))


def _field_names(declared: type) -> list[str]:
    return [field.name for field in fields(declared)]
