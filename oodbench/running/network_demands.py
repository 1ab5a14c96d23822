"""Checks that a network has the gradient that tasks and training need, before hours are spent on a run."""

from collections.abc import Iterable

from oodbench.basics.errors import OodbenchError
from oodbench.networks.gradient import can_learn, has_gradient
from oodbench.networks.headless import HeadlessNetwork
from oodbench.networks.network import Network
from oodbench.networks.of_module import ModuleNetwork
from oodbench.networks.user_network import trial
from oodbench.suite import Suite


def require_climbable(network: Network, suite: Suite, shape: tuple[int, int, int], tasks: Iterable[str]) -> None:
    """Refuse attacks on a user's module that has no gradient by its images.

    Args:
        network: in evaluation mode.
        suite: whose tasks these are.
        shape: (C, H, W) of the images.
        tasks: names of those that are to be done.

    Raises:
        OodbenchError: some task attacks, and the network cannot be differentiated by its images.
    """
    attacks = [name for name in suite.tasks if name in {*tasks} and suite.tasks[name].climbs()]
    if attacks and isinstance(network, ModuleNetwork) and not has_gradient(network, trial(shape)):
        others = [name for name in suite.tasks if name not in attacks]
        instead = f"leave them out ({' '.join(f'--task {name}' for name in others)})" if others else "leave them out"
        raise OodbenchError(
            f"{network.called} cannot be differentiated by its images, so {', '.join(attacks)} "
            f"{'have' if len(attacks) > 1 else 'has'} nothing to climb: {instead}, or take torch.no_grad(), detach() "
            "and arrays out of its forward()"
        )


def require_trainable(network: Network, shape: tuple[int, int, int]) -> None:
    """Raise OodbenchError if a network, in evaluation mode, has no head or no weight that can be trained."""
    if isinstance(network, HeadlessNetwork):
        raise OodbenchError(
            f"network 'headless:{network.name}' has no head that could be trained: give its weights with --checkpoint "
            "FILE"
        )
    if isinstance(network, ModuleNetwork) and not can_learn(network, trial(shape)):
        raise OodbenchError(
            f"{network.called} cannot be trained: no weight of it has a gradient; take torch.no_grad() and detach() "
            "out of its forward(), or give a trained one with --checkpoint FILE"
        )
