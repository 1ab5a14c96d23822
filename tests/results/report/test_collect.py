"""What stands on a board: values as the metrics have them, and only what may be compared."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.metrics import evaluate
from oodbench.results.report import boards
from oodbench.results.report import render as render_page
from oodbench.results.report.model import Signs
from oodbench.results.store import Cell, Scores
from oodbench.results.tables import View, render, tidy
from oodbench.statistics.intervals import intervals
from tests.results.report.conftest import SIZE


def test_values_are_the_metrics_of_the_stored_scores(made, data):
    cell = made(tasks=("clean", "linf"))
    ((board,), (row,)) = (found := boards([cell], data)), found[0].rows
    stored = {(group.task, group.image_set): group.scores for group in cell.read()}
    expected = {
        image_set: evaluate(stored["id", "ids"], stored["linf", image_set]) for image_set in ("cats", "dogs", "noise")
    }
    linf = row.means["linf"]
    assert linf["cats"]["fpr95"].value == expected["cats"]["fpr95"]
    assert linf["near sets"] == linf["cats"]
    far = [expected[image_set]["auroc"] for image_set in ("dogs", "noise")]
    assert linf["far sets"]["auroc"].value == pytest.approx(np.mean(far))
    assert linf["all sets"]["fpr95"].value == pytest.approx(np.mean([each["fpr95"] for each in expected.values()]))
    (panel,) = [panel for panel in row.panels if (panel.task, panel.ood) == ("linf", "dogs")]
    assert {name: metric.value for name, metric in panel.metrics.items()} == expected["dogs"]
    assert set(panel.histogram.counts) == {"id", "ood", "clean"}
    assert panel.histogram.counts["clean"] != panel.histogram.counts["ood"]
    assert (row.id_set, row.n_id, panel.n_ood) == ("ids", 40, 40)
    assert [task.name for task in board.tasks if task.attack] == ["linf"]
    assert [task.name for task in board.tasks if task.clean] == ["clean"]


def test_a_subset_has_its_intervals(made, data):
    cell = made(images=40)
    ((board,)) = boards([cell], data)
    stored = {(group.task, group.image_set): group.scores for group in cell.read()}
    low, high = intervals(stored["id", "ids"], stored["clean", "cats"])["fpr95"]
    value = board.rows[0].means["clean"]["cats"]["fpr95"]
    assert (value.low, value.high) == (low, high)
    assert "95 %" in board.basis["intervals"]
    assert board.extent == "version 1, 40 images of each OOD set"


def test_a_mean_over_fewer_sets_than_others_have_is_none(made, data):
    whole, part = made("whole"), made("partial", sets=("cats",))
    ((board,)) = boards([whole, part], data)
    by_name = {row.name: row for row in board.rows}
    assert by_name["partial"].means["clean"]["all sets"] is None
    assert by_name["partial"].means["clean"]["cats"] is not None
    assert by_name["whole"].means["clean"]["all sets"] is not None


@pytest.mark.parametrize(
    "change",
    [{"limit": 10}, {"images": 40}, {"suite_fingerprint": "0" * 64}, {"suite": "others"}, {"suite_version": 2}],
)
def test_what_may_not_be_compared_stands_on_boards_apart(made, data, change):
    found = boards([made(), made("other", **change), made("third")], data)
    assert sorted(sorted(row.name for row in board.rows) for board in found) == [["other"], ["third", "toy"]]


def test_names_say_what_sets_rows_apart_and_nothing_else(made, data):
    cells = [
        made(settings="epochs=1"),
        made(seed=2, settings="epochs=1"),
        made("other", settings="epochs=1", checkpoint="/home/her/secret/net.pth"),
        made("other", settings="epochs=1"),
        made("tuner", settings="epochs=1", tuned='{"source": "id-test", "id_images": 9, "outliers": 0}'),
    ]
    ((board,)) = boards(cells, data)
    assert [row.name for row in board.rows] == [
        "toy (seed 1)",
        "toy (seed 2)",
        "other (checkpoint net.pth)",
        "other",
        "tuner (tuned on ID test images)",
    ]
    assert board.rows[2].provenance["checkpoint"] == "net.pth"
    ((board,)) = boards([made(settings="epochs=1"), made("other", seed=2, checkpoint="net.pth")], data)
    assert [row.name for row in board.rows] == ["toy (epochs=1)", "other"]


def test_a_board_says_how_much_it_holds(made, data):
    ((board,)) = boards([made()], data)
    assert board.summary.startswith("How well 1 detector tells ")
    ((board,)) = boards([made(), made("other")], data)
    assert board.summary.startswith("How well 2 detectors tell ")


def test_rows_with_the_same_settings_are_told_apart_by_their_keys(made, data):
    ((board,)) = boards([made(file="seed1-abcdef123456"), made(file="seed1-fedcba123456")], data)
    assert [row.name for row in board.rows] == ["toy abcdef", "toy fedcba"]


def changed(cell, task, image_set, **changes):
    """The cell with one group's attributes or extras changed."""
    group = cell.group(task, image_set)
    fields = {name: getattr(group, name) for name in Scores.__dataclass_fields__}
    fields["attributes"] = {**group.attributes, **changes.pop("attributes", {})}
    fields["extras"] = {**group.extras, **changes.pop("extras", {})}
    cell.add(Scores(**{**fields, **changes}), cell.attributes())


