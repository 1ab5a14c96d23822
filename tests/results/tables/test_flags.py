"""What is flagged, how far off it says a figure may be, in which order, and what to run next."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from oodbench.detectors.rowl import ROWL
from oodbench.results import store
from oodbench.results.tables import View, find_flags, flat_frame, render, severities, tidy
from oodbench.results.tables.compact import render_compact
from oodbench.results.tables.flags import Flagged

ADAPTIVE = {"kind": "linf-adaptive", "epsilon": 32, "level": "standard", "side": "out"}


UNTIED = [("letters", [0.0, 1.0, 2.5, 8.5])]
"""No OOD image scores what an ID image does, which would be flagged."""


def flag(cell, extras, task="linf", ood="letters", constants=None, **attributes):
    """Leave something about each image of a stored group, and attributes of its own."""
    group = cell.group(task, ood)
    arrays = {name: np.asarray(values, float) for name, values in extras.items()}
    more = {"constants": json.dumps(constants)} if constants else {}
    about = {**group.attributes, **more, **attributes}
    changed = store.Scores(
        **{name: getattr(group, name) for name in ("task", "image_set", "role", "scores", "predictions", "labels")},
        indices=group.indices,
        extras=arrays,
        attributes=about,
    )
    cell.add(changed, cell.attributes())
    return cell


def scores_of(*cells):
    frame = tidy(cells, {})
    return frame[frame["metric"] != "accuracy"]


def test_each_flag_says_its_size_whether_to_believe_and_what_to_run(tmp_path, stored):
    # Of four images the attack could not climb on two, which pass no ID image: they might have passed all eight.
    cell = flag(stored(tmp_path, ood=[("letters", [0.0, 1.0, 2.5, 9.5])]), {"stuck": [1, 1, 0, 0]})
    (found,) = find_flags(scores_of(cell))
    assert found.text == (
        "no gradient at the start of the attack on 50% of the images, so it could not climb; the AUROC may be up to "
        "50.00 points lower, FPR@95 up to 50.00 points higher: not to be believed; next: `oodbench run --suite digits "
        f"--detector msp --out {tmp_path} --task linf-adaptive`"
    )
    assert severities([found]) == {("msp/seed1-abababababab", "linf"): 0.5}


def test_of_some_sets_only_what_is_flagged_of_them_is_said(tmp_path, stored, oodbench):
    """A set's AUROC of 0.08 had a flag of 0.09, which was the mean over others."""
    sets = [("letters", [0.0, 1.0, 2.5, 9.5]), ("photo-patches", [0.0, 1.0, 2.5, 8.5])]
    cell = flag(stored(tmp_path / "results", ood=sets), {"stuck": [1, 1, 0, 0]})
    table = partial(oodbench, "table", tmp_path / "results", "--task", "linf", "--metric", "auroc")
    size = "may be off by (points): msp linf"
    assert f"{size} 25.00" in table()[1]
    assert f"{size} 50.00" in table("--sets", "letters")[1]
    assert "off by" not in table("--sets", "photo-patches")[1] and "‡" not in table("--sets", "photo-patches")[1]
    code, each, _ = table("--by", "ood")
    assert code == 0 and "a mean over these OOD sets" in " ".join(each.split())
    frame = flat_frame(tidy([cell], {}), View(by="ood", metrics=("auroc",)))
    assert dict(zip(frame["ood"], frame["off_by"], strict=True))["letters"] == 0.5
    assert dict(zip(frame["ood"], frame["flag"], strict=True))["photo-patches"] == ""


