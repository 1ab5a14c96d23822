"""What goes wrong at the command line: a line that says so, the right exit code, and nothing half written."""

import errno
import os
import textwrap

import pytest
from quickrun import QUICK, run

from oodbench.images.catalogue import load
from oodbench.images.packs import write_pack
from oodbench.results.store import Cell
from oodbench.running import runner


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--detector", "atmo"], "did you mean 'atom'"),
        (["--suite", "digit-adv", "--detector", "msp"], "did you mean 'digits-adv'"),
        (["--detector", "msp", "--set", "epoch=1"], "did you mean 'epochs'"),
        (["--detector", "atom", "--set", "q=2"], "choose 0 to 0.75"),
        (["--detector", "msp", "--set", "epochs"], "name=value"),
        (["--detector", "msp", "--device", "cuda:7"], "use auto, or cpu"),
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
        (["--detector", "msp", "--eps", ""], "--eps is empty: say what it is to be, or leave it out"),
        (["--detector", "msp", "--out="], "--out is empty"),
        (["--detector", "msp", "--seeds", "", "--limit", "5"], "--seeds is empty"),
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
    assert "what was finished is kept: give the same command again" in err


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
