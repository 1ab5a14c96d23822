"""`python -m studies.coverage`: how often the 95 % intervals hold the truth, by simulation.

Scores are drawn from populations whose metrics are known, intervals are made of each draw, and those that hold the true
value are counted. The truth of a population is computed from a fine grid of its quantiles, in the proportion of ID to
OOD that is drawn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import click
import numpy as np
from scipy.special import betaincinv, logit, ndtr, ndtri, stdtrit
from tabulate import tabulate

from oodbench.basics.arrays import Floats
from oodbench.metrics import CONVENTIONS, evaluate
from oodbench.statistics.differences import Detection, differences
from oodbench.statistics.intervals import intervals, share_interval

GRID = 1_000_000
"""Images of the larger side whose metrics stand for the truth."""

QUANTILES: Mapping[str, Callable[[Floats], Floats]] = {
    "normal": ndtri,
    "logistic": logit,
    "exponential": lambda chance: -np.log1p(-chance),
    "minus-exponential": np.log,
    "t3": lambda chance: np.asarray(stdtrit(3, chance)),
    "beta(.5,.5)": lambda chance: np.asarray(betaincinv(0.5, 0.5, chance)),
    "beta(2,8)": lambda chance: np.asarray(betaincinv(2, 8, chance)),
    "uniform": lambda chance: chance,
    "point": np.zeros_like,
}
"""Distributions by their quantile functions."""


@dataclass(frozen=True)
class Part:
    """Some of a population: a share of the images, whose scores are `location` + `scale` times a distribution's."""

    kind: str
    location: float = 0.0
    scale: float = 1.0
    weight: float = 1.0

    def scores(self, chances: Floats) -> Floats:
        """Scores at some quantiles (N,)."""
        return self.location + self.scale * np.asarray(QUANTILES[self.kind](chances))


@dataclass(frozen=True)
class Population:
    """Images of one kind.

    Attributes:
        parts: whose weights sum to 1.
        step: scores are rounded to multiples of it; not at all if 0.
    """

    parts: tuple[Part, ...]
    step: float = 0.0

    def scores(self, which: Floats, chances: Floats) -> Floats:
        """Scores (N,) of images, from a number in (0, 1) that says which part each is of, and its quantile there."""
        ends = np.cumsum([part.weight for part in self.parts])
        at = np.minimum(np.searchsorted(ends, which, side="right"), len(self.parts) - 1)
        found = np.empty(len(which))
        for index, part in enumerate(self.parts):
            found[at == index] = part.scores(chances[at == index])
        return self._seen(found)

    def grid(self, count: int) -> Floats:
        """About `count` images whose scores lie as evenly as the population says."""
        sizes = [max(1, round(part.weight * count)) for part in self.parts]
        parts = [part.scores((np.arange(size) + 0.5) / size) for part, size in zip(self.parts, sizes, strict=True)]
        return self._seen(np.concatenate(parts))

    def _seen(self, scores: Floats) -> Floats:
        return np.round(scores / self.step) * self.step if self.step else scores


def of(kind: str) -> Population:
    """A population of one part, as its quantile function has it."""
    return Population((Part(kind),))


def mixed(*parts: tuple[float, str, float, float], step: float = 0.0) -> Population:
    """A population of several parts: weight, kind, location, scale."""
    return Population(tuple(Part(kind, at, scale, weight) for weight, kind, at, scale in parts), step)


