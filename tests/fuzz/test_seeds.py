"""Rounds of the fuzzer that once found something, and that it would find something."""

import pytest

from tests.fuzz import calling
from tests.fuzz.example import make
from tests.fuzz.rounds import attempt, seeds
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.usefixtures("briefly_continued")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with calling.inside(folder):
        return make(folder)


@pytest.mark.parametrize(("name", "number"), seeds())
def test_what_once_found_something_finds_nothing(world, tmp_path, name, number):
    assert not attempt(name, number, world, tmp_path / "case")


def test_a_command_that_fails_to_catch_an_error_is_found(world, tmp_path, monkeypatch):
    def broken():
        raise KeyError("nobody caught this")

    monkeypatch.setattr(calling.cli, "main", broken)
    assert "nobody caught this" in attempt("suites", 0, world, tmp_path / "case")


def test_a_changed_input_and_a_file_left_half_written_are_found(world, tmp_path):
    file, outcome = tmp_path / "given", calling.Outcome(("table",), 0, "", "", "")
    file.write_bytes(b"as it was")
    known = calling.digests([file])
    calling.require_decent(outcome, tmp_path, known)
    (tmp_path / ".half.h5.tmp").touch()
    with pytest.raises(AssertionError, match="half-written"):
        calling.require_decent(outcome, tmp_path, known)
    file.write_bytes(b"otherwise")
    with pytest.raises(AssertionError, match="changed its input"):
        calling.require_decent(outcome, tmp_path, known)


@pytest.mark.parametrize("code", [1, 3, None, "text"])
def test_other_exit_codes_are_found(tmp_path, code):
    with pytest.raises(AssertionError, match=f"code {code}"):
        calling.require_decent(calling.Outcome(("table",), code, "", "said", ""), tmp_path, {})


def test_every_target_draws_the_same_cases_from_the_same_seed(world, tmp_path, monkeypatch):
    for name, (_, strategy) in TARGETS.items():
        drawn = []
        for _ in range(2):
            cases = []
            monkeypatch.setitem(TARGETS, name, (lambda _, case, cases=cases: cases.append(repr(case)[:80]), strategy))
            assert not attempt(name, 5, world, tmp_path / "case")
            drawn.append([case.partition(" at 0x")[0] for case in cases])
        assert drawn[0] == drawn[1], name
