"""`python -m benchmarks.gpu`, tried on the CPU: slices that are interrupted, and what becomes of them."""

import json
import os
import signal
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import costs, slices
from benchmarks.gpu.slices import DONE, FAILED, UNFINISHED, Record, carry_out, read
from benchmarks.gpu.steps import Evaluation, Place, Step, steps, tiny
from oodbench.cli.run import run
from oodbench.images.builtin import make
from oodbench.images.packs import write_pack
from oodbench.images.pieces import split
from oodbench.registry import discover
from oodbench.suitefiles import suitefile
from oodbench.suitefiles.selection import vary
from tests.kill.commands import scores


@pytest.fixture
def place(tmp_path):
    (tmp_path / "out").mkdir()
    return Place("cpu", tmp_path / "data", tmp_path / "out")


@pytest.fixture
def call(place, monkeypatch):
    """The command with these steps; what is at work when it is looked at is interrupted if `at_once`."""

    def calling(*given, at_once=False, arguments=()):
        monkeypatch.setattr(command, "tiny", lambda _: list(given))
        monkeypatch.setattr(command, "RESERVE", 1e9 if at_once else 40.0)
        words = ["--tiny", "--device", "cpu", "--out", str(place.out), "--data", str(place.data), *arguments]
        return CliRunner().invoke(command.main, words, catch_exceptions=False)

    return calling


def waiting(code):
    """A step that runs `code` and then waits for a minute."""
    return Step("waits", "waiting", "timeit", ("-n", "1", "-r", "1", f"{code}\nimport time; time.sleep(60)"))


GOOD, BAD = Step("good", "works", "platform"), Step("bad", "fails", "no_such_module")


def test_interrupted_slices_end_with_what_an_uninterrupted_run_makes(oodbench, place, tmp_path):
    step = tiny(place)[2]
    seen = lambda: any(place.results.rglob("*.unfinished"))  # noqa: E731
    assert carry_out(step, [], place, 0.0, seen, print).outcome == UNFINISHED
    left = costs.left(step.evaluation, place, discover())
    assert left.networks == (0, 1)
    assert 0 < left.epochs[0] < left.epochs[1] == 40
    record = carry_out(step, [], place, 0.0, lambda: False, print)
    assert (record.outcome, record.slices) == (DONE, 2)
    assert costs.left(step.evaluation, place, discover()).done
    whole = Place("cpu", place.data, tmp_path / "whole")
    assert oodbench(*step.evaluation.arguments([], whole))[0] == 0
    found = scores(place.results)
    assert found == scores(whole.results)
    assert sum(name.endswith(" key") for name in found) == 5
    assert oodbench("check", place.results, "--reference", "mine.csv", "--update")[0] == 0
    assert oodbench("check", whole.results, "--reference", "mine.csv")[0] == 0


def test_several_processes_of_a_run_are_interrupted_together(place):
    both = replace(place, jobs=2)
    step = Step(
        "both",
        "two trainings at once",
        evaluation=Evaluation("digits", ("msp", "oe"), limit=20, settings=("epochs=500",)),
    )
    begun = lambda: len(list(place.results.rglob("*.unfinished"))) == 2  # noqa: E731
    assert carry_out(step, [], both, 0.0, begun, print).outcome == UNFINISHED
    left = costs.left(step.evaluation, both, discover())
    assert left.networks == (0, 2)
    # Nobody goes on behind its back: the epochs that are done stay as many.
    before = slices.traces(place.results)
    time.sleep(3)
    assert slices.traces(place.results) == before


def test_what_fails_is_said_kept_and_tried_again_behind_the_rest(call, place):
    first = call(BAD, GOOD)
    assert first.exit_code == 1
    assert f"FAILED: bad: what it printed is in {place.out / 'bad'}.txt" in first.stdout
    assert {name: record.outcome for name, record in read(place.out).items()} == {"bad": FAILED, "good": DONE}
    second = call(BAD, GOOD, Step("new", "works", "platform"))
    assert second.exit_code == 1
    assert second.stdout.index("new: works\n") < second.stdout.index("bad: fails\n")
    assert "good: works\n" not in second.stdout
    assert call(GOOD).stdout.endswith("--reference FILE.csv --update\n")
    assert call(GOOD).exit_code == 0


