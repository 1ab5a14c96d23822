"""Names of weights: a network around somebody's module keeps those that the module has in its own files."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def keep_names(network: nn.Module, part: str) -> None:
    """Let the state of `network` have the names that its one part with weights has, without `part` in front.

    Checkpoints of the part then load as they are, and what oodbench trains can be loaded without oodbench.
    """

    def without(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Mapping[str, Any]) -> None:
        for key in [key for key in state if key.startswith(f"{prefix}{part}.")]:
            state[prefix + key.removeprefix(f"{prefix}{part}.")] = state.pop(key)

    def behind(
        module: nn.Module,
        state: dict[str, Tensor],
        prefix: str,
        metadata: Mapping[str, Any],
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        for key in [key for key in state if key.startswith(prefix)]:
            state[f"{prefix}{part}.{key.removeprefix(prefix)}"] = state.pop(key)

    network.register_state_dict_post_hook(without)  # type: ignore[no-untyped-call]
    network.register_load_state_dict_pre_hook(behind)  # type: ignore[no-untyped-call]


def rename(network: nn.Module, names: Mapping[str, str]) -> None:
    """Let weights of `network` have other names in its state; `names` has these by its own."""

    def outside(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Mapping[str, Any]) -> None:
        # Taken apart and put together again: a new name of one may be the old one of another, and the order stays.
        renamed = {_renamed(key, prefix, names): tensor for key, tensor in state.items()}
        state.clear()
        state.update(renamed)

    def inside(
        module: nn.Module,
        state: dict[str, Tensor],
        prefix: str,
        metadata: Mapping[str, Any],
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        renamed = {_renamed(key, prefix, own): tensor for key, tensor in state.items()}
        state.clear()
        state.update(renamed)

    own = {other: name for name, other in names.items()}
    network.register_state_dict_post_hook(outside)  # type: ignore[no-untyped-call]
    network.register_load_state_dict_pre_hook(inside)  # type: ignore[no-untyped-call]


def _renamed(key: str, prefix: str, names: Mapping[str, str]) -> str:
    behind = key.removeprefix(prefix)
    return f"{prefix}{names[behind]}" if key.startswith(prefix) and behind in names else key
