"""Gram: correlations of channels outside the range of training images. Sastry and Oore 2020, arXiv:1912.12510."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage
from oodbench.basics.passes import Passes
from oodbench.basics.progress import progress
from oodbench.detector import Detector, Tuning, TuningImages
from oodbench.networks.network import Network, Representation, as_input, batch_size


class Gram(Detector):
    r"""Minus how far the Gram matrices of the taps leave what training images of the predicted class show.

    The paper looks at every convolution and ReLU, this method at the network's taps. What a tap deviates by is divided
    by its mean over held-out ID images; the reference codes hold a tenth of the training images out, drawn without a
    seed. Nothing is kept of single images, and no Gram matrix is made: its row sums are those of products with the
    sum of all channels. pytorch-ood 0.4.0 learns the range of each label, where this takes the predicted class as in
    the paper, and does not divide by the largest probability.

    $$s(x) = -\frac{1}{\max_k p_k} \sum_l \frac{\delta_l(x)}{\mathbb{E}_{\text{held out}}[\delta_l]}, \qquad \delta_l
    = \sum_{p, i} \frac{[m - g_{l,p,i}]_+}{\lvert m \rvert} + \frac{[g_{l,p,i} - M]_+}{\lvert M \rvert}$$
    """

    name = "gram"
    paper = "Sastry and Oore 2020, arXiv:1912.12510"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of OpenOOD v1.5; the paper's code goes to order 10.

        Attributes:
            orders: Gram matrices of powers from 1 to this.
            tuning: "heldout" ID images for the mean deviations, or "id-test", which leaks test images.
            images: at most so many of them.
        """

        orders: int = 5
        tuning: str = "heldout"
        images: int = 5000

        def __post_init__(self) -> None:
            Tuning(self.tuning)
            if not 1 <= self.orders <= 20:
                raise ValueError(f"orders is {self.orders}: choose 1 to 20")
            if self.images < 1:
                raise ValueError(f"images is {self.images}: choose 1 or more")

    parameters: Parameters

    def tuning(self) -> Tuning:
        """Held-out ID images, a pass each."""
        return Tuning(self.parameters.tuning, self.parameters.images, outliers=False, passes=Passes(1))

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._lowest: list[Tensor] = []
        self._highest: list[Tensor] = []

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Widen the range of each predicted class."""
        predicted = self.predict(representation)
        for tap, values in enumerate(self._statistics(representation)):
            if tap == len(self._lowest):
                self._lowest.append(values.new_full((self.classes, values.shape[1]), torch.inf))
                self._highest.append(values.new_full((self.classes, values.shape[1]), -torch.inf))
            rows = predicted[:, None].expand_as(values)
            self._lowest[tap].scatter_reduce_(0, rows, values, "amin")
            self._highest[tap].scatter_reduce_(0, rows, values, "amax")

    def settle(self) -> None:
        """Every class must have a range."""
        if not self._lowest:
            raise OodbenchError(
                f"{self.name} looks at taps and {type(self.network).__name__} has none: leave {self.name} out for this "
                "network"
            )
        if (empty := torch.nonzero(self._lowest[0][:, 0].isinf()).flatten()).numel():
            raise OodbenchError(
                f"{self.name}: no ID training image is predicted to be of class {', '.join(map(str, empty.tolist()))}: "
                "give more images, or a network that knows these classes"
            )

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """The mean deviation of each tap."""
        total = torch.zeros(len(self._lowest), dtype=torch.float64, device=images.id.device)
        with torch.no_grad(), progress(f"deviations of {self.name}", len(images.id)) as advance:
            for pixels in torch.split(images.id, batch_size(images.id.device, images.id.shape[-1])):
                total += self._deviations(self.network.represent(as_input(pixels))).sum(0)
                advance(len(pixels))
        self._expected = total / len(images.id)
        if (self._expected == 0).any():
            taps = ", ".join(map(str, torch.nonzero(self._expected == 0).flatten().tolist()))
            raise OodbenchError(
                f"{self.name}: none of {len(images.id)} held-out ID images leaves the range of the training images at "
                f"tap {taps}: give more held-out images"
            )
        return {"mean_deviations": self._expected.tolist()}

    def score_representation(self, representation: Representation) -> Tensor:
        """Minus the sum over taps of deviation by expected deviation, over the largest softmax (section 3).

        It is 0, the highest there is, for all images that leave the range nowhere.
        """
        return self._conformity(representation, 0.0)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The score with a slope of one in a hundred inside the range, where it is flat."""
        return {"sloping": lambda images: self._conformity(self.network.represent(images), 0.01)}

    def _conformity(self, representation: Representation, slope: float) -> Tensor:
        """The score, where a step inside the range counts `slope` times one outside."""
        deviation = (self._deviations(representation, slope) / self._expected).sum(1)
        log_p = representation.logits[:, : self.classes].double().log_softmax(1)
        return -deviation * (-log_p.amax(1)).exp()

    def _deviations(self, representation: Representation, slope: float = 0.0) -> Tensor:
        """How far each tap leaves the range of the predicted class, relative to its ends, summed: (N, taps)."""
        predicted = self.predict(representation)
        found = []
        for values, lowest, highest in zip(self._statistics(representation), self._lowest, self._highest, strict=True):
            low, high = lowest[predicted], highest[predicted]
            below = leaky_relu(low - values, slope) / (low + 1e-6).abs()
            above = leaky_relu(values - high, slope) / (high + 1e-6).abs()
            found.append((below + above).sum(1))
        return torch.stack(found, 1)

    def _statistics(self, representation: Representation) -> Iterator[Tensor]:
        """Of each tap, the row sums of the Gram matrices of all orders, one after the other: (N, orders * C)."""
        for tap in representation.taps:
            channels = tap.double().flatten(2)
            yield torch.cat([row_sums(channels, order) for order in range(1, self.parameters.orders + 1)], 1)


def row_sums(channels: Tensor, order: int) -> Tensor:
    """Signed p-th roots of the row sums of F^p (F^p)' for channels F (N, C, positions) and order p: (N, C)."""
    powers = channels**order
    sums = (powers * powers.sum(1, keepdim=True)).sum(2)
    # A root has no slope at zero, where dead channels are.
    size = torch.where(sums == 0, 1, sums.abs())
    return torch.where(sums == 0, 0, sums.sign() * size ** (1 / order))
