"""Balls around images, cut to [0, 1]: the images that an attack may reach, in a norm.

A radius counts 1/255 of pixel space in either norm: 8 levels in every pixel for L-infinity, and for L2 the root of the
sum of the squared changes of all pixels and channels, so that 128 is the 0.5 of the literature.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import sqrt
from typing import ClassVar, Self

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError

AT_THE_END = 0.5 / 255
"""A pixel this near to the end of a ball counts as being there: less than half a level is rounded away."""

LEFT_OVER = 0.05
"""Share of the steepest way across an L2 ball that may be left at a summit: rounding to the grid turns a change by as
much.
"""


def require_unit_range(images: Tensor) -> None:
    """Raise OodbenchError for images outside [0, 1]: a radius means nothing there."""
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise OodbenchError(
            f"images from {images.min():g} to {images.max():g} cannot be attacked: they must lie in [0, 1]; divide "
            "8-bit values by 255, and leave normalisation to the network"
        )


class Ball(ABC):
    """Balls around some images, a row each.

    Args:
        images: (N, C, H, W) in [0, 1], the centers.
        epsilon: radius in 1/255 of pixel space.

    Raises:
        OodbenchError: images outside [0, 1].

    Attributes:
        norm: the name that tasks give it.
    """

    norm: ClassVar[str]

    def __init__(self, images: Tensor, epsilon: float) -> None:
        require_unit_range(images)
        self.images, self.epsilon, self.radius = images, epsilon, epsilon / 255

    def select(self, rows: Tensor) -> Self:
        """The balls around the images in some rows."""
        return type(self)(self.images[rows], self.epsilon)

    @classmethod
    @abstractmethod
    def covering_radius(cls, images: Tensor) -> float:
        """The radius, in 1/255, of a ball that holds every image of the shape of `images`."""

    @abstractmethod
    def project(self, points: Tensor) -> Tensor:
        """The nearest points, by Euclidean distance, of the balls and [0, 1]; (N, C, H, W)."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of steepest ascent by a gradient (N, C, H, W), of length 1 in the norm; 0 where that is 0."""

    @abstractmethod
    def scaled_step(self, direction: Tensor, sizes: Tensor, length: Tensor) -> Tensor:
        """A step of about `length`, (N, 1, 1, 1), in the norm, along a direction; `sizes` are the pixels' scales."""

    @abstractmethod
    def corner(self, drawn: Tensor) -> Tensor:
        """Points at the end of the balls, by random numbers in [-1, 1) of the images' shape."""

    @abstractmethod
    def inner_point(self, drawn: Tensor) -> Tensor:
        """Points anywhere in the balls, by random numbers in [-1, 1) of the images' shape."""

    @abstractmethod
    def move_towards(self, points: Tensor) -> Tensor:
        """The points reached by moving towards other points as far as the balls allow."""

    @abstractmethod
    def amplitude(self, pixels: int) -> float:
        """The distance that so many pixels may all move."""

    @abstractmethod
    def on_grid(self, points: Tensor) -> Tensor:
        """The points brought to the 8-bit grid inside the balls and [0, 1], in levels; the images must lie on the grid.

        A point that is not a number counts as the image itself.
        """

    @abstractmethod
    def is_outside(self, change: Tensor) -> Tensor:
        """True, (N,), for each change in whole levels, of int (N, ...), that leaves a ball of this radius."""

    @abstractmethod
    def is_summit(self, points: Tensor, gradient: Tensor) -> Tensor:
        """True, (N,), for each point in its ball from which no step along the gradient leads on."""