def test_a_task_done_differently_is_said(made, data):
    one, other = made(), made("other")
    changed(other, "linf", "cats", attributes={"threat": "half as strong"})
    ((board,)) = boards([one, other], data)
    threats = {task.name: task.threats for task in board.tasks}
    assert threats["clean"] == ["as in clean"]
    assert sorted(threats["linf"]) == ["as in linf", "half as strong"]


def test_flags_are_those_of_the_measurements(made, data):
    cell = made()
    for image_set in ("cats", "dogs", "noise"):
        changed(cell, "linf", image_set, attributes={"check_gradient_error": 0.5})
    ((board,)) = boards([cell], data)
    ((flag,),) = board.rows[0].flags.values()
    text = flag.text
    assert text.startswith("the gradient is off by 50% of what the score really does (median); the AUROC may be up to")
    assert board.rows[0].signs == dict.fromkeys(board.views, Signs({"linf": "‡"}, ["linf"]))


def test_signs_are_those_of_the_sets_that_a_figure_is_over(made, data):
    cell = made()
    changed(cell, "linf", "cats", attributes={"check_gradient_error": 0.5})
    ((board,)) = boards([cell], data)
    signs = board.rows[0].signs
    assert list(signs) == list(board.views)
    assert (signs["cats"].marks, signs["cats"].doubted) == ({"linf": "‡"}, ["linf"])
    assert signs["dogs"] == Signs({}, [])
    assert board.rows[0].mark("linf", "dogs") == "" and not board.rows[0].doubts("linf", "dogs")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            {
                "checkpoint": "/home/her/secret/net.pth",
                "data": "/home/her/secret",
                "plugin": "/home/her/secret/mine.py",
            },
            "--plugin mine.py --checkpoint net.pth --task",
        ),
        (
            {"checkpoint": "nets/net.pth", "data": "elsewhere", "plugin": "mine.py"},
            "--plugin mine.py --checkpoint nets/net.pth --data elsewhere --task",
        ),
    ],
)
def test_commands_on_a_page_lead_to_no_folder_of_the_machine_it_was_made_on(made, data, told, shown):
    cell = made(**told)
    for image_set in ("cats", "dogs", "noise"):
        changed(cell, "linf", image_set, extras={"stuck": np.ones(SIZE)})
    page = render_page(boards([cell], data)).decode()
    assert f"oodbench run --suite toys.toml --detector toy {shown} linf-adaptive" in page
    assert "secret" not in page


