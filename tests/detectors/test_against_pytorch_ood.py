"""Every detector that pytorch-ood 0.4.0 has as well, fitted and asked on the same features, and why some differ.

Those that need images or feature maps (ODIN, Mahalanobis, RankFeat, Gram) are asked about the same small network.
"""

from importlib.metadata import version

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from oodbench.images.imageset import ImageSet
from oodbench.images.numbered import Numbered
from oodbench.images.resident import IDImages, resident
from oodbench.networks.network import Network, Representation, as_input
from oodbench.networks.of_features import FeatureNetwork, NetworkOutputs
from oodbench.registry import discover
from oodbench.scoring.fitting import FittingImages, fit

theirs = pytest.importorskip("pytorch_ood.detector", reason="pytorch-ood is one of the packages of oodbench[bench]")
odin_preprocessing = theirs.odin.odin_preprocessing

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
        made = [NetworkOutputs(self.logits_seen, self.seen), NetworkOutputs(self.logits, self.asked)]
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
        fit([detector], self.network, CLASSES, FittingImages(train=seen, heldout=seen))
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
    made = [NetworkOutputs(features @ texts.T / 0.01, features) for features in unit]
    like_clip = Bench()
    like_clip.network = FeatureNetwork(made, (texts / 0.01, torch.zeros(CLASSES))).eval()
    same(expit(like_clip.ours("mcm")), theirs.MCM(None, texts).predict_features(bench.asked))


class Blocks(Network):
    """Two blocks and a linear layer over the averages of the last feature maps, with random weights."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.first = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
            self.second = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2), nn.ReLU())
            self.fc = nn.Linear(8, CLASSES)

    def represent(self, images):
        first = self.first(images)
        second = self.second(first)
        features = second.mean((2, 3))
        return Representation(self.fc(features), features, (first, second))

    def on_from(self, second):
        """Logits of the last feature maps."""
        return self.fc(second.mean((2, 3)))


class Photographs:
    """Images of five classes that differ in colour and in a shape, and others, for a network of two blocks."""

    def __init__(self):
        generator = torch.Generator().manual_seed(4)
        self.labels = torch.arange(SEEN) % CLASSES
        self.seen, self.heldout, self.asked = (self.drawn(count, generator) for count in (SEEN, 50, ASKED))
        self.network = Blocks().eval()
        with torch.no_grad():
            features = self.network.represent(as_input(self.seen)).features
            means = torch.stack([features[self.labels == label].mean(0) for label in range(CLASSES)])
            # Classes are told apart by the nearest mean, so that every class is predicted.
            weight = 40 * (means - means.mean(0))
            self.network.fc.weight.copy_(weight)
            self.network.fc.bias.copy_(-(weight * (means + means.mean(0)) / 2).sum(1))

    @staticmethod
    def drawn(count, generator):
        pixels = torch.randint(0, 256, (count, 3, 12, 12), generator=generator).float()
        for label in range(CLASSES):
            pixels[label::CLASSES, label % 3, 2 * label : 2 * label + 4] *= 0.2
        return pixels.to(torch.uint8)

    def ours(self, name, **parameters):
        """The detector, fitted."""
        cls = REGISTRY[name]
        detector = cls(cls.Parameters(**parameters))
        heldout = IDImages(self.heldout, torch.arange(len(self.heldout)) % CLASSES)
        seen = IDImages(self.seen, self.labels)
        fit([detector], self.network, CLASSES, FittingImages(seen, heldout, None, self.asked))
        return detector

    def scores(self, name, **parameters):
        return number(self.ours(name, **parameters).score(as_input(self.asked)))

    def taps(self, images):
        with torch.no_grad():
            return self.network.represent(as_input(images)).taps


@pytest.fixture(scope="module")
def photographs():
    return Photographs()


def test_odin(photographs):
    """Where the gradient is exactly 0 an image is moved up here, as by the code of Chen et al. 2021, and not there."""
    images, network = as_input(photographs.asked), photographs.network
    ours = photographs.ours("odin", magnitude=0.004, temperature=50.0)
    same(expit(number(ours.score(images))), theirs.ODIN(network, eps=0.004, temperature=50.0).predict(images))
    moved = odin_preprocessing(network, images, eps=0.004, temperature=50.0)
    ours_moved = images - 0.004 * ours._direction(images)
    sloping = moved != images
    torch.testing.assert_close(ours_moved[sloping], moved[sloping])
    torch.testing.assert_close(ours_moved[~sloping], images[~sloping] - 0.004)
    assert not sloping[:, :, 11].any()  # the network's steps of two end before the last row


@pytest.mark.parametrize("magnitude", [0.0, 0.01])
def test_mahalanobis(photographs, magnitude):
    """Of one tap. Here a regression makes log-odds of the distances of all taps; there the covariance is a sum."""
    ours = photographs.ours("mahalanobis", taps=(1,), magnitude=magnitude, negatives="outliers")

    def encoder(images):
        return photographs.network.represent(images).taps[1].mean((2, 3))

    seen = encoder(as_input(photographs.seen)).detach()
    images = as_input(photographs.asked)
    other = theirs.MahalanobisODIN(encoder, eps=magnitude).fit_features(seen, photographs.labels).predict(images)
    # Half the squared distance by the sum; log-odds are a line of half the squared distance by the mean.
    expected = -(ours._weights.item() * -SEEN * number(other) + ours._bias)
    np.testing.assert_allclose(number(ours.score(images)), expected, rtol=1e-2)


def test_rankfeat(photographs):
    """The paper, and this project, average the logits of the last two blocks; pytorch-ood changes one."""
    network, taps = photographs.network, photographs.taps(photographs.asked)
    other = theirs.RankFeat(None, network.on_from)
    last = other.predict_feature_maps(taps[1])
    same(photographs.scores("rankfeat", last=1), last)
    first = theirs.RankFeat(None, lambda maps: network.on_from(network.second(maps)))
    both = theirs.RankFeat(None, None, detector=None)
    logits = [each.head(without_strongest(each, maps)) for each, maps in zip((first, other), taps, strict=True)]
    with torch.no_grad():
        same(photographs.scores("rankfeat", last=2), both.detector(torch.stack(logits).mean(0)))


def without_strongest(detector, maps):
    """What pytorch-ood hands to the rest of the network."""
    given = []
    keeping = type(detector)(None, lambda changed: given.append(changed) or torch.zeros(len(changed), 2))
    keeping.predict_feature_maps(maps)
    return given[0]


def test_gram(photographs):
    """There a class is a label where ranges are learnt, and the sum is not divided by the largest probability."""
    network, images = photographs.network, as_input(photographs.asked // 2)  # all leave the range
    ours = photographs.ours("gram", orders=3)
    with torch.no_grad():
        predicted = network(as_input(photographs.seen)).argmax(1)
        largest = number(network(images).softmax(1).amax(1))
    other = theirs.Gram(network.on_from, [network.first, network.second], CLASSES, [1, 2, 3])
    other.validation_fraction = 0.0  # it draws its own images for the mean deviations
    other.fit(DataLoader(TensorDataset(as_input(photographs.seen), predicted), batch_size=100))
    other.layer_norm = ours._expected.float()
    same(number(ours.score(images)) * largest, other.predict(images), 1e-3)
