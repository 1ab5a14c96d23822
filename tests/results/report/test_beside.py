"""Two results folders side by side: pairs are the same detector, differences those of the same images."""

from dataclasses import replace

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.metrics import evaluate
from oodbench.results.bundling import write_bundles
from oodbench.results.folder import find_results
from oodbench.results.report import Other, boards, render
from oodbench.results.report.model import Signs
from tests.results.report.test_page import data_of


@pytest.fixture
def there(tmp_path):
    """Copies a cell into another folder, with other scores of a task, other attributes or others of its groups."""

    def copy(cell, shift=0.0, task="linf", groups=None, **attributes):
        target = type(cell)(tmp_path / "there" / cell.path.relative_to(tmp_path / "results"))
        about = {**cell.attributes(), **attributes}
        for group in cell.read():
            moved = group.scores + shift * (group.task == task and group.role == "ood")
            target.add(replace(group, scores=moved, attributes={**group.attributes, **(groups or {})}), about)
        return target

    return copy


def compared(here, other, data):
    (board,) = boards(here, data, other=Other("there", other))
    return board


def test_differences_are_those_of_the_two_values_and_the_same_scores_have_none(made, there, data):
    cell = made("able", gap=2.0)
    other = there(cell, shift=1.0)
    board = compared([cell], [other], data)
    (found,) = board.against.rows
    ours, theirs = ({(group.task, group.image_set): group.scores for group in each.read()} for each in (cell, other))
    expected = [
        evaluate(ours["id", "ids"], ours["linf", name])["auroc"]
        - evaluate(theirs["id", "ids"], theirs["linf", name])["auroc"]
        for name in ("cats", "dogs", "noise")
    ]
    delta = found.deltas["linf"]["all sets"]["auroc"]
    assert delta.value == pytest.approx(np.mean(expected))
    assert 0 < delta.low < delta.value < delta.high
    assert delta.text.startswith("+")
    same = found.deltas["clean"]["all sets"]["auroc"]
    assert (same.value, same.low, same.high, same.text) == (0, 0, 0, "0.00")
    assert found.means["linf"]["cats"]["auroc"].value == evaluate(theirs["id", "ids"], theirs["linf", "cats"])["auroc"]
    assert found.changed == [] and found.left_out == []


def test_what_differs_besides_is_named(made, there, data):
    cell = made("able")
    other = there(cell, parameters='{"k": 5}', code="c" * 64, groups={"torch": "1.9"})
    (found,) = compared([cell], [other], data).against.rows
    changed = {heading: (here, away) for heading, here, away in found.changed}
    assert changed["torch"] == ("2.0", "1.9")
    assert changed["parameters"] == ("{}", '{"k": 5}')
    assert changed["code of the method"] == ("none", "c" * 16)
    assert set(changed) == {"torch", "parameters", "code of the method"}


def test_who_is_in_one_of_both_only_is_named(made, there, data):
    able, baker = made("able"), made("baker")
    charlie = made("charlie")
    board = compared([able, baker], [there(able), there(charlie)], data)
    assert [row.name for row in board.against.rows] == ["able"]
    assert board.against.only_here == ["baker"]
    assert board.against.only_there == ["charlie (seed 1)"]


def test_what_is_flagged_there_comes_along(made, there, data):
    cell = made("able")
    other = there(cell)
    for group in other.read():
        if group.task == "linf":
            other.add(replace(group, extras={"blind": np.ones(len(group.scores))}), other.attributes())
    board = compared([cell], [other], data)
    (found,), (row,) = board.against.rows, board.rows
    assert found.signs == dict.fromkeys(board.views, Signs({"linf": "‡"}, ["linf"]))
    assert "no gradient comes back" in found.flags["linf"][0].text
    assert row.signs == dict.fromkeys(board.views, Signs({}, []))


def test_another_suite_of_that_name_is_not_compared(made, there, data):
    cell = made("able")
    (found,) = compared([cell], [there(cell, suite_fingerprint="e" * 64, suite_version=2)], data).against.rows
    assert found.means == found.deltas == {}
    (why,) = found.left_out
    assert why.startswith("another suite of the same name: version 1 with fingerprint ffffffff here, version 2 with")


def test_other_images_or_another_attack_have_values_and_no_difference(made, there, data):
    cell = made("able")
    (found,) = compared([cell], [there(cell, groups={"fingerprint": "other"})], data).against.rows
    assert found.deltas == {}
    assert found.means["linf"]["cats"]["auroc"].value == pytest.approx(0.5, abs=0.5)
    assert any("are not the same" in text for text in found.left_out)


def test_two_that_could_be_meant_are_none(made, there, data):
    cell = made("able")
    second = made("able", file="seed1-111111111111")
    others = [there(cell, network_digest="1" * 64), there(second, network_digest="2" * 64)]
    (found,) = compared([cell], others, data).against.rows
    assert found.deltas == {} and "2 results there could be meant" in found.left_out[0]


def test_nothing_alike_is_an_error(made, there, data):
    cell = made("able")
    with pytest.raises(OodbenchError, match="nothing in there can stand beside these results"):
        compared([cell], [there(cell, suite="others")], data)


def test_a_page_without_another_folder_has_no_such_section(made, data):
    (board,) = data_of(render(boards([made()], data)).decode())["boards"]
    assert board["against"] is None


def test_the_command_puts_a_folder_beside_another(made, there, data, oodbench, tmp_path):
    cell = made("able")
    there(cell, shift=1.0)
    code, _, err = oodbench("report", "results", "--against", "there", "--data", data)
    assert code == 0, err
    (board,) = data_of((tmp_path / "report.html").read_text())["boards"]
    assert board["against"]["name"] == "there"
    (bundle,) = write_bundles(find_results(tmp_path / "there").cells, tmp_path / "kept")
    code, _, err = oodbench("report", "results", "--against", str(bundle), "--data", data)
    assert code == 0, err
    (of_bundle,) = data_of((tmp_path / "report.html").read_text())["boards"]
    assert [row["name"] for row in of_bundle["against"]["rows"]] == [row["name"] for row in board["against"]["rows"]]
    (tmp_path / "empty").mkdir()
    code, _, err = oodbench("report", "results", "--against", "empty")
    assert code == 2 and "there are no results in" in err
