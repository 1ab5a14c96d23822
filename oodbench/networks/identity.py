"""The identity of a network beside its name: code and settings that move its outputs, for keys; and in words."""

import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

from torch import Tensor, nn

from oodbench.basics.files import digest
from oodbench.basics.sourcecode import INSTALLED
from oodbench.basics.sourcetext import in_harness
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.architecture import architecture_text
from oodbench.networks.attributes import class_contents, part_contents
from oodbench.networks.checkpoints import tensor_parts, weights_digest
from oodbench.networks.network import Network
from oodbench.networks.of_module import ModuleNetwork
from oodbench.networks.tapped import TappedNetwork

OF_TORCH = ("torch",)
"""First parts of the names of modules whose version is a condition of every result."""


def identity(module: nn.Module) -> str:
    """SHA-256 (hex) over all that makes up somebody's module: code, layers, weights and other settings.

    Code is that of its classes, of hooks and of functions among its attributes, and of what these import from files of
    one's own; in a notebook also what other cells define and these refer to. The values that their global variables
    have when this is called count as well. Of an installed package, whose code may be large, the version counts.

    Raises:
        OodbenchError: the code of a class cannot be read.
    """
    parts: list[str | bytes] = [weights_digest(module), architecture_text(module), *_code(module)]
    for name, part in module.named_modules():
        parts += [name, *part_contents(part)]
        for key in sorted(part._non_persistent_buffers_set):
            if isinstance(buffer := part._buffers.get(key), Tensor):
                parts += [key, *tensor_parts(buffer)]
    return digest(*parts)


def architectures(network: Network) -> list[type[Network]]:
    """The classes of oodbench, or of a plugin, that a network's layers are written in."""
    around = (ModuleNetwork, TappedNetwork)
    return [type(part) for part in network.modules() if isinstance(part, Network) and not isinstance(part, around)]


def describe_parts(network: Network) -> str:
    """Say which parts of somebody's module give features and feature maps; "" of networks that know it themselves."""
    if isinstance(network, TappedNetwork):
        return f"taps {', '.join(network.tap_names)}"
    if not isinstance(network, ModuleNetwork):
        return ""
    taps = f"taps {', '.join(network.tap_names)}" if network.tap_names else "no taps"
    if network.head_name is None:
        return f"{network.logits_alone_note}; {taps}"
    head = network.head
    return f"head {network.head_name!r}, {head.out_features} outputs of {head.in_features} features; {taps}"


def describe_input(network: Network, prepared: Preprocessing | None) -> str:
    """Say how images go into a network, for people."""
    mean, std = (
        ", ".join(f"{value:.4g}" for value in channel.flatten().tolist()) for channel in (network.mean, network.std)
    )
    files = f"image files as {prepared}; " if prepared else ""
    return f"{files}mean {mean}, std {std}"


def _code(module: nn.Module) -> Iterator[str | bytes]:
    kinds = {kind for part in module.modules() for kind in type(part).__mro__ if kind is not object}
    own = []
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        home = kind.__module__
        yield f"{kind.__qualname__}"
        if home.partition(".")[0] in OF_TORCH or in_harness(home):
            continue
        file = getattr(sys.modules.get(home), "__file__", None) or ""
        if any(part in INSTALLED for part in Path(file).parts):
            yield _version(home)
        else:
            own.append(kind)
    yield from class_contents(own)


def _version(home: str) -> str:
    top = home.partition(".")[0]
    return " ".join(f"{name} {version(name)}" for name in sorted(set(packages_distributions().get(top, [])))) or top
