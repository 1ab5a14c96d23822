"""GradNorm against autograd, temperature scaling against a search, NCI by hand."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn.functional import cross_entropy

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.detector import TuningImages
from oodbench.detectors.gradnorm import GradNorm
from oodbench.detectors.msp import MSP
from oodbench.detectors.nci import NCI
from oodbench.detectors.tempscale import COLDEST, TempScale
from oodbench.networks.network import Network, Representation
from oodbench.scoring.fitting import fit
from tests.detectors.features import FeatureNetwork, learned, random_features
from tests.realimages import SHARED, needs_real_images


@pytest.mark.parametrize("name", ["small-cnn", "resnet18-32x32"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_gradnorm_is_the_norm_of_the_gradient_that_autograd_gives(name, temperature):
    network = networks.build(name, 5, seed=3)
    detector = GradNorm(GradNorm.Parameters(temperature=temperature))
    fit([detector], network, 5)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = []
    for image in images:
        loss = -(network(image[None]) / temperature).log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(loss, network.head.weight)
        expected.append(float(gradient.abs().sum()))
    with torch.no_grad():
        np.testing.assert_allclose(detector.score(images), expected, rtol=1e-4)


@needs_real_images
def test_gradnorm_is_the_gradient_of_a_network_of_cifar_100_on_real_images():
    golden = SHARED / "spec" / "golden" / "cifar100-resnet14" / "features.npz"
    saved = torch.load(SHARED / "weights" / "cifar100-resnet14.pth", weights_only=True, map_location="cpu")
    names = saved["model_state_dict"]
    layer = torch.nn.Linear(64, 100)
    layer.load_state_dict({"weight": names["fc.weight"], "bias": names["fc.bias"]})
    features = torch.from_numpy(np.load(golden)["id_features"][:50])
    detector, network = GradNorm(), FeatureNetwork(layer)
    fit([detector], network, 100)
    expected = []
    for row in features:
        loss = -layer(row[None]).log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(loss, layer.weight)
        expected.append(float(gradient.abs().sum()))
    with torch.no_grad():
        np.testing.assert_allclose(detector.score_representation(network.seen(features)), expected, rtol=1e-4)


def test_gradnorm_by_hand():
    # softmax (3/4, 1/4): |2 p - 1| sums to 1; the features' L1 norm is 7.
    detector = GradNorm()
    fit([detector], networks.build("small-cnn", 2), 2)
    logits = torch.tensor([[np.log(3), 0.0, 50.0]])  # the third is no class
    found = detector.score_representation(Representation(logits, torch.tensor([[3.0, -4.0]]), ()))
    assert found.item() == pytest.approx(7, rel=1e-6)


def test_gradnorm_wants_a_linear_last_layer():
    with pytest.raises(OodbenchError, match="does not end in one linear layer"):
        fit([GradNorm()], FeatureNetwork(torch.nn.Sequential(torch.nn.Linear(5, 3))), 3)


class Logits(Network):
    """Images (N, 3, 1, 1) are the logits, times `scale`."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def represent(self, images):
        logits = (images.flatten(1) - 0.5) * self.scale
        return Representation(logits, logits, ())


def labelled(wrong):
    """300 images of three classes, `wrong` of them with another label than their largest channel."""
    images = torch.randint(0, 256, (300, 3, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = images.flatten(1).argmax(1)
    labels[:wrong] = images[:wrong].flatten(1).argmin(1)
    return TuningImages(images, labels, images[:0])


@pytest.mark.parametrize("scale", [5.0, 40.0])
def test_the_temperature_makes_held_out_labels_likeliest(scale):
    detector, images = TempScale(), labelled(wrong=40)
    detector.attach(Logits(scale), 3)
    detector.settle()
    tuned = detector.tune(images)
    logits = Logits(scale)(images.id.float() / 255).double()
    grid = np.geomspace(0.1, 100, 4001)
    losses = [float(cross_entropy(logits / temperature, images.labels)) for temperature in grid]
    assert tuned["temperature"] == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    assert tuned["cross_entropy"] == pytest.approx(min(losses), rel=1e-6)
    assert tuned["cross_entropy"] <= tuned["cross_entropy_at_1"]
    assert tuned["accuracy"] == pytest.approx(260 / 300)
    assert "limit" not in tuned


def test_the_temperature_is_the_same_whatever_the_logits_are_measured_in():
    found = []
    for scale in (10.0, 20.0):
        detector = TempScale()
        detector.attach(Logits(scale), 3)
        detector.settle()
        found.append(detector.tune(labelled(wrong=40))["temperature"])
    assert found[1] == pytest.approx(2 * found[0], rel=1e-4)


def test_images_that_are_all_recognised_end_at_the_coldest_temperature_and_scores_stay_apart():
    detector = TempScale()
    detector.attach(Logits(40.0), 3)
    detector.settle()
    tuned = detector.tune(labelled(wrong=0))
    assert tuned["temperature"] == pytest.approx(COLDEST, rel=1e-3)
    assert "all are recognised" in tuned["limit"]
    scores = detector.score(torch.tensor([[0.9, 0.1, 0.1], [1.0, 0.1, 0.1]])[..., None, None])
    assert scores[1] > scores[0]
    assert torch.isfinite(scores).all()


def test_tempscale_scores_log_odds_at_its_temperature_and_prints_their_probability():
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.4, 0.3]])
    detector = TempScale(TempScale.Parameters(temperature=2.0))
    assert detector.tuning() is None
    fit([detector], networks.build("small-cnn", 3), 3)
    representation = Representation(torch.tensor(np.c_[logits, [99.0, 99.0]]), torch.zeros(2, 1), ())
    p = softmax(logits / 2, axis=1).max(1)
    np.testing.assert_allclose(detector.score_representation(representation), np.log(p / (1 - p)), rtol=1e-9)
    np.testing.assert_allclose(detector.published(representation).scores, p, rtol=1e-6)
    plain = MSP()
    fit([plain], networks.build("small-cnn", 3), 3)
    at_one = TempScale(TempScale.Parameters(temperature=1.0))
    fit([at_one], networks.build("small-cnn", 3), 3)
    three = representation._replace(logits=representation.logits[:, :3])
    assert torch.equal(at_one.score_representation(three), plain.score_representation(three))


