"""Verdicts on hand-made scores, the file that is updated, and what CI systems are given."""

import json
from dataclasses import asdict, replace
from functools import partial
from xml.etree import ElementTree

import h5py
import numpy as np
import pandas as pd
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcecode import code_digest
from oodbench.detector import Detector
from oodbench.registry import discover
from oodbench.results.check import Status, check
from oodbench.results.reference import parse, read, shipped_reference, write
from oodbench.results.tables import tidy
from oodbench.results.updating import update_reference
from oodbench.suitefiles import suitefile


def verdict(cells, reference, metric="fpr95", **changes):
    """Of the one row of a metric, changed."""
    (row,) = reference.index[reference["metric"] == metric]
    return check(cells, reference.loc[[row]].assign(**changes), {})[0]


def test_what_was_measured_passes_against_itself(measured, known):
    verdicts = check([measured], known, {})
    assert {each.status for each in verdicts} == {Status.PASS}
    assert set(known["metric"]) == {"fpr95", "fpr95_oodpos", "auroc", "accuracy"}
    assert set(known["checkpoint"]) == {"plain.safetensors"}


def test_a_reference_of_thousands_is_looked_up_and_not_searched(measured, known, monkeypatch):
    """Each of its rows was held against every figure, one column after the other: nine minutes for what is shipped."""
    many = pd.concat([known, *[known.assign(detector=f"other-{number}") for number in range(500)]], ignore_index=True)
    compared = []
    equal = pd.Series.__eq__
    monkeypatch.setattr(pd.Series, "__eq__", lambda one, other: compared.append(0) or equal(one, other))
    verdicts = check([measured], many, {})
    assert len(compared) < len(many)
    assert [each.status for each in verdicts].count(Status.PASS) == len(known)
    assert [each.status for each in verdicts].count(Status.MISSING) == 500 * len(known)


@pytest.mark.parametrize("column", ["low", "high"])
@pytest.mark.parametrize("value", ["100", "inf", "-inf"])
def test_an_interval_beyond_all_fractions_is_refused(measured, known, tmp_path, column, value):
    write(known.assign(tolerance="", **{column: value}), tmp_path / "reference.csv")
    with pytest.raises(OodbenchError, match=f"{column} is .*, expected a fraction from 0 to 1, or nothing"):
        read(tmp_path / "reference.csv")


@pytest.mark.parametrize("value", ["5", "inf", "-0.1"])
def test_a_tolerance_that_lets_anything_pass_is_refused(measured, known, tmp_path, value):
    write(known.assign(tolerance=value), tmp_path / "reference.csv")
    with pytest.raises(
        OodbenchError, match="tolerance is .*, expected a fraction from 0 to 1, as 0.05 for five points"
    ):
        read(tmp_path / "reference.csv")


@pytest.mark.parametrize(
    ("metric", "value", "tolerance", "sides", "status", "beyond"),
    [
        ("fpr95", 0.5, 0.0, "", Status.PASS, 0),
        ("fpr95", 0.4, 0.1, "", Status.PASS, 0),
        ("fpr95", 0.3, 0.1, "", Status.FAIL, 0.1),  # measured 0.5: more OOD images pass
        ("fpr95", 0.7, 0.1, "", Status.BETTER, 0.1),
        ("fpr95", 0.7, 0.1, "both", Status.FAIL, 0.1),
        ("auroc", 0.7, 0.1, "", Status.FAIL, 0.1),  # measured 0.5: lower is worse here
        ("auroc", 0.3, 0.1, "", Status.BETTER, 0.1),
        ("accuracy", 0.9, 0.01, "", Status.FAIL, 0.015),  # measured 7/8
    ],
)
def test_only_worse_than_tolerated_fails(measured, known, metric, value, tolerance, sides, status, beyond):
    found = verdict([measured], known, metric, value=value, tolerance=tolerance, sides=sides)
    assert found.status is status
    assert found.beyond == pytest.approx(beyond)


