"""Suites out of TOML files, strict about every entry, with the line of what is wrong."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from oodbench import networks
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import read_text
from oodbench.basics.strict_dataclasses import DeclarationError, build, check_known, coerce
from oodbench.recipe import Recipe
from oodbench.suite import MEANS, IDSets, OODSet, Outliers, Suite
from oodbench.suitefiles import network
from oodbench.tasks import ID_TASK, KINDS, Task

ENTRIES = ("version", "title", "paper", "id", "ood", "network", "tasks", "outliers", "training", "detectors", "means")
T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

REFERENCES = "reference"
"""The folder among results that holds figures to compare with: nobody looks for a suite's results there."""


def names() -> list[str]:
    """Suites that ship with oodbench."""
    return sorted(Path(entry.name).stem for entry in files("oodbench.suites").iterdir() if entry.name.endswith(".toml"))


def suite_argument(name: str) -> str:
    """The argument of `--suite` for the suite of this name: for somebody's own it is the file."""
    return name if name in names() else f"{name}.toml"


def load(name_or_path: str) -> Suite:
    """Load a shipped suite by name, or any suite by the path of its TOML file, to be run.

    Raises:
        OodbenchError: no such suite, or what is wrong in its file, with the line.
    """
    return _load_checked(name_or_path, lambda suite: networks.require(suite.network.name))


def read(name_or_path: str) -> Suite:
    """Load a suite to look at: whether there is its network is not checked, which takes seconds for those of timm.

    Raises:
        OodbenchError: as for `load`, an unknown network aside.
    """
    return _load_checked(name_or_path, lambda _: None)


def assemble(name: str, table: Mapping[str, Any], where: str) -> Suite:
    """Make a suite of a table that does not come from a file.

    Args:
        name: of the suite.
        table: as `tomllib` would give it of its file.
        where: it comes from, for messages.

    Raises:
        OodbenchError: something is wrong in it; the message says what.
    """
    try:
        return _assemble(name, table)
    except DeclarationError as error:
        raise OodbenchError(f"{where}: {error}") from error


def table(suite: Suite) -> dict[str, Any]:
    """The table of a suite without tasks, in JSON's types: `assemble` makes the same suite of it."""
    sections = {"id": suite.id, "network": suite.network, "outliers": suite.outliers, "training": suite.training}
    return {
        "version": suite.version,
        "title": suite.title,
        "paper": suite.paper,
        **{name: _without_none(asdict(section)) for name, section in sections.items() if section is not None},  # type: ignore[call-overload]
        "ood": [asdict(ood) for ood in suite.ood],
        "detectors": {name: dict(entries) for name, entries in suite.detectors.items()},
        "means": {name: list(sets) for name, sets in suite.named_means.items()},
    }


def _without_none(entries: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if value is not None}


def _load_checked(name_or_path: str, require: Callable[[Suite], None]) -> Suite:
    path = _locate(name_or_path)
    layers = _layers(path, ())
    table = layers[0][1]
    for _, upper in layers[1:]:
        table = _merge(network.without_replaced_network(table, upper), upper)
    try:
        suite = _assemble(path.stem, table)
        try:
            require(suite)
        except OodbenchError as error:
            raise DeclarationError(["network"], str(error)) from error
        return suite
    except DeclarationError as error:
        raise OodbenchError(f"{_place_text(error, layers)}: {error}") from error


def _locate(name_or_path: str) -> Path:
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        path = Path(name_or_path)
        if not path.is_file():
            raise OodbenchError(
                f"there is no suite file {path}: give the path of a TOML file, or one of {', '.join(names())}"
            )
        return path
    if name_or_path not in names():
        raise unknown("suite", name_or_path, names())
    return Path(str(files("oodbench.suites") / f"{name_or_path}.toml"))


def _layers(path: Path, above: tuple[Path, ...]) -> list[tuple[Path, dict[str, Any]]]:
    """Read the tables of a file and of those that it extends, the file's own last."""
    if path.resolve() in above:
        raise OodbenchError(f"{path}: 'extends' comes back to this file; a suite cannot extend itself")
    try:
        table = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise OodbenchError(f"{path} is not valid TOML: {error}; mend that line") from error
    if isinstance(table.get("network"), dict):
        table["network"] = network.resolved_table(path.parent, table["network"])
    base = table.pop("extends", None)
    if base is None:
        return [(path, table)]
    if not isinstance(base, str):
        raise OodbenchError(f"{path}: 'extends' is {base!r}, expected the name or path of one suite")
    relative = path.parent / base
    return [*_layers(relative if relative.is_file() else _locate(base), (*above, path.resolve())), (path, table)]


