"""ROSS: median smoothing whose upper part is stretched where the score is steady (CVPR Findings 2026).

From the authors' code (ross_postprocessor.py, commit f8f030d). There noise is added after normalisation, with a
deviation of 0.05 or 0.1 in units of the channels' deviations, which is about 0.25 for CIFAR; here it is in pixel space,
as every radius is. Their attacks climb the base score alone and are transferred, see `published_objective`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.draws import Draws, DrawsPerImage
from oodbench.basics.passes import Passes
from oodbench.detector import Tuning, TuningImages
from oodbench.networks.network import as_input, batch_size

from .median import Median

SHARE = 0.05
"""Of the held-out ID images' medians, those up to which nothing is stretched."""

LEAST = 1e-12
"""A deviation below this counts as this: copies that all score alike would divide by nothing."""


class ROSS(Median):
    r"""The median of noisy copies' scores, stretched above a quantile where the scores of the copies agree.

    m is the median of the base's scores of noisy copies, d the mean distance of these scores from m, which the authors
    call MAD, and q the 5 % quantile of m on held-out ID images.

    $$s(x) = \min(m, q) + \max(m - q, 0)\, (1 + \lambda / d)$$
    """

    name = "ross"
    paper = "ROSS 2026, CVPR Findings; code f8f030d"

    @dataclass(frozen=True)
    class Parameters(Median.Parameters):
        """Defaults of the authors' scripts.

        Attributes:
            base: name of the detector whose score is smoothed; the authors take gen or fdbd.
            n: noisy copies, each a draw and a pass.
            sigma: deviation of the noise, in units of [0, 1] pixel space: 0.1 of theirs on CIFAR.
            stretch: lambda; 0.05 in the authors' ross.yml.
        """

        base: str = "gen"
        sigma: float = 0.025
        stretch: float = 0.01

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.stretch < 0:
                raise ValueError(f"stretch is {self.stretch}: choose 0 or more")

    parameters: Parameters

    def score_drawn(self, images: Tensor, draws: Draws) -> Tensor:
        """The median, stretched beyond q."""
        scores = self._around(images, draws)
        median = scores.median(0).values
        deviation = (scores - median).abs().mean(0).clamp(min=LEAST)
        above = (median - self._quantile).clamp(min=0)
        return median.clamp(max=self._quantile) + above * (1 + self.parameters.stretch / deviation)

    def settle(self) -> None:
        """No quantile yet: nothing is stretched until it is known."""
        super().settle()
        self._quantile = float("inf")

    def tuning(self) -> Tuning | None:
        """Held-out ID images for the quantile, beside what the base asks for."""
        own, of_base = Tuning(outliers=False, passes=Passes(self.parameters.n)), super().tuning()
        if of_base is None:
            return own
        return replace(of_base, passes=of_base.passes + own.passes)

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """The base's, then the quantile."""
        tuned = self._base.tune(images) if self._base.tuning() else {}
        medians = []
        size = batch_size(images.id.device, images.id.shape[-1])
        with torch.no_grad():
            for start in range(0, len(images.id), size):
                part = as_input(images.id[start : start + size])
                draws = DrawsPerImage(range(start, start + len(part)), "tuning")
                medians.append(super().score_drawn(part, draws))
        self._quantile = float(torch.cat(medians).quantile(SHARE))
        return {**tuned, "quantile": self._quantile}