def test_a_figure_that_is_flagged_is_not_better(oodbench, measured, known, tmp_path):
    """An attack that broke makes figures better: a check that let these pass would guard nothing."""
    group = measured.group("linf", "a")
    measured.add(replace(group, extras={"stuck": np.array([1.0, 1.0, 0.0, 0.0])}), measured.attributes())
    better = partial(verdict, [measured], known, value=0.7, tolerance=0.1)
    found = better(sides="")
    assert (found.status, found.beyond) == (Status.FAIL, pytest.approx(0.1))
    assert "better, and flagged: it may be off by 50 points" in found.why
    assert better(sides="", value=0.55).status is Status.PASS
    assert "flagged" not in better(value=0.3).why  # worse, which is not doubted
    code, _, err = oodbench("check", "--reference", "new.csv", "--update")
    assert code == 0 and "1 task of a detector is flagged as not to be believed" in err


def test_figures_are_doubted_on_the_sets_that_are_flagged(stored, tmp_path):
    scores = [0.0, 1.0, 9.5, 9.5]
    cell = stored(tmp_path, ood=[("a", scores), ("b", scores)], checkpoint="nets/plain.safetensors")
    extras = {"stuck": np.array([1.0, 1.0, 0.0, 0.0])}
    cell.add(replace(cell.group("linf", "a"), extras=extras), cell.attributes())
    rows = update_reference(None, tidy([cell], {})).query("metric == 'fpr95'")
    found = check([cell], rows.assign(value=0.7, tolerance=0.1, sides=""), {})
    assert {one.name.split()[-2]: one.status for one in found} == {"a": Status.FAIL, "b": Status.BETTER}


def test_an_interval_counts_where_there_is_no_tolerance(measured, known):
    nothing = float("nan")
    assert verdict([measured], known, tolerance=nothing, low=0.45, high=0.6).status is Status.PASS
    assert verdict([measured], known, tolerance=nothing, low=0.2, high=0.49).status is Status.FAIL
    neither = verdict([measured], known, tolerance=nothing)
    assert neither.status is Status.NOT_COMPARABLE
    assert "neither a tolerance nor an interval" in neither.why


def test_a_tolerance_counts_before_an_interval(measured, known):
    # Measured is 0.5: within a tenth of the value and outside the interval, and the other way round.
    assert verdict([measured], known, value=0.5, tolerance=0.1, low=0.8, high=0.9).status is Status.PASS
    assert verdict([measured], known, value=0.3, tolerance=0.1, low=0.2, high=0.6).status is Status.FAIL


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("suite_version", "3", "another suite version: "),
        ("suite_fingerprint", "e" * 64, "another suite fingerprint: "),
        ("id_set", "other", "another ID set: "),
        ("network_digest", "0" * 64, "another network digest: "),
        ("parameters", '{"q": 1}', "other parameters: "),
        ("constants", "{}", "other constants: "),
        ("n_ood", 5, "another number of OOD images: "),
        ("convention", "energy-ood", "in convention 'energy-ood', unknown here"),
        ("hardware", "NVIDIA H100, scored in TF32", "another precision: "),
    ],
)
def test_other_conditions_are_not_comparable_and_say_why(measured, known, column, value, said):
    found = verdict([measured], known, value=0.0, **{column: value})
    assert found.status is Status.NOT_COMPARABLE
    assert found.why.startswith(said)
    unsaid = verdict([measured], known, **({column: ""} if column != "n_ood" else {column: float("nan")}))
    assert unsaid.status is (Status.NOT_COMPARABLE if column == "convention" else Status.PASS)


def test_other_images_under_the_same_names_are_not_comparable(tmp_path, stored):
    sets = [("a", [0.0, 9.5]), ("b", [0.0, 9.5])]
    prints = {"digits-test": "1" * 64, "a": "a" * 64, "b": "b" * 64}
    first = stored(tmp_path / "first", ood=sets, fingerprints=prints)
    reference = update_reference(None, tidy([first], {}))
    assert set(reference["ood"]) == {"", "mean:all"}
    assert {each.status for each in check([first], reference, {})} == {Status.PASS}
    for changed in ("a", "digits-test"):
        other = stored(tmp_path / changed, ood=sets, fingerprints=prints | {changed: "c" * 64})
        found = {each.name.split()[-1]: each for each in check([other], reference, {}) if each.status != Status.PASS}
        # Accuracy rests on ID images alone.
        assert set(found) == {"fpr95", "fpr95_oodpos", "auroc"} | ({"accuracy"} if changed == "digits-test" else set())
        assert {each.status for each in found.values()} == {Status.NOT_COMPARABLE}
        assert all(each.why.startswith("other images under the same names") for each in found.values())
        # Where both are at hand, the reference's own are compared.
        of_ood = reference[reference["ood"] != ""]
        assert {each.status for each in check([other, first], of_ood, {})} == {Status.PASS}


