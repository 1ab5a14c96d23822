"""Precision: the exactness that a network may give up for speed, as a run asks for it and as its results say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bf16")
"""Of training, by name; "auto" is bf16 on a GPU that has it, float32 elsewhere."""


@dataclass(frozen=True)
class Compute:
    """Full float32 and nothing compiled, unless it says otherwise.

    Attributes:
        bf16: training and mining run in bfloat16 wherever torch's autocast holds that to be safe, channels last;
            weights, losses and gradients of weights stay float32. Other weights come out, so a network's key says it.
        tf32: attacks and scores may round products to TF32 on a GPU. Other scores come out, so a result's key says it.
        compiled: networks go through `torch.compile`: minutes at the start, and faster from then on.
    """

    bf16: bool = False
    tf32: bool = False
    compiled: bool = False

    def options(self, device: torch.device, trains: bool = True) -> list[str]:
        """The options with which `oodbench run` calculates like this elsewhere; `trains` if it trains networks."""
        precision = "bf16" if self.bf16 else "float32" if device.type == "cuda" else ""
        words = ["--precision", precision] if precision and trains else []
        return words + ["--tf32"] * self.tf32 + ["--compile"] * self.compiled


EXACT = Compute()
