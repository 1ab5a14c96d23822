"""Any `nn.Module` as a network: its last linear layer found by watching one pass, its features and taps by hooks."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.networks.logits_alone import LogitsAlone, NoFeaturesError, logits_alone_text
from oodbench.networks.naming import keep_names
from oodbench.networks.network import Network, Representation
from oodbench.networks.possible_logits import doubt_about_logits, possible_logits, returned_values
from oodbench.networks.wrapping import INSIDE, Wrapping

AGREES = 1e-4
"""The distance that equal outputs may have, as a share of the largest: sums are rounded in another order."""

CHANNELS = 3

INTO = ">"
"""The prefix of a part's name for what goes into it; no part's name begins with such a letter."""


class ModuleNetwork(Network):
    """Somebody's module, which stays as it is; its weights keep their names.

    The module must map images to logits: a tensor, a tuple with them, an object with `.logits` (Hugging Face), or a
    dict with "logits". What its head sees is the features. Where `head` is named, what that gives is the logits,
    whatever is done to it afterwards. Where none is named and no linear layer gives the logits, it is a network of
    logits alone: its features, and the layer behind them, say that nobody knows them when they are asked for.

    Taps are feature maps on the way. If none are named they are the last one of each size that the module's parts give,
    Sequentials taken apart, from the input towards the output: of a ResNet, its stem and its four stages.

    Args:
        module: in evaluation mode; it may be untrained.
        images: some that it takes, float (N, 3, H, W) in [0, 1], N at least 2, to try it on; on its device.
        mean: subtracted from each RGB channel before the module sees images, in [0, 1] units; or "inside".
        std: divides each channel; 1 if left out.
        head: name of the last linear layer, as `named_modules` has it; found if left out.
        taps: names of parts whose outputs are taps, (N, C, H, W) each.

    Attributes:
        head_name: of the last linear layer; None of a network of logits alone.
        tap_names: of the parts whose outputs are taps.
        outputs: logits an image.

    Raises:
        OodbenchError: the module is in train mode, does not take the images, gives something other than logits, depends
            on the draw or on the batch, or has several heads.
    """

    def __init__(
        self,
        module: nn.Module,
        images: Tensor,
        *,
        mean: str | Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        head: str | None = None,
        taps: Sequence[str] | None = None,
    ) -> None:
        super().__init__(*channels(mean, std))
        require_evaluation(module)
        self.called = type(module).__name__
        _refuse_lazy(module, self.called)
        self.module = module
        keep_names(self, "module")
        self.to(images.device)
        with torch.no_grad():
            first = _WatchedPass(self, images)
            self.head_name = _head_name(self, first, head)
            self._linear_layers = first.head_candidates
            self._logits_place = 0 if self.head_name else next(iter(possible_logits(self.called, first.result)))
            self.tap_names = _known_taps(first, taps) if taps is not None else _usual_taps(first)
            logits = self.represent(images).logits
            self.outputs = logits.shape[1]
            if logits.isfinite().all():
                self._check(images)
        self.eval()

    def last_layer(self) -> nn.Module | None:
        """The head; None of a network of logits alone."""
        return self.module.get_submodule(self.head_name) if self.head_name is not None else None

    @property
    def head(self) -> nn.Linear:
        """The layer that makes logits of features.

        Raises:
            NoFeaturesError: it is a network of logits alone.
        """
        if self.head_name is None:
            raise NoFeaturesError(self.called)
        return super().head

    @property
    def logits_alone_note(self) -> str:
        """What people are told of a network of logits alone, and why it is one; "" of others."""
        return "" if self.head_name is not None else logits_alone_text(self.called, self._linear_layers)

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, H, W) in [0, 1]."""
        seen: dict[str, Any] = {}
        with ExitStack() as stack:
            if self.head_name is not None:
                stack.enter_context(_recorded_output(self.head, "logits", seen, inputs="features"))
            for name in self.tap_names:
                stack.enter_context(_recorded_output(self.module.get_submodule(name), f"tap {name}", seen))
            result = self.module(_contiguous(self.normalise(images)))
        taps = tuple(seen[f"tap {name}"] for name in self.tap_names)
        if self.head_name is not None:
            return Representation(seen["logits"], seen["features"], taps)
        logits = returned_values(result)[self._logits_place]
        return LogitsAlone.of(self.called, logits, self.mean.new_empty((images.shape[0], 0)), taps)

    def require_finite(self, images: Tensor) -> None:
        """Raise OodbenchError for logits of images, float (N, 3, H, W) in [0, 1], that are not finite."""
        with torch.no_grad():
            if not self.represent(images).logits.isfinite().all():
                raise OodbenchError(f"{self.called} gives logits that are NaN or infinite: its weights are broken")

    def _check(self, images: Tensor) -> None:
        """Check what scores rest on: images give the same alone and together, and the head explains the logits."""
        together, again = self.represent(images), self.represent(images)
        alone = torch.cat([self.represent(image[None]).logits for image in images])
        if not _nearly_equal(together.logits, again.logits):
            raise OodbenchError(
                f"{self.called} gives other logits when it sees the same images again: take the random part out of it"
            )
        if not _nearly_equal(together.logits, alone):
            raise OodbenchError(
                f"{self.called} gives other logits for an image alone than in a batch, so a score would depend on its "
                "neighbours: let it treat each image for itself"
            )
        if self.head_name is not None and not _nearly_equal(self.head(together.features), together.logits):
            raise OodbenchError(
                f"what {self.head_name!r} of {self.called} makes of its input is not what comes out of it: name "
                "another layer with head="
            )


