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
