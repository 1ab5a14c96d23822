"""Image classifiers of Hugging Face's transformers, `transformers:FOLDER` or `transformers:hf://org/name@COMMIT`.

FOLDER is as `save_pretrained` leaves it: `config.json` says what the network is, `preprocessor_config.json` how images
become its input. Weights come with a checkpoint, FOLDER/model.safetensors or hf://org/name@COMMIT/model.safetensors.
Nothing in the folder is run: what brings code of its own is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.basics.hub import COMMIT, commit_of, fetch_file, fetch_file_if_there
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.builder import NONE, Builder, Channels, error_line
from oodbench.networks.naming import rename

if TYPE_CHECKING:
    from torch import nn

LIBRARY = "transformers"

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"

SCHEME = "hf://"

INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's filters by the numbers that processors have for them."""

SQUASHED_FROM = 384
"""Pixels of ConvNeXt's input from which on its processor ignores the aspect ratio instead of cutting the middle out."""


def find(name: str) -> Builder:
    """The builder of a network by its folder, or by its address on the hub.

    Raises:
        OodbenchError: transformers is not installed, there is no such folder, or it is of something else.
    """
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise OodbenchError(
            f"network '{LIBRARY}:{name}' needs transformers, which is not installed: pip install "
            "'oodbench[transformers]'"
        )
    folder = _folder(name)
    config = _read(folder / CONFIG)
    if config.get("auto_map"):
        raise OodbenchError(
            f"{name} brings code of its own, which is not run: build the network in a file of yours, FILE.py:BUILDER"
        )
    make, description = partial(_build, folder), f"{_architecture(config)} of transformers"
    if not (folder / PROCESSOR).is_file():
        return Builder(make, description)  # and whoever uses it says how images go into it
    processor = _processor(folder)
    return Builder(make, description, *_channels(name, processor), preprocessing=_preprocessing(name, processor))


def identity(name: str) -> str:
    """The digest of a network's two files, which stands in keys for it beside its weights."""
    folder = _folder(name)
    return digest(*(path.read_bytes() for path in (folder / CONFIG, folder / PROCESSOR) if path.is_file()))


def called(name: str) -> str:
    """The name of a network wherever its folder lies."""
    return name.removeprefix(SCHEME) if name.startswith(SCHEME) else Path(name).resolve().name


def placed(name: str, folder: Path) -> str:
    """The name with the whole path of its folder, which stands there as `folder` sees it."""
    return name if name.startswith(SCHEME) else str((folder / Path(name).expanduser()).resolve())


def _folder(name: str) -> Path:
    """The folder of its files: those on the hub are fetched, unless the library's own cache has them."""
    if not name.startswith(SCHEME):
        folder = Path(name).expanduser()
        if not (folder / CONFIG).is_file():
            raise OodbenchError(
                f"there is no {CONFIG} in {folder}: name a folder as save_pretrained() leaves it, or "
                f"{LIBRARY}:{SCHEME}org/name@COMMIT"
            )
        return folder
    parts = re.fullmatch(r"hf://(?P<repo>[^/@#]+/[^/@#]+)(?:@(?P<revision>[^/#]+))?", name.rstrip("/"))
    if parts is None:
        raise OodbenchError(
            f"{name!r} is not the address of a network on the hub: write {LIBRARY}:{SCHEME}org/name@COMMIT"
        )
    repo, revision = parts["repo"], parts["revision"]
    if revision is None or not COMMIT.fullmatch(revision):
        raise OodbenchError(
            f"{name!r} is not pinned: what a branch or a tag names may change, and the result with it; write "
            f"{LIBRARY}:{SCHEME}{repo}@{commit_of(repo, revision)}"
        )
    fetch_file_if_there(repo, revision, PROCESSOR)
    return fetch_file(repo, revision, CONFIG).parent