def wrap_module(module: nn.Module, images: Tensor, how: Wrapping) -> Network:
    """Make a network of a trained module, on the device of `images`, on which it is tried; see `ModuleNetwork`.

    Raises:
        OodbenchError: as `ModuleNetwork`, and for logits that are not finite.
    """
    require_module(module)
    if isinstance(module, Network):
        return module.to(images.device)
    network = ModuleNetwork(module.to(images.device), images, mean=how.mean, std=how.std, head=how.head, taps=how.taps)
    network.require_finite(images)
    return network


def require_module(module: Any) -> None:
    """Raise OodbenchError for anything but a module that is built, and in Python."""
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise OodbenchError(f"network is the class {module.__name__}: make one, and load its weights")
    if not isinstance(module, nn.Module):
        raise OodbenchError(f"network is of the type {type(module).__name__}: give a torch.nn.Module")
    if isinstance(module, torch.jit.ScriptModule):
        raise OodbenchError(f"{type(module).__name__} is TorchScript, which hides its parts: give the module itself")


def _other_number_types(module: nn.Module) -> str:
    """The types of weights that are not in float32, as images are; "" if all are."""
    types = {str(one.dtype).removeprefix("torch.") for one in module.parameters() if one.is_floating_point()}
    return ", ".join(sorted(types - {"float32"}))


_OTHER_CHANNELS = re.compile(rf"to have (\d+) channels, but got {CHANNELS} channels")
"""The message of torch for a convolution that takes other images than coloured ones."""


def _advice_for(module: nn.Module, message: str) -> str:
    """Say what to do about a module that does not take images, going by its error message."""
    if other := _other_number_types(module):
        return f"its weights are {other}, so call .float() on it"
    if other_channels := _OTHER_CHANNELS.search(message):
        return (
            f"it is given three channels, RGB, and takes {other_channels[1]}: wrap it in a module that makes these of "
            "them" + (", such as images.mean(1, keepdim=True)" if other_channels[1] == "1" else "")
        )
    return "give images of the size that it was made for"


