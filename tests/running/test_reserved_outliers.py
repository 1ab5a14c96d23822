"""What a suite reserves of its outliers is never trained on, by any method, unless the suite says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.registry import discover
from oodbench.running import runner
from oodbench.running.imagesets import Sample, validation_suite
from oodbench.running.planning import plan
from oodbench.running.request import Machinery, Request
from oodbench.suitefiles import suitefile
from oodbench.suitefiles.settings import Setting
from oodbench.training import loop

RESERVED = 60
"""Black; all other outliers are nearly white, and ID images are grey on average."""

SUITE = """
version = 1
id = {train = "small-train", test = "small-test", classes = 2, heldout = 10}
ood = [{set = "small-ood", distance = "far"}]
outliers = {set = "small-outliers", reserved = 60, augment = ["flip"]EXTRA}
network = {name = "small-cnn"}
training = {epochs = 1, learning_rate = 0.001}
"""


@pytest.fixture
def request_for(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)

    def pack(name, images, labels):
        write_pack(tmp_path / "data" / f"{name}.h5", ImageSet(name, images, labels, "drawn"))

    for name, count in (("small-train", 90), ("small-test", 20), ("small-ood", 20)):
        pack(name, generator.integers(1, 255, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 2)
    outliers = generator.integers(230, 256, (90, 32, 32, 3), dtype=np.uint8)
    outliers[:RESERVED] = 0
    pack("small-outliers", outliers, np.full(90, -1))

    def made(*detectors, extra=""):
        file = tmp_path / "small.toml"
        file.write_text(SUITE.replace("EXTRA", extra))
        registry = discover()
        return registry, Request(
            suites=(suitefile.load(str(file)),),
            detectors=tuple(registry[name] for name in detectors),
            seed=3,
            sample=Sample(tmp_path / "data"),
            machinery=Machinery(torch.device("cpu")),
            out=Path(tmp_path / "results"),
            settings=(Setting("ccu.components", 5),) if "ccu" in detectors else (),
        )

    return made


def reserved_seen(monkeypatch, registry, request):
    """How many dark images, black ones under attack included, the training of each network looked at."""
    seen = []
    original = loop.train

    def watched(network, objective, recipe, data, *rest):
        dark = 0

        def look(module, inputs):
            nonlocal dark
            dark += int((inputs[0].mean((1, 2, 3)) < 0.2).sum())

        hook = network.register_forward_pre_hook(look)
        places = original(network, objective, recipe, data, *rest)
        hook.remove()
        seen.append(dark)
        return places

    monkeypatch.setattr(loop, "train", watched)
    assert runner.train(plan(request, registry), request.machinery, lambda _: None) == []
    return seen


METHODS = ["oe", "acet", "ntom", "atom", "sofl", "rowl", "rowl-fixed", "ccu"]


def test_no_method_trains_on_reserved_outliers(monkeypatch, request_for):
    registry, request = request_for(*METHODS)
    seen = reserved_seen(monkeypatch, registry, request)
    assert len(seen) == len(METHODS)
    assert seen == [0] * len(METHODS)


def test_as_published_streams_and_windows_run_into_them(monkeypatch, request_for):
    registry, request = request_for("oe", "atom", extra=", train_on_reserved = true")
    assert all(count > 0 for count in reserved_seen(monkeypatch, registry, request))


def test_the_switch_is_part_of_what_a_suite_means(request_for):
    suites = [request_for("oe", extra=extra)[1].suites[0] for extra in ("", ", train_on_reserved = true")]
    assert suites[0].fingerprint != suites[1].fingerprint


def test_no_parameter_is_chosen_on_outliers_that_were_trained_on(request_for):
    suite = request_for("oe", extra=", train_on_reserved = true")[1].suites[0]
    with pytest.raises(OodbenchError, match="train_on_reserved"):
        validation_suite(suite)
    assert validation_suite(replace(suite, outliers=replace(suite.outliers, train_on_reserved=False))).ood