def test_a_page_holds_the_suites_and_detectors_that_were_asked_for(made, oodbench, tmp_path):
    made(), made("other"), made(suite="others")
    results, page = str(tmp_path / "results"), tmp_path / "page.html"
    assert oodbench("report", results, "--suite", "toys", "--detector", "other", "-o", str(page))[0] == 0
    _, _, data = page.read_text().partition('<script type="application/json" id="data">')
    (board,) = json.loads(data.partition("</script>")[0])["boards"]
    assert (board["suite"], [row["name"] for row in board["rows"]]) == ("toys", ["other"])
    for option, near, known in (("--suite", "toy", "toys"), ("--detector", "othr", "other")):
        code, _, err = oodbench("report", results, option, near, "-o", str(tmp_path / "none.html"))
        assert (code, f"did you mean '{known}'?" in err) == (2, True)
    assert not (tmp_path / "none.html").exists()


def test_a_curve_over_radii_is_one_and_a_rising_one_is_flagged(made, data):
    falling = made("falling", tasks=("linf-eps0", "linf-eps8", "linf-eps16"))
    rising = made("rising", tasks=("linf-eps16", "linf-eps8", "linf-eps0"))
    ((board,)) = boards([falling, rising], data)
    assert {(task.curve, task.radius) for task in board.tasks} == {("linf", 0), ("linf", 8), ("linf", 16)}
    flags = {row.name: row.flags for row in board.rows}
    assert flags["falling"] == {}
    assert "rises with the radius" in flags["rising"]["linf over radii"][0].text


def test_attacked_id_images_are_what_an_attack_on_them_is_held_against(made, data):
    cell = made(tasks=("clean",))
    turned = cell.group("id", "ids")
    worse = Scores("clean", "ids", "id", turned.scores - 9, turned.predictions, turned.labels, turned.indices)
    cell.add(worse, cell.attributes())
    ((board,)) = boards([cell], data)
    assert board.rows[0].means["clean"]["cats"]["auroc"].value < 0.1


def test_a_run_stopped_before_its_first_task_leaves_no_row(made, data):
    begun = made("begun", tasks=())
    assert [row.name for row in boards([begun, made()], data)[0].rows] == ["toy"]
    with pytest.raises(OodbenchError, match="no OOD image has a score yet"):
        boards([begun], data)


def test_a_file_that_no_run_wrote_is_named(made, data, tmp_path):
    cell = made()
    attributes = cell.attributes()
    del attributes["suite"]
    foreign = Cell(tmp_path / "foreign.h5")
    foreign.add(cell.group("id", "ids"), attributes)
    with pytest.raises(OodbenchError, match=r"foreign\.h5 is no result of `oodbench run` .*suite"):
        boards([foreign], data)
    changed(cell, "linf", "cats", attributes={"constants": "{"})
    with pytest.raises(OodbenchError, match="is no result of"):
        boards([cell], data)


def test_a_task_that_is_not_done_on_every_set_has_no_mean(made, data):
    """Else one column would be over other sets than the next, and both be headed 'all sets'."""
    begun, half = made(tasks=("clean",)), made("half", sets=("cats", "dogs"))
    begun.add(half.group("linf", "cats"), begun.attributes())
    (row,) = boards([begun], data)[0].rows
    assert row.means["clean"]["all sets"] is not None
    assert row.means["linf"]["all sets"] is None
    assert row.means["linf"]["near sets"] == row.means["linf"]["cats"]
    assert boards([begun], data)[0].basis["rows that lack OOD sets, and have no mean over them"] == (
        f"{row.name}, linf: dogs, noise"
    )


