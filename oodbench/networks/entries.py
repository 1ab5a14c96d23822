"""The weights in a checkpoint that are a network's: found by its own names, whatever stands in front of them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.networks.statedicts import ENTRY, TOP, Weights, split_entry, state_dicts

WRAPPERS = ("_orig_mod", "module")
"""Parts of names that torch.compile and DataParallel put in, in front or in the middle."""

COUNTER = "num_batches_tracked"
"""End of the names of batch norm's counters, which old files lack and evaluation does not use."""

TALLIES = ("n_averaged",)
"""Counters of AveragedModel beside its weights, also where somebody has taken its prefix off those."""

NORMALISATION = (("mean", "std"), ("mu", "sigma"))
"""Names that layers have for the mean and the deviation of each channel."""


@dataclass(frozen=True)
class Entry:
    """Weights in a checkpoint that could be a network's.

    Attributes:
        name: for people: the dicts around it and the prefix of its names, joined by dots.
        weights: by the names that they have without that prefix.
        beside: what else its dict holds, by full name.
    """

    name: str
    weights: Weights
    beside: Weights = field(default_factory=dict)

    def normalisation(self, own: Collection[str] = ()) -> dict[str, Tensor]:
        """The mean and deviation of the channels in a layer before the network, if the checkpoint has such a layer.

        They stand under "mean" and "std", each float64, (1,) or (3,).

        Args:
            own: names of the network's own weights: a layer inside it is loaded as any other.
        """
        everything = {name: tensor for name, tensor in {**self.weights, **self.beside}.items() if name not in own}
        for mean, std in NORMALISATION:
            for name, tensor in everything.items():
                parent, dot, last = name.rpartition(".")
                partner = everything.get(f"{parent}{dot}{std}")
                if last == mean and partner is not None and all(map(_is_of_channels, (tensor, partner))):
                    return {"mean": tensor.double().flatten(), "std": partner.double().flatten()}
        return {}


def find(given: Path, wanted: Mapping[str, Tensor]) -> Entry:
    """Find the weights in a checkpoint that are meant for a network.

    Dicts are looked for inside each other, and a prefix that all names of a network have in front of them is taken off:
    "module." of DataParallel and AveragedModel, "_orig_mod." of torch.compile, "model." of Lightning, "1." of a
    Sequential. Where several fit (averaged weights beside plain ones), `given` must say which: `FILE#NAME`.

    Args:
        given: the file, or the file and the name of an entry in it.
        wanted: the network's own state_dict.

    Returns:
        The one that has all the network's names; where none has, the one that has most, for the caller to refuse.

    Raises:
        OodbenchError: the file cannot be read, holds no weights, or several that fit; nothing has the name that is
            given.
    """
    path, chosen = split_entry(given)
    needed = [name for name in wanted if not name.endswith(COUNTER)]
    entries = [entry for name, weights in state_dicts(path).items() for entry in _entries(name, weights, needed)]
    if not entries:
        raise OodbenchError(
            f"checkpoint {path} is not a dict of names and dense tensors, nor are there any in it; "
            "give safetensors or torch.save(network.state_dict())"
        )
    complete = [entry for entry in entries if all(name in entry.weights for name in needed)]
    if chosen:
        return _entry_called(path, chosen, entries, complete)
    if len(complete) > 1 and not all(_are_equal(entry.weights, complete[0].weights, needed) for entry in complete[1:]):
        raise OodbenchError(
            f"checkpoint {path} holds {len(complete)} sets of weights for this network and they differ: say which with "
            f"--checkpoint {' or '.join(f'{path}{ENTRY}{entry.name}' for entry in complete)}"
        )
    return complete[0] if complete else max(entries, key=lambda entry: _likeness(entry, needed))


def _entry_called(path: Path, chosen: str, entries: Sequence[Entry], complete: Sequence[Entry]) -> Entry:
    matching = [entry for entry in complete or entries if entry.name == chosen]
    if not matching:
        known = ", ".join(dict.fromkeys(entry.name for entry in complete or entries))
        raise OodbenchError(
            f"checkpoint {path} has no weights called {chosen!r} for this network: choose one of {known}"
        )
    return matching[0]


def _entries(name: str, weights: Weights, needed: Sequence[str]) -> list[Entry]:
    """The entries of a dict: one for each prefix with all that the network needs, else the one with most of it."""
    wrappers = [part for part in WRAPPERS if not any(part in own.split(".") for own in needed)]
    bare = {_strip_wrappers(full, wrappers): tensor for full, tensor in weights.items() if full not in TALLIES}
    if len(bare) < len({*weights} - {*TALLIES}):  # the same name with and without a wrapper: two things
        bare = dict(weights)
    if not bare:
        return []
    counts = Counter(prefix for full in bare for prefix in _prefixes(full, frozenset(needed)))
    complete = [prefix for prefix, count in counts.items() if count == len(needed)]
    most = [prefix for prefix, _ in counts.most_common(1)] or [_common_prefix(list(bare))]
    return [_entry(name, bare, prefix, complete) for prefix in complete or most]


def _entry(name: str, weights: Weights, prefix: str, prefixes: Sequence[str]) -> Entry:
    """The entry behind a prefix, without what stands behind a longer one of the same dict."""
    longer = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
    inside = {
        full: tensor for full, tensor in weights.items() if full.startswith(prefix) and not full.startswith(longer)
    }
    parts = [part for part in (name if name != TOP else "", prefix.rstrip(".")) if part]
    return Entry(
        ".".join(parts) or TOP,
        {full.removeprefix(prefix): tensor for full, tensor in inside.items()},
        {full: tensor for full, tensor in weights.items() if full not in inside},
    )


def _strip_wrappers(name: str, wrappers: Sequence[str]) -> str:
    """Take wrappers out of the middle of a name; those in front are a prefix like any other."""
    parts = name.split(".")
    front = next((place for place, part in enumerate(parts) if part not in wrappers), len(parts))
    return ".".join([*parts[:front], *(part for part in parts[front:] if part not in wrappers)])


def _prefixes(full: str, needed: frozenset[str]) -> Iterator[str]:
    """Yield possible prefixes of a name: what stands before a name that the network has."""
    parts = full.split(".")
    for place in range(len(parts)):
        if ".".join(parts[place:]) in needed:
            yield "".join(f"{part}." for part in parts[:place])


def _common_prefix(names: Sequence[str]) -> str:
    """The beginning that all names share, up to a dot."""
    first = names[0].split(".")[:-1]
    while first and not all(name.startswith(".".join(first) + ".") for name in names):
        first.pop()
    return ".".join(first) + "." if first else ""


def _is_of_channels(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() in (1, 3)


def _are_equal(one: Weights, other: Weights, names: Sequence[str]) -> bool:
    return all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in names)


def _likeness(entry: Entry, needed: Sequence[str]) -> tuple[int, int]:
    return sum(name in entry.weights for name in needed), sum(tensor.numel() for tensor in entry.weights.values())
