"""The means, each from the image itself: it offers what it finds, and the exact score decides what is kept.

None of them knows what the adaptive tier found. They share its score and its ball, and as far as possible no code with
it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import Ascent
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import LinfBall
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.attacks.starting_points import uniform_draws
from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage, value_and_gradient
from oodbench.basics.randomness import drawing, generators_per_image
from oodbench.images.imageset import ImageSet
from studies.overturn.subject import Subject, inputs


@dataclass(frozen=True)
class Effort:
    """How much of each.

    Attributes:
        long: iterations of APGD, and then twice as many of Adam: ten times the tier's at "standard".
        starts: of Adam in tanh space.
        tanh: its iterations from each.
        matched: ID images whose features are aimed at.
        pull: iterations towards the features of each.
        refine: iterations on the score from where that ended, and from the donors' best.
        queries: of random search.
        steps: of AutoAttack's APGD.
        restarts: of it, each from a random point.
        windows: of AutoAttack's Square.
    """

    long: int = 1000
    starts: int = 5
    tanh: int = 200
    matched: int = 4
    pull: int = 100
    refine: int = 100
    queries: int = 5000
    steps: int = 200
    restarts: int = 3
    windows: int = 2000


@dataclass
class Search:
    """One means at work on a few images.

    Attributes:
        subject: whose score.
        images: float (B, C, H, W).
        which: the same as a set.
        goal: what counts.
        effort: how much.
        given: (B, C, H, W) each, the same images as they were attacked for other detectors.
        looks: images looked at so far; one gradient counts as one look.
        reducer: the best of each image.
    """

    subject: Subject
    images: Tensor
    which: ImageSet
    goal: Goal
    effort: Effort
    given: Sequence[Tensor] = ()
    looks: int = 0
    reducer: Reducer = field(init=False)

    def __post_init__(self) -> None:
        self.goal = self.goal.with_counter(self.seen)
        self.reducer = Reducer(self.goal.score, self.images, self.subject.task.epsilon)

    @classmethod
    def on(cls, subject: Subject, which: ImageSet, effort: Effort, given: Sequence[Tensor] = ()) -> "Search":
        """For some images of a subject, nothing tried yet."""
        return cls(subject, inputs(which, subject.lures.device), which, subject.goal("plus"), effort, given)

    def seen(self, count: int) -> None:
        """So many images are looked at."""
        self.looks += count

    @property
    def ball(self) -> LinfBall:
        """SmoothedDetector the images."""
        return LinfBall(self.images, self.subject.task.epsilon)

    def draw(self, name: str) -> Tensor:
        """Uniform draws in [-1, 1) in the images' shape, each image's own."""
        return uniform_draws(self.images, self.which.indices, f"overturn {name}", str(self.subject.purpose))

    def climb(
        self,
        rule: Callable[..., Ascent],
        objective: PerImage,
        iterations: int,
        start: Tensor | None = None,
    ) -> Tensor:
        """Where an ascent of the harness ends, (B, C, H, W); it is offered, too."""
        found = rule(
            objective,
            self.images,
            epsilon=self.subject.task.epsilon,
            iterations=iterations,
            start=start,
            batch=len(self.images),
        )
        self.reducer.offer(found.images)
        return found.images


class Means(Protocol):
    """A way to look for images that score high: it offers them to the search's reducer."""

    def __call__(self, search: Search) -> None: ...


def ten_times(search: Search) -> None:
    """The tier's two long ascents of the score, APGD and then Adam from where that got to, with ten times the steps."""
    score, effort = search.goal.score_for_climb("overturn/ten times"), search.effort
    reached = search.climb(apgd, score, effort.long)
    search.climb(adam, score, 2 * effort.long, start=reached)


RATE = 0.1
"""Of Adam in tanh space."""

EDGE = 0.999
"""How far, of the way to an end of the ball, a start may lie whose arc tangent is taken."""


def tanh_space(search: Search) -> None:
    """Adam over w with x = middle + half * tanh(w), as Carlini and Wagner 2017 (arXiv:1608.04644) keep to a box.

    The first start is the image itself, the others are drawn from its ball.
    """
    low, high = search.ball.ends
    middle, half = (low + high) / 2, (high - low) / 2
    for number in range(search.effort.starts):
        inside = search.images if number == 0 else low + (high - low) * (search.draw(f"tanh {number}") + 1) / 2
        share = torch.where(half > 0, (inside - middle) / half, 0).clamp(-EDGE, EDGE)
        score = search.goal.score_for_climb(f"overturn/tanh {number}")
        search.reducer.offer(_climbed_in_tanh(score, middle, half, share.atanh(), search.effort.tanh))