def _build(folder: Path, num_classes: int) -> nn.Module:
    from transformers import AutoConfig, AutoModelForImageClassification

    try:
        config = AutoConfig.from_pretrained(folder, num_labels=num_classes, trust_remote_code=False)
        make: Any = AutoModelForImageClassification
        made: nn.Module = make.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise OodbenchError(
            f"transformers makes no image classifier of {folder / CONFIG}: {error_line(error)}"
        ) from error
    return _with_saved_names(made.float())


def _with_saved_names(module: nn.Module) -> nn.Module:
    """The module with its weights under the names that they have in its files, which may be older than its code's."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before transformers 5 they were the same
        return module
    state = module.state_dict(keep_vars=True)
    own = {id(tensor): name for name, tensor in state.items()}
    revert: Any = revert_weight_conversion
    saved = revert(module, dict(state))
    names = {own[id(tensor)]: name for name, tensor in saved.items() if id(tensor) in own}
    if len(names) == len(state) == len(saved):
        rename(module, {name: other for name, other in names.items() if name != other})
    return module


def _read(path: Path) -> Mapping[str, Any]:
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise OodbenchError(f"{path} cannot be read ({error_line(error)}): get it again from where it came") from error
    if not isinstance(settings, dict):
        raise OodbenchError(f"{path} does not hold a JSON object: get it again from where it came")
    return settings


def _architecture(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else config.get("model_type")
    return str(named)


def _processor(folder: Path) -> Mapping[str, Any]:
    """The settings of the processor, in the words of today's transformers."""
    from transformers import AutoImageProcessor

    _read(folder / PROCESSOR)
    try:
        make: Any = AutoImageProcessor
        settings: Mapping[str, Any] = make.from_pretrained(folder, trust_remote_code=False).to_dict()
    except Exception as error:
        raise OodbenchError(
            f"transformers makes no image processor of {folder / PROCESSOR}: {error_line(error)}"
        ) from error
    return settings


def _channels(name: str, processor: Mapping[str, Any]) -> tuple[Channels, Channels]:
    scale = float(processor.get("rescale_factor") or 1 / 255)
    if processor.get("do_rescale", True) and not isclose(scale, 1 / 255, rel_tol=1e-6):
        raise OodbenchError(
            f"{name}: its processor scales 8-bit levels by {scale} and not by 1/255: build the network in a file of "
            "yours, FILE.py:BUILDER, and say mean and std there"
        )
    if not processor.get("do_normalize", True):
        return NONE
    mean, std = (tuple(map(float, processor.get(what) or ())) for what in ("image_mean", "image_std"))
    if len(mean) != 3 or len(std) != 3:
        raise OodbenchError(f"{name}: its processor has the mean {mean} and std {std}, expected three numbers each")
    return mean, std


def _preprocessing(name: str, processor: Mapping[str, Any]) -> Preprocessing | None:
    """Resizing and cutting as the processor does it; None where it does none."""
    if not processor.get("do_resize", True):
        return None
    size, cut = processor.get("size") or {}, processor.get("crop_size") or {}
    cuts = bool(processor.get("do_center_crop"))
    interpolation = INTERPOLATIONS.get(processor.get("resample", 2), "")
    side = int(size.get("shortest_edge") or size.get("height") or 0)
    middle = int(cut.get("height") or side) if cuts else side
    squares = size.get("width") == size.get("height") and cut.get("width") == cut.get("height")
    if not side or not interpolation or not squares or middle > side:
        raise OodbenchError(
            f"{name}: its processor resizes to {size}, cuts {cut} and interpolates by {processor.get('resample')}, "
            "which makes no square that is known here: say it yourself, [network.preprocessing] in a suite"
        )
    share = processor.get("crop_pct")
    if share and not cuts:  # as ConvNeXt's does it
        squashed = side >= SQUASHED_FROM
        return Preprocessing(side, 1.0 if squashed else float(share), interpolation, "squash" if squashed else "center")
    squashed = "height" in size or not cuts
    return Preprocessing(middle, middle / side, interpolation, "squash" if squashed else "center")
