"""Weights on disk: written as safetensors, read from safetensors and from torch's own files, never by running code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from oodbench.errors import OodbenchError
from oodbench.files import digest, write_atomic
from oodbench.networks.network import Network


def save(network: Network, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the weights of `network` as safetensors to `path`, whole or not at all.

    Args:
        network: on any device.
        path: its folder is made if need be.
        metadata: where the weights come from; `metadata(path)` gives it back.

    Raises:
        OodbenchError: the file cannot be written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_atomic(path, safetensors.torch.save(tensors, dict(metadata)))


def metadata(path: Path) -> dict[str, str]:
    """What `save` was given besides the weights; empty where a safetensors file carries nothing.

    Raises:
        OodbenchError: there is no such file, or it is not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except OSError as error:
        raise _cannot_open(path, error) from error
    except SafetensorError as error:
        raise OodbenchError(
            f"{path} carries no metadata: it is not a whole safetensors file; give a checkpoint that oodbench wrote"
        ) from error


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a file by name, on the CPU, as stored.

    The content decides, not the suffix: safetensors, or what `torch.save` makes of a state_dict, bare or as the
    "state_dict" entry of a dict (the layout of the reference code of Chen et al. 2021). The prefix "module." of
    DataParallel is taken off. Files are read as data (`weights_only`); pickled code is refused.

    Raises:
        OodbenchError: there is no such file, it is damaged, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"
            file.seek(0)
            content: Any
            if is_safetensors:
                content = safetensors.torch.load(file.read())
            else:
                content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _cannot_open(path, error) from error
    except Exception as error:  # a damaged or hostile file makes the readers raise nearly anything
        raise OodbenchError(
            f"cannot read checkpoint {path}: it is damaged, or holds objects besides tensors, which are refused; "
            "give safetensors or torch.save(network.state_dict())"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(map(_is_weight, content.keys(), content.values())):
        raise OodbenchError(
            f"checkpoint {path} is not a dict of names and dense tensors; "
            "give safetensors or torch.save(network.state_dict())"
        )
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in content.items()}


def load(network: Network, path: Path) -> None:
    """Put the weights from `path` into `network`, where it is, in its own float type.

    Batch norm's `num_batches_tracked` may be absent. Of a network that was saved with more beside it
    (mixtures, say) a plain network takes its part. On an error the network is as it was.

    Raises:
        OodbenchError: the file cannot be read, belongs to another architecture or number of outputs, or has weights
            that are not finite.
    """
    _put(network, read(path), path)


def begin(network: Network, path: Path) -> None:
    """Let `network` begin with the weights from `path`, which may have fewer outputs.

    The further outputs (a reject class, say) keep the weights they were drawn with; a last layer that has more outputs
    than the network's means other classes and is left out.

    Raises:
        OodbenchError: as `load`.
    """
    wanted, found = network.state_dict(), read(path)
    for name in _head_entries(network):
        if name in found and found[name].shape[1:] == wanted[name].shape[1:]:
            given = found[name] if len(found[name]) <= len(wanted[name]) else found[name][:0]
            found[name] = torch.cat([given.to(wanted[name].dtype), wanted[name].cpu()[len(given) :]])
    _put(network, found, path)


def _put(network: Network, weights: Mapping[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith("num_batches_tracked")}
    found = counters | _base_of(weights, wanted)
    _require_same_architecture(wanted, found, path, _head_entries(network))
    cast = {name: tensor.to(wanted[name].dtype) for name, tensor in found.items()}
    for name, tensor in cast.items():
        if not tensor.isfinite().all():
            raise OodbenchError(f"checkpoint {path} has NaN or infinite weights in {name!r}; its training diverged")
    network.load_state_dict(cast)


def weights_digest(network: Network) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes of the state_dict, the same on every device."""
    parts: list[bytes | str] = []
    for name, tensor in network.state_dict().items():
        raw = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        parts += [name, str(tensor.dtype), str(tuple(tensor.shape)), raw]
    return digest(*parts)


def _head_entries(network: Network) -> frozenset[str]:
    """Names of the last layer's weights: where only these differ, the number of outputs does."""
    try:
        head = list(network.head.parameters())
    except OodbenchError:
        return frozenset()
    entries = network.state_dict(keep_vars=True).items()
    return frozenset(name for name, weight in entries if any(weight is one for one in head))


def _require_same_architecture(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path, heads: frozenset[str]
) -> None:
    """Raise unless both have the same names and shapes, and types that can be cast."""
    another = f"checkpoint {path} is of another architecture:"
    advice = "name the network that it was trained as, or give another checkpoint"
    if missing := [name for name in wanted if name not in found]:
        raise OodbenchError(f"{another} it lacks {missing[0]!r} ({len(missing)} missing in all); {advice}")
    if unexpected := [name for name in found if name not in wanted]:
        raise OodbenchError(
            f"{another} the network has no {unexpected[0]!r} ({len(unexpected)} unexpected in all); {advice}"
        )
    differing = [name for name in wanted if found[name].shape != wanted[name].shape]
    if differing:
        name = differing[0]
        has, needs = tuple(found[name].shape), tuple(wanted[name].shape)
        if all(other in heads for other in differing) and len(has) == len(needs) and has[1:] == needs[1:]:
            raise OodbenchError(
                f"checkpoint {path} has {has[0]} outputs, the network needs {needs[0]}: give a checkpoint trained for "
                "the same classes, and with a reject class if and only if the detector has one"
            )
        raise OodbenchError(f"{another} {name!r} is {has}, the network needs {needs}; {advice}")
    for name, tensor in found.items():
        dtype = wanted[name].dtype
        if tensor.dtype != dtype and not (tensor.is_floating_point() and dtype.is_floating_point):
            raise OodbenchError(f"checkpoint {path} holds {name!r} as {tensor.dtype}, the network as {dtype}; {advice}")


def _base_of(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A plain network's weights out of a network that keeps more beside it, "base_model." in the reference code."""
    prefix = "base_model."
    if any(name.startswith(prefix) for name in wanted) or not any(name.startswith(prefix) for name in found):
        return dict(found)
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}


def _is_weight(name: object, value: object) -> bool:
    """Whether an entry is what a network can take: dense, and with its data in the file."""
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
    )


def _cannot_open(path: Path, error: OSError) -> OodbenchError:
    return OodbenchError(
        f"cannot open checkpoint {path}: {error.strerror or 'not a readable file'}; give the file of a trained network"
    )