def _merge(base: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in upper.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _assemble(name: str, table: Mapping[str, Any]) -> Suite:
    if not NAME.fullmatch(name):
        raise DeclarationError([], f"the file's name {name!r} becomes a folder's: use a-z, 0-9, - _ .")
    if name == REFERENCES:
        raise DeclarationError([], f"results in a folder {name!r} are taken for figures of others: rename the file")
    check_known(table, ENTRIES, [])
    for required in ("version", "id", "ood", "network"):
        if required not in table:
            raise DeclarationError([], f"{required!r} is missing")
    detectors = _as_table(table.get("detectors", {}), ["detectors"])
    suite = Suite(
        name=name,
        version=coerce(table["version"], int, ["version"]),
        title=coerce(table.get("title", name), str, ["title"]),
        paper=coerce(table.get("paper", ""), str, ["paper"]),
        id=_section(IDSets, table, "id"),
        ood=tuple(build(OODSet, _as_table(entry, ["ood"]), ["ood"]) for entry in _as_list(table["ood"], ["ood"])),
        network=network.network(_as_table(table["network"], ["network"])),
        tasks=_tasks(_as_table(table.get("tasks", {"clean": {}}), ["tasks"])),
        outliers=_section(Outliers, table, "outliers") if "outliers" in table else None,
        training=_section(Recipe, table, "training") if "training" in table else None,
        detectors={detector: _as_table(entries, ["detectors", detector]) for detector, entries in detectors.items()},
        named_means=_means(_as_table(table.get("means", {}), ["means"])),
    )
    _check_disjoint(suite)
    return suite


def _section(cls: type[T], table: Mapping[str, Any], key: str) -> T:
    return build(cls, _as_table(table[key], [key]), [key])


def _tasks(table: Mapping[str, Any]) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for name, entries in table.items():
        at = ["tasks", name]
        if name == ID_TASK:
            raise DeclarationError(at, f"{name!r} is where ID scores are kept; give the task another name")
        if not NAME.fullmatch(name):
            raise DeclarationError(at, "use lower-case letters, digits, '-', '_', '.' in a task's name")
        entries = _as_table(entries, at)
        kind = entries.pop("kind", name)
        if kind not in KINDS:
            raise DeclarationError(at, f"{unknown('kind of task', str(kind), KINDS)}; give the task a 'kind'")
        tasks[name] = build(KINDS[kind], entries, at)
    if not tasks:
        raise DeclarationError(["tasks"], "a suite needs a task: add at least [tasks.clean]")
    return tasks


def _means(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    for name in table:
        if name in MEANS or not NAME.fullmatch(name):
            raise DeclarationError(["means", name], f"choose another name than {', '.join(MEANS)}, of a-z, 0-9, - _ .")
    return {name: coerce(sets, tuple[str, ...], ["means", name]) for name, sets in table.items()}


def _check_disjoint(suite: Suite) -> None:
    sets = [ood.set for ood in suite.ood]
    if all(ood.distance == "aside" for ood in suite.ood):
        raise DeclarationError(["ood"], "there is no OOD set but those aside; add [[ood]] with a set and a distance")
    for ood in sets:
        if ood in (suite.id.test, suite.id.train):
            raise DeclarationError(["ood"], f"{ood!r} is the suite's ID set as well; ID and OOD must differ")
        if suite.outliers and ood == suite.outliers.set:
            raise DeclarationError(["ood"], f"{ood!r} is the suite's outlier set as well; outliers are trained on")
        if sets.count(ood) > 1:
            raise DeclarationError(["ood"], f"{ood!r} is listed twice")


def _as_table(value: Any, at: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DeclarationError(at, f"expected a table, got {value!r}")
    return dict(value)


def _as_list(value: Any, at: list[str]) -> list[Any]:
    if not isinstance(value, list):
        raise DeclarationError(at, f"expected a list of tables ([[{at[-1]}]]), got {value!r}")
    return value


def _place_text(error: DeclarationError, layers: list[tuple[Path, dict[str, Any]]]) -> str:
    """File and line of the entry that an error is about: in the last layer that has it."""
    for path, _ in reversed(layers):
        line = _line_of(read_text(path).splitlines(), error.keys)
        if line:
            return f"{path}, line {line}"
    return str(layers[-1][0])


def _line_of(lines: list[str], keys: tuple[str, ...]) -> int | None:
    """Find the line of a dotted key: of its entry where there is one, else of its table's header."""
    table: tuple[str, ...] = ()
    header = None
    for number, line in enumerate(lines, 1):
        if match := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line):
            table = tuple(part.strip().strip("\"'") for part in match[1].split("."))
            if keys and table == keys:
                return number
            if table and table == keys[: len(table)]:
                header = number
        elif match := re.match(r"\s*([\w.\"'+-]+)\s*=", line):
            written = table + tuple(part.strip("\"'") for part in match[1].split("."))
            if keys and written == keys[: len(written)] and len(written) > len(table):
                return number
    return header
