"""What the published convention shows: scores as a paper's code prints them, kept with the results."""

import io
import os
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import one_hot

import oodbench
from oodbench.basics.errors import OodbenchWarning
from oodbench.detectors.msp import MSP
from oodbench.detectors.rowl import ROWL
from oodbench.images.imageset import ImageSet
from oodbench.metrics import evaluate
from oodbench.networks import build
from oodbench.networks.checkpoints import load
from oodbench.networks.network import Network, Representation
from oodbench.results.store import Cell
from oodbench.results.tables import render, tidy
from oodbench.results.tables.as_published import published_sides
from oodbench.results.tables.figures import Side
from oodbench.scoring.batches import Purpose
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import fit
from oodbench.tasks.versions import Versions

SHARED = Path(os.environ.get("OODBENCH_SHARED", Path(__file__).parents[4] / "shared"))


class ByLevel(Network):
    """Logits that a table gives for the grey level of an image."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", torch.tensor(table))

    def represent(self, images):
        levels = (images.mean((1, 2, 3)) * 255).round().long()
        logits = one_hot(levels.clamp(max=len(self.table) - 1), len(self.table)).float() @ self.table
        return Representation(logits, logits, ())


class Steps(Versions):
    """The image and two brighter ones."""

    def __len__(self):
        return 3

    def of(self, pixels, indices, purpose):
        yield from (pixels, pixels + 1, pixels + 2)


def grey(*levels):
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 4, 4, 3)).copy()


def chosen(detector, table):
    fit([detector], ByLevel(table), len(table[0]) - isinstance(detector, ROWL))
    images = ImageSet("one", grey(0), np.zeros(1, np.int64), "made")
    (scored,) = score_versions([detector], images, Steps(), Purpose(1, "one"), torch.device("cpu"))
    return int(scored.extras["version"][0]), float(scored.extras["published"][0])


def test_a_corruption_is_printed_as_the_search_of_the_papers_code_finds_it():
    # ROWL: the widest margin is accepted; the least probability of rejection is rejected all the same.
    accepted, rejected = [2.6, -9.0, -9.0, 2.5], [2.0, 2.0, 2.0, 2.5]
    assert chosen(ROWL(), [[0.0, 0.0, 0.0, 9.0], accepted, rejected]) == (1, -1.0)
    # MSP: the highest of what is printed, whichever version has the highest log-odds.
    assert chosen(MSP(), [[1.0, 0.0], [16.7, 0.0], [30.0, 0.0]]) == (2, 1.0)


def test_printed_scores_are_taken_of_all_groups_or_of_none():
    plain = Side(np.array([0.0, 2.0]), {}, {})
    kept = Side(np.array([0.0, 2.0]), {"published": np.array([0.4, 0.9])}, {})
    sides, derived = published_sides(MSP, [kept, plain])
    assert derived
    assert [side.scores.tolist() for side in sides] == [MSP.as_published(plain.scores).tolist()] * 2
    (side,), derived = published_sides(MSP, [kept])
    assert not derived and side.scores.tolist() == [0.4, 0.9]
    assert side.unrounded.tolist() == MSP.as_published(plain.scores).tolist()


def test_kept_scores_are_shown_and_older_results_say_that_theirs_are_derived(tmp_path, stored):
    cell = Cell(stored(tmp_path, task="clean", ood=[("a", [17.4, 16.8, 16.7, 0.0])]).path)
    registry = {"msp": MSP}
    old = tidy([cell], registry, "published")
    assert old[old["metric"] == "auroc"]["derived"].all()
    assert "is derived from the scores" in render(old)
    assert "is derived from the scores" not in render(tidy([cell], registry))
    printed = {"id": np.array([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 1.0, 1.0]), "a": np.array([1.0, 1.0, 1.0, 0.5])}
    attributes = cell.attributes()
    for group in cell.read():
        scores = printed["id" if group.role == "id" else "a"]
        cell.add(replace(group, extras={"published": scores}), attributes)
    new = tidy([cell], registry, "published")
    assert "is derived from the scores" not in render(new)
    (value,) = new.loc[new["metric"] == "auroc", "value"]
    assert value == evaluate(printed["id"], printed["a"], "published")["auroc"] == (8 + 3 * 2 / 2) / 32
    # One without the other is of no use: they would tie at different scores.
    (group,) = (group for group in cell.read() if group.role == "id")
    cell.add(replace(group, extras={}), attributes)
    assert tidy([cell], registry, "published")["derived"].fillna(False).any()


def test_detectors_that_nobody_can_ask_how_their_papers_print_scores_are_named(tmp_path, stored, oodbench):
    for name in ("msp", "mine", "yours"):
        stored(tmp_path / "results", name, task="clean", ood=[("a", [9.5, 0.0, 1.0, 2.0])])
    code, _, err = oodbench("table", "results", "--convention", "published")
    assert code == 2
    assert "how the papers of mine, yours print scores is not known here: give their files by --plugin, or" in err
    code, out, err = oodbench("table", "results", "--convention", "published", "--detector", "msp")
    assert (code, "msp" in out) == (0, True), err


@pytest.mark.skipif(not SHARED.exists(), reason="needs real weights and images: set OODBENCH_SHARED")
def test_ties_are_those_of_a_float32_softmax_on_real_logits():
    network, images = real()
    fit([detector := MSP()], network, 10)
    (scored,) = score_versions([detector], images, Versions(), Purpose(1, "cifar"), torch.device("cpu"))
    with torch.no_grad():
        pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2).contiguous().float() / 255
        softmax = torch.cat([network(part).softmax(1).amax(1) for part in torch.split(pixels, 64)])
    assert np.array_equal(scored.extras["published"], softmax.double().numpy())
    assert (scored.extras["published"] == 1).sum() > (MSP.as_published(scored.scores) == 1).sum() > 0


def real():
    """The public DenseNet and 256 test images of CIFAR-10."""
    network = build("densenet-bc-100-12", 10, (125.3 / 255, 123 / 255, 113.9 / 255), (63 / 255, 62.1 / 255, 66.7 / 255))
    load(network, SHARED / "weights" / "densenet-bc-100-12_cifar10.pth.tar")
    pixels = []
    with tarfile.open(SHARED / "data" / "cifar10-test.tar.gz") as tar:
        for member in tar:
            if member.name.endswith(".webp") and len(pixels) < 256:
                pixels.append(np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")))
    return network, ImageSet("cifar", np.stack(pixels), np.zeros(len(pixels), np.int64), "public")


def test_evaluate_prints_as_a_table_does():
    fit([detector := MSP()], ByLevel([[16.7, 0.0], [16.8, 0.0], [18.0, 0.0], [1.0, 0.0]]), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OodbenchWarning)
        frame = oodbench.evaluate(detector, grey(1, 2), grey(0, 3), convention="published")
    (value,) = frame.loc[frame["metric"] == "auroc", "value"]
    softmax = torch.tensor([[16.8, 0.0], [18.0, 0.0], [16.7, 0.0], [1.0, 0.0]]).softmax(1).amax(1).double().numpy()
    assert value == evaluate(softmax[:2], softmax[2:], "published")["auroc"]
