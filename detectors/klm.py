"""KLM: divergence of the softmax from its class's template. Hendrycks et al. 2022, arXiv:1911.11132."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.basics.progress import progress
from oodbench.detector import Detector, Tuning, TuningImages
from oodbench.networks.network import Representation, as_input, batch_size


class KLM(Detector):
    r"""Minus the least Kullback-Leibler divergence of the softmax from a template of each class.

    A template is the mean softmax of the held-out ID images that are predicted to be of its class; some libraries take
    training images. A class that no held-out image is predicted to be of has none: the one-hot vector that stands in
    for it elsewhere is infinitely far from every softmax. Everything is in the log domain, where no probability
    rounds to zero.

    $$s(x) = -\min_c\, \sum_k p_k \log \frac{p_k}{q_{c,k}}, \qquad q_c \text{ the mean softmax of held-out images
    predicted } c$$
    """

    name = "klm"
    paper = "Hendrycks et al. 2022, arXiv:1911.11132"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """What templates are made from.

        Attributes:
            tuning: "heldout" ID images, or "id-test", which leaks test images.
            images: at most so many of them.
        """

        tuning: str = "heldout"
        images: int = 10000

        def __post_init__(self) -> None:
            Tuning(self.tuning)
            if self.images < 1:
                raise ValueError(f"images is {self.images}: choose 1 or more")

    parameters: Parameters

    def tuning(self) -> Tuning:
        """Held-out ID images, a pass each."""
        return Tuning(self.parameters.tuning, self.parameters.images, outliers=False, passes=Passes(1))

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """The templates."""
        log_p = self._log_probabilities(images.id)
        predicted = log_p.argmax(1)
        found = torch.unique(predicted)
        if len(found) < 2:
            raise OodbenchError(
                f"{self.name}: all {len(log_p)} held-out ID images are predicted to be of one class, and one template "
                "tells nothing: give more images"
            )
        members = [log_p[predicted == label] for label in found]
        self._templates = torch.stack([each.logsumexp(0) - log(len(each)) for each in members])
        without = sorted(set(range(self.classes)) - set(found.tolist()))
        return {"templates": len(found), "classes_without": without}

    def score_representation(self, representation: Representation) -> Tensor:
        """-min_c KL(p || q_c)."""
        return -self._divergences(representation).amin(1)

    def targets(self, images: Tensor) -> Tensor:
        """Minus the divergence from each template (N, T)."""
        return -self._divergences(self.network.represent(images))

    def _divergences(self, representation: Representation) -> Tensor:
        """KL(p || q_c) as sum p log p - sum p log q_c: one product of matrices for all pairs, (N, T), float64."""
        log_p = representation.logits[:, : self.classes].double().log_softmax(1)
        p = log_p.exp()
        return (p * log_p).sum(1, keepdim=True) - p @ self._templates.T

    def _log_probabilities(self, pixels: Tensor) -> Tensor:
        """Of images, uint8 (N, C, H, W): (N, K), float64."""
        parts = []
        with torch.no_grad(), progress(f"templates of {self.name}", len(pixels)) as advance:
            for part in torch.split(pixels, batch_size(pixels.device, pixels.shape[-1])):
                parts.append(self.network(as_input(part))[:, : self.classes].double().log_softmax(1))
                advance(len(part))
        return torch.cat(parts)
