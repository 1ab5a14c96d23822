"""`python -m studies.promises`: whether thresholds and discoveries keep what they promise, by simulation.

Scores of ID images are drawn and split, again and again: on one part the threshold is chosen, or the p-values rest, and
on the other is counted what becomes of ID images. A promise is kept if the mean over the splits exceeds it by no more
than two of its standard errors.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import click
import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from oodbench.statistics.conformal import discoveries, p_values, threshold

Floats = npt.NDArray[np.float64]

SPLITS = 500
ALPHAS = (0.01, 0.05, 0.1)
PREVALENCES = (0.01, 0.1, 0.5)

CHOSEN_ON, COUNTED = 400, 1000
"""ID images of a split."""

CALIBRATION, BATCH = 2000, 400
"""ID images that p-values rest on, and images of a batch."""

APART = 4.0
"""Standard deviations between ID and OOD scores."""

SCORES: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, count: rng.standard_normal(count),
    "heavy tails": lambda rng, count: rng.standard_t(2, count),
    "ties": lambda rng, count: np.round(3 * rng.standard_normal(count)),
}
"""How scores of ID images are drawn."""


@dataclass(frozen=True)
class Kept:
    """What came of a promise.

    Attributes:
        what: was promised.
        where: with which scores, or images.
        promised: a share.
        realised: its mean over the splits.
        error: standard error of that.
    """

    what: str
    where: str
    promised: float
    realised: float
    error: float

    @property
    def holds(self) -> bool:
        """No more than two standard errors above what was promised."""
        return self.realised <= self.promised + 2 * self.error


def rejections(splits: int, seed: int) -> Iterator[Kept]:
    """Shares of ID images that a threshold rejects."""
    for name, draw in SCORES.items():
        for alpha in ALPHAS:
            rng = np.random.default_rng(seed)
            shares = np.zeros(splits)
            for at in range(splits):
                scores = draw(rng, CHOSEN_ON + COUNTED)
                shares[at] = threshold(scores[:CHOSEN_ON], 1 - alpha).rejects(scores[CHOSEN_ON:]).mean()
            yield _kept("ID rejected", f"{name}, {CHOSEN_ON} ID images", alpha, shares)


def false_discoveries(splits: int, seed: int) -> Iterator[Kept]:
    """Shares of ID images among those that are called OOD in a batch."""
    for alpha in ALPHAS:
        for prevalence in PREVALENCES:
            rng = np.random.default_rng(seed)
            shares = np.zeros(splits)
            for at in range(splits):
                ood = rng.random(BATCH) < prevalence
                scores = rng.standard_normal(BATCH) - APART * ood
                called = discoveries(p_values(rng.standard_normal(CALIBRATION), scores), alpha)
                shares[at] = (called & ~ood).sum() / max(1, called.sum())
            yield _kept("false discoveries", f"{prevalence:.0%} of {BATCH} images OOD", alpha, shares)


def _kept(what: str, where: str, promised: float, shares: Floats) -> Kept:
    return Kept(what, where, promised, float(shares.mean()), float(shares.std(ddof=1) / np.sqrt(len(shares))))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--splits", type=click.IntRange(min=2), default=SPLITS, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(splits: int, seed: int) -> None:
    """Hold promises of thresholds and of false discovery rates against simulated splits."""
    found = [*rejections(splits, seed), *false_discoveries(splits, seed)]
    rows = [
        [
            one.what,
            one.where,
            f"{100 * one.promised:g}",
            f"{100 * one.realised:.2f}",
            f"{100 * one.error:.2f}",
            "yes" if one.holds else "NO",
        ]
        for one in found
    ]
    headings = ["", "", "at most, %", "realised, %", "standard error", "kept"]
    click.echo(tabulate(rows, headings, tablefmt="github", disable_numparse=True))
    click.echo(f"\n{splits} splits, seed {seed}.")
    if not all(one.holds for one in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
