"""Logits and features that a network once gave, in place of the network: found again by the numbers of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oodbench.images.numbered import first_numbers, numbers_of
from oodbench.networks.network import MissingPartError, Network, Representation


class NotInPackError(MissingPartError):
    """Something was asked of a network of which only logits and features are at hand."""


@dataclass(frozen=True)
class NetworkOutputs:
    """The outputs of a network for one set of images.

    Attributes:
        logits: (N, outputs), of any float type, on the CPU.
        features: (N, D); None where they were not kept.
    """

    logits: Tensor
    features: Tensor | None = None


class KeptRepresentation(Representation):
    """A representation without what was not kept, which says so when it is asked for."""

    @property
    def features(self) -> Tensor:
        """(N, D), if they are there."""
        if not self[1].shape[1]:
            raise NotInPackError("needs features, what the last layer sees, and the feature pack has logits alone")
        return self[1]

    @property
    def taps(self) -> tuple[Tensor, ...]:
        """Never there."""
        raise NotInPackError("needs feature maps (taps), and a feature pack has none but what the last layer sees")


class FeatureNetwork(Network):
    """Represents images that are `Numbered`, by the outputs that a network gave for them before.

    Args:
        sets: its outputs for each set, one behind the other as their images are numbered.
        head: weight (outputs, D) and bias (outputs,) of its last layer; None where they were not kept.
    """

    def __init__(self, sets: Sequence[NetworkOutputs], head: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self._sets = tuple(sets)
        self._firsts = torch.tensor(first_numbers([len(made.logits) for made in sets]))
        self._count = sum(len(made.logits) for made in sets)
        if head is not None:
            weight, bias = head
            self.fc = nn.Linear(weight.shape[1], weight.shape[0])
            self.fc.load_state_dict({"weight": weight.float(), "bias": bias.float()})

    def represent(self, images: Tensor) -> Representation:
        """Return the outputs for the images that these strips stand for, float32.

        Raises:
            NotInPackError: they are no strips as they were, or a gradient is wanted.
        """
        if images.requires_grad and torch.is_grad_enabled():
            raise NotInPackError("needs the gradient through the network, and a feature pack has no network")
        numbers = numbers_of(images)
        if numbers is None or bool((numbers >= self._count).any()):
            raise NotInPackError("shows the network images of its own making, and a feature pack has no network")
        numbers = numbers.cpu()
        owners = torch.bucketize(numbers, self._firsts, right=True) - 1
        used_owners = sorted(set(owners.tolist()))
        parts_by_set = [self._rows(owner, numbers[owners == owner]) for owner in used_owners]
        back = torch.cat([torch.nonzero(owners == owner)[:, 0] for owner in used_owners]).argsort()
        logits, features = (torch.cat(parts)[back].to(images.device) for parts in zip(*parts_by_set, strict=True))
        return KeptRepresentation(logits, features, ())

    def _rows(self, owner: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        made, rows = self._sets[owner], numbers - self._firsts[owner]
        features = made.features[rows].float() if made.features is not None else torch.empty(len(rows), 0)
        return made.logits[rows].float(), features

    @property
    def head(self) -> nn.Linear:
        """The last layer, if it was kept.

        Raises:
            NotInPackError: it was not.
        """
        if self.last_layer() is None:
            raise NotInPackError("needs the weights of the last layer (head), and the feature pack has none")
        return super().head
