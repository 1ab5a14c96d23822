"""What a network's layers are said to be: with what makes another network, without what another torch adds."""

import torch
from torch import nn

from oodbench.networks import build
from oodbench.networks.architecture import architecture_text


class OldBatchNorm(nn.BatchNorm2d):
    """Prints itself as in torch 2.11."""

    def extra_repr(self):
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine=True, track_running_stats=True"


class NewBatchNorm(OldBatchNorm):
    """Prints itself with an option that its ancestors do not know."""

    def __init__(self, features, eps=1e-5, momentum=0.1, bias=True):
        super().__init__(features, eps, momentum)

    def extra_repr(self):
        return super().extra_repr().replace("affine=True", "affine=True, bias=True")


def as_batch_norm(text):
    return text.replace("OldBatchNorm", "BatchNorm2d").replace("NewBatchNorm", "BatchNorm2d")


def test_an_option_that_a_version_of_torch_prints_makes_no_other_network():
    torchs, old, new = (
        architecture_text(nn.Sequential(kind(3))) for kind in (nn.BatchNorm2d, OldBatchNorm, NewBatchNorm)
    )
    assert as_batch_norm(old) == as_batch_norm(new) == torchs == ": Sequential()\n0: BatchNorm2d(3)"


def test_what_makes_another_network_is_said():
    plain = nn.Conv2d(3, 8, 3)
    others = [
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(3, 8, 3, bias=False),
        nn.Conv2d(3, 8, 3, dilation=2),
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 8, 5),
    ]
    assert len({architecture_text(layer) for layer in (plain, *others)}) == len(others) + 1
    norms = [nn.BatchNorm2d(3), nn.BatchNorm2d(3, eps=1e-3), nn.BatchNorm2d(3, affine=False), nn.GroupNorm(3, 3)]
    assert len({architecture_text(layer) for layer in norms}) == len(norms)
    padded = architecture_text(nn.Conv2d(3, 8, 3, padding=1))
    assert padded == ": Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"


def test_weights_do_not_count_and_order_does():
    one, other = build("small-cnn", 10, seed=1), build("small-cnn", 10, seed=2)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert architecture_text(one) == architecture_text(other) != architecture_text(build("small-cnn", 11, seed=1))
    assert architecture_text(nn.Sequential(nn.ReLU(), nn.Tanh())) != architecture_text(
        nn.Sequential(nn.Tanh(), nn.ReLU())
    )