class LinfBall(Ball):
    """Every pixel moves by the radius at most."""

    norm = "linf"

    def __init__(self, images: Tensor, epsilon: float) -> None:
        super().__init__(images, epsilon)
        self._lowest, self._highest = (images - self.radius).clamp(min=0), (images + self.radius).clamp(max=1)

    def select(self, rows: Tensor) -> Self:
        """The balls around the images in some rows; their ends are not computed again."""
        some = object.__new__(type(self))
        some.images, some.epsilon, some.radius = self.images[rows], self.epsilon, self.radius
        some._lowest, some._highest = self._lowest[rows], self._highest[rows]
        return some

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest that each pixel can be."""
        return self._lowest, self._highest

    @classmethod
    def covering_radius(cls, images: Tensor) -> float:
        """The range of the levels."""
        return 255

    def project(self, points: Tensor) -> Tensor:
        """Cut pixel by pixel."""
        return torch.minimum(torch.maximum(points, self._lowest), self._highest)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient's sign."""
        return torch.sign(gradient)

    def scaled_step(self, direction: Tensor, sizes: Tensor, length: Tensor) -> Tensor:
        """A step of each pixel in proportion to its own scale."""
        return length * direction / sizes

    def corner(self, drawn: Tensor) -> Tensor:
        """The corners that the signs of the numbers give."""
        return self.images + self.radius * drawn.sign()

    def inner_point(self, drawn: Tensor) -> Tensor:
        """The points that the numbers give, pixel by pixel."""
        return self.images + self.radius * drawn

    def move_towards(self, points: Tensor) -> Tensor:
        """Each pixel moves by itself."""
        return self.images + (points - self.images).clamp(-self.radius, self.radius)

    def amplitude(self, pixels: int) -> float:
        """The radius, for any number of pixels."""
        return self.radius

    def on_grid(self, points: Tensor) -> Tensor:
        """Round each pixel to the nearest level."""
        clean = (self.images * 255).round()
        change = (points * 255 - clean).nan_to_num(0.0).round().clamp(-self.epsilon, self.epsilon)
        return (clean + change).clamp(0, 255)

    def is_outside(self, change: Tensor) -> Tensor:
        """True where the pixel that moved most moved too far."""
        return change.abs().flatten(1).amax(1) > self.epsilon

    def is_summit(self, points: Tensor, gradient: Tensor) -> Tensor:
        """True where every pixel is at the end to which the gradient points.

        A pixel without a gradient may have been kept from having one, so it counts as one that could move.
        """
        up = (gradient > 0) & (points >= self._highest - AT_THE_END)
        down = (gradient < 0) & (points <= self._lowest + AT_THE_END)
        return (up | down).flatten(1).all(1)


