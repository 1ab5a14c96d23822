"""The layers of a network, in words that do not depend on the version of torch."""

import inspect
import re

from torch import nn

COMMA = re.compile(r", (?![^(\[]*[)\]])")
"""The comma between two options of a layer, not one inside an option."""


def architecture_text(network: nn.Module) -> str:
    """A line for each module: its name, its class, and those of its options that are not the class's defaults.

    Modules print themselves with options that come and go: torch 2.14 says of batch norm that it has a bias, torch 2.11
    does not. Where a key of a network held that text, an update of torch would train it again.
    """
    return "\n".join(f"{name}: {type(module).__name__}({_options(module)})" for name, module in network.named_modules())


def _options(module: nn.Module) -> str:
    makers = [kind for kind in type(module).__mro__ if issubclass(kind, nn.Module) and kind is not nn.Module]
    defaults = {
        f"{name}={parameter.default!r}"
        for kind in makers
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not parameter.empty
    }
    return ", ".join(option for option in COMMA.split(module.extra_repr()) if option not in defaults)
