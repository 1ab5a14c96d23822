"""Every detector that pytorch-ood 0.4.0 has as well, fitted and asked on the same features, and why some differ.

Those that need images or feature maps (ODIN, Mahalanobis over taps, RankFeat, Gram) are compared by the benchmarks and
by their own tests.
"""

from importlib.metadata import version

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import spearmanr
from torch import nn

from oodbench.images.imageset import ImageSet
from oodbench.images.numbered import Numbered
from oodbench.images.resident import resident
from oodbench.networks.network import as_input
from oodbench.networks.of_features import FeatureNetwork, Made
from oodbench.registry import discover
from oodbench.scoring.fitting import Evidence, fit

theirs = pytest.importorskip("pytorch_ood.detector", reason="pytorch-ood is one of the packages of oodbench[bench]")

CLASSES, WIDTH, SEEN, ASKED = 5, 24, 400, 60
REGISTRY = discover()
CPU = torch.device("cpu")


class Bench:
    """Features of five classes that overlap, the layer that reads them, and other features to be scored."""

    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        centres = 2 * torch.rand(CLASSES, WIDTH, generator=generator)
        self.labels = torch.arange(SEEN) % CLASSES
        self.seen = (centres[self.labels] + torch.randn(SEEN, WIDTH, generator=generator)).relu()
        self.asked = 2 * torch.rand(ASKED, WIDTH, generator=generator)
        self.layer = nn.Linear(WIDTH, CLASSES)
        # Classes are told apart by the nearest centre; rows of full rank, since ViM's origin is a pseudo-inverse's.
        weight, bias = centres - 0.9 * centres.mean(0), -centres.square().sum(1) / 2
        self.layer.load_state_dict({"weight": 0.4 * weight, "bias": 0.4 * (bias - bias.mean())})
        with torch.no_grad():
            self.logits_seen, self.logits = self.layer(self.seen), self.layer(self.asked)
        made = [Made(self.logits_seen, self.seen), Made(self.logits, self.asked)]
        self.network = FeatureNetwork(made, (self.layer.weight.detach(), self.layer.bias.detach())).eval()

    def images(self, first, labels):
        count = len(labels)
        strips = Numbered(first, np.arange(count), count, "", (32, 32))
        return resident(ImageSet("set", strips, labels.numpy(), ""), CPU)

    def ours(self, name, labels=None, **parameters):
        """Scores of the features that are asked about, by oodbench."""
        cls = REGISTRY[name]
        detector = cls(cls.Parameters(**parameters))
        seen = self.images(0, self.labels if labels is None else labels)
        fit([detector], self.network, CLASSES, Evidence(train=seen, heldout=seen))
        self.fitted = detector
        with torch.no_grad():
            return detector.score(as_input(self.images(SEEN, torch.full((ASKED,), -1)).images)).numpy()

    def maps(self, features):
        """As feature maps of one pixel, which pytorch-ood takes."""
        return features[:, :, None, None]

    def head(self, maps):
        return self.layer(maps.flatten(1))


@pytest.fixture(scope="module")
def bench():
    return Bench()


def number(found):
    return found.detach().double().numpy()


def same(ours, other, rtol=1e-4):
    """The other has high scores for outliers."""
    assert np.isfinite(ours).all()
    assert len(np.unique(ours)) > ASKED // 2  # scores that are all one would agree with anything
    np.testing.assert_allclose(ours, -number(other), rtol=rtol, atol=1e-5 * np.abs(ours).max())


def in_proportion(ours, other, rtol=1e-4):
    other = -number(other)
    factor = (ours @ other) / (other @ other)
    assert factor > 0
    np.testing.assert_allclose(ours, factor * other, rtol=rtol, atol=1e-4 * np.abs(ours).max())
    return factor


def ranked(ours, other):
    return spearmanr(ours, -number(other)).statistic


def test_it_is_the_version_that_was_read():
    assert version("pytorch-ood") == "0.4.0"


def test_msp(bench):
    # Here in log-odds, which never saturate.
    same(expit(bench.ours("msp")), theirs.MaxSoftmax(None).predict_logits(bench.logits))


def test_maxlogit(bench):
    same(bench.ours("maxlogit"), theirs.MaxLogit(None).predict_logits(bench.logits))


def test_energy(bench):
    same(bench.ours("energy"), theirs.EnergyBased(None).predict_logits(bench.logits))


def test_gen(bench):
    # pytorch-ood keeps probabilities 1e-7 away from 0 and 1, where logits are this close that changes nothing.
    in_proportion(bench.ours("gen", top=3), theirs.GEN(None, M=3).predict_logits(bench.logits), rtol=1e-3)


