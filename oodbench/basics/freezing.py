"""Parameters that need no gradient for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.nn import Parameter


@contextmanager
def frozen_parameters(parameters: Iterable[Parameter]) -> Iterator[None]:
    """Compute no gradients for `parameters` inside; those that required one do so again afterwards."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