def _climbed_in_tanh(score: PerImage, middle: Tensor, half: Tensor, start: Tensor, iterations: int) -> Tensor:
    """The best of all points on the way, (B, C, H, W)."""
    places = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([places], lr=RATE)
    best, reached = middle.clone(), torch.full((len(middle),), -torch.inf, dtype=torch.float64, device=middle.device)
    for _ in range(iterations):
        with torch.no_grad():
            bent = places.tanh()
            points = middle + half * bent
        value, gradient = value_and_gradient(score, points)
        better = value.double() > reached
        best[better], reached[better] = points[better], value.double()[better]
        # Each image has pixels of its own, so the optimizer's steps for one do not depend on the others.
        places.grad = -(gradient * half * (1 - bent.square()))
        optimizer.step()
    return best


def features(search: Search) -> None:
    """Pull the features to those of ID images that score high, the nearest first; then climb the score from there."""
    network, effort = search.subject.detector.network, search.effort

    def seen(images: Tensor) -> Tensor:
        search.seen(len(images))
        return network.represent(images).features.flatten(1).double()

    with torch.no_grad():
        aims, own = seen(search.subject.lures), seen(search.images)
    nearest = torch.cdist(own, aims).argsort(dim=1)
    for rank in range(min(effort.matched, len(aims))):
        aim = aims[nearest[:, rank]]
        pulled = search.climb(adam, _nearness(seen, aim), effort.pull)
        search.climb(adam, search.goal.score_for_climb(f"overturn/features {rank}"), effort.refine, start=pulled)


def _nearness(seen: Callable[[Tensor], Tensor], aim: Tensor) -> PerImage:
    """Minus the squared distance of each image's features from its aim, (B, D)."""
    return lambda images: -(seen(images) - aim).square().sum(1)


def transfer(search: Search) -> None:
    """The images that other detectors were attacked with, and a climb of the score from the best of them."""
    for images in search.given:
        search.reducer.offer(images)
    if search.given:
        score = search.goal.score_for_climb("overturn/transfer")
        search.climb(adam, score, search.effort.refine, start=search.reducer.images)


def black_box(search: Search) -> None:
    """Random search over square windows (Andriushchenko et al. 2020), without gradients."""
    purpose = str(search.subject.purpose)
    found = square(
        search.goal.score_for_climb("overturn/black box"),
        search.images,
        epsilon=search.subject.task.epsilon,
        queries=search.effort.queries,
        generators=generators_per_image(search.which.indices, "overturn", "square", purpose),
    )
    search.reducer.offer(found.images)


class _TwoClasses(nn.Module):
    """A score as a classifier that says ID (output 0) or OOD (output 1): [(score - threshold) / spread, 0].

    The division keeps cross-entropy from rounding to 0 where scores are large; the order of images stays.
    """

    def __init__(self, score: PerImage, network: nn.Module, threshold: float, spread: float) -> None:
        super().__init__()
        self.network, self._score = network, score
        self._threshold, self._spread = threshold, spread

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2)."""
        odds = (self._score(images).double() - self._threshold) / self._spread
        return torch.stack([odds, torch.zeros_like(odds)], 1)


def auto_attack(search: Search) -> None:
    """APGD on cross-entropy, and Square on the margin, of `torchattacks` (Kim 2020, arXiv:2010.01950).

    AutoAttack's DLR loss takes the third largest of the outputs, and a score makes two.
    """
    try:
        from torchattacks.attacks.apgd import APGD
        from torchattacks.attacks.square import Square
    except ImportError as error:
        raise OodbenchError(
            "the means 'autoattack' needs the package torchattacks: `pip install --no-deps torchattacks==3.5.1` ("
            "without its dependencies, since it asks for a version of requests from 2021)"
        ) from error

    subject, effort = search.subject, search.effort
    threshold, spread = float(subject.id_scores.max()), float(subject.id_scores.std())
    score = search.goal.score_for_climb("overturn/autoattack")
    model = _TwoClasses(score, subject.detector.network, threshold, spread)
    outside = torch.ones(len(search.images), dtype=torch.int64, device=search.images.device)
    radius = subject.task.epsilon / 255
    with drawing(search.images.device, "overturn", "autoattack", str(subject.purpose), *map(int, search.which.indices)):
        climb = APGD(model, eps=radius, steps=effort.steps, loss="ce")
        for _ in range(effort.restarts):  # its own loop over them keeps only images that pass the threshold
            found, *_ = climb.attack_single_run(search.images, outside)
            search.reducer.offer(found)
        windows = Square(model, eps=radius, n_queries=effort.windows)
        windows.init_hyperparam(search.images)
        _, found = windows.attack_single_run(search.images, outside)
        search.reducer.offer(found)


MEANS: Mapping[str, Means] = {
    "ten-times": ten_times,
    "tanh": tanh_space,
    "features": features,
    "transfer": transfer,
    "black-box": black_box,
    "autoattack": auto_attack,
}
"""By name."""
