"""The search among corruptions, and the attack from there, as the runner does them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.files import digest
from oodbench.corruptions.catalogue import CORRUPTIONS, corrupt
from oodbench.corruptions.draws import CounterDraws
from oodbench.detectors.msp import MSP
from oodbench.detectors.odin import ODIN
from oodbench.images.imageset import ImageSet
from oodbench.networks import build
from oodbench.networks.network import as_input
from oodbench.results.store import Cell
from oodbench.running.imagesets import ImageSets, Sample
from oodbench.running.plan import CellPlan, Demands, SuitePlan
from oodbench.scoring.attacking import Attack, score_attacked
from oodbench.scoring.batches import Purpose
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import fit
from oodbench.suitefiles.suitefile import load
from oodbench.tasks import Clean, Compositional, Corruption, Linf, constants
from oodbench.tasks.versions import Versions

TYPES = ("fog", "gaussian-noise", "contrast")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    return build("small-cnn", 4, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0).eval()


@pytest.fixture(scope="module")
def images():
    coarse = torch.rand(70, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear").mul(255).to(torch.uint8)
    return ImageSet("some", pixels.permute(0, 2, 3, 1).numpy(), np.full(70, -1), "drawn")


def fitted(cls, network, *parameters):
    detector = cls(*parameters)
    fit([detector], network, 4)
    return detector


def by_hand(detector, images, versions):
    """Scores (versions, N), one version after the other."""
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    rows = [pixels]
    for severity in versions.severities:
        for name in versions.types:
            draws = CounterDraws(range(len(images)), "corruption", "1/some", name, severity)
            rows.append(corrupt(pixels, name, severity, draws))
    with torch.no_grad():
        return torch.stack([detector.score(as_input(row)) for row in rows]), torch.stack(rows)


def test_each_detector_gets_its_own_worst_version(network, images):
    versions = Versions(TYPES, (1, 5))
    detectors = [fitted(MSP, network), fitted(ODIN, network, ODIN.Parameters(magnitude=0.002))]
    found = score_versions(detectors, images, versions, Purpose(1, "some"), CPU)
    for detector, one in zip(detectors, found, strict=True):
        scores, _ = by_hand(detector, images, versions)
        np.testing.assert_allclose(one.scores, scores.amax(0), rtol=1e-5, atol=1e-5)
        picked = scores.gather(0, torch.from_numpy(one.extras["version"]).long()[None])[0]
        np.testing.assert_allclose(picked, scores.amax(0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.extras["clean_score"], scores[0], rtol=1e-5, atol=1e-5)
    assert len(set(found[0].extras["version"])) > 2


def test_the_prediction_is_that_of_the_version_with_the_highest_score(network, images):
    versions, detector = Versions(TYPES, (1, 5)), fitted(MSP, network)
    (scored,) = score_versions([detector], images, versions, Purpose(1, "some"), CPU)
    _, made = by_hand(detector, images, versions)
    chosen = made[torch.from_numpy(scored.extras["version"]).long(), torch.arange(len(images))]
    with torch.no_grad():
        predicted, clean = (detector.predict(network.represent(as_input(pixels))) for pixels in (chosen, made[0]))
    assert scored.predictions.tolist() == predicted.tolist()
    assert (predicted != clean).any()


def test_a_score_is_steady_whatever_the_corruptions_do_to_it(network, images):
    (scored,) = score_versions([fitted(MSP, network)], images, Versions(TYPES, (5,)), Purpose(1, "some"), CPU)
    assert (scored.extras["version"] > 0).any()
    assert scored.checks["unsteadiness"] < 1e-5  # a second look at the images themselves


def test_of_equal_scores_the_first_wins(network, images):
    class Flat(MSP):
        """The same score for all."""

        def score_representation(self, representation):
            return torch.zeros(len(representation.logits), dtype=torch.float64)

    (found,) = score_versions([fitted(Flat, network)], images, Versions(TYPES, (1,)), Purpose(1, "some"), CPU)
    assert (found.extras["version"] == 0).all()


def test_the_image_alone_leaves_nothing_of_a_choice(network, images):
    (found,) = score_versions([fitted(MSP, network)], images, Versions(), Purpose(1, "some"), CPU)
    assert found.extras.keys() == {"published"}


def test_chosen_versions_are_those_that_were_scored(network, images):
    versions = Versions(TYPES, (1, 5))
    detector = fitted(MSP, network)
    _, made = by_hand(detector, images, versions)
    numbers = np.arange(len(images)) % len(versions)
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    chosen = versions.chosen(pixels, np.arange(len(images)), numbers, "1/some")
    assert torch.equal(chosen, made[torch.from_numpy(numbers), torch.arange(len(images))])


def test_the_attack_starts_from_the_chosen_version(network, images):
    task = Compositional(epsilon=2, steps=2, types=TYPES, severities=(1, 5))
    detector = fitted(MSP, network)
    (search,) = score_versions([detector], images, task.versions(), Purpose(1, "some"), CPU)
    attack = Attack(detector, task, Goal.of(detector), Purpose(1, "some"), search.extras["version"].astype(np.int64))
    both = score_attacked(attack, images, CPU)
    surrogate = detector.published_objective
    _, made = by_hand(detector, images, task.versions())
    start = made[torch.from_numpy(attack.start_versions), torch.arange(len(images))]
    with torch.no_grad():
        np.testing.assert_allclose(both.extras["objective_before"], surrogate(as_input(start)), rtol=1e-4, atol=1e-5)
    alone = score_attacked(Attack(detector, Linf(2, 2), Goal.of(detector), Purpose(1, "some")), images, CPU)
    assert both.scores.mean() > alone.scores.mean()


def test_all_nineteen_types_in_five_severities_unless_said_otherwise():
    assert len(Corruption().versions()) == len(Compositional().versions()) == 96
    assert Corruption().versions().types == tuple(CORRUPTIONS)
    assert Corruption().threat() == (
        "OOD images in the worst of 95 corrupted versions and their own, by the detector's score; ID clean"
    )


@pytest.mark.parametrize("kind", [Corruption, Compositional])
def test_unknown_types_and_severities_are_refused(kind):
    with pytest.raises(ValueError, match="did you mean 'fog'"):
        kind(types=("fogg",))
    for wrong in ((), (0,), (6,)):
        with pytest.raises(ValueError, match="choose some of"):
            kind(severities=wrong)
    with pytest.raises(ValueError, match="OOD images only"):
        Compositional(side="both")


@pytest.mark.parametrize(("size", "names_apart"), [((32, 32), []), ((32, 48), ["corruption"])])
def test_results_of_corruptions_that_took_images_for_squares_are_done_again(tmp_path, size, names_apart):
    suite = replace(load("digits"), tasks={"clean": Clean(), "corruption": Corruption()})
    named = {
        name: ImageSet(name, np.zeros((2, *size, 3), np.uint8), np.zeros(2, np.int64), "drawn")
        for name in (suite.id.test, suite.ood[0].set)
    }
    plan = SuitePlan(suite, (), (), Sample(tmp_path), ImageSets(named, None), 0, Demands())
    cell = CellPlan(MSP(), Cell(tmp_path / "msp.h5"), "key", "code", ())
    prints = [image_set.fingerprint for image_set in named.values()]
    keys_before = {
        name: digest("key", "network", name, json.dumps(constants(task), sort_keys=True), *prints)
        for name, task in suite.tasks.items()
    }
    keys = {name: plan.group_key(cell, "network", name, suite.ood[0].set) for name in suite.tasks}
    assert [name for name in keys if keys[name] != keys_before[name]] == names_apart
