"""Turns the state that a fitted detector learned into tensors and plain JSON, and back: nothing in a file is ever run.

A detector learns by setting attributes. Those that hold tensors, arrays, numbers, texts, and lists, tuples, dicts and
plain objects of these can be stored; an object is stored by the name of its class, which must stand in the code of the
method itself. The network, or a part of it, is stored by its name there. Any other value is refused by name.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcecode import code_digest
from oodbench.basics.sourcetext import METHODS
from oodbench.detector import Detector

OWN = ("parameters", "_fitted")
"""Attributes that every detector has, and that are stored elsewhere."""

OVER = "over()"
"""Key of the state of the detector that another one is over; no attribute can have this name."""

MOST_NESTED = 40
"""The deepest nesting of containers."""

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class State:
    """The state that a detector learned.

    Attributes:
        tree: its attributes in JSON's types, see this module.
        tensors: those that the tree names, on the CPU.
    """

    tree: dict[str, Any]
    tensors: dict[str, Tensor]


def code_behind(detector: Detector) -> str:
    """The digest of the code of a detector, and of the one that it is over."""
    over = detector.over()
    return code_digest(*(type(part) for part in (detector, over) if part is not None), root=Detector)


def learned_state(detector: Detector) -> State:
    """The state that a fitted detector learned.

    Raises:
        OodbenchError: the detector keeps something that cannot be stored.
    """
    tensors: dict[str, Tensor] = {}
    return State(_tree(detector, tensors), tensors)


def _tree(detector: Detector, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The attributes in JSON's types, with those of a detector that it is over; tensors are added to `tensors`."""
    writer, over = _Writer(detector, tensors), detector.over()
    tree = {name: writer.to_json(value, name) for name, value in _learned_attributes(detector).items()}
    return tree if over is None else {**tree, OVER: _tree(over, tensors)}


def _learned_attributes(detector: Detector) -> dict[str, Any]:
    """The attributes of a detector besides its network and its parameters."""
    over = detector.over()
    return {name: value for name, value in vars(detector).items() if name not in OWN and value is not over}


def restore(state: State, detector: Detector) -> None:
    """Give a detector, which has its network already, the state and nothing else.

    Raises:
        ValueError: the state is not one of this detector.
    """
    _restore(state.tree, state.tensors, detector)


def _restore(tree: Mapping[str, Any], tensors: Mapping[str, Tensor], detector: Detector) -> None:
    for attribute in _learned_attributes(detector):
        del vars(detector)[attribute]  # an initial value
    reader, over = _Reader(detector, tensors), detector.over()
    if (over is not None) != (OVER in tree) or not isinstance(tree.get(OVER, {}), dict):
        raise ValueError(f"what {detector.name} is over is missing, or it is over nothing")
    for name, value in tree.items():
        if name != OVER:
            vars(detector)[_attribute(name)] = reader.read(value, 0)
    if over is not None:
        _restore(tree[OVER], tensors, over)


@dataclass
class _Writer:
    """Turns values into JSON's types; tensors are added to `tensors`."""

    detector: Detector
    tensors: dict[str, Tensor]

    def to_json(self, value: Any, where: str) -> Any:
        """A value in JSON's types; `where` names it in messages."""
        if isinstance(value, _PLAIN):
            return value.item() if isinstance(value, np.generic) else value
        if isinstance(value, nn.Module):
            return {"network": self._part_name(value, where)}
        if isinstance(value, Tensor | np.ndarray | np.generic):
            return {"tensor" if isinstance(value, Tensor) else "array": self._add_tensor(torch.as_tensor(value))}
        if isinstance(value, torch.device):
            return {"device": ""}  # wherever the network is
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return {type(value).__name__: [self.to_json(item, where) for item in value]}
        if type(value) is dict:
            return {"dict": [[self.to_json(key, where), self.to_json(item, where)] for key, item in value.items()]}
        if _of_method(type(value), self.detector) and hasattr(value, "__dict__"):
            parts = {name: self.to_json(part, f"{where}.{name}") for name, part in vars(value).items()}
            return {"object": [type(value).__module__, type(value).__qualname__, parts]}
        raise OodbenchError(
            f"{self.detector.name} keeps {where!r}, of the type {type(value).__qualname__}, which no file can hold "
            "without code: let the method keep tensors, numbers, and lists, dicts or plain objects of its own of these"
        )

    def _add_tensor(self, tensor: Tensor) -> list[Any]:
        """Add a tensor; its name, and its axes in the order of its memory: a product with it adds in that order."""
        name = f"tensor{len(self.tensors)}"
        order = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride()[axis])
        self.tensors[name] = tensor.detach().cpu().permute(order).contiguous().clone()
        return [name, order]

    def _part_name(self, module: nn.Module, where: str) -> str:
        for name, part in self.detector.network.named_modules():
            if part is module:
                return str(name)
        raise OodbenchError(
            f"{self.detector.name} keeps {where!r}, a {type(module).__name__} that is no part of its network: let the "
            "method keep its weights as tensors"
        )