def test_two_results_of_one_name_are_not_comparable(measured, known, stored, tmp_path):
    again = stored(tmp_path / "results", key="cd", ood=[("a", [0.0] * 4)], checkpoint="nets/plain.safetensors")
    assert verdict([measured, again], known).status is Status.NOT_COMPARABLE
    with pytest.raises(OodbenchError, match="two results have the name digits msp"):
        update_reference(known, tidy([measured, again], {}))


def test_what_was_not_measured_is_missing_and_all_of_it_an_error(measured, known, stored, tmp_path):
    assert verdict([measured], pd.concat([known, known.assign(seed="2")]).iloc[[1]]).status is Status.PASS
    verdicts = check([measured], pd.concat([known, known.assign(seed="2")]), {})
    assert sorted(each.status for each in verdicts) == sorted(["pass"] * len(known) + ["missing"] * len(known))
    with pytest.raises(OodbenchError, match="none of the reference's"):
        check([measured], known.assign(seed="2"), {})


def test_a_convention_that_is_not_ours_keeps_apart_only_what_was_measured(oodbench, measured, known):
    code, out, err = oodbench("check", "--reference", "published")
    assert (code, out) == (2, "")
    published = len(shipped_reference("published"))
    assert f"none of the reference's {published} figures was measured here" in err
    theirs = known.assign(convention="energy-ood")
    assert {each.status for each in check([measured], theirs, {})} == {Status.NOT_COMPARABLE}
    both = check([measured], pd.concat([theirs, theirs.assign(detector="odin")]), {})
    assert [each.status for each in both] == [Status.NOT_COMPARABLE] * 4 + [Status.MISSING] * 4


def test_the_worst_stands_first(measured, known):
    changed = known.assign(value=[0.875, 0.45, 0.2, 0.9], tolerance=0.01, sides="both")
    verdicts = check([measured], changed, {})
    beyond = [each.beyond for each in verdicts]
    assert beyond == sorted(beyond, reverse=True)
    assert verdicts[0].status is Status.FAIL
    assert verdicts[-1].status is Status.PASS


def test_every_mean_of_the_suite_can_be_held_against_a_reference(tmp_path, stored):
    means = '{"all": ["a", "b"], "far": ["b"]}'
    cell = stored(tmp_path, ood=[("a", [9.5] * 4), ("b", [0.0] * 4)], means=means)
    rows = update_reference(None, tidy([cell], {}))
    assert set(rows["ood"]) == {"", "mean:all"}
    assert verdict([cell], rows, ood="mean:far", value=0.0, n_ood=4, tolerance=0.1).measured == 0


def test_a_mean_that_lacks_a_set_is_missing(tmp_path, stored):
    means = '{"all": ["a", "b"]}'
    rows = update_reference(None, tidy([stored(tmp_path, ood=[("a", [9.5] * 4), ("b", [0.0] * 4)], means=means)], {}))
    half = stored(tmp_path / "half", ood=[("a", [9.5] * 4)], means=means)
    verdicts = check([half], rows, {})
    assert {each.status for each in verdicts} == {Status.PASS, Status.MISSING}
    missing = [each for each in verdicts if each.status is Status.MISSING]
    assert all("not measured here on b, and a mean over other OOD sets" in each.why for each in missing)


def test_the_command_from_update_to_regression(oodbench, tmp_path, measured, stored):
    code, out, err = oodbench("check", "results", "--reference", "mine.csv", "--update")
    assert code == 0, err
    assert "mine.csv: 4 figures, 4 of them new" in out
    code, out, _ = oodbench("check", "results", "--reference", "mine.csv", "--strict")
    assert code == 0
    assert out.splitlines()[-1] == "4 figures: 4 pass"
    code, _, err = oodbench("check", "results", "--reference", "mine.csv", "--strict", "--lenient")
    assert code == 2 and "--lenient and --strict exclude each other" in err
    code, _, err = oodbench("check", "results", "--reference", "mine.csv", "--scores", "kept")
    assert code == 2 and "say --update as well" in err

    stored(tmp_path / "results", ood=[("a", [9.5] * 4)], checkpoint="nets/plain.safetensors")
    code, out, _ = oodbench("check", "--reference", "mine.csv", "--junit", "x/check.xml", "--format", "github")
    assert code == 1
    assert out.startswith("FAIL  digits msp (seed 1, plain.safetensors) linf a ")
    annotations = [line for line in out.splitlines() if line.startswith("::error title=oodbench check::fail: ")]
    assert len(annotations) == 2  # FPR@95 and AUROC; all ID images were rejected before, too
    cases = ElementTree.parse(tmp_path / "x" / "check.xml").getroot().findall(".//testcase")
    assert len(cases) == 4
    assert sum(case.find("failure") is not None for case in cases) == 2


