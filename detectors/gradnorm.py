"""GradNorm: the gradient of the last layer's weights, by its closed form. Huang, Geng and Li 2021, arXiv:2110.00218."""

from dataclasses import dataclass

from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation


class GradNorm(Detector):
    r"""L1 norm of the gradient that a loss towards the uniform distribution has at the weights of the last layer.

    The loss is sum_k -log p_k. Its gradient is the outer product of (K p - 1) / T and the features f, whose L1 norm is
    the product of theirs: no backward pass is needed, and the score can be differentiated by the images. pytorch-ood
    averages the loss over the classes, which makes scores smaller by K and orders alike.

    $$s(x) = \frac1T\, \lVert K p - \mathbf{1} \rVert_1\, \lVert f \rVert_1, \qquad p = \operatorname{softmax}(z /
    T)$$
    """

    name = "gradnorm"
    paper = "Huang, Geng and Li 2021, arXiv:2110.00218"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the authors' code.

        Attributes:
            temperature: T of the softmax, above 0.
        """

        temperature: float = 1.0

        def __post_init__(self) -> None:
            if self.temperature <= 0:
                raise ValueError(f"temperature is {self.temperature}: choose a number above 0")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Nothing but a linear last layer has this gradient."""
        super().attach(network, classes)
        self._temperature = self.parameters.temperature
        _ = network.head

    def score_representation(self, representation: Representation) -> Tensor:
        """||K p - 1||_1 ||f||_1 / T, p the softmax of z / T over the K classes."""
        p = (representation.logits[:, : self.classes].double() / self._temperature).softmax(1)
        return (self.classes * p - 1).abs().sum(1) * representation.features.double().abs().sum(1) / self._temperature
