"""KLM against SciPy's entropy on a real network, and Gram against matrices that are really made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.detector import TuningImages
from oodbench.detectors.gram import Gram, row_sums
from oodbench.detectors.klm import KLM
from oodbench.images.catalogue import load
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, Representation, as_input

ROOT = Path(__file__).parents[2]
CLASSIFIER = ROOT / "results" / "reference" / "networks" / "digits" / "plain.safetensors"


class Given(Network):
    """Images (N, 3, 1, 1) whose pixels, as they are in the file, are three logits."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)

    def represent(self, images):
        logits = (images * 255).flatten(1)
        return Representation(logits, logits, (images,))


def tuned(detector, logits, classes=3):
    detector.attach(Given(), classes)
    pixels = torch.tensor(logits, dtype=torch.uint8)[:, :, None, None]
    return detector.tune(TuningImages(pixels, torch.full((len(pixels),), -1), pixels[:0]))


def test_klm_by_hand():
    detector = KLM()
    # Two images of class 0, one of class 2, none of class 1.
    held = np.array([[2.0, 0.0, 1.0], [3.0, 1.0, 0.0], [0.0, 1.0, 4.0]])
    assert tuned(detector, held) == {"templates": 2, "classes_without": [1]}
    p = softmax(held, axis=1)
    templates = [p[:2].mean(0), p[2]]
    asked = np.array([[2.0, 1.0, 0.5], [0.0, 5.0, 0.0]])
    expected = [-min(entropy(one, other) for other in templates) for one in softmax(asked, axis=1)]
    found = detector.score_representation(Representation(torch.tensor(asked), torch.zeros(2, 1), ()))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_klm_is_scipys_on_a_real_network():
    network = networks.build("small-cnn", 10, (0.5,) * 3, (0.5,) * 3)
    checkpoints.load(network, CLASSIFIER)
    network.eval()
    test, letters = (load(name, ROOT / "data") for name in ("digits-test", "letters"))
    held = torch.from_numpy(test.pixels()[:150]).permute(0, 3, 1, 2).contiguous()
    detector = KLM()
    detector.attach(network, 10)
    detector.tune(TuningImages(held, torch.full((150,), -1), held[:0]))
    asked = torch.cat([held[:20], torch.from_numpy(letters.pixels()[:20]).permute(0, 3, 1, 2)])
    with torch.no_grad():
        of_held, of_asked = (network(as_input(each)).double().softmax(1).numpy() for each in (held, asked))
        found = detector.score(as_input(asked)).numpy()
    predicted = of_held.argmax(1)
    templates = [of_held[predicted == label].mean(0) for label in range(10)]
    expected = [-min(entropy(one, other) for other in templates) for one in of_asked]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_klm_is_finite_and_has_a_gradient_where_every_softmax_rounds_to_one():
    detector = KLM()
    tuned(detector, [[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    logits = torch.tensor([[900.0, 0.0, 0.0], [3.0, 2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    scores = detector.score_representation(Representation(logits, torch.zeros(2, 1), ()))
    (gradient,) = torch.autograd.grad(scores.sum(), logits)
    assert scores.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[1].abs().max() > 0
    assert scores[0] > scores[1]


def test_klm_refuses_a_single_template():
    with pytest.raises(OodbenchError, match="klm: all 2 held-out ID images are predicted to be of one class"):
        tuned(KLM(), [[5, 0, 0], [6, 1, 0]])


@pytest.mark.parametrize("order", [1, 2, 3, 7])
def test_row_sums_are_those_of_gram_matrices_that_are_made(order):
    maps = torch.randn(4, 6, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat = (maps**order).flatten(2)
    sums = (flat @ flat.transpose(1, 2)).sum(2)
    expected = sums.sign() * sums.abs() ** (1 / order)
    torch.testing.assert_close(row_sums(maps.flatten(2), order), expected)


def test_row_sums_of_dead_channels_have_a_gradient():
    maps = torch.rand(2, 3, 8, dtype=torch.float64)
    maps[:, 1] = 0
    maps.requires_grad_()
    for order in (1, 2, 5):
        (gradient,) = torch.autograd.grad(row_sums(maps, order).sum(), maps)
        assert gradient.isfinite().all()


def seen(logits, values):
    """One channel of one position, whose Gram row sum of order 1 is its square."""
    taps = (torch.tensor(values).sqrt().view(-1, 1, 1, 1),)
    return Representation(torch.tensor(logits), torch.zeros(len(values), 1), taps)


def test_gram_by_hand():
    detector = Gram(Gram.Parameters(orders=1))
    detector.attach(Given(), 2)
    # Class 0 has shown 2 to 5, class 1 has shown 10 only.
    logits = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    detector.observe(seen(logits, [2.0, 5.0, 10.0]), torch.tensor([-1, -1, -1]))
    detector.settle()
    detector._expected = torch.tensor([0.5], dtype=torch.float64)
    certain = 1 / (1 + np.exp(-1))
    # Below by 1 of 2, inside, above by 5 of 5; class 1: above by 2 of 10.
    found = detector.score_representation(seen([*[[1.0, 0.0]] * 3, [0.0, 1.0]], [1.0, 3.0, 10.0, 12.0]))
    np.testing.assert_allclose(found, -np.array([0.5, 0, 1, 0.2]) / 0.5 / certain, rtol=1e-5)


def test_gram_names_classes_that_were_never_predicted():
    detector = Gram(Gram.Parameters(orders=1))
    detector.attach(Given(), 2)
    detector.observe(seen([[1.0, 0.0]] * 3, [2.0, 5.0, 10.0]), torch.tensor([-1, -1, -1]))
    with pytest.raises(OodbenchError, match="gram: no ID training image is predicted to be of class 1: give more"):
        detector.settle()


def test_gram_refuses_networks_without_taps_and_images_that_deviate_nowhere():
    detector = Gram(Gram.Parameters(orders=1))
    detector.attach(Given(), 3)
    with pytest.raises(OodbenchError, match="gram looks at taps and Given has none"):
        detector.settle()
    pixels = torch.tensor([[9, 1, 1], [1, 9, 1], [1, 1, 9]], dtype=torch.uint8)[:, :, None, None]
    detector.observe(detector.network.represent(as_input(pixels)), torch.tensor([-1, -1, -1]))
    detector.settle()
    with pytest.raises(OodbenchError, match="gram: none of 3 held-out ID images leaves the range.*at tap 0"):
        detector.tune(TuningImages(pixels, torch.tensor([-1, -1, -1]), pixels[:0]))


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (KLM.Parameters, {"tuning": "x"}),
        (KLM.Parameters, {"images": 0}),
        (Gram.Parameters, {"tuning": "x"}),
        (Gram.Parameters, {"images": 0}),
        (Gram.Parameters, {"orders": 0}),
    ],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose"):
        parameters(**values)
