"""Residual: what the principal space of the features misses, the half of ViM that sees no logits. Wang et al. 2022."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .vim import origin, principal_dimensions, require_rest

RANK = 1e-14
"""Share of all squares up to which a residual is what rounding leaves, of features in float32."""


class Residual(Detector):
    r"""Minus the norm of the features outside the principal space of the training features.

    $$s(x) = -\bigl\lVert (f - o)\, R \bigr\rVert_2 \text{, } R \text{ what the principal space leaves out}$$
    """

    name = "residual"
    paper = "Wang et al. 2022, arXiv:2203.10807"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Default of the authors' code.

        Attributes:
            dimensions: of the principal space; none given means 1000 from 2048 features on, 512 from 768 on, else half.
        """

        dimensions: int | None = None

        def __post_init__(self) -> None:
            if self.dimensions is not None and self.dimensions < 1:
                raise ValueError(f"dimensions is {self.dimensions}: choose 1 or more")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._origin = origin(network.head, classes)
        self._products: Tensor | None = None

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sum of the products of the features, centred on ViM's origin, (D, D)."""
        centred = representation.features.double() - self._origin
        products = centred.T @ centred
        self._products = products if self._products is None else self._products + products

    def settle(self) -> None:
        """The space of the directions in which the training features are smallest."""
        assert self._products is not None
        count = len(self._products)
        dimensions = self.parameters.dimensions or principal_dimensions(count)
        require_rest(self.name, dimensions, count)
        values, vectors = torch.linalg.eigh(self._products)
        if values[: count - dimensions].sum() <= RANK * values.sum():
            raise OodbenchError(
                f"{self.name}: the training images' features have no residual outside {dimensions} dimensions: give "
                f"more images, or lower it with --set {self.name}.dimensions=..."
            )
        self._residual_space = vectors[:, : count - dimensions]

    def score_representation(self, representation: Representation) -> Tensor:
        """-||x R|| with x the features from the origin on and R the residual space (section 4.1)."""
        centred = representation.features.double() - self._origin
        norms: Tensor = torch.linalg.vector_norm(centred @ self._residual_space, dim=1)
        return -norms