def test_tempscale_is_tuned_on_id_images_alone():
    wanted = TempScale().tuning()
    assert (wanted.source, wanted.outliers) == ("heldout", False)


def test_nci_by_hand():
    layer = torch.nn.Linear(2, 2)
    layer.weight.data, layer.bias.data = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.zeros(2)
    features = torch.tensor([[0.0, 2.0], [2.0, 0.0]])  # mean (1, 1)
    detector, network = learned(NCI(NCI.Parameters(alpha=0.1)), features, classes=2, head=layer)
    # (4, 5): logits 8 and 5, centred (3, 4), so <(2, 0), (3, 4)> / 5 = 1.2, and 0.1 * 9.
    # (1, 4): logits 2 and 4, centred (0, 3), so <(0, 1), (0, 3)> / 3 = 1, and 0.1 * 5.
    # (1, 1): on the mean, nothing but 0.1 * 2.
    with torch.no_grad():
        found = detector.score_representation(network.seen(torch.tensor([[4.0, 5.0], [1.0, 4.0], [1.0, 1.0]])))
    np.testing.assert_allclose(found, [2.1, 1.5, 0.2], rtol=1e-12)


def test_nci_is_pytorch_oods():
    pytorch_ood = pytest.importorskip("pytorch_ood.detector")
    features, queries, layer = random_features(), random_features(20, seed=1), torch.nn.Linear(5, 3)
    detector, network = learned(NCI(NCI.Parameters(alpha=0.01)), features, head=layer)
    other = pytorch_ood.NCI(None, layer, alpha=0.01).fit_features(features)
    with torch.no_grad():
        found = detector.score_representation(network.seen(queries))
        np.testing.assert_allclose(found, -other.predict_features(queries), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [GradNorm, NCI])
def test_half_precision_scores_as_full_precision_does(method):
    features, layer = random_features(dimensions=16), torch.nn.Linear(16, 3)
    found = {}
    for dtype in (torch.float32, torch.float16):
        detector, network = learned(method(), features.to(dtype), head=layer.to(dtype))
        with torch.no_grad():
            found[dtype] = detector.score_representation(network.seen(features.to(dtype)))
        assert found[dtype].dtype == torch.float64
    np.testing.assert_allclose(found[torch.float16], found[torch.float32], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (GradNorm.Parameters, {"temperature": 0.0}),
        (TempScale.Parameters, {"temperature": -1.0}),
        (TempScale.Parameters, {"tuning": "test"}),
        (NCI.Parameters, {"alpha": -0.1}),
    ],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose"):
        parameters(**values)


def test_log_softmax_is_the_loss_that_gradnorm_differentiates():
    # The closed form against finite differences of the loss, in NumPy alone.
    generator = np.random.default_rng(0)
    weight, features = generator.normal(size=(4, 6)), generator.normal(size=6)

    def loss(of):
        return -log_softmax(of @ features).sum()

    numeric = np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        step = np.zeros_like(weight)
        step[place] = 1e-6
        numeric[place] = (loss(weight + step) - loss(weight - step)) / 2e-6
    detector = GradNorm()
    fit([detector], networks.build("small-cnn", 4), 4)
    seen = Representation(torch.from_numpy(weight @ features)[None], torch.from_numpy(features)[None], ())
    assert detector.score_representation(seen).item() == pytest.approx(np.abs(numeric).sum(), rel=1e-7)