class _WatchedPass:
    """One pass over a module, part by part.

    Attributes:
        called: what the module is called in messages.
        outputs: what came out of each part, by name, in the order in which parts were done; of the last call.
        inputs: what went in.
        candidates: names of linear layers that were called.
        result: what the module returned.
        parts: parts by name, Sequentials taken apart, as they stand in the module.
    """

    def __init__(self, network: ModuleNetwork, images: Tensor) -> None:
        module = network.module
        self.called = network.called
        self.known = {name: part for name, part in module.named_modules() if name}
        seen: dict[str, Any] = {}
        with ExitStack() as stack:
            for name, part in self.known.items():
                stack.enter_context(_recorded_output(part, name, seen, inputs=f"{INTO}{name}"))
            try:
                self.result = module(network.normalise(images))
            except Exception as error:
                message = f"{type(error).__name__}: {error}".splitlines()[0]
                raise OodbenchError(
                    f"{self.called} does not take images, float {tuple(images.shape)} in [0, 1] ({message}): "
                    f"{_advice_for(module, message)}"
                ) from error
        tensors = {name: value for name, value in seen.items() if isinstance(value, Tensor)}
        self.outputs = {name: tensor for name, tensor in tensors.items() if name in self.known}
        self.inputs = {name.removeprefix(INTO): tensor for name, tensor in tensors.items() if name.startswith(INTO)}
        self.candidates = [name for name in self.outputs if isinstance(self.known[name], nn.Linear)]
        self.parts = list(_parts(module))

    @property
    def head_candidates(self) -> str:
        """The candidates for a head, in words."""
        widths = [f"{name!r} ({self.outputs[name].shape[-1]} outputs)" for name in self.candidates]
        return ", ".join(widths) or "none at all"


def _contiguous(images: Any) -> Any:
    """Images in the usual order in memory: many modules flatten their maps with view(), which takes no other."""
    return images.contiguous() if isinstance(images, Tensor) else images


