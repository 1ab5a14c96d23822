"""The contents of somebody's module beside its weights, to be hashed: values, functions, hooks."""

import inspect
import logging
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import dedent
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from oodbench.basics.sourcecode import INSTALLED, modules_digest
from oodbench.basics.sourcetext import in_harness, read
from oodbench.networks.checkpoints import tensor_parts, weights_digest

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), range, slice)

DEPTH = 12
"""How many objects deep contents are followed; of what lies deeper the type alone counts."""

_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes of every module: weights, buffers, parts and mode are hashed elsewhere, hooks by `_HOOKS`."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

HashParts = Iterator[str | bytes]


def part_contents(part: nn.Module) -> HashParts:
    """Yield all that one module holds beside weights and parts: its attributes, and what hooks do.

    Of an attribute that cannot be read, such as an open file or a lock, the type counts.
    """
    walker = _Walker()
    for name, value in sorted(vars(part).items()):
        if name not in _OF_TORCH:
            yield name
            yield from walker.value(value, 0)
    for kind in _HOOKS:
        # The harness has hooks of its own while it looks at features.
        for hook in vars(part).get(kind, {}).values():
            if not in_harness(getattr(hook, "__module__", None) or ""):
                yield kind
                yield from walker.value(hook, 0)


def class_contents(kinds: Sequence[type]) -> HashParts:
    """Yield the source of classes, and the values that their methods refer to, which may have been set since.

    Of a class in a file the source is that of the file and of what this imports, of one in a notebook that of its
    methods and of whatever of other cells these refer to.

    Raises:
        OodbenchError: nobody has kept the source.
    """
    yield from _Walker().value(list(kinds), 0)


class _Walker:
    """Yields the contents of objects, of each object once."""

    def __init__(self) -> None:
        self._met: dict[int, Any] = {}  # held, so that no other object gets the number of one that is gone
        self._homes: set[str] = set()

    def value(self, value: Any, depth: int) -> HashParts:
        yield f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, PLAIN):
            yield repr(value)
            return
        if id(value) in self._met or depth > DEPTH:
            return
        self._met[id(value)] = value
        yield from self._parts(value, depth + 1)

    def _parts(self, value: Any, depth: int) -> HashParts:
        if isinstance(value, Tensor):
            yield from tensor_parts(value.detach())
        elif isinstance(value, np.ndarray) and value.dtype != object:
            yield from (str(value.dtype), str(value.shape), np.ascontiguousarray(value).tobytes())
        elif isinstance(value, nn.Module):  # held where torch does not look for parts, as in a list
            yield weights_digest(value)
            for name, part in value.named_modules():
                yield name
                yield from self._attributes_of(vars(part), depth)
        elif isinstance(value, Mapping):
            for key, element in value.items():
                yield from self.value(key, depth)
                yield from self.value(element, depth)
        elif isinstance(value, set | frozenset):
            yield from sorted(repr(element) for element in value)
        elif isinstance(value, list | tuple):
            for element in value:
                yield from self.value(element, depth)
        elif isinstance(value, FunctionType):
            yield from self._function(value, depth)
        elif isinstance(value, MethodType):
            yield from self.value(value.__func__, depth)
            yield from self.value(value.__self__, depth)
        elif isinstance(value, partial):
            yield from self.value((value.func, value.args, value.keywords), depth)
        elif isinstance(value, type):
            yield from self._class(value, depth)
        elif isinstance(value, logging.Logger):  # which knows all others, and what they wrote
            yield value.name
        elif isinstance(value, BuiltinFunctionType | ModuleType):
            yield f"{getattr(value, '__module__', '')}.{value.__name__}"
        else:
            yield from self._object(value, depth)

    def _object(self, value: Any, depth: int) -> HashParts:
        yield from self.value(type(value), depth)
        attributes = getattr(value, "__dict__", None)
        if attributes:
            yield from self._attributes_of(attributes, depth)
        else:
            try:
                yield pickle.dumps(value)  # such as a torch.dtype, a path, a date
            except Exception:  # whatever objects raise that cannot be written
                return

    def _attributes_of(self, attributes: Mapping[str, Any], depth: int) -> HashParts:
        for name, held_value in sorted(attributes.items()):
            if name not in _OF_TORCH:
                yield name
                yield from self.value(held_value, depth)

    def _class(self, kind: type, depth: int) -> HashParts:
        home = kind.__module__
        yield f"{home}.{kind.__qualname__}"
        if _is_of_others(home):
            return
        yield from self._source_of(home)
        for name, attribute in sorted(vars(kind).items()):
            inner = getattr(attribute, "__func__", getattr(attribute, "fget", attribute))
            if isinstance(inner, FunctionType) or not name.startswith("__"):
                yield name
                yield from self.value(inner, depth)

    def _function(self, function: FunctionType, depth: int) -> HashParts:
        home = function.__module__ or ""
        yield f"{home}.{function.__qualname__}"
        try:
            variables = inspect.getclosurevars(function)
        except (TypeError, ValueError):  # a variable that is not bound yet
            variables = None
        yield from self.value([function.__defaults__, function.__kwdefaults__], depth)
        yield from self.value(dict(variables.nonlocals) if variables else {}, depth)
        if _is_of_others(home):
            return
        if _file(home):
            yield from self._source_of(home)
        else:
            yield _function_source(function)
        yield from self._referred_values(function, depth)

    def _source_of(self, home: str) -> HashParts:
        """The source of a module in a file, once."""
        if home not in self._homes and _file(home):
            self._homes.add(home)
            yield modules_digest([home])

    def _referred_values(self, function: FunctionType, depth: int) -> HashParts:
        """Yield the values of its names, as far as they are global names, or names in modules of one's own."""
        names = sorted(set(_looked_up_names(function.__code__)))
        for name in names:
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            yield name
            yield from self.value(value, depth)
            if isinstance(value, ModuleType) and not _is_of_others(value.__name__):
                inside = {inner_name: vars(value)[inner_name] for inner_name in names if inner_name in vars(value)}
                yield from self.value(inside, depth)


def _looked_up_names(code: CodeType) -> Iterator[str]:
    """Names that a function's code, or a function's inside it, looks up anywhere but among its own variables."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _looked_up_names(constant)


def _file(home: str) -> str:
    """The file of a module; "" for a notebook's."""
    return getattr(sys.modules.get(home), "__file__", None) or ""


def _is_of_others(home: str) -> bool:
    """Whether a module is the harness's, Python's or a package's, whose versions count in other ways."""
    installed = any(part in INSTALLED for part in Path(_file(home)).parts)
    return installed or in_harness(home) or home.partition(".")[0] in sys.stdlib_module_names


def _function_source(function: FunctionType) -> str:
    """The source of a function of a notebook, which remembers its cells.

    Raises:
        OodbenchError: nobody has kept it.
    """
    try:
        return read(dedent(inspect.getsource(function)).encode()).normal
    except (OSError, TypeError, SyntaxError):
        if function.__name__ != "<lambda>":
            return modules_digest([function.__module__])  # which says so
        code = function.__code__  # of a lambda inside a call no text can be told apart
        plain = [
            constant for constant in code.co_consts if not isinstance(constant, CodeType)
        ]  # those print where they lie
        return repr((code.co_code, code.co_names, plain))