@dataclass(frozen=True)
class Setting:
    """What is drawn, again and again.

    Attributes:
        name: for the table.
        n_id: ID images of a draw.
        n_ood: OOD images of a draw.
        id: what ID images score.
        ood: what OOD images score.
    """

    name: str
    n_id: int
    n_ood: int
    id: Population
    ood: Population

    def truth(self, convention: str) -> dict[str, float]:
        """The metrics of endless images."""
        larger = max(self.n_id, self.n_ood)
        sides = (self.id.grid(GRID * self.n_id // larger), self.ood.grid(GRID * self.n_ood // larger))
        return evaluate(*sides, convention)

    def draw(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Scores of some ID and OOD images."""
        return (
            self.id.scores(generator.random(self.n_id), generator.random(self.n_id)),
            self.ood.scores(generator.random(self.n_ood), generator.random(self.n_ood)),
        )


@dataclass(frozen=True)
class Pair:
    """Two detectors on the same images.

    Attributes:
        name: for the table.
        one: what the first says.
        other: what the second says, of as many images.
        correlation: of normal quantiles, image by image.
    """

    name: str
    one: Setting
    other: Setting
    correlation: float

    def draw(self, generator: np.random.Generator) -> tuple[Detection, Detection]:
        """Scores of some images by both."""
        sides = []
        for count, first, second in (
            (self.one.n_id, self.one.id, self.other.id),
            (self.one.n_ood, self.one.ood, self.other.ood),
        ):
            which, chances = self._both(generator, count), self._both(generator, count)
            sides.append((first.scores(which[0], chances[0]), second.scores(which[1], chances[1])))
        return Detection(sides[0][0], sides[1][0]), Detection(sides[0][1], sides[1][1])

    def _both(self, generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        common, own = generator.normal(size=(2, count))
        return ndtr(common), ndtr(self.correlation * common + np.sqrt(1 - self.correlation**2) * own)


def apart(
    n_id: int, n_ood: int, distance: float, kind: str = "normal", scale: float = 1.0, step: float = 0.0
) -> Setting:
    """ID scores of one kind, `distance` above OOD scores of the same kind, which are `scale` times as wide."""
    name = f"{kind}, {distance:g} apart" + f", OOD x {scale:g}" * (scale != 1) + f", steps of {step:g}" * (step > 0)
    id_scores, ood_scores = (Population((Part(kind, *of),), step) for of in ((distance, 1.0), (0.0, scale)))
    return Setting(name, n_id, n_ood, id_scores, ood_scores)


def rare(rate: float, n_id: int, n_ood: int) -> Setting:
    """OOD images far below ID but for a few, which no threshold tells from ID."""
    ood = mixed((1 - rate, "normal", -9, 1), (rate, "normal", 0, 1))
    return Setting(f"{100 * rate:g} % of OOD look like ID", n_id, n_ood, of("normal"), ood)


SETTINGS = (
    apart(20, 20, 1),
    apart(20, 200, 2),
    apart(200, 20, 3.5),
    rare(0.001, 20, 50),
    rare(0.01, 500, 50),
    rare(0.002, 500, 50),
    rare(0.002, 500, 200),
    apart(500, 50, 4),
    apart(500, 50, 4.5),
    apart(500, 50, -3),
    apart(100, 100, 0),
    apart(300, 300, 2, "t3"),
    apart(500, 100, 1, "exponential"),
    apart(100, 400, -1, "minus-exponential"),
    apart(400, 400, 1, scale=3),
    apart(400, 400, 1, scale=0.3),
    apart(1000, 1000, 0.5, "logistic"),
    apart(100, 100, 1, step=0.5),
    apart(200, 200, 1.5, step=1),
    Setting(
        "5 levels, two thirds of ID on the highest",
        150,
        90,
        mixed((0.35, "uniform", 0, 4), (0.65, "point", 4, 1), step=1),
        mixed((0.9, "uniform", 0, 4), (0.1, "point", 4, 1), step=1),
    ),
    Setting(
        "8 levels, 4.8 % of ID below one",
        300,
        100,
        Population((Part("normal", 5, 1.5),), step=1),
        Population((Part("normal", 2.5, 1.5),), step=1),
    ),
    Setting(
        "levels of 1/8, beta(.5, .5) and beta(2, 8)",
        1000,
        100,
        Population((Part("beta(.5,.5)"),), step=0.125),
        Population((Part("beta(2,8)"),), step=0.125),
    ),
    Setting(
        "a third of both constant",
        300,
        300,
        mixed((0.33, "point", 1, 1), (0.67, "normal", 2, 1)),
        mixed((0.33, "point", 1, 1), (0.67, "normal", 0, 1)),
    ),
    Setting(
        "4 % of ID far below",
        300,
        300,
        mixed((0.04, "normal", -3, 1), (0.96, "normal", 3, 1)),
        of("normal"),
    ),
    Setting("beta(.5, .5) and beta(2, 8)", 250, 60, of("beta(.5,.5)"), of("beta(2,8)")),
    rare(0.999, 200, 200),
    apart(10_000, 10_000, 2),
    rare(0.001, 10_000, 10_000),
    apart(10_000, 1000, 3, step=0.5),
)


PAIRS = (
    Pair("equally good", apart(200, 200, 1.5), apart(200, 200, 1.5), 0.9),
    Pair("equally good, nearly the same", apart(200, 200, 1.5), apart(200, 200, 1.5), 0.99),
    Pair("2 and 1 apart", apart(500, 100, 2), apart(500, 100, 1), 0.7),
    Pair("2 and 1 apart", apart(20, 20, 2), apart(20, 20, 1), 0.8),
    Pair("0.2 and 2 % of OOD look like ID", rare(0.002, 500, 200), rare(0.02, 500, 200), 0.9),
    Pair("4 and 4.5 apart", apart(500, 50, 4), apart(500, 50, 4.5), 0.8),
    Pair("steps of 1 and 0.5", apart(200, 200, 1.5, step=1), apart(200, 200, 1, step=0.5), 0.8),
    Pair("t3 and normal, 2 apart", apart(500, 500, 2, "t3"), apart(500, 500, 2), 0.6),
    Pair("OOD x 3 and not", apart(300, 300, 1, scale=3), apart(300, 300, 2), -0.5),
    Pair("2 and 2.1 apart", apart(2000, 2000, 2), apart(2000, 2000, 2.1), 0.95),
)


@dataclass(frozen=True)
class Counted:
    """How often the interval of a metric held the truth.

    Attributes:
        held: share of draws.
        width: of the interval, on average.
    """

    held: float
    width: float


def single(setting: Setting, convention: str, replications: int, seed: int) -> dict[str, Counted]:
    """Of each metric and, as "share", of the share of OOD images above their true median: a fixed threshold."""
    truth = setting.truth(convention)
    middle = float(np.median(setting.ood.grid(GRID)))
    above = float(np.mean(setting.ood.grid(GRID) > middle))
    generator = np.random.default_rng(seed)
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in (*truth, "share")}
    for _ in range(replications):
        id_scores, ood_scores = setting.draw(generator)
        found = intervals(id_scores, ood_scores, convention)
        found["share"] = share_interval(int((ood_scores > middle).sum()), setting.n_ood)
        for name, both in found.items():
            ends[name].append(both)
    return _counted({**truth, "share": above}, ends)


def paired(pair: Pair, convention: str, replications: int, seed: int) -> dict[str, Counted]:
    """Of the difference in each metric."""
    ours, theirs = pair.one.truth(convention), pair.other.truth(convention)
    generator = np.random.default_rng(seed)
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in ours}
    for _ in range(replications):
        for name, difference in differences(*pair.draw(generator), convention).items():
            ends[name].append((difference.low, difference.high))
    return _counted({name: ours[name] - theirs[name] for name in ours}, ends)


SLACK = 1e-6
"""What a grid may miss of a truth that is 0 or 1."""


def _counted(truth: Mapping[str, float], ends: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Counted]:
    found = {}
    for name, value in truth.items():
        low, high = np.array(ends[name]).T
        found[name] = Counted(
            float(np.mean((low - SLACK <= value) & (value <= high + SLACK))), float(np.mean(high - low))
        )
    return found


HUGE = 4000
"""Images of a draw from which on half the draws are made."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--replications", type=click.IntRange(min=10), default=1000, show_default=True, help="Draws a setting.")
@click.option("--convention", type=click.Choice(sorted(CONVENTIONS)), default="default", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draws.")
@click.option("--format", "form", type=click.Choice(["github", "plain"]), default="github", show_default=True)
def main(replications: int, convention: str, seed: int, form: str) -> None:
    """How often 95 % intervals hold the truth, in percent of the draws, and how wide they are in points.

    Half as many draws are made where a draw has thousands of images.
    """
    error = 100 * (0.95 * 0.05 / replications) ** 0.5
    click.echo(f"convention {convention}, {replications} draws a setting, {replications // 2} of thousands of images")
    click.echo(f"standard error of a coverage of 95 %: {error:.1f}, and {error * 2**0.5:.1f} of half the draws\n")
    least: list[tuple[float, str]] = []
    for title, rows in (
        ("values", _singles(convention, replications, seed)),
        ("differences", _pairs(convention, replications, seed)),
    ):
        lines = []
        for name, images, counted in rows:
            click.echo(f"{title}: {name}, {images}", err=True)
            cells = {metric: f"{100 * one.held:.1f} ({100 * one.width:.3g})" for metric, one in counted.items()}
            lines.append({title: name, "ID + OOD": images, **cells})
            least += [(one.held, f"{metric} of {name}, {images}") for metric, one in counted.items()]
        click.echo(tabulate(lines, headers="keys", tablefmt=form, disable_numparse=True) + "\n")
    held, where = min(least)
    click.echo(f"least: {100 * held:.1f} % ({where})")


Rows: TypeAlias = Iterator[tuple[str, str, dict[str, Counted]]]


def _singles(convention: str, replications: int, seed: int) -> Rows:
    for setting in SETTINGS:
        draws = replications // 2 if setting.n_id + setting.n_ood >= HUGE else replications
        yield setting.name, f"{setting.n_id} + {setting.n_ood}", single(setting, convention, draws, seed)


def _pairs(convention: str, replications: int, seed: int) -> Rows:
    for pair in PAIRS:
        draws = replications // 2 if pair.one.n_id + pair.one.n_ood >= HUGE else replications
        yield pair.name, f"{pair.one.n_id} + {pair.one.n_ood}", paired(pair, convention, draws, seed)


if __name__ == "__main__":
    main(prog_name="python -m studies.coverage")
