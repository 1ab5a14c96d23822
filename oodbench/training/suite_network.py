"""Building the network that a suite names: before its training, or with the weights of a checkpoint."""

import copy
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

from torch import nn

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.networks import checkpoints
from oodbench.networks.builder import error_line
from oodbench.networks.network import Network
from oodbench.networks.of_module import ModuleNetwork, require_evaluation
from oodbench.networks.statedicts import split_entry
from oodbench.networks.user_network import as_network, trial
from oodbench.networks.wrapping import wrapping_of
from oodbench.objective import Objective
from oodbench.sources import trained
from oodbench.suite import Suite


def build_network(
    suite: Suite, objective: Objective, shape: tuple[int, int, int], seed: int, start: Path | None
) -> Network:
    """The suite's network for an objective, as it is before its training.

    Weights that the suite's recipe does not start from are drawn, and depend on the seed only.

    Args:
        suite: that names the network.
        objective: of the training.
        shape: (C, H, W) of the images.
        seed: of the training.
        start: weights that training starts from, see `start_file`; None where they are drawn.

    Raises:
        OodbenchError: the weights to start from are of another network, or broken.
    """
    plain = plain_network(suite, objective, seed, shape)
    if start:
        checkpoints.begin(plain, start)
    return objective.adapt(plain, shape)


def given_network(suite: Suite, objective: Objective, shape: tuple[int, int, int], seed: int, file: Path) -> Network:
    """The trained network in `file`, for images (C, H, W), with what the objective keeps beside it if that is there.

    Raises:
        OodbenchError: the file is of another network, or broken.
    """
    plain = plain_network(suite, objective, seed, shape)
    adapted = objective.adapt(plain_network(suite, objective, seed, shape), shape)
    if type(adapted) is not type(plain):
        with suppress(OodbenchError):
            checkpoints.load(adapted, file)
            return adapted
    checkpoints.load(plain, file)
    require_finite(plain, shape)
    return plain


def plain_network(suite: Suite, objective: Objective, seed: int, shape: tuple[int, int, int]) -> Network:
    """The suite's network with an objective's outputs and drawn weights, without what the objective keeps beside it."""
    spec = suite.network
    return networks.build(
        spec.name,
        _outputs(suite, objective),
        mean=spec.mean,
        std=spec.std,
        seed=seed,
        head=spec.head,
        taps=spec.taps,
        shape=shape,
    )


def made_network(suite: Suite, objective: Objective, seed: int) -> nn.Module:
    """The same network as its builder makes it, before it is tried on images; its weights have the builder's names."""
    spec = suite.network
    return networks.made(spec.name, _outputs(suite, objective), spec.mean, spec.std, seed)


def network_in_memory(module: nn.Module, suite: Suite, objective: Objective, shape: tuple[int, int, int]) -> Network:
    """A copy of a user's trained module as the suite's network, in evaluation mode.

    Raises:
        OodbenchError: the module cannot be copied or used so, or has another number of outputs.
    """
    spec = suite.network
    if module.training:
        require_evaluation(module)
    try:
        copied = copy.deepcopy(module).cpu()
    except Exception as error:
        raise OodbenchError(
            f"{type(module).__name__} cannot be copied ({error_line(error)}), and a run must leave it as it is: name "
            "what builds it as FILE.py:BUILDER and its weights with checkpoint="
        ) from error
    outputs = _outputs(suite, objective)
    how = wrapping_of(spec.mean, spec.std, spec.head, spec.taps)
    network = as_network(copied, spec.called, outputs, shape, how).eval()
    require_finite(network, shape)
    return network


def require_finite(network: Network, shape: tuple[int, int, int]) -> None:
    """Raise OodbenchError for a user's trained module that gives NaN."""
    if isinstance(network, ModuleNetwork):
        training = network.training
        network.eval().require_finite(trial(shape))
        network.train(training)


def _outputs(suite: Suite, objective: Objective) -> int:
    return suite.id.classes + objective.reject_outputs


def start_file(suite: Suite, data: Path) -> Path | None:
    """The weights that training starts from, in the folder `data` if they have a name; None where they are drawn.

    Raises:
        OodbenchError: there is no such file.
    """
    start = suite.training.start if suite.training else ""
    return trained.checkpoint(start, data) if start else None


def start_digest(suite: Suite, data: Path) -> str:
    """SHA-256 of the weights that training starts from; "" where they are drawn.

    Raises:
        OodbenchError: there is no such file.
    """
    start = start_file(suite, data)
    return _file_digest(start) if start else ""


def checkpoint_digest(file: Path | None) -> str:
    """The digest that stands for a trained network in keys: SHA-256 of its file; "" without a file.

    Raises:
        OodbenchError: there is no such file.
    """
    return _file_digest(file) if file else ""


def _file_digest(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's file, and of the name of the entry in it where the checkpoint names one."""
    path, entry = split_entry(checkpoint)
    if not path.is_file():
        raise OodbenchError(f"there is no checkpoint {path}: give --checkpoint the path of a file")
    with path.open("rb") as file:
        # A feature pack may be larger than the memory.
        content = mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""
        return digest(memoryview(content), entry) if entry else digest(memoryview(content))
