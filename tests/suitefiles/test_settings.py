"""--set: whom a name reaches, and what a misspelt one is told."""

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.detectors.atom import ATOM
from oodbench.detectors.msp import MSP
from oodbench.detectors.ntom import NTOM
from oodbench.detectors.odin import ODIN
from oodbench.suitefiles import suitefile
from oodbench.suitefiles.selection import vary
from oodbench.suitefiles.settings import apply, changed_constants, parse, settings_in_force, texts


@pytest.fixture(scope="module")
def suite():
    return suitefile.load("digits-adv")


def applied(suite, *texts, detectors=(MSP, ATOM, NTOM)):
    return apply([parse(text) for text in texts], suite, detectors)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=adaptive", "adaptive"),
        ('a="x y"', "x y"),
        ("a=[1, 2]", [1, 2]),
    ],
)
def test_values_are_read_as_toml_else_as_text(text, value):
    assert parse(text).value == value


@pytest.mark.parametrize("text", ["epochs", "epochs=", "=3", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(OodbenchError, match="name=value"):
        parse(text)


def test_suite_parameters_override_defaults_and_settings_override_both(suite):
    assert ATOM.Parameters().epsilon == 8
    _, (_, atom, _) = applied(suite)
    assert (atom.parameters.epsilon, atom.parameters.steps) == (32, 5)
    _, (_, atom, _) = applied(suite, "atom.epsilon=16")
    assert (atom.parameters.epsilon, atom.parameters.step) == (16, 8)


def test_a_bare_name_reaches_every_detector_that_has_it(suite):
    _, (_, atom, ntom) = applied(suite, "q=0.5")
    assert atom.parameters.q == ntom.parameters.q == 0.5
    _, (_, atom, ntom) = applied(suite, "ntom.q=0.5")
    assert (atom.parameters.q, ntom.parameters.q) == (0.0, 0.5)


def test_training_and_tasks(suite):
    changed, _ = applied(suite, "epochs=1", "linf.epsilon=8")
    assert changed.training.epochs == 1
    assert changed.training.drops == suite.training.drops
    assert changed.tasks["linf"].epsilon == 8
    assert changed.fingerprint != suite.fingerprint


def test_a_bare_name_leaves_tasks_alone(suite):
    changed, (_, atom, _) = applied(suite, "epsilon=8")
    assert atom.parameters.epsilon == 8
    assert changed.fingerprint == suite.fingerprint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epoch=1", "did you mean 'epochs'"),
        ("atom.epochs=1", "unknown parameter 'atom.epochs'"),
        ("mean=1", "whose name goes in front: network.mean"),
        ("objective=adaptive", "whose name goes in front: .*linf.objective"),
        ("linf.epsilom=1", "did you mean 'linf.epsilon'"),
        ("oe.weight=1", "unknown parameter"),
        ("epochs=two", "expected a whole number, got 'two'"),
        ("q=0.9", r"choose 0 to 0\.75"),
        ("linf.epsilon=999", "0 to 255"),
    ],
)
def test_says_what_does_not_fit(suite, text, told):
    with pytest.raises(OodbenchError, match=told):
        applied(suite, text)


def test_a_misspelt_parameter_in_a_suite_is_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('extends = "digits"\n[detectors.ntom]\nqq = 0.5\n')
    with pytest.raises(OodbenchError, match="did you mean 'q'"):
        apply([], suitefile.load(str(file)), [NTOM])


def test_settings_of_a_run_come_apart_again_also_behind_names_with_a_plus():
    stored = "mahalanobis++.x=a b rmds++.y=[1, 2] ccu-msp.z=0.5"
    assert texts(stored) == ["mahalanobis++.x=a b", "rmds++.y=[1, 2]", "ccu-msp.z=0.5"]


@pytest.mark.parametrize(
    ("typed", "said", "constants"),
    [
        (["linf.steps=9", "epochs=1", "linf.steps=2"], ["epochs=1", "linf.steps=2"], ["linf.steps=2"]),
        (["linf.step=16", "linf.steps=2"], ["linf.step=16", "linf.steps=2"], ["linf.step=16", "linf.steps=2"]),
        (["linf.steps=2", "linf.step=16"], ["linf.steps=2", "linf.step=16"], ["linf.step=16", "linf.steps=2"]),
        (["linf.steps=40"], [], []),  # as it is in the suite
        (["linf.steps=2", "linf.steps=40"], [], []),
        (["odin.temperature=7"], ["odin.temperature=7"], []),
    ],
)
def test_what_is_in_force_of_settings_is_what_they_come_to(suite, typed, said, constants):
    settings = [parse(text) for text in typed]
    assert suite.tasks["linf"].steps == 40
    assert [setting.text for setting in settings_in_force(settings, suite)] == said
    changed, _ = apply(settings, suite, [ODIN])
    assert list(changed_constants(suite, changed)) == constants


def test_constants_of_a_task_are_told_by_one_name_at_all_radii_and_sides(suite):
    told = set()
    for radii, side, text in (
        ((8,), "out", "linf.steps=2"),
        ((8, 16), "out", "linf.steps=2"),
        ((), "both", "linf-both.steps=2"),
    ):
        varied = vary(suite, ["linf"], radii, side)
        changed, _ = apply([parse(text)], varied, [MSP])
        told.add(changed_constants(varied, changed))
    assert told == {("linf.steps=2",)}
