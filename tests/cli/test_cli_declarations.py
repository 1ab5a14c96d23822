"""Each verb is declared in the file of its name, and its work finds all that the declaration lets anybody type."""

import inspect
from dataclasses import fields, is_dataclass
from importlib import import_module

import pytest

from oodbench.cli import commands
from oodbench.running.config import RunConfig


def verbs(group=commands, above=()):
    """Each verb that is no group, with the words that call it."""
    for name, verb in group.commands.items():
        if hasattr(verb, "commands"):
            yield from verbs(verb, (*above, name))
        else:
            yield (*above, name), verb


VERBS = dict(verbs())


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_verb_and_its_work_stand_in_files_of_its_name(words):
    module = VERBS[words].callback.__module__
    assert module == f"oodbench.cli.{words[0]}"
    home = "data_list" if words == ("data", "list") else words[0]
    work = import_module(f"oodbench.cli.work.{home}")
    functions = [name for name in vars(work) if name.strip("_").split("_of_")[0] == words[-1]]
    assert functions, f"{work.__name__} has no {words[-1]}"


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_verb_takes_all_that_may_be_typed(words):
    verb = VERBS[words]
    typed = {parameter.name for parameter in verb.params if parameter.expose_value}
    taken = inspect.signature(verb.callback).parameters
    if "options" not in taken:
        assert typed == set(taken)
        return
    kind = taken["options"].annotation
    if is_dataclass(kind):
        assert typed == {field.name for field in fields(kind)}
        return
    # It describes a run: what its work does not take by name are fields of RunConfig.
    work = inspect.signature(getattr(import_module(f"oodbench.cli.work.{words[0]}"), words[-1])).parameters
    assert typed <= {*work, *(field.name for field in fields(RunConfig))}
