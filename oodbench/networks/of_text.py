"""A network like CLIP: an image tower whose last layer is a matrix of text embeddings, one row a class.

No tokenizer and no text tower: what texts were embedded with is somebody else's business, and comes as a matrix in a
safetensors file. Radford et al. 2021, arXiv:2103.00020.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import normalize

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Network, Representation

TEMPERATURE = 0.01
"""Of CLIP: what cosines are divided by; its `logit_scale` is the inverse of this, at its upper end."""

SHORTEST = 1e-6
"""Length of an embedding below which it points nowhere."""


class TextNetwork(Network):
    """Cosines between an image's embedding and those of texts, divided by a temperature, as logits.

    The features are the image's embedding at unit length, and the last layer is the matrix of text embeddings at unit
    length over the temperature, without a bias, so that every detector of features and last layers works as ever. Where
    the tower gives patch tokens, these are at unit length the only tap.

    Negative labels are rows behind those of the classes: logits that are of no class, as a reject class is.

    Args:
        tower: maps normalised images, float (N, 3, H, W), to embeddings (N, D); or to a pair of these and tokens of
            patches (N, D, h, w) in the space of the embeddings, or None. `TimmTower`, or the `visual` of an open_clip
            model.
        texts: an embedding for each class, (K, D), of any length.
        temperature: what cosines are divided by, above 0.
        negatives: embeddings of texts that are of no class, (M, D); None for none.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.

    Raises:
        OodbenchError: embeddings that are not matrices of floats, or of another width than each other.
    """

    def __init__(
        self,
        tower: nn.Module,
        texts: Tensor,
        temperature: float = TEMPERATURE,
        negatives: Tensor | None = None,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__(mean, std)
        if not 0 < temperature < float("inf"):
            raise OodbenchError(f"temperature is {temperature}: give what cosines are divided by, such as 0.01")
        rows = [_check_embeddings(texts, "texts", 2)]
        if negatives is not None:
            rows.append(_check_embeddings(negatives, "negatives", 1))
            if rows[0].shape[1] != rows[1].shape[1]:
                raise OodbenchError(
                    f"texts are {rows[0].shape[1]} wide and negatives {rows[1].shape[1]}: embed both by one text tower"
                )
        self.tower = tower
        self.temperature = temperature
        weight = normalize(torch.cat(rows), dim=1) / temperature
        self.fc = nn.Linear(weight.shape[1], weight.shape[0])
        self.fc.load_state_dict({"weight": weight, "bias": torch.zeros(len(weight))})
        self.fc.requires_grad_(False)

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, H, W) in [0, 1].

        Raises:
            OodbenchError: the tower gives no embeddings as wide as those of the texts.
        """
        given = self.tower(self.normalise(images))
        embeddings, tokens = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        width = self.fc.in_features
        if not isinstance(embeddings, Tensor) or embeddings.shape != (len(images), width):
            shape = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
            raise OodbenchError(
                f"the image tower gives {shape} for {len(images)} images, and texts are {width} wide: give the tower "
                "with its projection, of the model that embedded the texts"
            )
        if tokens is not None and (tokens.ndim != 4 or tokens.shape[:2] != embeddings.shape):
            raise OodbenchError(
                f"the image tower gives tokens {tuple(tokens.shape)} for {len(images)} images: give (N, {width}, h, w)"
            )
        features = normalize(embeddings, dim=1)
        return Representation(self.fc(features), features, () if tokens is None else (normalize(tokens, dim=1),))


class TimmTower(nn.Module):
    """An image tower of timm with its projection, such as `vit_base_patch16_clip_224`.

    Of a vision transformer the patches come as well, as they leave the last block, through the norm and the projection
    that the whole image goes through.

    Args:
        name: as timm has it.
        width: D, of the embeddings.
        pretrained: fetch timm's weights, which needs a network.
        options: as `timm.create_model` takes them.
    """

    def __init__(self, name: str, width: int, pretrained: bool = False, **options: Any) -> None:
        super().__init__()
        try:
            self.body: Any = timm.create_model(name, pretrained=pretrained, num_classes=width, **options)
        except (RuntimeError, TypeError, ValueError) as error:
            raise OodbenchError(f"timm cannot make an image tower {name!r}: {error}") from error

    def forward(self, normalised: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (N, D), and tokens (N, D, h, w) or None, of images float (N, 3, H, W)."""
        last = self.body.forward_features(normalised)
        embeddings: Tensor = self.body.forward_head(last)
        if last.ndim != 3 or not hasattr(self.body, "fc_norm"):
            return embeddings, None
        patches = self.body.head(self.body.fc_norm(last[:, self.body.num_prefix_tokens :]))
        height, width = self.body.patch_embed.dynamic_feat_size(normalised.shape[-2:])
        return embeddings, patches.transpose(1, 2).unflatten(2, (height, width))


def embeddings(path: str | Path, name: str = "") -> Tensor:
    """Read the matrix in a safetensors file, float32 (rows, D).

    Args:
        path: of the file.
        name: of the tensor; may be left out where there is one alone.

    Raises:
        OodbenchError: it is not a safetensors file, or has no such matrix.
    """
    try:
        tensors: Mapping[str, Tensor] = safetensors.torch.load_file(Path(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise OodbenchError(f"cannot read embeddings from {path} ({error}): give a safetensors file") from error
    if not name and len(tensors) != 1:
        raise OodbenchError(
            f"{path} has {len(tensors)} tensors ({', '.join(sorted(tensors)[:5])}): say which by its name"
        )
    if name and name not in tensors:
        raise OodbenchError(f"{path} has no tensor {name!r}: choose one of {', '.join(sorted(tensors)[:5])}")
    return _check_embeddings(tensors[name or next(iter(tensors))], str(path), 1)


def _check_embeddings(given: Tensor, what: str, least: int) -> Tensor:
    """Check embeddings, and convert them to float32 (rows, D)."""
    if not isinstance(given, Tensor) or given.ndim != 2 or not given.is_floating_point():
        shape = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise OodbenchError(f"{what}: {shape} is not a matrix of embeddings: give floats, (rows, width)")
    if len(given) < least:
        raise OodbenchError(f"{what}: {len(given)} rows are too few: give an embedding for each of {least} or more")
    lengths = given.detach().float().norm(dim=1)
    if not bool(given.isfinite().all()) or float(lengths.min()) < SHORTEST:
        row = int((~given.isfinite().all(1) | (lengths < SHORTEST)).nonzero()[0])
        raise OodbenchError(f"{what}: row {row} is not finite, or points nowhere: embed that text again")
    return given.detach().float()