def test_the_worst_comes_first_and_signs_are_graded(tmp_path, stored):
    many = [("letters", np.linspace(0, 1.9, 200))]
    mild = flag(stored(tmp_path, ood=many), {"stuck": [1] * 3 + [0] * 197})
    bad = flag(stored(tmp_path, detector="atom", ood=many), {"stuck": [1] * 154 + [0] * 46})
    slight = flag(
        stored(tmp_path, detector="oe", ood=[("letters", [*np.linspace(0, 1.9, 198), 99, 99])]),
        {"stuck": [0] * 197 + [1] * 3},
    )
    found = find_flags(scores_of(mild, bad, slight))
    assert [(one.cell.partition("/")[0], round(one.effect, 4)) for one in found] == [
        ("atom", 0.77),
        ("msp", 0.015),
        ("oe", 0.005),
    ]
    text = render(tidy([mild, bad, slight], {}))
    lines = [line for line in text.splitlines() if line.startswith("- FLAG")]
    assert [line.split()[2] for line in lines] == ["atom", "msp", "oe"]
    assert "to be believed within 0.50 points" in lines[2]
    signs = {line.split()[1]: ("‡" in line, "†" in line) for line in text.splitlines() if line.startswith("| ")}
    assert (signs["atom"], signs["msp"], signs["oe"]) == ((True, False), (True, False), (False, True))
    assert "† flagged, and off by one point at most" in text


def test_the_best_of_a_column_keeps_its_sign(tmp_path, stored):
    many = [("letters", np.linspace(0, 1.9, 200))]
    best = flag(stored(tmp_path, ood=many), {"stuck": [1] * 3 + [0] * 197})
    text = render(tidy([best, stored(tmp_path, detector="atom", ood=UNTIED)], {}))
    assert "**0.00‡**" in text
    assert "**100.00‡**" in text


def test_what_is_not_to_be_believed_is_the_best_of_no_column(tmp_path, stored):
    best = flag(stored(tmp_path, ood=[("letters", [0.0] * 3 + [1.0])]), {"stuck": [1] * 4})
    worst = [("letters", [9.5, 9.6, 9.7, 9.8])]
    others = [stored(tmp_path, detector="atom", ood=UNTIED), stored(tmp_path, detector="oe", ood=worst)]
    frame = tidy([best, *others], {})
    text = render(frame)
    assert "**0.00‡**" not in text and " 0.00‡" in text
    assert re.findall(r"\*\*([^*]+)\*\*", next(line for line in text.splitlines() if line.startswith("| atom")))
    row = {
        line.split()[0]: line for line in render_compact(frame).splitlines() if line.startswith(("msp", "atom", "oe"))
    }
    assert "*" not in row["msp"] and "*" not in row["oe"] and row["atom"].count("*") == 2


def test_what_is_not_to_be_believed_is_sorted_behind_the_others(tmp_path, stored):
    """AUROC 100 of an attack that could not climb, beside figures that hold and one that was not measured."""
    best = flag(stored(tmp_path, ood=[("letters", [0.0] * 3 + [1.0])]), {"stuck": [1] * 4})
    worst = [("letters", [9.5, 9.6, 9.7, 9.8])]
    others = [stored(tmp_path, detector="oe", ood=worst), stored(tmp_path, detector="atom", ood=UNTIED)]
    frame = tidy([best, *others], {})
    for metric, order in (
        ("auroc", ["atom", "oe", "msp"]),
        ("fpr95", ["atom", "oe", "msp"]),
        ("accuracy", ["msp", "oe", "atom"]),  # which no attack concerns: all are equal
    ):
        view = View(sort=metric)
        assert [line.split()[1] for line in render(frame, view).splitlines() if line.startswith("| ")][1:] == order
        lines = [
            line.split()[0] for line in render_compact(frame, view).splitlines() if line.startswith(("m", "atom", "oe"))
        ]
        assert lines == order
        assert list(dict.fromkeys(flat_frame(frame, view)["detector"])) == order


def test_what_is_known_to_be_too_good_is_the_best_of_no_column(tmp_path, stored):
    """FPR@95 0 and AUROC 87.5, of which climbing on takes 37.5 points: the rival's 0 and 65.6 hold."""
    known = flag(stored(tmp_path, ood=[("letters", [0.0, 1.0, 2.0, 3.0])]), {"continued": [np.nan, 5.5, np.nan, 5.5]})
    rival = stored(tmp_path, detector="atom", ood=[("letters", [0.0, 1.1, 9.2, 9.3])])
    frame = tidy([known, rival, stored(tmp_path, detector="oe", ood=[("letters", [9.5, 9.6, 9.7, 9.8])])], {})
    assert "too good" in render_compact(frame)
    row = {
        line.split()[0]: line for line in render_compact(frame).splitlines() if line.startswith(("msp", "atom", "oe"))
    }
    assert "*" not in row["msp"] and row["atom"].count("*") == 2
    line = next(line for line in render(frame).splitlines() if line.startswith("| msp"))
    assert "**" not in line  # the ID accuracy of all is the same


