"""Weights on disk: written as safetensors, read from safetensors and from torch's own files, never by running code."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest, write_atomic
from oodbench.networks.entries import COUNTER, NORMALISATION, Entry, find
from oodbench.networks.network import Network
from oodbench.networks.statedicts import cannot_open

SHOWN = 3
"""Names that an error lists."""

TOLERATED = 0.002
"""The distance of two means or deviations that are the same: people round to three digits."""


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
    """Read the metadata that `save` was given besides the weights; empty where a safetensors file carries none.

    Raises:
        OodbenchError: there is no such file, or it is not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except OSError as error:
        raise cannot_open(path, error) from error
    except SafetensorError as error:
        raise OodbenchError(
            f"{path} carries no metadata: it is not a whole safetensors file; give a checkpoint that oodbench wrote"
        ) from error


def load(network: Network, path: Path) -> None:
    """Load the weights from `path` into `network`, where it is, in its own float type.

    The weights are looked for in the file (`oodbench.networks.entries.find`): nested in dicts, behind a prefix, beside
    others that `path` tells them from (`FILE#NAME`). Batch norm's `num_batches_tracked` may be absent. Of a network
    that was saved with more beside it (mixtures, say) a plain network takes its part. On an error the network is as it
    was.

    Raises:
        OodbenchError: the file cannot be read, belongs to another architecture, number of outputs or normalisation of
            pixels, or has several weights that fit, or some that are not finite.
    """
    entry = find(path, network.state_dict())
    _load_entry(network, entry, dict(entry.weights), path)


def begin(network: Network, path: Path) -> None:
    """Let `network` begin with the weights from `path`, which may have fewer outputs.

    The further outputs (a reject class, say) keep the weights they were drawn with; a last layer that has more outputs
    than the network's means other classes and is left out.

    Raises:
        OodbenchError: as `load`.
    """
    wanted = network.state_dict()
    entry = find(path, wanted)
    weights = dict(entry.weights)
    for name in _head_entries(network):
        if name in weights and weights[name].shape[1:] == wanted[name].shape[1:]:
            given = weights[name] if len(weights[name]) <= len(wanted[name]) else weights[name][:0]
            weights[name] = torch.cat([given.to(wanted[name].dtype), wanted[name].cpu()[len(given) :]])
    _load_entry(network, entry, weights, path)


def _load_entry(network: Network, entry: Entry, weights: Mapping[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith(COUNTER)}
    brought = entry.normalisation(wanted)
    _require_same_normalisation(network, brought, path)
    # Mean and deviation are in a network here, and no part of its checkpoint.
    normalising = [name for names in NORMALISATION for name in names] if brought else []
    kept = {
        name: tensor for name, tensor in weights.items() if name in wanted or name.rpartition(".")[2] not in normalising
    }
    complete = counters | kept
    _require_same_architecture(wanted, complete, path, _head_entries(network))
    cast = {name: tensor.to(wanted[name].dtype) for name, tensor in complete.items()}
    for name, tensor in cast.items():
        if not tensor.isfinite().all():
            raise OodbenchError(f"checkpoint {path} has NaN or infinite weights in {name!r}; its training diverged")
    network.load_state_dict(cast)


def weights_digest(network: nn.Module) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes of the state_dict, the same on every device."""
    parts: list[bytes | str] = []
    for name, tensor in network.state_dict().items():
        parts += [name, *tensor_parts(tensor)]
    return digest(*parts)


def tensor_parts(tensor: Tensor) -> list[bytes | str]:
    """Type, shape and bytes of a tensor, the same on every device, to be hashed."""
    raw = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return [str(tensor.dtype), str(tuple(tensor.shape)), raw]


def _head_entries(network: Network) -> frozenset[str]:
    """Names of the last layer's weights: where only these differ, the number of outputs does."""
    try:
        head = list(network.head.parameters())
    except OodbenchError:
        return frozenset()
    entries = network.state_dict(keep_vars=True).items()
    return frozenset(name for name, weight in entries if any(weight is parameter for parameter in head))


def _require_same_normalisation(network: Network, brought: Mapping[str, Tensor], path: Path) -> None:
    """Raise if a checkpoint brings a mean or a deviation of pixels along that is not the network's."""
    for what, brought_values in brought.items():
        own = getattr(network, what).double().cpu().flatten()
        are_levels = float(brought_values.max()) > 2
        theirs = (brought_values / 255 if are_levels else brought_values).expand(3)
        if not torch.allclose(theirs, own, atol=TOLERATED):
            has, needs = (" ".join(f"{value:.4f}" for value in values.tolist()) for values in (theirs, own))
            raise OodbenchError(
                f"checkpoint {path} brings its own normalisation, {what} {has} a channel, and the suite's network has "
                f"{what} {needs}: set mean and std under [network] in the suite's file to what the checkpoint was "
                "trained with"
            )


def _require_same_architecture(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path, heads: frozenset[str]
) -> None:
    """Raise unless both have the same names and shapes, and types that can be cast."""
    another = f"checkpoint {path} is of another architecture:"
    advice = "name the network that it was trained as, or give another checkpoint"
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    parts = [f"it lacks {_first_names(missing)} ({len(missing)} missing in all)"] if missing else []
    parts += (
        [f"the network has no {_first_names(unexpected)} ({len(unexpected)} unexpected in all)"] if unexpected else []
    )
    if parts:
        raise OodbenchError(f"{another} {', and '.join(parts)}; {advice}")
    differing = [name for name in wanted if given[name].shape != wanted[name].shape]
    if differing:
        name = differing[0]
        has, needs = tuple(given[name].shape), tuple(wanted[name].shape)
        if all(other in heads for other in differing) and len(has) == len(needs) and has[1:] == needs[1:]:
            raise OodbenchError(
                f"checkpoint {path} has {has[0]} outputs, the network needs {needs[0]}: give a checkpoint trained for "
                "the same classes, and with a reject class if and only if the detector has one"
            )
        more = f" ({len(differing)} of {len(wanted)} differ in shape)" if len(differing) > 1 else ""
        raise OodbenchError(f"{another} {name!r} is {has}, the network needs {needs}{more}; {advice}")
    for name, tensor in given.items():
        dtype = wanted[name].dtype
        if tensor.dtype != dtype and not (tensor.is_floating_point() and dtype.is_floating_point):
            raise OodbenchError(f"checkpoint {path} holds {name!r} as {tensor.dtype}, the network as {dtype}; {advice}")


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
