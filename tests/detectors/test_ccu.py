"""CCU's pieces against the reference (golden/ccu.json) and by hand; the mixtures against scikit-learn."""

import numpy as np
import pytest
import torch
from torch import nn

from oodbench.basics.errors import OodbenchError
from oodbench.detectors.ccu import (
    CCU,
    CCUMSP,
    CCUNetwork,
    CertifiedUncertainty,
    Metric,
    Mixture,
    excess_log_odds,
    expectation_maximisation,
    log_posterior,
)
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch
from oodbench.scoring.fitting import fit


@pytest.fixture(scope="module")
def case(golden):
    return {name: torch.tensor(value).double() for name, value in golden("ccu").items() if name != "about"}


@pytest.fixture(scope="module")
def metric(case):
    metric = Metric(6).double()
    metric.fit(case["pca_data"])
    return metric


def mixture(mu, logvar):
    made = Mixture(*mu.shape).double()
    made.mu.data, made.logvar.data = mu, logvar
    return made


def test_metric_is_the_references(case, metric):
    np.testing.assert_allclose(metric.singular, case["singular_values"], rtol=1e-6)
    x, y = case["x"][:1], case["x"][1:2]
    _, singular, components = torch.linalg.svd(case["pca_data"] - case["pca_data"].mean(0), full_matrices=False)
    direct = (singular.rsqrt() * (components @ (x - y)[0])).norm()
    torch.testing.assert_close((metric.whiten(x) - metric.whiten(y)).norm(), direct)


@pytest.mark.parametrize("side", ["in", "out"])
def test_component_likelihoods_are_the_references(case, metric, side):
    made = mixture(metric.whiten(case[f"mu_{side}"]), case[f"logvar_{side}"])
    found = made.log_densities(metric.whiten(case["x"]), metric)
    np.testing.assert_allclose(found.detach().T, case[f"loglik_{side}"], rtol=1e-6)


def test_posterior_is_the_references(case):
    logits = case["x"] @ case["W"].T
    found = log_posterior(logits, case["loglik_in"].logsumexp(0), case["loglik_out"].logsumexp(0))
    np.testing.assert_allclose(found, case["log_prob"], rtol=1e-6)
    np.testing.assert_allclose(found.exp().sum(1), 1)


def test_the_score_orders_as_the_posterior_does(case):
    logits = case["x"] @ case["W"].T
    of_id, of_outliers = case["loglik_in"].logsumexp(0), case["loglik_out"].logsumexp(0)
    p = log_posterior(logits, of_id, of_outliers).exp().amax(1)
    told_apart = p > 1 / 4 + 1e-6  # below, float64 probabilities themselves are too coarse to compare with
    assert told_apart.sum() == 4
    expected = torch.log((p - 1 / 4) / (1 - p))
    np.testing.assert_allclose(
        excess_log_odds(logits, of_id - of_outliers)[told_apart], expected[told_apart], rtol=1e-6
    )


def test_the_score_neither_ties_nor_dies_where_the_posterior_does():
    logits = torch.tensor([[60.0, 0.0, 0.0]] * 2 + [[3.0, 0.0, 0.0]] * 2, dtype=torch.float64)
    id_log_odds = torch.tensor([90.0, 80.0, -500.0, -600.0], dtype=torch.float64, requires_grad=True)
    scores = excess_log_odds(logits, id_log_odds)
    (gradient,) = torch.autograd.grad(scores.sum(), id_log_odds)
    assert torch.isfinite(scores).all()
    assert scores[2] > scores[3]
    np.testing.assert_allclose(gradient[2:], 1.0)
    assert torch.isfinite(excess_log_odds(torch.zeros(1, 3), torch.zeros(1))).all()