def test_what_was_measured_is_a_lower_bound_of_the_error(tmp_path, stored):
    continued = [np.nan, 5.5, np.nan, np.nan]  # from 1, which passes none, to 5.5, which passes 4 of 8
    cell = flag(stored(tmp_path), {"continued": continued}, constants=ADAPTIVE)
    (found,) = find_flags(scores_of(cell))
    assert "lower the AUROC by 50.00%" in found.text
    assert "the AUROC is too high by 50.00 points at least" in found.text
    assert found.text.endswith("--task linf --set linf.level=plus`")


def test_flags_of_several_sets_are_averaged_and_aside_from_other_tasks(tmp_path, stored):
    cell = flag(stored(tmp_path, ood=[("a", [0.0, 0.5]), ("b", [0.0, 0.5])]), {"stuck": [1, 1]}, ood="a")
    (found,) = find_flags(scores_of(cell))
    assert found.effect == pytest.approx(0.5)  # the whole AUROC of one set, nothing of the other


def test_a_score_in_need_of_mending_is_not_told_to_attack_harder(tmp_path, stored):
    (found,) = find_flags(scores_of(stored(tmp_path, task="clean", ood=[("letters", [2.0, 3.0, 4.0])])))
    assert "the AUROC may be off by 6.25 points to either side: not to be believed" in found.text
    assert found.text.endswith(
        "next: let score() answer in the log domain, where it does not saturate, then --rerun all"
    )


def curve(tmp_path, stored, *aurocs):
    """One cell with a curve over radii; each AUROC in eighths of ID images that an OOD image fails to pass."""
    cell = None
    for radius, passed in zip((0, 1, 2, 16), aurocs, strict=True):
        cell = stored(tmp_path, task=f"linf-eps{radius}", ood=[("letters", [1.5 + passed])])
    return cell


def test_a_curve_that_rises_is_flagged_with_its_rise_and_marks_its_tasks(tmp_path, stored):
    assert find_flags(scores_of(curve(tmp_path, stored, 0, 4, 4, 8))) == []
    (found,) = find_flags(scores_of(curve(tmp_path, stored, 0, 4, 8, 6)))
    assert found.about == "linf over radii"
    assert found.text.startswith("the AUROC rises with the radius by 25.00 points somewhere")
    assert {task for _, task in severities([found])} == {f"linf-eps{radius}" for radius in (0, 1, 2, 16)}


def test_an_adaptive_attack_beaten_by_the_published_one_is_flagged(tmp_path, stored):
    sets = [("letters", [3.5, 3.5]), ("drawn", [9.5, 9.5])]
    flag(stored(tmp_path, ood=sets), {}, constants={"kind": "linf", "epsilon": 8})
    sets = [("letters", [2.5, 2.5]), ("drawn", [0.5, 0.5])]
    cell = stored(tmp_path, task="linf-adaptive", ood=sets, aside=("drawn",))
    cell = flag(cell, {}, "linf-adaptive", constants={**ADAPTIVE, "epsilon": 8})
    cell = flag(cell, {}, "linf", "drawn", distance="aside")
    (found,) = find_flags(scores_of(cell))
    assert found.text.startswith("it leaves 12.50 points more of the AUROC than linf, which it should outdo")
    assert found.effect == 0.125