def test_sets_that_no_row_has_are_left_out_of_its_means_and_named(made, data):
    (board,) = boards([made("half", sets=("cats", "dogs"))], data)
    assert board.views["all sets (2 of 3)"] == ["cats", "dogs"]
    assert "all sets" not in board.views
    means = board.rows[0].means["clean"]
    both = [means[name]["auroc"].value for name in ("cats", "dogs")]
    assert means["all sets (2 of 3)"]["auroc"].value == pytest.approx(np.mean(both))
    assert board.basis["OOD sets of the suite that are left out"] == "noise"
    assert not any("lack" in heading for heading in board.basis)


def test_a_file_with_a_mean_over_other_sets_is_named_and_moves_no_row(made, data):
    (board,) = boards([made("able"), made("baker", means='{"all": ["noise"]}')], data)
    assert board.views["all sets"] == ["cats", "dogs", "noise"]
    assert board.basis["results that have a mean over other sets"] == (
        "Other means: stored with baker, the mean 'all' is over noise; every row here has it over cats, dogs, noise"
    )


def test_a_mean_of_the_same_sets_is_one_view(made, data):
    means = {"all": ["cats", "dogs"], "far": ["cats", "dogs"], "paper": ["dogs"]}
    (board,) = boards([made(means=json.dumps(means))], data)
    assert board.views == {
        "all sets": ["cats", "dogs"],
        "paper sets": ["dogs"],
        **{name: [name] for name in ("cats", "dogs", "noise")},
    }


def test_a_set_aside_is_a_view_of_its_own_and_in_no_other(made, data):
    cell = made(means='{"all": ["cats", "dogs"]}')
    for task in ("clean", "linf"):
        changed(cell, task, "noise", attributes={"distance": "aside"})
    (board,) = boards([cell], data)
    assert board.views["all sets"] == ["cats", "dogs"]
    assert board.views["noise"] == ["noise"]
    assert not any("aside" in view for view in board.views)
    (row,) = board.rows
    both = [panel.metrics["auroc"].value for panel in row.panels if panel.task == "clean" and panel.ood != "noise"]
    assert row.means["clean"]["all sets"]["auroc"].value == pytest.approx(sum(both) / 2)


def test_the_heading_says_what_every_row_changed_and_whole_suites_stand_first(made, data):
    """Three runs of digits, two of them with fewer epochs, were three entries called `digits, version 2`."""
    cells = [
        made(settings="epochs=1", suite_fingerprint="1" * 64),
        made(settings="epochs=2 toy.q=1", suite_fingerprint="2" * 64),
        made("other", settings="epochs=2", suite_fingerprint="2" * 64),
        made(limit=7),
        made(suite_fingerprint="3" * 64),
        made(checkpoint="nets/plain.pth"),
    ]
    found = boards(cells, data)
    assert [(board.extent, board.changed) for board in found] == [
        ("version 1", False),
        ("version 1, checkpoint plain.pth", False),
        ("version 1, epochs=1", True),
        ("version 1, epochs=2", True),
        ("version 1, 7 images of each set", True),
    ]
    (epochs_2,) = [board for board in found if board.extent == "version 1, epochs=2"]
    assert [row.name for row in epochs_2.rows] == ["toy (toy.q=1)", "other"]


def test_suites_of_one_name_and_version_are_told_apart_by_their_fingerprints(made, data):
    found = boards([made(), made(suite_fingerprint="3" * 64)], data)
    assert [board.extent for board in found] == ["version 1, fingerprint 33333333", "version 1, fingerprint ffffffff"]


