"""RankFeat: energy after the strongest component of the last feature maps is taken away. Song, Sebe and Wang 2022."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation
from oodbench.networks.onward import changed, places_of_taps

from .energy import energy

GAP = 1e-9
"""Squared singular values that lie closer than this, as a share of the largest, have no direction of their own."""


class RankFeat(Detector):
    r"""Energy of the mean logits that the network gives when its last feature maps lose their first singular triple.

    Each feature map is taken as a matrix (C, H W) and changed in a pass of its own, from which the network goes on. The
    feature maps are the network's taps; of a network that does not go on from its taps the method is refused.

    Where the paper's networks are left, the map before the last may harm: on the CIFAR-10 DenseNet of Chen et al. 2021
    the last map alone gave an AUROC of 76 against SVHN and 84 against textures, both together 24 and 30 (150 images of
    each set). `last` = 1 leaves it out, as pytorch-ood 0.4.0 does, which changes one feature map.

    $$s(x) = T \log \sum_k \exp\Bigl(\tfrac1T\, \tfrac1L \textstyle\sum_l z_k\bigl(F_l - \sigma_1 u_1
    v_1^\top\bigr)\Bigr)$$
    """

    name = "rankfeat"
    paper = "Song, Sebe and Wang 2022, arXiv:2209.08590"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the authors' code.

        Attributes:
            last: so many of the last feature maps count, 1 or more; the paper takes the last two blocks.
            temperature: T of the energy, above 0.
        """

        last: int = 2
        temperature: float = 1.0

        def __post_init__(self) -> None:
            if self.last < 1 or self.temperature <= 0:
                raise ValueError(
                    f"last is {self.last} and temperature {self.temperature}: choose 1 or more, and a number above 0"
                )

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """The network's feature maps are looked for when the first image comes."""
        super().attach(network, classes)
        self._places: tuple[int, ...] = ()

    def score(self, images: Tensor) -> Tensor:
        """T logsumexp(z / T), z the mean over the feature maps of the logits without the first singular triple."""
        places = self._places_in(images)
        logits = [changed(self.network, images, place, without_first).logits for place in places]
        mean = torch.stack([each[:, : self.classes].double() for each in logits]).mean(0)
        return energy(mean, self.parameters.temperature)

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible."""
        raise TypeError("rankfeat scores images, not representations: it changes feature maps on their way")

    def own_passes(self) -> Passes:
        """One for each feature map."""
        return Passes(self.parameters.last)

    def _places_in(self, images: Tensor) -> tuple[int, ...]:
        """Where the network makes the feature maps that count."""
        network = self.network
        if not self._places:
            found = places_of_taps(network, images[:1].detach(), self.parameters.last, self.name)
            if len(found) < self.parameters.last:
                raise OodbenchError(
                    f"{self.name} wants the last {self.parameters.last} feature maps and "
                    f"{type(network).__name__} has {len(found)}: lower it with --set {self.name}.last=..."
                )
            self._places = found
        return self._places


def without_first(feature_maps: Tensor) -> Tensor:
    """Feature maps (N, C, H, W) without the first singular triple of each as a matrix (C, H W).

    The singular vector comes from the smaller of the two Gram matrices, in float64. It is held fixed but for its first
    derivative, which is exact: that of a singular value decomposition is not a number where any two values are alike.
    """
    matrices = feature_maps.flatten(2).double()
    wide = matrices.shape[1] <= matrices.shape[2]
    rows = matrices.transpose(1, 2) if wide else matrices
    direction = _first_right(rows)
    rest = rows - (rows @ direction) @ direction.transpose(1, 2)
    return (rest.transpose(1, 2) if wide else rest).reshape(feature_maps.shape).to(feature_maps.dtype)


def _first_right(matrices: Tensor) -> Tensor:
    """The first right singular vectors (N, D, 1) of matrices (N, M, D), differentiable."""
    gram = matrices.transpose(1, 2) @ matrices
    with torch.no_grad():
        # What is not finite stays so in the matrices themselves, and is refused by the score.
        values, vectors = torch.linalg.eigh(gram.nan_to_num())
        first, others = vectors[..., -1:], vectors[..., :-1]
        gaps = values[..., -1:] - values[..., :-1]
        inverse = torch.where(gaps > GAP * values[..., -1:], 1 / gaps, 0)
    # Perturbation theory: dv = sum_j v_j <v_j, dG v> / (s_1 - s_j). The term is zero but for its derivative.
    moved = others @ (inverse[..., None] * (others.transpose(1, 2) @ (gram @ first)))
    direction: Tensor = first + (moved - moved.detach())
    return direction