class L2Ball(Ball):
    """The Euclidean length of the change is the radius at most."""

    norm = "l2"

    @classmethod
    def covering_radius(cls, images: Tensor) -> float:
        """The diagonal of the pixel range."""
        return 255 * sqrt(images.shape[1:].numel())

    def project(self, points: Tensor) -> Tensor:
        """The change shortened by one factor and then cut to [0, 1] pixel by pixel, which is the nearest point.

        The factor is the one that makes the length, after the cut, the radius. Where it lies between two pixels that
        reach an end of [0, 1] one after the other, the rest grows in proportion: so it is found exactly.
        """
        middle = self.images.double().flatten(1)
        change = points.double().flatten(1) - middle
        size, room = change.abs(), torch.where(change > 0, 1 - middle, middle)
        far = torch.minimum(size, room).square().sum(1) > self.radius**2
        factor = torch.ones_like(size[:, :1])
        factor[far] = _factor(size[far], room[far], self.radius)
        moved = torch.minimum(factor * size, room) * change.sign()
        return (middle + moved).view_as(points).to(points).clamp(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient brought to length 1."""
        return gradient / _length(gradient)

    def scaled_step(self, direction: Tensor, sizes: Tensor, length: Tensor) -> Tensor:
        """A step along the direction: one in proportion to scales would end where these are equal, not at a top."""
        return direction * (length / _length(direction))

    def corner(self, drawn: Tensor) -> Tensor:
        """Points in a direction that moves every pixel by the same amount."""
        return self.images + self.radius * self.steepest(drawn.sign())

    def inner_point(self, drawn: Tensor) -> Tensor:
        """Points in the direction of the numbers, as far as the first number says."""
        share = drawn.flatten(1)[:, :1].abs()[:, :, None, None]
        return self.images + share * self.radius * self.steepest(drawn)

    def move_towards(self, points: Tensor) -> Tensor:
        """The points on the straight line there."""
        change = points - self.images
        return self.images + change * (self.radius / _length(change)).clamp(max=1)

    def amplitude(self, pixels: int) -> float:
        """The distance that makes up the radius if all pixels move by it."""
        return self.radius / sqrt(max(1, pixels))

    def on_grid(self, points: Tensor) -> Tensor:
        """The change projected, then every pixel down to a whole level and up again where there is length left for it.

        Those go up first whose rounding down would take most away, until the length is what it was before (or that of
        plain rounding, if that is more and fits). Plain rounding alone would leave the ball at times, and in a small
        one, where no pixel changes by half a level, leave nothing of the change.
        """
        clean = (self.images * 255).round().double()
        given = torch.where(points.isnan(), self.images, points.to(self.images))
        change = self.project(given).double() * 255 - clean
        size = change.abs().flatten(1)
        meant = torch.where((size - size.round()).abs() < ON_LEVEL, size.round(), size)
        longer = meant.floor().square().sum(1, keepdim=True) > self.epsilon**2
        # Where all that is a hair below a level was not meant to be it, the ball would be left.
        size = torch.where(longer, (size - ON_LEVEL).clamp(min=0), meant)
        down = size.floor()
        part = size - down
        order = part.argsort(dim=1, descending=True, stable=True)
        costs = (2 * down + 1).gather(1, order)
        longest_square = (
            torch.maximum(size.square().sum(1), size.round().square().sum(1))
            .mul(1 + ROUNDING)
            .clamp(max=self.epsilon**2)
        )
        paid = costs.cumsum(1) + down.square().sum(1, keepdim=True)
        up = torch.zeros_like(size).scatter_(
            1, order, ((paid <= longest_square[:, None]) & (part.gather(1, order) > 0)).double()
        )
        levels = (down + up).view_as(change) * change.sign()
        return (clean + levels).clamp(0, 255).to(self.images)

    def is_outside(self, change: Tensor) -> Tensor:
        """True where the squared length exceeds the squared radius, in whole numbers and so without rounding."""
        squares: Tensor = change.long().square().flatten(1).sum(1)
        return squares > self.epsilon**2

    def is_summit(self, points: Tensor, gradient: Tensor) -> Tensor:
        """True where the projected end of a long way along the gradient is hardly higher by the gradient's slope."""
        up = self.steepest(gradient)
        far = self.project(points + 100 * self.radius * up)
        left = ((far - points) * up).flatten(1).sum(1)
        return (up != 0).flatten(1).any(1) & (left <= LEFT_OVER * self.radius)


ON_LEVEL = 1e-4
"""A change this near to a whole level, in levels, is meant to be whole: float32 pixels are not exact."""

ROUNDING = 1e-3
"""Relative error of a squared length of float32 pixels that all change by less than a level."""

SQUARED = 1e-18
"""A length below this, or above its inverse, has a square that float32 cannot hold."""

BALLS: Mapping[str, type[Ball]] = {ball.norm: ball for ball in (LinfBall, L2Ball)}
"""The balls by the name of their norm."""


def _length(change: Tensor) -> Tensor:
    """Euclidean lengths (N, 1, 1, 1) of (N, C, H, W), none below the smallest number."""
    lengths: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    lost = ~((lengths > SQUARED) & (lengths < 1 / SQUARED))
    if lost.any():
        exact = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
        lengths = torch.where(lost, exact.to(lengths), lengths)
    return lengths.clamp(min=torch.finfo(change.dtype).tiny)


def _factor(size: Tensor, room: Tensor, radius: float) -> Tensor:
    """The factor s, (N, 1), at which the squares of min(s * size, room), each (N, P), add up to that of the radius.

    It must be below 1 for each row.
    """
    # The factor at which a pixel reaches the end; beyond 1 it does not matter where.
    ends = (room / size).nan_to_num(2.0).clamp(max=2.0)
    ends, order = ends.sort(dim=1)
    size, room = size.gather(1, order), room.gather(1, order)
    cut, free = room.square().cumsum(1), size.square().flip(1).cumsum(1).flip(1)
    before = torch.cat([torch.zeros_like(cut[:, :1]), cut[:, :-1]], 1)
    reached = before + ends.square() * free < radius**2  # the sum where this pixel reaches its end
    first = reached.sum(1, keepdim=True).clamp(max=size.shape[1] - 1)
    return ((radius**2 - before.gather(1, first)).clamp(min=0) / free.gather(1, first)).sqrt()
