"""ViM: energy less a virtual logit, the norm of what the principal space of the features misses. Wang et al. 2022."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Linear

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .energy import energy


class ViM(Detector):
    r"""Energy of the logits minus the virtual logit of the features' residual.

    $$s(x) = \log \sum_k \exp z_k - \alpha \bigl\lVert (f - o)\, R \bigr\rVert_2, \qquad o = -W^{+} b, \quad
    \alpha = \frac{\sum \max_k z_k}{\sum \lVert (f - o)\, R \rVert_2} \text{ over training images}$$
    """

    name = "vim"
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
        self._seen: list[tuple[Tensor, Tensor]] = []

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep features and largest logits."""
        self._seen.append((representation.features, representation.logits[:, : self.classes].amax(1)))

    def settle(self) -> None:
        """The origin, the residual space and the scale alpha (section 4.2)."""
        features = torch.cat([features for features, _ in self._seen]).double()
        largest = torch.cat([logits for _, logits in self._seen]).double()
        self._origin = origin(self.network.head, self.classes)
        centred = features - self._origin
        count = features.shape[1]
        dimensions = self.parameters.dimensions or principal_dimensions(count)
        require_rest(self.name, dimensions, count)
        vectors = torch.linalg.eigh(centred.T @ centred).eigenvectors
        self._residual_space = vectors[:, : count - dimensions]
        residual = self._residual(features)
        if residual.mean() <= 1e-9 * centred.norm(dim=1).mean():
            raise OodbenchError(
                f"{self.name}: the training images' features have no residual outside {dimensions} dimensions: give "
                f"more images, or lower it with --set {self.name}.dimensions=..."
            )
        self._alpha = largest.sum() / residual.sum()
        self._seen = []

    def score_representation(self, representation: Representation) -> Tensor:
        """logsumexp(z) - alpha ||residual||, which orders as the paper's virtual-class probability does."""
        virtual_logit = self._alpha * self._residual(representation.features)
        return energy(representation.logits[:, : self.classes]) - virtual_logit

    def _residual(self, features: Tensor) -> Tensor:
        """Norm (N,) of what the principal space misses of features (N, D)."""
        norms: Tensor = torch.linalg.vector_norm((features.double() - self._origin) @ self._residual_space, dim=1)
        return norms


def principal_dimensions(features: int) -> int:
    """The authors' choice for a number of features."""
    return 1000 if features >= 2048 else 512 if features >= 768 else features // 2


def require_rest(name: str, dimensions: int, features: int) -> None:
    """OodbenchError where a principal space leaves nothing over of the space of features."""
    if dimensions >= features:
        raise OodbenchError(
            f"{name}: the principal space has {dimensions} dimensions and there are {features} features: "
            f"nothing is left over; lower it with --set {name}.dimensions=..."
        )


def origin(head: Linear, classes: int) -> Tensor:
    """Features (D,) whose logits the last layer's bias cancels: what the space of features is centred on, float64."""
    weight, bias = head.weight[:classes].double(), _bias(head)[:classes].double()
    found: Tensor = -torch.linalg.pinv(weight) @ bias
    return found.detach()


def _bias(head: Linear) -> Tensor:
    """What a linear layer adds, (K,); zeros where it adds nothing."""
    return head.weight.new_zeros(head.out_features) if head.bias is None else head.bias
