"""What long work says of itself in a log, and how the passes of a whole run are counted."""

import pytest

from oodbench.basics import progress as module
from oodbench.basics.progress import counted_in_all, progress, report_to, spend


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told the time."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_whole_lines_now_and_then_and_none_of_what_is_soon_done(clock, capsys):
    with counted_in_all(400), progress("attacking letters", 100, "passes", passes=2) as advance:
        clock[0] += 9
        advance(25)
        assert capsys.readouterr().err == ""
        clock[0] += 1
        advance(25)
        clock[0] += 59
        advance(25)
        clock[0] += 1
        advance(0)
    with progress("scoring letters", 100) as advance:
        advance(100)
    assert capsys.readouterr().err.splitlines(keepends=True) == [
        "attacking letters: 50% of 100 passes, 5 a second, 00:10 left; in all 25% of 400 passes done, 00:30 left\n",
        "attacking letters: 75% of 100 passes, 1 a second, 00:23 left; in all 38% of 400 passes done, 01:56 left\n",
    ]


def test_work_of_an_unknown_length_says_how_much_is_done(clock, capsys):
    with progress("packing mine", None) as advance:
        clock[0] += 20
        advance(1500)
    assert capsys.readouterr().err == "packing mine: 1,500 images, 75 a second\n"


def test_all_passes_are_counted_also_where_the_work_ends_early_or_is_silent():
    heard = []
    with report_to(heard.append), counted_in_all(0) as total:
        with progress("attacking", 100, passes=1.5) as advance:
            advance(40)  # the other images passed at once
        assert total.done == 150
        with progress("reading", 100):
            pass
        spend(7)
    assert total.done == 157
    assert heard == ["attacking: 40%"]


def test_what_is_interrupted_does_not_count_as_done():
    with counted_in_all(100) as total, pytest.raises(KeyboardInterrupt), progress("training", 100, passes=1) as advance:
        advance(10)
        raise KeyboardInterrupt
    assert total.done == 10
