"""Going on from a feature map: a pass through a network in which one of its taps is changed on the way.

Networks say which feature maps they have, and not what they do with them. So one pass is watched: the operation that
gives a tap is found by its place in the order of operations, and in later passes its result is changed before the
network goes on. This works for any network that runs the same operations in the same order for all images, without a
line in its class.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Network, Representation

Change = Callable[[Tensor], Tensor]
"""A feature map (N, C, H, W) to one of the same shape."""


def places_of_taps(network: Network, image: Tensor, last: int, who: str) -> tuple[int, ...]:
    """For each of the network's last taps, the place of the operation that gives it.

    Args:
        network: in evaluation mode.
        image: one, float (1, 3, H, W) in [0, 1].
        last: so many taps are looked for, all where there are fewer.
        who: wants to know, for messages.

    Raises:
        OodbenchError: a tap is no operation's result, or the network does not go on from it.
    """
    with torch.no_grad():
        with _Watch() as watch:
            representation = _represent(network, image)
        places = []
        for number, tap in list(enumerate(representation.taps))[-last:]:
            place = watch.place_of(tap)
            if place is None or torch.equal(changed(network, image, place, _another).logits, representation.logits):
                raise OodbenchError(
                    f"{who} changes feature maps on their way through the network, and {type(network).__name__} does "
                    f"not go on from its feature map {number}: leave {who} out for this network, or name another one"
                )
            places.append(place)
    return tuple(places)


def changed(network: Network, images: Tensor, place: int, change: Change) -> Representation:
    """Run one pass over images, float (N, 3, H, W) in [0, 1], in which the result of operation `place` is changed.

    Raises:
        OodbenchError: the pass has fewer operations than that.
    """
    with _Watch(place, change) as watch:
        representation = _represent(network, images)
    if not watch.done:
        raise OodbenchError(
            f"{type(network).__name__} runs other operations for some images than for others, so that its feature "
            "maps cannot be found again: name another network"
        )
    return representation


def _represent(network: Network, images: Tensor) -> Representation:
    # As its class has it: what torch.compile puts in its place runs other operations.
    return type(network).represent(network, images)


def _another(tap: Tensor) -> Tensor:
    """A map as large as the feature map, and different from it also where that is zero or enormous."""
    return 1 - tap


class _Watch(TorchFunctionMode):
    """Counts operations that give a tensor, and changes the result of one, or keeps them where none is to be changed.

    Attributes:
        results: of all operations, in their order.
        done: whether the one to be changed has come.
    """

    def __init__(self, place: int | None = None, change: Change | None = None) -> None:
        super().__init__()
        self._place, self._change = place, change
        self._count = 0
        self.results: list[Tensor] = []
        self.done = False

    def place_of(self, tensor: Tensor) -> int | None:
        """The place of the last operation that gave this very tensor; None if none did."""
        return max((place for place, result in enumerate(self.results) if result is tensor), default=None)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and change results: every call of torch comes through here."""
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            return result
        place = self._count
        self._count += 1
        if self._change is None:
            self.results.append(result)
        elif place == self._place:
            self.done = True
            return self._change(result)
        return result