@dataclass
class _Reader:
    """Turns the output of `_Writer` back into values."""

    detector: Detector
    tensors: Mapping[str, Tensor]

    def read(self, value: Any, depth: int) -> Any:
        """The value that `_Writer` turned into `value`."""
        if isinstance(value, _PLAIN):
            return value
        if depth > MOST_NESTED or not isinstance(value, dict) or len(value) != 1:
            raise ValueError("it holds something that no detector writes")
        ((kind, inside),) = value.items()
        if kind == "device":
            return _device(self.detector)
        if kind in ("tensor", "array") and isinstance(inside, list) and len(inside) == 2 and inside[0] in self.tensors:
            tensor = self.tensors[inside[0]]
            tensor = tensor.permute([inside[1].index(axis) for axis in range(tensor.ndim)])
            return tensor.to(_device(self.detector)) if kind == "tensor" else tensor.numpy()
        if kind in ("list", "tuple") and isinstance(inside, list):
            items = [self.read(item, depth + 1) for item in inside]
            return items if kind == "list" else tuple(items)
        if kind == "dict" and isinstance(inside, list):
            return {self.read(key, depth + 1): self.read(item, depth + 1) for key, item in inside}
        if kind == "network" and isinstance(inside, str):
            return self.detector.network.get_submodule(inside)
        if kind == "object" and isinstance(inside, list) and len(inside) == 3:
            return self._object(inside, depth)
        raise ValueError(f"it holds a {str(kind)[:40]!r}, which no detector writes")

    def _object(self, written: list[Any], depth: int) -> Any:
        module, name, parts = written
        known = _in_rooms(str(module), self.detector)
        kind: Any = sys.modules.get(str(module)) if known else None
        for step in str(name).split("."):
            kind = vars(kind).get(step) if hasattr(kind, "__dict__") else None
        if not isinstance(kind, type) or not isinstance(parts, dict) or not _of_method(kind, self.detector):
            raise ValueError(f"it holds a {str(name)[:60]!r}, which {self.detector.name} does not know")
        made: Any = object.__new__(kind)  # no __init__: nothing of the file is run
        made.__dict__.update({_attribute(key): self.read(part, depth + 1) for key, part in parts.items()})
        return made


def _attribute(name: str) -> str:
    if not name.isidentifier() or name.startswith("__"):
        raise ValueError(f"it names an attribute {name[:40]!r}")
    return name


def _of_method(kind: type, detector: Detector) -> bool:
    """True for a plain class of the code of the method: of its own package, or of the built-in methods."""
    plain = not issubclass(kind, nn.Module | Detector) and kind.__new__ is object.__new__
    return plain and _in_rooms(kind.__module__, detector)


def _in_rooms(module: str, detector: Detector) -> bool:
    own = {base.__module__ for base in type(detector).__mro__ if issubclass(base, Detector) and base is not Detector}
    rooms = {METHODS} | {name.rpartition(".")[0] or name for name in own}
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _device(detector: Detector) -> torch.device:
    first = next(detector.network.parameters(), None)
    return torch.device("cpu") if first is None else first.device