@contextmanager
def _recorded_output(part: nn.Module, name: str, seen: dict[str, Any], inputs: str = "") -> Iterator[None]:
    """Inside, what comes out of `part` is kept under `name`, and what goes in under `inputs` if that is named.

    Not only tensors: bounds run a network on boxes in place of images.
    """

    def keep(_: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        seen.pop(name, None)  # the last call counts, also for the order
        seen[name] = result
        if inputs and given:
            seen[inputs] = given[0]

    handle = part.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _head_name(network: ModuleNetwork, watched: _WatchedPass, named: str | None) -> str | None:
    """The name of the layer that makes logits of features; None where none is named and no linear layer does."""
    if named is not None:
        if not isinstance(named, str):
            raise OodbenchError(
                f"head is {named!r}: name a layer of {watched.called}; there are {watched.head_candidates}"
            )
        if named not in watched.known:
            raise unknown(f"layer of {watched.called}", named, watched.candidates)
        if named not in watched.candidates:
            raise OodbenchError(
                f"head={named!r} is not a linear layer of {watched.called} that a pass comes through; there are "
                f"{watched.head_candidates}"
            )
        return _require_flat_features(watched, named)
    possible = list(possible_logits(watched.called, watched.result).values())
    makers = [
        name for name in watched.candidates if any(_are_same(watched.outputs[name], logits) for logits in possible)
    ]
    if len(makers) == 1:
        return _require_flat_features(watched, makers[0])
    if makers:
        raise OodbenchError(
            f"{watched.called} has {len(makers)} heads: say which one with head=, of "
            + ", ".join(f"{name!r} ({watched.outputs[name].shape[-1]} outputs)" for name in makers)
        )
    sigmoids = [part for part in watched.outputs if isinstance(watched.known[part], nn.Sigmoid)]
    wrong = doubt_about_logits(possible)
    if any(_are_same(watched.outputs[name], possible[0]) for name in sigmoids):
        wrong = "returns probabilities, and scores such as the energy need logits: leave the sigmoid out"
    if wrong:
        raise OodbenchError(
            f"{watched.called} {wrong}; name the layer whose outputs are the logits with head=; its linear layers: "
            f"{watched.head_candidates}"
        )
    return None


def _require_flat_features(watched: _WatchedPass, name: str) -> str:
    features = watched.inputs[name]
    if features.ndim != 2 or watched.outputs[name].ndim != 2:
        raise OodbenchError(
            f"{name!r} of {watched.called} sees {tuple(features.shape)} and not one vector an image: name a layer that "
            f"does with head=; its linear layers: {watched.head_candidates}"
        )
    return name


def _parts(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of a module's parts, Sequentials and wrappers of a single part taken apart."""
    children = list(module.named_children())
    for name, child in children:
        apart = isinstance(child, nn.Sequential) or (len(children) == 1 and any(True for _ in child.children()))
        if apart:
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield prefix + name


def _usual_taps(watched: _WatchedPass) -> tuple[str, ...]:
    sizes: dict[tuple[int, ...], str] = {}
    for name, output in watched.outputs.items():
        if name in watched.parts and _is_map(output):
            sizes[tuple(output.shape[2:])] = name
    order = list(watched.outputs)
    return tuple(sorted(sizes.values(), key=order.index))


def _known_taps(watched: _WatchedPass, names: Sequence[str]) -> tuple[str, ...]:
    maps = [name for name, output in watched.outputs.items() if _is_map(output)]
    for name in names:
        if name not in watched.known:
            raise unknown(f"part of {watched.called}", name, maps)
        if name not in maps:
            raise OodbenchError(
                f"taps: {name!r} of {watched.called} gives no feature map (N, C, H, W) in a pass; these do: "
                f"{', '.join(maps) or 'none'}"
            )
    return tuple(names)


def _is_map(output: Tensor) -> bool:
    return output.ndim == 4 and output.shape[2] * output.shape[3] > 1


def _are_same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


def _nearly_equal(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=AGREES, atol=AGREES * float(one.abs().max()))


def channels(
    mean: str | Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel, as somebody gives them; None for what is left out.

    Raises:
        OodbenchError: they are not three numbers each in [0, 1] units.
    """
    if mean is None or isinstance(mean, str):
        mean = INSIDE if mean is None else mean
        if mean != INSIDE or std is not None:
            raise OodbenchError(
                f"mean is {mean!r}{' beside a std' if std is not None else ''}: give mean and std of the three "
                f"channels in [0, 1] units, or mean={INSIDE!r} alone for a network that takes images in [0, 1]"
            )
        return (0.0,) * CHANNELS, (1.0,) * CHANNELS
    try:
        means, stds = (tuple(map(float, values)) for values in (mean, (1.0,) * CHANNELS if std is None else std))
    except (TypeError, ValueError) as error:
        raise OodbenchError("mean and std are not lists of numbers: give one for each of the three channels") from error
    if len(means) != CHANNELS or len(stds) != CHANNELS:
        raise OodbenchError(f"mean has {len(means)} numbers and std {len(stds)}: give one for each of the 3 channels")
    if not (all(0 <= value <= 1 for value in means) and all(0 < value <= 1 for value in stds)):
        raise OodbenchError(f"mean {means} and std {stds} are not in [0, 1] units: of 8-bit levels, divide each by 255")
    return means, stds


def _refuse_lazy(module: nn.Module, called: str) -> None:
    weights = [*module.named_parameters(), *module.named_buffers()]
    if waiting := [name for name, weight in weights if is_lazy(weight)]:
        raise OodbenchError(
            f"{called} has lazy layers, such as that of {waiting[0]!r}, whose shapes nobody knows yet: pass an image "
            "through it where it is built"
        )


def require_evaluation(module: nn.Module) -> None:
    """Raise OodbenchError for a module that is in train mode, or one of whose parts is."""
    if learning := [name for name, part in module.named_modules() if part.training]:
        raise OodbenchError(
            f"{type(module).__name__} stands in train mode ({len(learning)} of its parts, such as "
            f"{learning[0] or 'itself'!r}): dropout would draw and batch norm would learn from test images; call "
            ".eval() on it first"
        )
