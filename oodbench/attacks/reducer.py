"""The reducer behind every attack: it keeps the candidate with the highest exact score on the 8-bit grid."""

import torch
from torch import Tensor

from oodbench.attacks.balls import Ball, LinfBall, require_unit_range
from oodbench.basics.gradient import PerImage


class Reducer:
    """The best of all candidates offered for each image; the image itself is the first.

    Candidates may come from any attack, at any precision. Each is rounded to the 8-bit grid, put back into the ball and
    into [0, 1], and scored exactly; per image the first with the highest score wins. So a stronger attack can never do
    worse than its parts, and what is stored is what was scored.

    Args:
        score: by which candidates are compared; called without gradients.
        images: float (N, C, H, W) in [0, 1], on the 8-bit grid.
        epsilon: radius of the ball in whole levels of 1/255.
        ball: of the norm.

    Raises:
        OodbenchError: images outside [0, 1].

    Attributes:
        before: (N,) scores of `images`.
        best: (N,) scores of the best candidates.
        winner: int64 (N,), which offer won, counted from 1; 0 is the image itself.
    """

    def __init__(self, score: PerImage, images: Tensor, epsilon: int, ball: type[Ball] = LinfBall) -> None:
        require_unit_range(images)
        self._score = score
        self._levels = (images * 255).round()
        self._around = ball(self._levels / 255, epsilon)
        self._best_levels = self._levels.clone()
        with torch.no_grad():
            self.before = score(self._levels / 255)
        self.best = self.before.clone()
        self.winner = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        self._offers = 0

    @property
    def images(self) -> Tensor:
        """The best candidates, float (N, C, H, W) in [0, 1], on the 8-bit grid."""
        return self._best_levels / 255

    def offer(self, candidates: Tensor, rows: Tensor | None = None) -> Tensor:
        """Score candidates, (M, C, H, W), for the images in `rows` (M,), all by default; return exact scores (M,).

        A candidate that is not a number counts as the image itself. Without candidates nothing is scored: many networks
        cannot take a batch of no images.
        """
        self._offers += 1
        if not len(candidates):
            return self.best[:0]
        rows = torch.arange(len(self._levels), device=self._levels.device) if rows is None else rows
        levels = self._around.select(rows).on_grid(candidates)
        with torch.no_grad():
            scores = self._score(levels / 255)
        better = scores > self.best[rows]
        chosen = rows[better]
        self._best_levels[chosen], self.best[chosen] = levels[better], scores[better]
        self.winner[chosen] = self._offers
        return scores
