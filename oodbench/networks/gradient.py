"""Tests whether a network can be climbed, or trained."""

import torch
from torch import Tensor

from oodbench.networks.network import Network


def has_gradient(network: Network, images: Tensor) -> bool:
    """Whether logits can be differentiated by the images, float (N, 3, H, W) in [0, 1], on the network's device."""
    with torch.enable_grad():
        tracked = images.detach().clone().requires_grad_()
        logits = network.represent(tracked).logits
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.sum(), tracked, allow_unused=True)
    return gradient is not None


def can_learn(network: Network, images: Tensor) -> bool:
    """Whether logits of images, as `has_gradient` takes them, can be differentiated by some weight."""
    with torch.enable_grad():
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        logits = network.represent(images).logits
        if not weights or not logits.requires_grad:
            return False
        gradients = torch.autograd.grad(logits.sum(), weights, allow_unused=True)
    return any(gradient is not None for gradient in gradients)