def test_tempscale(bench):
    # Some labels are wrong: where all are recognised its search, which nothing keeps above 0, ended at -263.
    labels = torch.where(torch.arange(SEEN) % 7 == 0, (bench.labels + 1) % CLASSES, bench.labels)
    other = theirs.TemperatureScaling(None).fit_logits(bench.logits_seen, labels)
    temperature = float(other.t.detach())
    same(expit(bench.ours("tempscale", temperature=temperature)), other.predict_logits(bench.logits))
    bench.ours("tempscale", labels=labels)
    ours = bench.fitted._temperature

    def loss(value):
        return float(nn.functional.cross_entropy(bench.logits_seen.double() / value, labels))

    # Fifty steps of L-BFGS at a rate of 0.01 may stop before the best temperature, and never beyond it.
    assert loss(ours) <= loss(temperature) + 1e-9


def test_klm(bench):
    same(bench.ours("klm"), theirs.KLMatching(None).fit_logits(bench.logits_seen).predict_logits(bench.logits), 1e-3)


def test_knn(bench):
    ours = bench.ours("knn", k=7)
    other = theirs.KNN(None, k=7).fit_features(bench.seen, bench.labels)
    same(ours, other.predict_features(bench.asked), 1e-3)


def test_vim(bench):
    other = theirs.ViM(None, 12, bench.layer.weight, bench.layer.bias).fit_features(bench.seen, bench.labels)
    same(bench.ours("vim", dimensions=12), other.predict_features(bench.asked), 1e-3)


def test_rmds(bench):
    # Both of pytorch-ood's covariances are sums over images, here they are means.
    other = theirs.RMD(None).fit_features(bench.seen, bench.labels)
    in_proportion(bench.ours("rmds"), other.predict_features(bench.asked), 1e-2)


def test_fdbd(bench):
    other = theirs.fDBD(None, bench.layer).fit_features(bench.seen)
    in_proportion(bench.ours("fdbd"), other.predict_features(bench.asked))


def test_nci(bench):
    other = theirs.NCI(None, bench.layer, alpha=0.01).fit_features(bench.seen)
    same(bench.ours("nci", alpha=0.01), other.predict_features(bench.asked))


def test_nnguide(bench):
    other = theirs.NNGuide(None, bench.layer, k=10).fit_features(bench.seen, bench.labels)
    same(bench.ours("nnguide", k=10, bank=1.0), other.predict_features(bench.asked))


def test_she(bench):
    other = theirs.SHE(None, bench.layer).fit_features(bench.seen, bench.labels)
    same(bench.ours("she"), other.predict_features(bench.asked))


def test_dice(bench):
    other = theirs.DICE(None, bench.layer.weight, bench.layer.bias, p=0.7).fit_features(bench.seen, bench.labels)
    same(bench.ours("dice", percentile=70), other.predict_features(bench.asked))


def test_react(bench):
    other = theirs.ReAct(None, bench.head, percentile=0.9).fit_feature_maps(bench.maps(bench.seen), bench.labels)
    same(bench.ours("react", percentile=90), other.predict_feature_maps(bench.maps(bench.asked)))


def test_scale(bench):
    other = theirs.SCALE(None, bench.head, percentile=0.75)
    same(bench.ours("scale", percentile=75), other.predict_feature_maps(bench.maps(bench.asked)))


def test_ash(bench):
    other = theirs.ASH(None, bench.head, percentile=0.75)
    same(bench.ours("ash", percentile=75), other.predict_feature_maps(bench.maps(bench.asked)))


def test_vra(bench):
    """The paper drops small features to zero; pytorch-ood lifts them to the threshold, as OpenOOD does."""
    maps = bench.maps(bench.seen)
    other = theirs.VRA(None, bench.head, 0.0, 0.9).fit_feature_maps(maps, bench.labels)
    same(bench.ours("vra", low=0, high=90), other.predict_feature_maps(bench.maps(bench.asked)), 1e-3)
    other = theirs.VRA(None, bench.head, 0.5, 0.9).fit_feature_maps(maps, bench.labels)
    lifted = -number(other.predict_feature_maps(bench.maps(bench.asked)))
    assert np.abs(bench.ours("vra", low=50, high=90) - lifted).max() > 0.1


def test_gradnorm(bench):
    # pytorch-ood takes the gradient of the mean over classes, the paper and this project that of the sum.
    other = theirs.GradNorm(bench.layer, param_filter=lambda name: name == "weight")
    factor = in_proportion(bench.ours("gradnorm"), other.to("cpu").predict(bench.asked))
    assert factor == pytest.approx(CLASSES, rel=1e-3)


def test_openmax(bench):
    # Both fit the tails without libmr, by different means.
    other = theirs.OpenMax(None, tailsize=20, alpha=3).fit_logits(bench.logits_seen, bench.labels)
    assert ranked(bench.ours("openmax", tail=20, alpha=3), other.predict_logits(bench.logits)) > 0.9


def test_mcm(bench):
    texts = nn.functional.normalize(bench.layer.weight.detach(), dim=1)
    unit = [nn.functional.normalize(features) for features in (bench.seen, bench.asked)]
    made = [Made(features @ texts.T / 0.01, features) for features in unit]
    like_clip = Bench()
    like_clip.network = FeatureNetwork(made, (texts / 0.01, torch.zeros(CLASSES))).eval()
    same(expit(like_clip.ours("mcm")), theirs.MCM(None, texts).predict_features(bench.asked))
