"""What a run says beforehand, and how far it says that it is."""

import re
from contextlib import contextmanager

import pytest

from oodbench.basics.progress import counted_in_all
from oodbench.running import sweep
from oodbench.training import loop

QUICK = ("--limit", "60", "--set", "epochs=2", "--set", "linf.steps=3", "--task", "clean", "--task", "linf")


def test_a_dry_run_says_what_would_be_done_at_what_cost_and_writes_nothing(oodbench, tmp_path):
    asked = ("run", "--suite", "digits-adv", "--detector", "msp", "--detector", "knn", *QUICK)
    code, out, err = oodbench(*asked, "--dry-run")
    assert (code, err) == (0, "planning msp, knn on digits-adv\n")
    assert "  msp, knn: train for 2 epochs, score " in out
    assert re.search(r"about [1-9][\d,]* forward and [1-9][\d,]* backward passes", out)
    assert list(tmp_path.iterdir()) == []
    assert oodbench("run", "--suite", "digits-adv", "--detector", "mps", "--dry-run")[0] == 2


def forward(text):
    return int(re.search(r"about ([\d,]+) forward", text)[1].replace(",", ""))


def test_a_plan_counts_what_an_interruption_has_left(oodbench, monkeypatch):
    asked = ("run", "--suite", "digits", "--detector", "msp", "--set", "epochs=2", "--limit", "20")
    _, whole, _ = oodbench(*asked, "--dry-run")
    keep = loop._keep

    def interrupted(*arguments):
        keep(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_keep", interrupted)
        assert oodbench(*asked)[0] == 130
    _, rest, _ = oodbench(*asked, "--dry-run")
    assert "train for 2 epochs (1 done before it was interrupted), score 5 image sets" in rest
    assert forward(whole) - forward(rest) == 20  # an epoch over the images of --limit


def test_the_passes_that_were_planned_are_those_that_are_counted(oodbench, monkeypatch):
    totals = []

    @contextmanager
    def seen(passes):
        with counted_in_all(passes) as total:
            totals.append(total)
            yield total

    monkeypatch.setattr(sweep, "counted_in_all", seen)
    few = ("--limit", "20", "--set", "linf.steps=3", "--set", "compositional.steps=2", "--set", "epochs=1")
    some = ("--set", "corruption.severities=[5]", "--set", "compositional.severities=[5]", "--only", "letters")
    chosen = ("--detector", "msp", "--detector", "odin", "--detector", "oe", "--jobs", "1")
    code, _, err = oodbench("run", "--suite", "digits-adv", *chosen, *few, *some)
    assert code == 0, err
    (total,) = totals
    assert total.done == pytest.approx(total.count, rel=0.01)