def test_the_page_rounds_as_the_table_does(made, data):
    """The page had six digits of a mean and rounded those: 75.13 where the table said 75.12."""
    cell = made(means="{}", tasks=("clean",))
    group = cell.group("id", "ids")
    cell.add(
        Scores("id", "ids", "id", np.arange(40.0), group.predictions, group.labels, group.indices), cell.attributes()
    )
    for number in range(2, 14):
        for image_set, more in (("cats", 0), ("dogs", 1), ("noise", 5)):
            one = cell.group("clean", image_set)
            fields = {name: getattr(one, name) for name in Scores.__dataclass_fields__}
            scores = np.where(np.arange(40) < number + more, 39.5, -1.0) + np.arange(40) / 97
            cell.add(Scores(**{**fields, "scores": scores}), cell.attributes())
        ((board,)) = boards([cell], data)
        means = board.rows[0].means["clean"]["all sets"]
        text = render(tidy([cell], {}), View(metrics=("fpr95", "auroc")))
        (line,) = [line for line in text.splitlines() if "| clean" in line]
        assert [part.strip() for part in line.split("|")[3:5]] == [means["fpr95"].text, means["auroc"].text]


def test_rows_of_other_code_or_images_are_held_against_none(made, data):
    cells = [made(seed=1, code="old"), made(seed=2, code="new"), made("other", code="own"), made("apart", code="a")]
    for task in ("clean", "linf"):
        changed(cells[1], task, "cats", attributes={"date": "2026-12-01T00:00:00+00:00"})
        changed(cells[3], task, "cats", attributes={"fingerprint": "0" * 64})
    ((board,)) = boards(cells, data)
    assert [row.apart for row in board.rows] == [
        {"clean": "other code", "linf": "other code"},
        {},
        {},
        {"clean": "other images", "linf": "other images"},
    ]


def test_an_attack_that_changed_halfway_has_no_mean(made, data):
    cell = made()
    changed(cell, "linf", "cats", attributes={"constants": json.dumps({"kind": "linf", "epsilon": 1})})
    ((board,)) = boards([cell, made("other")], data)
    assert board.rows[0].means["linf"]["all sets"] is None
    assert board.rows[0].means["linf"]["cats"] is not None
    assert board.rows[1].means["linf"]["all sets"] is not None


def test_threats_that_words_do_not_tell_apart_are_told_by_their_constants(made, data):
    cells = [made(), made("other")]
    for image_set in ("cats", "dogs", "noise"):
        changed(cells[1], "linf", image_set, attributes={"constants": json.dumps({"kind": "linf", "epsilon": 1})})
    ((board,)) = boards(cells, data)
    (task,) = [task for task in board.tasks if task.name == "linf"]
    assert len(task.threats) == 2
    assert '"epsilon": 1' in task.threats[1]


def test_a_detector_that_failed_is_on_the_board(made, data, tmp_path):
    whole, failed = made(), Cell(tmp_path / "results/toys/odin/seed1-000000000000.h5")
    failed.note({"failed": "it was\nout of luck."}, {**whole.attributes(), "detector": "odin", "settings": "odin.t=1"})
    whole.note({"failed": "no gradient", "failed_at": "linf-adaptive/cats"}, {})
    ((board,)) = boards([whole, failed], data)
    assert board.troubled == [
        ("toy (seed 1)", "failed: no gradient"),
        ("odin (seed 1, odin.t=1)", "failed: it was out of luck"),
    ]
    assert [row.name for row in board.rows] == ["toy"]
    with pytest.raises(OodbenchError, match=r"no OOD image .*odin \(seed 1, odin.t=1\) failed: it was out of luck"):
        boards([failed], data)


def test_a_detector_whose_scores_are_all_stale_is_on_the_board(stored, tmp_path):
    fine, stale = stored(tmp_path), stored(tmp_path, detector="odin")
    for group in stale.read():
        network = "of today" if group.role == "id" else "of yesterday"
        stale.add(replace(group, attributes={**group.attributes, "network_digest": network}), stale.attributes())
    (board,) = boards([fine, stale], tmp_path)
    assert [row.detector for row in board.rows] == ["msp"]
    why = "stale and left out: linf: letters (the network is another one now); run it again"
    assert board.troubled == [("odin (seed 1)", why)]
    assert why.encode() in render_page([board])
    with pytest.raises(OodbenchError, match=r"no OOD image .*; odin \(seed 1\) stale and left out: linf"):
        boards([stale], tmp_path)