def test_what_cannot_be_compared_fails_unless_leniency_is_asked_for(oodbench, tmp_path, measured, known):
    other = known.assign(suite_fingerprint="e" * 64, detector="odin")
    write(pd.concat([known, known.assign(seed="2"), other]), tmp_path / "more.csv")
    assert oodbench("check", "--reference", "more.csv")[0] == 1
    code, out, _ = oodbench("check", "--reference", "more.csv", "--lenient", "--junit", "check.xml")
    assert code == 0
    assert ElementTree.parse(tmp_path / "check.xml").getroot().find("testsuite").get("skipped") == "8"
    assert out.splitlines()[-1] == "12 figures: 4 pass, 8 missing"
    code, _, err = oodbench("check", "--reference", "more.csv", "--detector", "msp")
    assert code == 1
    assert "--task say which part was run" in err
    write(pd.concat([known, other]), tmp_path / "both.csv")
    assert oodbench("check", "--reference", "both.csv")[0] == 1
    for part in (["--detector", "msp"], ["--detector", "msp", "--suite", "digits"], ["--detector", "msp", "--strict"]):
        assert oodbench("check", "--reference", "both.csv", *part)[0] == 0
    code, out, _ = oodbench("check", "--reference", "both.csv", "--detector", "msp", "--task", "linf")
    assert (code, out.splitlines()[-1]) == (0, "3 figures: 3 pass")
    code, _, err = oodbench("check", "--reference", "both.csv", "--detector", "mps")
    assert code == 2
    assert "did you mean 'msp'" in err


@pytest.mark.parametrize("how", [[], ["--lenient"], ["--strict"]])
def test_nothing_compared_is_an_error_whatever_is_asked(oodbench, tmp_path, measured, known, how):
    write(known.assign(suite_fingerprint="e" * 64), tmp_path / "old.csv")
    code, out, err = oodbench("check", "--reference", "old.csv", *how)
    assert code == 2
    assert "another suite fingerprint" in out
    assert "nothing was compared with old.csv" in err


def test_a_file_that_cannot_be_read_fails(oodbench, tmp_path, measured, known):
    write(known, tmp_path / "mine.csv")
    (tmp_path / "results" / "cut.h5").write_bytes(b"")
    code, out, _ = oodbench("check", "--reference", "mine.csv")
    assert code == 1
    assert "NOT COMPARABLE  results/cut.h5: cannot read" in out
    assert oodbench("check", "--reference", "mine.csv", "--lenient")[0] == 0


def test_a_detector_that_failed_fails_the_check(oodbench, tmp_path, measured, known):
    write(known, tmp_path / "mine.csv")
    measured.note({"failed": "out of luck", "failed_at": "linf/b"}, {})
    code, out, _ = oodbench("check", "--reference", "mine.csv", "--lenient")
    assert code == 1
    assert out.splitlines()[0] == "FAIL  digits msp (seed 1, plain.safetensors): failed: out of luck"


