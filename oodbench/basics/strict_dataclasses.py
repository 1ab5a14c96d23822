"""Frozen dataclasses out of what people write: strict about names and types, precise about where."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class DeclarationError(Exception):
    """A declaration is wrong.

    Attributes:
        keys: the way to the offending entry, outermost first.
        reason: what is wrong with it, what was expected.
    """

    def __init__(self, keys: Sequence[str], reason: str) -> None:
        super().__init__(f"{'.'.join(keys)}: {reason}" if keys else reason)
        self.keys = tuple(keys)
        self.reason = reason


def build(cls: type[T], table: Mapping[str, Any], at: Sequence[str] = ()) -> T:
    """An instance of the dataclass `cls` whose fields are the entries of `table`.

    Args:
        cls: its fields are bool, int, float, str, tuples of these, a dataclass, or one of them or None.
        table: as TOML gives it.
        at: the keys that lead to `table`, for messages.

    Raises:
        DeclarationError: an unknown or missing entry, a wrong type, or a ValueError of the class's own checks.
    """
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    check_known(table, known, at)
    for name, field in known.items():
        if name not in table and _required(field):
            raise DeclarationError(at, f"{name!r} is missing")
    values = {name: coerce(value, hints[name], [*at, name]) for name, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise DeclarationError(at, str(error)) from error


def check_known(table: Mapping[str, Any], known: Mapping[str, Any] | Sequence[str], at: Sequence[str]) -> None:
    """Raise DeclarationError for the first entry of `table` that is not `known`, with the nearest name."""
    for name in table:
        if name not in known:
            near = get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise DeclarationError([*at, name], f"unknown entry; {hint}known: {', '.join(sorted(known)) or 'none'}")


def coerce(value: Any, hint: Any, at: Sequence[str]) -> Any:
    """`value` as the annotated type `hint`: an int is good where a float is asked for, a list where a tuple is."""
    if get_origin(hint) in (Union, UnionType):
        options = [option for option in get_args(hint) if option is not NoneType]
        return None if value is None else coerce(value, options[0], at)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise DeclarationError(at, f"expected a list, got {value!r}")
        item = get_args(hint)[0]
        return tuple(coerce(entry, item, at) for entry in value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, at)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise DeclarationError(at, f"expected a number, got one of {len(str(value))} digits") from None
    if hint is float and value != value:
        raise DeclarationError(at, "expected a number, got nan")  # which no comparison with a bound would refuse
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise DeclarationError(at, f"expected {_type_text(hint)}, got {value!r}")
    return value


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _type_text(hint: type) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if is_dataclass(hint):
        return f"a table with {', '.join(field.name for field in fields(hint))}"
    return names.get(hint, hint.__name__)
