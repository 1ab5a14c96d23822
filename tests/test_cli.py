"""The command line from end to end, on a few digits: what people type, and what they are told."""

import errno
import io
import json
import os
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pandas as pd
import pytest
from contents import arrays

from oodbench.basics import files
from oodbench.images.catalogue import load
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.metrics import METRICS
from oodbench.results.store import Cell, cells
from oodbench.running import runner

QUICK = ("--limit", "60", "--set", "epochs=2", "--set", "linf.steps=3", "--task", "clean", "--task", "linf")

PLUGINS = """
import torch
from oodbench.detector import Detector


class Largest(Detector):
    '''The largest logit.'''

    name = "largest"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        return representation.logits.double().max(1).values


class Broken(Largest):
    '''Not a number for one image.'''

    name = "broken"

    def score_representation(self, representation):
        scores = super().score_representation(representation)
        return torch.where(torch.arange(len(scores)) == 3, torch.nan, scores)


class Constant(Largest):
    '''The same for all.'''

    name = "constant"

    def score_representation(self, representation):
        return 0 * super().score_representation(representation)


class Short(Largest):
    '''One score too few.'''

    name = "short"

    def score_representation(self, representation):
        return super().score_representation(representation)[1:]
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGINS)
    return path


def run(oodbench, *arguments):
    code, out, err = oodbench("run", "--suite", "digits-adv", *arguments, *QUICK)
    assert code == 0, err
    return out, err


def start(folder, *arguments):
    """The same run in a process of its own."""
    command = [sys.executable, "-m", "oodbench", "run", "--suite", "digits-adv", *arguments, *QUICK]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_run_ends_with_the_table_and_where_it_is(oodbench, tmp_path):
    out, err = run(oodbench, "--detector", "msp", "--detector", "atom")
    assert "forward" in err
    assert "backward passes" in err
    for part in (
        "seed 1, epochs=2, linf.steps=3, 60 images of each set\n",
        "  clean  ",
        "  linf",
        "\nmsp  ",
        "\natom  ",
    ):
        assert part in out
    for part in ("msp (seed 1, epochs=2 linf.steps=3, 60 images of each set)", "| clean", "| linf", "3 steps of 2/255"):
        assert part in oodbench("table", "--long")[1]
    assert str(tmp_path / "results") in out
    assert set(oodbench("table", "results/")[1].splitlines()) <= set(out.splitlines())


def test_the_csv_is_tidy(oodbench):
    run(oodbench, "--detector", "msp")
    _, out, _ = oodbench("table", "results", "--format", "csv")
    frame = pd.read_csv(io.StringIO(out), keep_default_na=False)
    assert list(frame.columns[:9]) == ["suite", "detector", "seed", "task", "ood", "metric", "value", "n_id", "n_ood"]
    scored = frame[frame.metric != "accuracy"]
    assert len(scored) == 2 * 4 * len(METRICS)
    assert set(scored.task) == {"clean", "linf"}
    assert not scored.duplicated(["task", "ood", "metric"]).any()
    assert scored.value.between(0, 1).all()
    assert set(scored.n_ood) == {60}
    assert set(frame.limit) == {60}
    assert set(frame.settings) == {"epochs=2 linf.steps=3"}
    assert set(frame.means.map(lambda text: str(json.loads(text)["near"]))) == {"['letters']"}


def test_what_is_there_is_not_done_again_unless_asked(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    (cell,) = cells(tmp_path / "results")
    stamp, before = cell.path.stat().st_mtime_ns, arrays(tmp_path / "results")
    _, err = run(oodbench, "--detector", "msp")
    assert "everything is there already" in err
    assert "about 0 forward and 0 backward passes" in err
    assert cell.path.stat().st_mtime_ns == stamp
    run(oodbench, "--detector", "msp", "--rerun", "all")
    assert cell.path.stat().st_mtime_ns > stamp
    assert arrays(tmp_path / "results") == before


def test_a_lost_group_alone_is_done_again(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    (cell,) = cells(tmp_path / "results")
    before = arrays(tmp_path / "results")
    content = io.BytesIO(cell.path.read_bytes())
    with h5py.File(content, "r+") as file:
        del file["linf/letters"]
    files.write_atomic(cell.path, content.getvalue())
    _, err = run(oodbench, "--detector", "msp")
    assert "score 1 image set" in err
    assert arrays(tmp_path / "results") == before


def test_a_changed_network_makes_every_score_stale(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    before = arrays(tmp_path / "results")
    (network,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    content = bytearray(network.read_bytes())
    content[-1] ^= 64
    network.write_bytes(content)
    (cell,) = cells(tmp_path / "results")
    raw = io.BytesIO(cell.path.read_bytes())
    with h5py.File(raw, "r+") as file:
        del file["linf/letters"]
    files.write_atomic(cell.path, raw.getvalue())
    run(oodbench, "--detector", "msp")
    after = arrays(tmp_path / "results")
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in after if key[3] == "scores")


def test_equal_objectives_share_one_network_and_one_pass(oodbench, tmp_path, plugin):
    _, err = run(oodbench, "--detector", "msp", "--detector", "largest", "--plugin", plugin)
    assert "largest" in err
    assert len(list((tmp_path / "results" / "networks").glob("*.safetensors"))) == 1
    assert len(cells(tmp_path / "results")) == 2


def test_clean_scores_do_not_depend_on_company(oodbench, tmp_path, plugin):
    run(oodbench, "--detector", "msp", "--out", "alone")
    run(oodbench, "--detector", "largest", "--detector", "msp", "--plugin", plugin, "--out", "together")
    alone, together = arrays(tmp_path / "alone"), arrays(tmp_path / "together")
    assert alone.items() <= together.items()


def test_seeds_and_settings_stand_side_by_side(oodbench, tmp_path):
    run(oodbench, "--detector", "ntom")
    run(oodbench, "--detector", "ntom", "--seed", 2)
    run(oodbench, "--detector", "ntom", "--set", "q=0.5")
    assert len(cells(tmp_path / "results")) == 3
    _, out, _ = oodbench("table", "results", "--long")
    assert "| ntom (2 seeds, epochs=2" in out
    assert "| ntom (seed 1, q=0.5 epochs=2" in out
    assert "| ntom (seed 2, epochs=2" in oodbench("table", "results", "--long", "--seeds", "each")[1]
    scores = [cell.read()[0].scores.tolist() for cell in cells(tmp_path / "results")]
    assert scores[0] != scores[1] != scores[2]


def test_the_adaptive_objective_is_a_setting(oodbench):
    run(oodbench, "--detector", "msp", "--set", "linf.objective=adaptive")
    assert "adaptive objective" in oodbench("table", "--long")[1]


def test_published_convention(oodbench):
    run(oodbench, "--detector", "atom")
    code, out, _ = oodbench("table", "results", "--long", "--convention", "published", "--by", "ood")
    assert code == 0
    assert "Convention 'published'" in out
    assert "smooth-noise" in out


def test_killed_anywhere_a_run_goes_on_to_the_same_numbers(oodbench, tmp_path):
    run(oodbench, "--detector", "oe", "--out", "whole")
    cut = tmp_path / "cut"
    for trace in ("networks/*.unfinished", "digits-adv/oe/*.h5"):
        child = start(tmp_path, "--detector", "oe", "--out", "cut")
        deadline = time.monotonic() + 120
        while not list(cut.glob(trace)) and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        child.kill()
        child.communicate()
    run(oodbench, "--detector", "oe", "--out", "cut")
    assert arrays(cut) == arrays(tmp_path / "whole")
    assert [path for path in cut.rglob("*") if path.suffix in (".tmp", ".unfinished")] == []


def test_two_processes_on_one_cell(oodbench, tmp_path):
    run(oodbench, "--detector", "msp", "--out", "alone")
    for child in [start(tmp_path, "--detector", "msp", "--out", "both") for _ in range(2)]:
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
    assert arrays(tmp_path / "both") == arrays(tmp_path / "alone")


def test_own_packs_and_a_checkpoint(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    (network,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 32, 32, 3), dtype=np.uint8)
    for name, images in zip(("mine", "theirs"), pixels, strict=True):
        write_pack(tmp_path / "packs" / f"{name}.h5", ImageSet(name, images, np.arange(40) % 10, "drawn"))
    (tmp_path / "mine.toml").write_text(
        textwrap.dedent("""
            version = 1
            [id]
            test = "mine"
            classes = 10
            [[ood]]
            set = "theirs"
            distance = "far"
            [network]
            name = "small-cnn"
        """)
    )
    arguments = ["--suite", "mine.toml", "--detector", "msp", "--data", "packs"]
    code, out, err = oodbench("run", *arguments, "--checkpoint", network, "--out", "own")
    assert code == 0, err
    assert f"checkpoint {network.name}" in out
    code, _, err = oodbench("run", *arguments, "--out", "own")
    assert code == 2
    assert "--checkpoint" in err
    arguments[3] = "atom"
    code, _, err = oodbench("run", *arguments, "--checkpoint", network)
    assert code == 2
    assert "outputs" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--detector", "atmo"], "did you mean 'atom'"),
        (["--suite", "digit-adv", "--detector", "msp"], "did you mean 'digits-adv'"),
        (["--detector", "msp", "--set", "epoch=1"], "did you mean 'epochs'"),
        (["--detector", "atom", "--set", "q=2"], "choose 0 to 0.75"),
        (["--detector", "msp", "--set", "epochs"], "name=value"),
        (["--detector", "msp", "--device", "cuda:7"], "--device auto, or cpu"),
        (["--detector", "msp", "--device", "tpu"], "choose auto, cpu"),
        (["--detector", "msp", "--checkpoint", "none.safetensors"], "no trained network none.safetensors"),
        (["--detector", "msp", "--plugin", "none.py"], "no plugin file none.py"),
        (["--detector", "msp", "--limit", "0"], "limit"),
        (["--detector", "msp", "--seed", "-1"], "seed"),
        (["--suite", "cut.toml", "--detector", "msp"], "cut.toml is not valid TOML"),
        (["--suite", "same.toml", "--detector", "msp"], "same images"),
        (["--suite", "missing.toml", "--detector", "msp"], "there is no"),
        (["--suite", "greedy.toml", "--detector", "atom"], "lower 'reserved'"),
        (["--suite", "bare.toml", "--detector", "oe"], "add [outliers]"),
        (["--suite", "labels.toml", "--detector", "msp"], "labels must run from 0 to 4"),
        (["--suite", "typo.toml", "--detector", "msp"], "did you mean 'atom'"),
        (["--detector", "msp", "--checkpoint", "page.html"], "is a web page"),
        (["--detector", "msp", "--out", "page.html/results"], "cannot write"),
    ],
)
def test_mistakes_end_with_a_line_code_2_and_nothing_written(oodbench, tmp_path, arguments, told):
    (tmp_path / "page.html").write_text("<html>404</html>")
    digits = 'extends = "digits"\nversion = 2\n'
    digits_pixels = digits + "[[ood]]\nset = 'copy'\ndistance = 'far'\n"
    suites = {
        "cut": "version = [",
        "same": digits_pixels,
        "missing": digits + "[[ood]]\nset = 'nowhere'\ndistance = 'far'\n",
        "greedy": digits + "[outliers]\nreserved = 20000\n",
        "labels": digits + "[id]\nclasses = 5\n",
        "typo": digits + "[detectors.atmo]\nq = 0.5\n",
        "bare": """
            version = 1
            [id]
            train = "digits-train"
            test = "digits-test"
            classes = 10
            [[ood]]
            set = "letters"
            distance = "near"
            [network]
            name = "small-cnn"
            [training]
            epochs = 1
        """,
    }
    for name, text in suites.items():
        (tmp_path / f"{name}.toml").write_text(textwrap.dedent(text))
    write_pack(tmp_path / "data" / "copy.h5", load("digits-test", tmp_path))
    before = sorted(tmp_path.rglob("*"))
    suite = [] if "--suite" in arguments else ["--suite", "digits-adv"]
    code, out, err = oodbench("run", *suite, *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert out == ""
    assert err.splitlines()[-1].startswith(("oodbench: ", "Error: "))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "told"),
    [("broken", "NaN or infinity for 1 of 60"), ("constant", "the same score 0"), ("short", "shape (59,)")],
)
def test_a_detector_that_breaks_its_word_is_named_and_leaves_no_scores(oodbench, tmp_path, plugin, name, told):
    code, _, err = oodbench("run", "--suite", "digits-adv", "--detector", name, "--plugin", plugin, *QUICK)
    assert code == 2
    assert f"detector '{name}'" in err
    assert told in err
    assert "Traceback" not in err
    (file,) = (tmp_path / "results").rglob("*.h5")
    assert Cell(file).read() == []


def test_a_full_disk_is_said_and_loses_nothing(oodbench, tmp_path, monkeypatch):
    real = os.fsync
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = oodbench("run", "--suite", "digits-adv", "--detector", "msp", *QUICK)
    assert code == 2
    assert "the disk is full" in err
    monkeypatch.setattr(os, "fsync", real)
    _, err = run(oodbench, "--detector", "msp")
    assert "train" not in err.split("seed 1")[0].split("msp:")[1]


def test_interrupting_says_how_to_go_on(oodbench, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "execute", interrupt)
    code, _, err = oodbench("run", "--suite", "digits-adv", "--detector", "msp")
    assert code == 130
    assert "goes on where" in err


def test_some_sets_first_and_the_others_later_make_one_row(oodbench, tmp_path):
    quick = ("run", "--suite", "digits", "--detector", "msp", "--set", "epochs=1", "--limit", "20")
    code, out, err = oodbench(*quick, "--only", "letters", "--only", "smooth-noise")
    assert code == 0, err
    assert "mean over 2 OOD sets (near letters; far smooth-noise; 20 images each)" in " ".join(out.split())
    assert "Left out of the suite's OOD sets: photo-patches, uniform-noise." in " ".join(out.split())
    assert "incomplete" in oodbench("table", "results", "--long")[1]
    assert "missing" in oodbench("table", "results")[1]
    code, out, err = oodbench(*quick)
    assert code == 0, err
    assert "mean over 4 OOD sets" in out
    assert "issing" not in out
    assert len(list((tmp_path / "results" / "digits" / "msp").glob("*.h5"))) == 1


def test_all_missing_sets_are_named_at_once(oodbench, tmp_path):
    suite = 'extends = "digits"\nversion = 1\nood = [{set = "letters", distance = "near"}'
    (tmp_path / "mine.toml").write_text(
        suite + "".join(f', {{set = "{name}", distance = "far"}}' for name in "ab") + "]"
    )
    code, _, err = oodbench("run", "--suite", "mine.toml", "--detector", "msp")
    assert code == 2
    assert "image sets a, b are missing from" in err
    assert "`oodbench data fetch a b`" in err
    assert "keep to what is there with --only letters" in err


def test_a_suite_that_cannot_train_says_so_before_it_asks_for_images(oodbench, tmp_path):
    code, _, err = oodbench("run", "--suite", "imagenet", "--detector", "msp")
    assert code == 2
    assert "suite 'imagenet' does not say how to train a network for 'msp': give a trained one with --checkpoint" in err
    (tmp_path / "bare.toml").write_text(
        'version = 1\nid = {train = "digits-train", test = "digits-test", classes = 10}\n'
        'ood = [{set = "letters", distance = "near"}]\nnetwork = {name = "small-cnn"}\ntraining = {epochs = 1}\n'
    )
    code, _, err = oodbench("run", "--suite", "bare.toml", "--detector", "oe")
    assert code == 2
    assert "detector 'oe' trains with outliers and suite 'bare' has none: add [outliers]" in err


def test_a_method_that_ships_is_not_told_to_mend_its_code(oodbench, monkeypatch, plugin):
    from oodbench.detectors.react import ReAct

    monkeypatch.setattr(ReAct, "score_representation", lambda self, seen: seen.logits[:, 0] * float("nan"))
    _, _, err = oodbench("run", "--suite", "digits", "--detector", "react", *QUICK[:4], "--task", "clean")
    assert "'react' gave NaN or infinity for" in err and "percentile=90.0: try other values with --set" in err
    assert "mend its score()" not in err
