"""Wrapping: how somebody's module becomes a network, described once for Python, suites and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oodbench.images.preprocessing import Preprocessing

INSIDE = "inside"
"""In place of a mean: the network takes images in [0, 1] and normalises them itself, or needs no normalisation."""


@dataclass(frozen=True, kw_only=True)
class Wrapping:
    """How somebody's module becomes a network; None for what is left out, which is then found, or is nothing.

    Attributes:
        mean: subtracted from each RGB channel before the network sees images, in [0, 1] units; "inside" where the
            network does that itself, which is what is taken where nobody says anything.
        std: divides each RGB channel; 1 if left out.
        head: name of the network's last linear layer, as `named_modules` has it; found if left out.
        taps: names of the parts whose outputs are the feature maps of Mahalanobis and its like; the last one of each
            size if left out, see `oodbench.networks.of_module.ModuleNetwork`.
        preprocessing: how image files and Pillow images become the network's input; as they are if left out.
    """

    mean: str | Sequence[float] | None = None
    std: Sequence[float] | None = None
    head: str | None = None
    taps: Sequence[str] | None = None
    preprocessing: Preprocessing | None = None


def wrapping_of(
    mean: Sequence[float] = (), std: Sequence[float] = (), head: str = "", taps: Sequence[str] = ()
) -> Wrapping:
    """Return the wrapping that builders and suites mean, who write () and "" for what they leave out."""
    return Wrapping(mean=mean or None, std=std or None, head=head or None, taps=taps or None)
