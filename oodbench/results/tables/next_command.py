"""The command that attacks harder what a figure was flagged for, as a table prints it behind "next:"."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from oodbench.networks.named import AT, IN_MEMORY
from oodbench.networks.precision import PRECISIONS
from oodbench.results.attributes import json_object
from oodbench.suitefiles import settings, suitefile
from oodbench.suitefiles.selection import curve_of, name_before_variants
from oodbench.tasks import STORED

FOLDERS = {"data": "data", "out": "results"}
"""Options that name folders, and what these are where nobody says another."""

REPEATED = ("--precision", *PRECISIONS, "--tf32", "--compile")
"""Words that a result may have the next command say of how to calculate: results come from anywhere."""

TUNED_SUITE, HELD_OUT = "-validation", "-heldout"
"""Endings of the names of suite and ID set in results of `oodbench tune`, see
`oodbench.running.imagesets.validation_suite`."""


def next_command(rows: pd.DataFrame) -> str:
    """Return the command that attacks harder what rows of a tidy frame, of one task, are about; "" if there is none.

    There is none where nothing was attacked, where the network was only in memory, and for results of `oodbench tune`:
    that verb takes no `--task`, and its suite has no file that `oodbench run` could read.

    The command repeats whatever else moves the outcome, as far as a frame tells: results of earlier versions do not say
    from which file a detector came and how it was calculated.
    """
    row = rows.iloc[0]
    constants = json_object(row["constants"])
    kind = STORED.get(str(constants.get("kind")))
    if not constants.get("epsilon") or (kind and (kind.certifies or kind.smooths)):
        return ""
    in_memory = str(row["checkpoint"]).startswith(f"{IN_MEMORY}{AT}")
    if in_memory or _is_of_tune(row):
        return ""
    task = str(row.get("named", row["task"]))
    attack, options = _harder_attack(task, constants)
    command = [
        "oodbench",
        "run",
        "--suite",
        suitefile.suite_argument(str(row["suite"])),
        "--detector",
        str(row["detector"]),
    ]
    command += _run_options(row)
    command += _settings_options(row, task, attack, constants)
    return shlex.join([*command, "--task", attack, *options, *_only_options(rows)])


def _is_of_tune(row: "pd.Series[Any]") -> bool:
    return str(row["suite"]).endswith(TUNED_SUITE) and str(row.get("id_set", "")).endswith(HELD_OUT)


def _run_options(row: "pd.Series[Any]") -> list[str]:
    """Options that make the same run again: code, seed, network, folders, numbers of images and precision."""
    options = ["--plugin", _path_from_here(str(row["plugin"]))] if row.get("plugin") else []
    options += ["--seed", str(row["seed"])] if row["seed"] != 1 else []
    if row.get("pretrained"):
        options += ["--pretrained"]
    elif row["checkpoint"]:
        options += ["--checkpoint", str(row["checkpoint"])]
    for option, usual in FOLDERS.items():
        options += [f"--{option}", str(row[option])] if _is_another_folder(row[option], usual) else []
    for option in ("limit", "images"):
        options += [f"--{option}", str(row[option])] if row[option] else []
    return options + [word for word in shlex.split(str(row.get("options", ""))) if word in REPEATED]


def _settings_options(row: "pd.Series[Any]", task: str, attack: str, constants: Mapping[str, Any]) -> list[str]:
    """`--set` and each setting of the run that concerns `attack`.

    What was set of the flagged `task` is not said of the other attack, but for the ball.
    """
    options: list[str] = []
    for text in settings.texts(str(row["settings"])):
        subject, _, parameter = text.partition("=")[0].rpartition(".")
        if parameter == "epsilon" and subject in (task, name_before_variants(task)):
            options += ["--set", f"{attack}.epsilon={constants['epsilon']}"]
        elif subject in ("", "training", row["detector"], attack) and f"{attack}.level" not in text:
            options += ["--set", text]
    return options


def _path_from_here(path: str) -> str:
    """A path as somebody in the present folder would write it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _is_another_folder(folder: object, usual: str) -> bool:
    """True if a run's folder is known and not the usual one; results of earlier versions do not say all folders."""
    return bool(folder) and Path(str(folder)).absolute() != Path(usual).absolute()


def _only_options(rows: pd.DataFrame) -> list[str]:
    """`--only` and each OOD set of `rows`, if these are not all that the suite has a mean over."""
    sets = list(dict.fromkeys(rows["ood"].astype(str)))
    every = json_object(rows["means"].iloc[0]).get("all", [])
    return [word for name in sets for word in ("--only", name)] if set(every) - set(sets) else []


def _harder_attack(task: str, constants: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The attack to run after a stored task with these constants, as `--task` calls it, and its options."""
    kind, side, point = constants.get("kind"), str(constants.get("side", "out")), curve_of(task)
    sided = point[0] if point else task
    name = sided.removesuffix(f"-{side}")
    options = ["--threat", side] if side != "out" and name != sided else []
    options += ["--eps", str(point[1])] if point else []
    if kind in ("linf", "l2"):
        return f"{kind}-adaptive", options
    if kind not in ("linf-adaptive", "l2-adaptive"):
        return name, ["--set", f"{name}.objective=adaptive", *options]
    full_checks = ["--checks", "full"] if constants.get("level") == "plus" else []
    return name, ["--set", f"{name}.level=plus", *full_checks, *options]
