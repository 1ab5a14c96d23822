"""Tasks as a run asks for them."""

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.suitefiles import settings, suitefile
from oodbench.suitefiles.selection import curve_of, curves, parse_radii, restrict, vary
from oodbench.tasks import L2, L2Adaptive, Linf, LinfAdaptive


@pytest.fixture
def suite():
    return suitefile.load("digits-adv")


def test_nothing_asked_leaves_the_suite_as_it_is(suite):
    assert vary(suite, (), (), "out") == suite


def test_some_tasks_only_in_the_order_asked_and_the_same_suite(suite):
    varied = vary(suite, ("linf", "clean"), (), "out")
    assert list(varied.tasks) == ["linf", "clean"]
    assert varied.fingerprint == suite.fingerprint


def test_tasks_of_a_curve_know_their_radius(suite):
    varied = vary(suite, ("clean", "linf"), (0, 16), "both")
    assert {name: curve_of(name) for name in varied.tasks} == {
        "linf-both-eps0": ("linf-both", 0),
        "linf-both-eps16": ("linf-both", 16),
    }
    assert [curve_of(name) for name in suite.tasks] == [None] * len(suite.tasks)


def test_a_kind_that_the_suite_lacks_takes_its_radius(suite):
    assert vary(suite, ("linf-adaptive",), (), "out").tasks == {"linf-adaptive": LinfAdaptive(epsilon=32)}
    plain = suitefile.load("digits")
    assert vary(plain, ("linf-adaptive",), (), "out").tasks == {"linf-adaptive": LinfAdaptive()}


def test_radii_multiply_the_attacks_and_leave_the_rest(suite):
    varied = vary(suite, ("clean", "linf"), (0, 4), "out").tasks
    assert list(varied) == ["clean", "linf-eps0", "linf-eps4"]
    assert varied["linf-eps4"] == Linf(epsilon=4, steps=40, step=2)


def test_a_threat_is_in_the_name_and_in_the_words(suite):
    varied = vary(suite, ("clean", "linf"), (), "both").tasks
    assert list(varied) == ["linf-both"]
    assert varied["linf-both"].threat().startswith("OOD and ID images attacked")


@pytest.mark.parametrize(
    ("names", "radii", "side", "said"),
    [
        (("lnf",), (), "out", "did you mean 'linf'"),
        (("clean",), (2,), "out", "--eps needs an attack, and there is none among the tasks clean;"),
        (("clean",), (), "in", "who is attacked can be chosen of none of the tasks clean;"),
        (("compositional",), (), "both", "OOD images only"),
    ],
)
def test_what_cannot_be_is_refused(suite, names, radii, side, said):
    with pytest.raises(OodbenchError, match=said):
        vary(suite, names, radii, side)


def test_radii_as_people_write_them():
    assert parse_radii("0, 2,2,16") == (0, 2, 16)
    for wrong in ("", "-1", "256", "1.5", "a", "1,,2", "²", "٣²"):
        with pytest.raises(OodbenchError, match="whole numbers from 0 to 255"):
            parse_radii(wrong)


def test_a_run_may_keep_to_some_sets_of_the_same_suite(suite):
    restricted = restrict(suite, ("letters",))
    assert [ood.set for ood in restricted.tested] == ["letters"]
    assert restricted.fingerprint == suite.fingerprint
    assert restricted.means == suite.means
    assert restrict(suite, ()).tested == suite.ood
    with pytest.raises(OodbenchError, match="unknown OOD set of suite 'digits-adv' 'leters': did you mean 'letters'"):
        restrict(suite, ("leters",))


def test_the_suites_own_radius_is_its_own_task_and_a_point_of_the_curve(suite):
    varied = vary(suite, ("linf",), (8, 32), "out").tasks
    assert list(varied) == ["linf-eps8", "linf"] and varied["linf"] == suite.tasks["linf"]
    assert list(vary(suite, ("linf",), (8, 32), "both").tasks) == ["linf-both-eps8", "linf-both"]
    radii = {"clean": 0, **{name: task.epsilon for name, task in varied.items()}}
    assert curves(radii) == {"linf-eps8": ("linf", 8), "linf": ("linf", 32)}
    assert curves({"linf": 32, "clean": 0}) == {}
    assert curves({"linf": 32, "linf-eps32": 32}) == {"linf-eps32": ("linf", 32)}


def test_settings_reach_a_task_at_all_radii_and_sides_by_the_name_it_was_asked_by(suite):
    for side, names in {"out": ["linf-eps8", "linf"], "both": ["linf-both-eps8", "linf-both"]}.items():
        varied = vary(suite, ("linf",), (8, 32), side)
        changed, _ = settings.apply([settings.parse("linf.steps=3")], varied, ())
        assert {name: changed.tasks[name].steps for name in names} == dict.fromkeys(names, 3)
        assert [changed.tasks[name].epsilon for name in names] == [8, 32]
        changed, _ = settings.apply([settings.parse(f"{names[0]}.steps=3")], varied, ())
        assert [changed.tasks[name].steps for name in names] == [3, 40]
        for radii in ((8, 32), (8,), (32,)):
            at_radii = vary(suite, ("linf",), radii, side)
            with pytest.raises(OodbenchError, match="both say the radius of 'linf'"):
                settings.check_radii([settings.parse("linf.epsilon=4")], [at_radii])
        settings.check_radii([settings.parse("atom.epsilon=4"), settings.parse("linf.steps=4")], [varied])
    with pytest.raises(OodbenchError, match="unknown parameter 'linf.steps'"):
        settings.apply([settings.parse("linf.steps=3")], vary(suite, ("clean",), (), "out"), ())


def test_a_kind_takes_its_radius_from_attacks_in_its_own_norm(suite):
    assert vary(suite, ("l2", "l2-adaptive"), (), "out").tasks == {"l2": L2(), "l2-adaptive": L2Adaptive()}
    varied = vary(suite, ("l2",), (64, 128), "both").tasks
    assert {name: task.epsilon for name, task in varied.items()} == {"l2-both-eps64": 64, "l2-both": 128}
    assert vary(suite, ("l2",), (), "out").fingerprint == suite.fingerprint