@pytest.mark.parametrize(
    ("convention", "said"), [("default", "log domain"), ("published", "look at --convention default")]
)
def test_ties_as_a_paper_prints_scores_ask_nobody_to_mend_them(tmp_path, stored, convention, said):
    cell = stored(tmp_path, detector="rowl", ood=[("letters", [2.0] * 4)])
    (group,) = [each for each in cell.read() if each.role == "id"]
    cell.add(replace(group, scores=np.full(len(group.scores), 2.0)), cell.attributes())
    frame = tidy([cell], {"rowl": ROWL}, convention=convention)
    (found,) = find_flags(frame[frame["metric"] != "accuracy"])
    assert "100.0% of all pairs of an ID and an OOD image tie" in found.text
    assert said in found.text.partition("next: ")[2]


def test_rows_of_means_have_the_signs_of_a_table_and_name_what_is_stale(oodbench, tmp_path, stored):
    means = [("letters", [0.0, 1.0, 2.5, 9.5])]
    flag(stored(tmp_path / "results", ood=means), {"stuck": [1, 1, 0, 0]})
    for detector, task in (("atom", "linf"), ("oe", "linf"), ("oe", "clean")):
        stored(tmp_path / "results", detector=detector, task=task, ood=UNTIED)
    (old,) = (one for one in store.cells(tmp_path / "results") if one.path.parent.name == "oe")
    for role, name, digest in (("id", "digits-test", "d"), ("linf", "letters", "e")):
        group = old.group(role, name)
        old.add(replace(group, attributes={**group.attributes, "network_digest": digest * 64}), old.attributes())
    for by in ("task", "ood", "mean"):
        code, out, err = oodbench("table", "--by", by, "--format", "json")
        assert code == 0
        assert "Stale and left out: oe (seed 1), linf: letters (the network is another one now); run it again." in err
        found = {(row["detector"], row["metric"]): row for row in json.loads(out)}
        assert (found["msp", "auroc"]["flag"], found["msp", "auroc"]["off_by"]) == ("‡", 0.5)
        assert (found["msp", "accuracy"]["flag"], found["msp", "accuracy"]["off_by"]) == ("", None)
        assert (found["atom", "auroc"]["flag"], found["atom", "auroc"]["off_by"]) == ("", None)
        assert found["atom", "auroc"]["stale"] == ""
        assert found["oe", "auroc"]["stale"] == "linf: letters (the network is another one now)"


def test_of_several_flags_the_worst_says_how_far_off_a_figure_may_be():
    sizes = {"a": 0.1, "b": 0.5, "c": 0.2}
    flags = [Flagged("cell", name, ("linf",), "", size, "no") for name, size in sizes.items()]
    assert severities(flags) == {("cell", "linf"): 0.5}


def test_an_attack_must_outdo_weaker_ones_in_other_files_of_the_same_detector_and_images(tmp_path, stored):
    """A run with another level, as the second one of `make demo`, has a file of its own: nobody compared the two."""
    weaker = stored(tmp_path, ood=[("letters", [9.5, 9.6, 2.5, 8.5])])
    stronger = stored(tmp_path, task="linf-adaptive", ood=UNTIED, key="cd", settings="linf-adaptive.level=quick")
    flag(stronger, {}, task="linf-adaptive", constants=ADAPTIVE, fingerprint="1" * 64)

    def disorder(of_weaker):
        flag(weaker, {}, **of_weaker)
        found = find_flags(scores_of(weaker, stronger))
        return [one for one in found if "which it should outdo" in one.text]

    (found,) = disorder({"fingerprint": "1" * 64})
    assert found.tasks == ("linf-adaptive",) and found.cell.endswith("seed1-cdcdcdcdcdcd")
    assert re.search(r"more of the AUROC than linf \(msp/seed1-abababababab\), which it should outdo", found.text)
    assert disorder({"fingerprint": "2" * 64}) == []  # other images
    assert disorder({}) == []  # nobody knows which
    other = stored(tmp_path, ood=[("letters", [9.5, 9.6, 2.5, 8.5])], key="ef", network_digest="e" * 64)
    flag(other, {}, fingerprint="1" * 64)
    assert not any("which it should outdo" in one.text for one in find_flags(scores_of(other, stronger)))