def test_whitened_means_learn_as_means_in_pixel_space_do(case, metric):
    pixel_mu = case["mu_in"].clone().requires_grad_()
    spread = 3 * case["logvar_in"]  # D / 2 of the log variance
    squares = torch.cdist(metric.whiten(case["x"]), metric.whiten(pixel_mu)).square()
    (-spread - squares / (2 * case["logvar_in"].exp())).logsumexp(1).sum().backward()
    made = mixture(metric.whiten(case["mu_in"]), case["logvar_in"].clone())
    made.log_densities(metric.whiten(case["x"]), metric).logsumexp(1).sum().backward()
    assert made.mu.grad.abs().max() > 1e-3
    torch.testing.assert_close(made.mu - 0.1 * made.mu.grad, metric.whiten(case["mu_in"] - 0.1 * pixel_mu.grad))


def clouds(count=600):
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64)
    labels = torch.arange(count) % 3
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return centres, centres[labels] + noise * torch.tensor([0.5, 1.0, 2.0]).double()[labels, None], labels


def test_em_finds_separate_clouds():
    centres, points, labels = clouds()
    means, variances = expectation_maximisation(points, 3, torch.Generator().manual_seed(1))
    order = torch.cdist(centres, means).argmin(1)
    np.testing.assert_allclose(means[order], centres, atol=0.3)
    own = [points[labels == label].var(0, correction=0).mean() for label in range(3)]
    np.testing.assert_allclose(variances[order], own, rtol=0.05)


def test_em_never_lowers_the_likelihood():
    _, points, _ = clouds()
    points = points / 4  # clouds that overlap

    def likelihood(means, variances):
        squares = torch.cdist(points, means).square()
        return (-variances.log() - squares / (2 * variances)).logsumexp(1).mean()

    start = expectation_maximisation(points[:12], 3, torch.Generator().manual_seed(1))
    fitted = expectation_maximisation(points, 3, torch.Generator().manual_seed(1))
    assert likelihood(*fitted) > likelihood(*start)


class Classifier(Network):
    def __init__(self, classes=3):
        super().__init__()
        self.fc = nn.Linear(12, classes)

    def represent(self, images):
        features = images.flatten(1)
        return Representation(self.fc(features), features, ())


OBJECTIVE = CertifiedUncertainty(components=4)


@pytest.fixture(scope="module")
def prepared():
    """Mixtures fitted to dark ID images and bright outliers, 2x2 pixels."""
    generator = torch.Generator().manual_seed(0)
    dark = torch.randint(0, 128, (300, 3, 2, 2), generator=generator, dtype=torch.uint8)
    bright = torch.randint(128, 256, (200, 3, 2, 2), generator=generator, dtype=torch.uint8)
    network = OBJECTIVE.adapt(Classifier(), (3, 2, 2))
    OBJECTIVE.initialise(network, IDImages(dark, torch.arange(300) % 3), OutlierPool(bright, 0, ()), (), generator)
    OBJECTIVE.after_step(network)  # as training does from its first step on: the theory needs wide outlier Gaussians
    return network.eval(), dark, bright


def test_mixtures_lie_where_the_images_are(prepared):
    network, dark, bright = prepared
    for made, images in ((network.mm, dark), (network.mm_out, bright)):
        middle = network.metric.whiten(images.flatten(1) / 255).mean(0)
        torch.testing.assert_close(made.mu.mean(0), middle, atol=0.2, rtol=0.1)
    of_id, of_outliers = network.log_likelihoods(torch.cat([dark, bright]) / 255)
    assert ((of_id > of_outliers)[:300]).float().mean() > 0.99
    assert ((of_id < of_outliers)[300:]).float().mean() > 0.99


def test_far_from_everything_the_posterior_is_uniform(prepared):
    network, *_ = prepared
    far = torch.full((1, 3, 2, 2), 30.0)
    posterior = log_posterior(network(far), *network.log_likelihoods(far)).exp()
    np.testing.assert_allclose(posterior.detach(), 1 / 3, atol=1e-3)  # float32 likelihoods of about -1e5


