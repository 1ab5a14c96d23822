"""The attack on our own table: means with a known answer, rows that resume, and a page that says what was measured."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from oodbench.basics.errors import OodbenchError
from oodbench.board.at_hand import kept_file
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network, Representation
from oodbench.running.config import RunConfig
from oodbench.running.prepared import prepared
from oodbench.scoring.fitting import fit
from oodbench.tasks import LinfAdaptive
from studies.overturn import rows
from studies.overturn.__main__ import attacked, given, other
from studies.overturn.means import MEANS, Effort
from studies.overturn.rows import CONTINUED, CSV, EVERYTHING, PAGE, PLUS, STANDARD, Row
from studies.overturn.subject import Subject, at_hand, inputs

EPSILON, SIDE, COUNT = 8, 6, 5
EFFORT = Effort(long=20, starts=2, tanh=80, matched=2, pull=10, refine=30, queries=60, steps=20, restarts=2, windows=40)

CLIMB = [name for name in MEANS if name != "black-box"]
"""Those that follow a gradient at some time."""


class Line(Network):
    """Two logits, of which the first rises along one direction of the pixels."""

    def __init__(self):
        super().__init__((0.0,) * 3, (1.0,) * 3)
        weights = torch.randn(3 * SIDE * SIDE, generator=torch.Generator().manual_seed(1))
        self.weights = torch.nn.Parameter(weights.sign() * weights.abs().clamp(min=0.2))

    def represent(self, images):
        height = images.flatten(1) @ self.weights
        return Representation(torch.stack([height, -height], 1), images.flatten(1), ())


class Height(Detector):
    """The first logit."""

    name, paper = "height", "none"

    def score_representation(self, representation):
        return representation.logits[:, 0].double()


def drawn_set(name, seed, low, high, count=COUNT):
    pixels = np.random.default_rng(seed).integers(low, high, (count, SIDE, SIDE, 3)).astype(np.uint8)
    return ImageSet(name, pixels, np.arange(count) % 2, "drawn for a test")


@pytest.fixture(scope="module")
def subject():
    detector, donor = Height(), Height()
    network = Line()
    fit([detector, donor], network, 2)
    known = drawn_set("id", 1, 0, 256, 40)
    with torch.no_grad():
        scores = detector.score(inputs(known, torch.device("cpu"))).numpy() + 30  # out of reach: nobody stops early
    images = drawn_set("ood", 2, 0, 256)
    lures = inputs(known, torch.device("cpu"))[:4]
    return Subject("toy", detector, LinfAdaptive(EPSILON, "standard"), known, scores, lures, images, (donor,))


def best_scores(subject):
    """Of the corner of the ball, cut to the pixel range, to which the weights point."""
    images, network = inputs(subject.images, torch.device("cpu")), subject.detector.network
    way = network.weights.sign().view(1, 3, SIDE, SIDE)
    with torch.no_grad():
        return subject.detector.score((images * 255 + EPSILON * way).clamp(0, 255).round() / 255).numpy()


@pytest.mark.parametrize("name", CLIMB)
def test_a_linear_score_is_driven_to_its_corner(subject, name):
    pytest.importorskip("torchattacks")
    _, scores, looks = other(subject, subject.images, name, EFFORT)
    np.testing.assert_allclose(scores, best_scores(subject), rtol=1e-5)
    assert looks > 10


@pytest.mark.parametrize("name", MEANS)
def test_nothing_leaves_the_ball_or_the_grid_or_falls_below_its_start(subject, name):
    pytest.importorskip("torchattacks")
    seen = []

    class Watched(Subject):
        def rescored(self, found, which):
            seen.append(super().rescored(found, which))
            return seen[-1]

    watched = Watched(**vars(subject))
    _, scores, _ = other(watched, subject.images, name, EFFORT)
    (stored, _), clean = seen[0], subject.images.images
    assert np.abs(stored.astype(int) - clean.astype(int)).max() <= EPSILON
    with torch.no_grad():
        start = subject.detector.score(inputs(subject.images, torch.device("cpu"))).numpy()
    assert (scores > start).all()
    assert (scores <= best_scores(subject) + 1e-6).all()


def test_what_has_left_the_ball_is_not_scored(subject):
    images = inputs(subject.images, torch.device("cpu"))
    for wrong in (((images * 255 + 9) % 256) / 255, images + 0.3 / 255):
        with pytest.raises(OodbenchError, match="left the ball or the 8-bit grid"):
            subject.rescored(wrong, subject.images)


def test_donors_attack_the_same_images_in_the_same_ball(subject):
    images = inputs(subject.images, torch.device("cpu"))
    (found,) = given(subject, images, subject.images.indices)
    assert (found - images).abs().max() * 255 <= EPSILON + 1e-3


def test_what_is_there_is_not_done_again(subject):
    def key(image, means):
        return "toy", "height", "ood", image, means

    done = {key(image, means) for image in range(COUNT) for means in (STANDARD, PLUS, *MEANS)}
    assert [*attacked(subject, done, EFFORT)] == []
    (found,) = attacked(subject, done - {key(3, "tanh")}, EFFORT)
    assert [row.key for row in found] == [key(3, "tanh")]
    assert found[0].above == 1.0
    assert found[0].n_id == 40


def test_a_network_that_is_not_kept_may_have_been_trained(tmp_path):
    asked = RunConfig(
        "digits-adv",
        ["msp"],
        seed=2,
        device="cpu",
        out=tmp_path,
        pretrained=True,
        images=COUNT,
        tasks=["linf-adaptive"],
        only=["letters"],
        jobs=1,
    )
    with pytest.raises(OodbenchError, match="no network is kept for msp .* that trained it with --results"):
        at_hand(asked)
    with prepared(asked) as ready:
        (plan,) = ready.run_plan.suites
        (network_plan,) = plan.networks
    network_plan.file.parent.mkdir(parents=True)
    network_plan.file.write_bytes(kept_file("digits/plain", tmp_path).read_bytes())
    found = at_hand(asked)
    assert found.detector.name == "msp"
    assert len(found.images) == COUNT


def row(image, means, score, above, looks=10):
    return Row("s", "d", "o", 8, 100, image, means, score, above, looks)


TWO_IMAGES = [
    row(0, STANDARD, 1.0, 0.8),
    row(1, STANDARD, 2.0, 0.6),
    row(0, "a", 1.5, 0.7),
    row(1, "a", 1.0, 0.9),
    row(0, "b", 0.5, 0.9, 20),
    row(1, "b", 3.0, 0.5, 40),
    row(2, STANDARD, 1.0, 0.0),  # of which the rest is not there yet
]


def test_the_best_of_both_is_taken_image_by_image():
    found, lacking = rows.beaten(TWO_IMAGES)
    (by_means,) = found.values()
    assert lacking == {("s", "d", "o"): 1}
    one, every = by_means["a"], by_means[EVERYTHING]
    assert (one.standard, one.alone, one.lowered) == pytest.approx((0.7, 0.8, 0.05))
    assert (one.raised, one.looks) == (1, 10)
    assert rows.interval([one]) == pytest.approx((0.0, 0.1))
    assert (every.alone, every.lowered) == pytest.approx((0.6, 0.1))
    assert (every.raised, every.looks) == (2, 40)


def test_a_mean_over_sets_weighs_each_set_alike():
    certain = [replace(one, ood="p", above=0.5) for one in TWO_IMAGES[:2]]
    certain += [replace(one, ood="p", above=0.2) for one in TWO_IMAGES[2:6]]
    text = rows.tables(rows.beaten([*TWO_IMAGES, *certain])[0], "s")
    (line,) = re.findall(r"\*\*d, mean of the sets\*\*.*", text)
    cells = [cell.strip() for cell in line.split("|")][1:6]
    assert cells[:2] == ["60.00", "40.00"]  # of (70, 50) and (60, 20)
    assert cells[2] == "20.00 (20.00 to 20.00)"
    assert cells[3].startswith("4 of 4")


def test_a_set_on_which_some_means_were_not_tried_has_no_row_yet():
    begun = [row(5, STANDARD, 1.0, 0.5), row(5, "a", 2.0, 0.4)]
    found, lacking = rows.beaten([*TWO_IMAGES[:6], *(replace(one, ood="p") for one in begun)])
    assert list(found) == [("s", "d", "o")]
    assert lacking == {("s", "d", "p"): 1}


def test_rows_are_added_and_read_back(tmp_path):
    file = tmp_path / "rows.csv"
    assert rows.read(file) == []
    rows.append(file, TWO_IMAGES[:3])
    rows.append(file, TWO_IMAGES[3:])
    assert rows.read(file) == TWO_IMAGES
    file.write_text("image,means\nx,y\n")
    with pytest.raises(OodbenchError, match=r"rows\.csv is no table of this benchmark"):
        rows.read(file)


def test_the_page_says_what_was_measured():
    page, (found, lacking) = PAGE.read_text(encoding="utf-8"), rows.beaten(rows.read(CSV))
    assert not lacking
    assert rows.replaced(page, found) == page
    wanted = {CONTINUED, PLUS, *MEANS, EVERYTHING}
    assert all(set(by_means) == wanted for by_means in found.values())


def test_every_figure_of_its_text_stands_in_its_tables():
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- [\w-]+: begin -->.*?<!-- [\w-]+: end -->", page, re.DOTALL)
    text = page
    for block in blocks:
        text = text.replace(block, "")
    said = set(re.findall(r"(?<![\d.,])\d+\.\d\d(?!\d)", text))
    assert len(said) > 3
    assert said <= set(re.findall(r"\d+\.\d\d", " ".join(blocks)))
