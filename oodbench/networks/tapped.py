"""Taps by name: feature maps that are chosen by the names of a network's parts, in place of its own taps."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.networks.naming import keep_names
from oodbench.networks.network import Network, Representation


class TappedNetwork(Network):
    """A network whose taps are the outputs of parts that somebody names; its weights keep their names.

    Args:
        network: whose logits and features these are.
        taps: names of parts, as `named_modules` has them, whose outputs are feature maps, (N, C, H, W) each.
        images: some that it takes, float (N, 3, H, W) in [0, 1], to try it on.

    Raises:
        OodbenchError: it has no such part, or one that gives no feature map.
    """

    def __init__(self, network: Network, taps: Sequence[str], images: Tensor) -> None:
        super().__init__(tuple(network.mean.flatten().tolist()), tuple(network.std.flatten().tolist()))
        self.network = network
        keep_names(self, "network")
        self.tap_names = tuple(taps)
        parts = dict(network.named_modules())
        for name in taps:
            if not name or name not in parts:
                raise unknown(f"part of {type(network).__name__}", name, [part for part in parts if part])
        with torch.no_grad():
            seen = self._pass(images)[1]
        for name in taps:
            if not isinstance(seen.get(name), Tensor) or seen[name].ndim != 4:
                raise OodbenchError(
                    f"taps: {name!r} of {type(network).__name__} gives no feature map (N, C, H, W) in a pass; these "
                    f"do: {', '.join(_map_names(network, images))}"
                )

    def last_layer(self) -> nn.Module | None:
        """The last layer of the network."""
        return self.network.last_layer()

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, H, W) in [0, 1]."""
        representation, seen = self._pass(images)
        return representation._replace(taps=tuple(seen[name] for name in self.tap_names))

    def _pass(self, images: Tensor) -> tuple[Representation, dict[str, Any]]:
        """Run the network on images, and return its representation and the outputs of its parts."""
        return _represent_with_outputs(self.network, images, self.tap_names)


def _represent_with_outputs(
    network: Network, images: Tensor, parts: Sequence[str]
) -> tuple[Representation, dict[str, Any]]:
    seen: dict[str, Any] = {}
    with ExitStack() as stack:
        for name in parts:

            def keep(_: nn.Module, __: tuple[Any, ...], result: Any, name: str = name) -> None:
                seen[name] = result

            handle = network.get_submodule(name).register_forward_hook(keep)
            stack.callback(handle.remove)
        representation = network.represent(images)
    return representation, seen


def _map_names(network: Network, images: Tensor) -> list[str]:
    """Names of the parts that give a feature map."""
    with torch.no_grad():
        _, seen = _represent_with_outputs(network, images, [name for name, _ in network.named_modules() if name])
    return [name for name, result in seen.items() if isinstance(result, Tensor) and result.ndim == 4]