def test_of_two_results_of_one_name_todays_is_compared(oodbench, tmp_path, stored):
    """A changed plugin beside what it gave before: 13 figures were "not comparable", and the check passed."""
    today = code_digest(discover()["msp"], root=Detector)
    about = {"suite": "mine", "checkpoint": "plain.safetensors"}
    good, bad = [("a", [0.0, 1.0, 2.0, 2.5])], [("a", [9.5] * 4)]
    stored(tmp_path / "results", key="ab", ood=good, code="0" * 64, date="2026-06-01T00:00:00+00:00", **about)
    code, _, err = oodbench("check", "--reference", "mine.csv", "--update")
    assert code == 2
    assert "WARNING: left out: msp/seed1-abababababab was made by other code" in err
    assert not (tmp_path / "mine.csv").exists()
    new = stored(tmp_path / "results", key="cd", ood=good, code=today, **about)
    code, _, err = oodbench("check", "--reference", "mine.csv", "--update")
    assert code == 0, err
    assert oodbench("check", "--reference", "mine.csv")[0] == 0
    new.path.unlink()
    code, out, _ = oodbench("check", "--reference", "mine.csv")
    assert code == 2
    assert "made by other code than today's: run it again" in out
    stored(tmp_path / "results", key="cd", ood=bad, code=today, **about)
    code, out, _ = oodbench("check", "--reference", "mine.csv")
    assert code == 1
    assert out.splitlines()[-1] == "4 figures: 1 pass, 3 fail"


def test_where_nobody_knows_the_code_the_newest_is_compared(oodbench, tmp_path, stored):
    about = {"detector": "theirs", "checkpoint": "plain.safetensors"}
    stored(tmp_path / "results", key="ab", ood=[("a", [0.0] * 4)], code="1", **about)
    assert oodbench("check", "--reference", "mine.csv", "--update")[0] == 0
    code, out, _ = oodbench("check", "--reference", "mine.csv")
    assert code == 1  # its file may have changed since, and these figures with it
    assert out.startswith("NOT COMPARABLE  theirs: no detector is called so here")
    assert "give its file by --plugin" in out
    code, out, _ = oodbench("check", "--reference", "mine.csv", "--lenient")
    assert code == 0
    assert out.startswith("not comparable  theirs")
    later = stored(tmp_path / "results", key="cd", ood=[("a", [9.5] * 4)], code="2", **about)
    with h5py.File(later.path, "a") as file:
        for group in (file["id/digits-test"], file["linf/a"]):
            group.attrs["date"] = "2026-02-01T00:00:00+00:00"
    code, out, _ = oodbench("check", "--reference", "mine.csv", "--lenient")
    assert code == 1
    assert "FAIL  digits theirs" in out


def test_beside_results_of_an_older_suite_or_other_defaults_the_current_ones_count(oodbench, tmp_path, stored):
    suite, detector = suitefile.load("digits"), discover()["atom"]
    now = {"suite_fingerprint": suite.fingerprint, "suite_version": suite.version, "detector": "atom"}
    parameters = {**asdict(detector.Parameters()), **suite.detectors.get("atom", {})}
    now |= {"parameters": json.dumps(parameters), "checkpoint": "plain.safetensors"}
    good, bad = [("a", [0.0, 1.0, 2.0, 2.5])], [("a", [9.5] * 4)]
    stored(tmp_path / "results", key="ab", ood=good, **now)
    assert oodbench("check", "--reference", "mine.csv", "--update")[0] == 0
    older = {**now, "suite_fingerprint": "e" * 64, "suite_version": 1}
    other = {**now, "parameters": json.dumps({**parameters, "q": 0.99})}
    stored(tmp_path / "results", key="cd", ood=bad, **older)
    stored(tmp_path / "results", key="ef", ood=bad, **other)
    assert oodbench("check", "--reference", "mine.csv")[0] == 0
    stored(tmp_path / "results", key="ab", ood=bad, **now)
    assert oodbench("check", "--reference", "mine.csv")[0] == 1


def test_mistakes_are_told_with_code_2_and_change_nothing(oodbench, tmp_path, measured, known):
    write(known, tmp_path / "mine.csv")
    (tmp_path / "short.csv").write_text("suite,detector\ndigits,msp\n")
    before = (tmp_path / "short.csv").read_bytes()
    for arguments, told in (
        (["--reference", "short.csv"], "short.csv lacks the columns"),
        (["--reference", "short.csv", "--update"], "short.csv lacks the columns"),
        (["--reference", "none.csv"], "cannot read the reference"),
        (["--reference", "published", "--update"], "comes with oodbench"),
        (["nowhere", "--reference", "mine.csv"], "there are no results"),
        ([], "Missing option '--reference'"),
    ):
        code, out, err = oodbench("check", *arguments)
        assert (code, out) == (2, ""), arguments
        assert told in err
    assert (tmp_path / "short.csv").read_bytes() == before
    assert read(tmp_path / "mine.csv").equals(parse((tmp_path / "mine.csv").read_text(), ""))