def test_a_slice_that_is_over_begins_nothing_and_says_what_is_left(call, place):
    result = call(GOOD, at_once=True)
    assert result.exit_code == 1
    assert "this slice finished nothing" in result.stdout
    assert read(place.out) == {}


def test_more_is_left_where_something_was_finished(call, place, monkeypatch):
    looked = iter([False, False, True, True, True])
    monkeypatch.setattr(command, "carry_out", lambda *given: carry_out(*given[:4], lambda: next(looked), given[5]))
    result = call(Step("quick", "works", "platform"), waiting(""))
    assert result.exit_code == command.MORE
    assert result.stdout.endswith("left: waits: the same command goes on\n")


@pytest.mark.parametrize("ignored", [False, True])
def test_what_is_at_work_is_interrupted_also_behind_a_shell(place, capfd, ignored):
    before = signal.getsignal(signal.SIGINT)
    if ignored:  # as a shell without a terminal has it for what it puts into the background
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    begun = place.out / "begun"
    try:
        step = waiting(f"import pathlib; pathlib.Path({str(begun)!r}).touch()")
        assert carry_out(step, [], place, 5.0, begun.is_file, print).outcome == UNFINISHED
    finally:
        signal.signal(signal.SIGINT, before)
    assert "KeyboardInterrupt" in capfd.readouterr().err  # and was not killed
    assert read(place.out)["waits"].assumed == 5.0


def test_who_ends_the_slice_ends_what_is_at_work(place, capfd):
    begun = place.out / "begun"
    step = waiting(f"import pathlib; pathlib.Path({str(begun)!r}).touch()")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        carry_out(step, [], place, 0.0, lambda: begun.is_file() and os.kill(os.getpid(), signal.SIGTERM), print)
    assert "KeyboardInterrupt" in capfd.readouterr().err  # said by what was at work
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_deaf_is_killed(place, monkeypatch, capfd):
    monkeypatch.setattr(slices, "PATIENCE", 0.3)
    begun = place.out / "begun"
    deaf = "import pathlib, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    step = waiting(f"{deaf}; pathlib.Path({str(begun)!r}).touch()")
    assert carry_out(step, [], place, 0.0, begun.is_file, print).outcome == UNFINISHED
    assert "KeyboardInterrupt" not in capfd.readouterr().err


def test_every_step_is_one_that_the_commands_take(place):
    registry = discover()
    every = steps(place, registry.names())
    evaluated = {}
    for step in (step for step in every if step.evaluation):
        one = step.evaluation
        asked = run.make_context("run", list(one.arguments(["svhn-test-10k"], place)[1:])).params
        assert asked["detectors"] == one.detectors
        assert set(one.detectors) <= set(registry.names())
        suite = vary(suitefile.load(one.suite), one.tasks, (), one.threat)
        for name in one.detectors:
            evaluated.setdefault((one.suite, name), set()).update(suite.tasks)
    tasks = {"clean", "corruption", "linf", "compositional", "linf-adaptive"}
    assert all(found == tasks for found in evaluated.values())
    assert {name for suite, name in evaluated if suite == "cifar10-small-adv"} == set(registry.names())
    assert {name for suite, name in evaluated if suite == "cifar10-resnet18-adv"} == {"msp", "oe", "ntom", "atom"}


def test_without_images_the_rest_is_done_and_what_lacks_is_said(call):
    lacking = Step("small", "needs images", evaluation=Evaluation("cifar10-small-adv", ("msp",)))
    result = call(lacking, GOOD)
    assert result.exit_code == 1
    assert "small: needs images: cannot begin:" in result.stdout
    assert "good: done" in result.stdout
    assert result.stdout.endswith("left: small: cannot begin for want of what is said above\n")