def test_loss_by_hand(prepared):
    network, dark, bright = prepared
    batch = Batch(dark[:3] / 255, torch.tensor([0, 1, 2]), bright[:2] / 255)
    loss = OBJECTIVE.loss(network, batch, torch.Generator())
    total = 0.0
    for images, labels in ((batch.images, batch.labels), (batch.outliers, None)):
        of_id, of_outliers = (each.double() for each in network.log_likelihoods(images))
        p = network(images).double().softmax(1)
        mixed = (p * of_id.exp()[:, None] + of_outliers.exp()[:, None] / 3) / (of_id.exp() + of_outliers.exp())[:, None]
        picked = mixed.log().mean() if labels is None else mixed.log()[range(3), labels].mean()
        total -= 0.5 * (picked + torch.log(0.5 * of_id.exp() + 0.5 * of_outliers.exp()).mean())
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)


def test_mixtures_learn_slowly_and_without_decay(prepared):
    network, *_ = prepared
    base, mixtures = OBJECTIVE.parameter_groups(network)
    assert {id(each) for each in base["params"]} == {id(each) for each in network.base_model.parameters()}
    assert (mixtures["lr"], mixtures["weight_decay"]) == (1e-5, 0.0)
    assert len(base["params"]) + len(mixtures["params"]) == len(list(network.parameters()))


def test_after_a_step_outlier_gaussians_are_wide_again():
    network = OBJECTIVE.adapt(Classifier(), (3, 2, 2))
    network.mm.logvar.data = torch.tensor([0.0, 1.0, 2.0, -1.0])
    network.mm_out.logvar.data = torch.tensor([0.0, 5.0, 3.0, 3.5])
    OBJECTIVE.after_step(network)
    np.testing.assert_allclose(network.mm_out.logvar.detach(), [2 + np.log(4), 5.0, 2 + np.log(4), 3.5], rtol=1e-6)


def test_both_scores_share_one_network_and_differ(prepared):
    network, dark, bright = prepared
    whole, base = CCU(CCU.Parameters(components=4)), CCUMSP(CCU.Parameters(components=4))
    assert whole.objective() == base.objective()
    fit([whole, base], network, 3)
    with torch.no_grad():
        assert whole.score(dark[:50] / 255).min() > whole.score(bright[:50] / 255).max()
        assert not torch.equal(whole.score(dark / 255), base.score(dark / 255))


def test_the_posterior_needs_mixtures():
    with pytest.raises(OodbenchError, match="take ccu-msp"):
        fit([CCU()], Classifier(), 3)
    fit([CCUMSP()], Classifier(), 3)


def test_a_plain_network_takes_the_classifier_out_of_a_checkpoint(tmp_path):
    kept = OBJECTIVE.adapt(Classifier(), (3, 2, 2))
    checkpoints.save(kept, tmp_path / "ccu.safetensors", {})
    plain = Classifier()
    checkpoints.load(plain, tmp_path / "ccu.safetensors")
    assert torch.equal(plain.fc.weight, kept.base_model.fc.weight)
    whole = OBJECTIVE.adapt(Classifier(), (3, 2, 2))
    checkpoints.load(whole, tmp_path / "ccu.safetensors")
    assert torch.equal(whole.base_model.fc.weight, kept.base_model.fc.weight)


def test_refuses_more_gaussians_than_images():
    with pytest.raises(OodbenchError, match="fits 4 Gaussians and has 3 images"):
        mixture(torch.zeros(4, 6).double(), torch.zeros(4).double()).fit(
            torch.zeros(3, 6).double(), Metric(6).double(), torch.Generator()
        )


def test_network_keeps_its_classifier_under_the_references_name():
    names = CCUNetwork(Classifier(), (3, 2, 2), 4).state_dict()
    assert {"base_model.fc.weight", "mm.mu", "mm.logvar", "mm_out.mu", "mm_out.logvar"} <= set(names)