def test_only_sets_that_are_there(place):
    one = Evaluation("cifar10-small-adv", ("msp",))
    for name in ("textures-10classes", "svhn-test-10k"):
        write_pack(place.data / f"{name}.h5", make("letters").first(3))
    assert costs.there(one, place) == ["svhn-test-10k", "textures-10classes"]
    assert costs.there(Evaluation("digits", ("msp",)), place) == []


def test_what_is_left_is_counted_and_timed_by_what_was_measured(place, monkeypatch):
    monkeypatch.setattr(costs, "STARTS", 0.0)
    one = Evaluation("digits", ("msp",), limit=60, settings=("epochs=2",))
    left = costs.left(one, place, discover())
    assert (left.networks, left.epochs, left.groups) == ((0, 1), (0, 2), (0, 5))
    # 2 epochs of 60 images forward and backward, five sets of 60, at 4 million operations each.
    (training,) = left.trainings.values()
    assert training == pytest.approx(2 * 2 * 60 * 4.0e6 / 10e12, rel=0.05)
    assert left.scoring == pytest.approx(5 * 60 * 4.0e6 / 10e12, rel=0.05)
    assert left.assumed() == left.scoring + training
    assert left.assumed(left.trainings) == left.scoring
    monkeypatch.setattr(costs, "STARTS", 1.0)
    (training,) = costs.left(one, place, discover()).trainings.values()
    assert training == 2 * 2 * 60 / 64  # batches of 64


def test_what_was_measured_corrects_what_is_assumed():
    one, other = (Step(name, "", evaluation=Evaluation(name, ("msp",))) for name in ("digits", "svhn"))
    more = Step("more", "", evaluation=Evaluation("digits", ("oe",)))
    records = {"digits": Record(DONE, 10, 1, 4), "more": Record(FAILED, 99, 1, 1), "svhn": Record(DONE, 7, 1, 0)}
    assert costs.slower(more, records, [one, more, other]) == 2.5
    assert costs.slower(other, records, [one, more, other]) is None


def test_packs_are_put_together_as_their_pieces_come(call, place, tmp_path):
    write_pack(tmp_path / "letters.h5", make("letters"))
    found = split("letters", tmp_path, tmp_path / "pieces", 100_000)
    last = found.files(tmp_path / "pieces")[-1]
    content = last.read_bytes()
    last.unlink()
    arguments = ["--pieces", str(tmp_path / "pieces"), "--plan"]
    assert f"letters: not put together yet, {last.name} is still to come" in call(GOOD, arguments=arguments).stdout
    last.write_bytes(content)
    assert f"{place.data / 'letters.h5'}: whole" in call(GOOD, arguments=arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "god"], "there is no step 'god': choose of good"),
        (["--device", "cuda:9"], "asks for a GPU and torch sees"),
        (["--pieces", "."], ""),
    ],
)
def test_what_cannot_be_is_said(call, arguments, said):
    result = call(GOOD, arguments=arguments)
    assert result.exit_code == (2 if said else 0)
    assert said in result.stderr


@pytest.mark.parametrize("text", ["[1]", "{", json.dumps({"good": {"seconds": "x"}}), json.dumps({"good": {"odd": 1}})])
def test_records_that_cannot_be_read_are_named(call, place, text):
    (place.out / "state.json").write_text(text)
    result = call(GOOD)
    assert result.exit_code == 2
    assert "is not as a slice leaves it" in result.stderr


def test_two_slices_do_not_work_in_one_folder_at_once(call, place):
    with command.alone(place.out):
        result = call(GOOD)
    assert result.exit_code == 2
    assert "another slice is at work in" in result.stderr
    assert not (place.out / "state.json").exists()
    assert call(GOOD).exit_code == 0
