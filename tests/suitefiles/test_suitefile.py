"""Suites out of files: what a good one means, and what each kind of bad one is told."""

import json
import textwrap
from dataclasses import replace

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.images.preprocessing import Preprocessing
from oodbench.suite import NetworkSpec
from oodbench.suitefiles import suitefile
from oodbench.tasks import Clean, Linf

GOOD = """
version = 3
title = "a suite"

[id]
train = "digits-train"
test = "digits-test"
classes = 10

[[ood]]
set = "letters"
distance = "near"

[network]
name = "small-cnn"

[training]
epochs = 2

[tasks.clean]

[tasks.linf]
epsilon = 4

[tasks.harder]
kind = "linf"
epsilon = 16
objective = "adaptive"
"""


@pytest.fixture
def write(tmp_path):
    def _write(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return _write


def refusal(path):
    with pytest.raises(OodbenchError) as caught:
        suitefile.load(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", suitefile.names())
def test_every_shipped_suite_loads(name):
    suite = suitefile.load(name)
    assert suite.name == name
    assert suite.title
    assert suite.tasks


def test_reads_a_file(write):
    suite = suitefile.load(str(write(GOOD)))
    assert (suite.name, suite.version, suite.id.classes) == ("mine", 3, 10)
    assert dict(suite.tasks) == {
        "clean": Clean(),
        "linf": Linf(epsilon=4),
        "harder": Linf(epsilon=16, objective="adaptive"),
    }
    assert suite.training.momentum == 0.9
    assert suite.outliers is None


def test_extends_merges_tables_and_replaces_lists(write):
    write(GOOD, "base.toml")
    upper = write(
        """
        extends = "base.toml"
        version = 4
        [training]
        learning_rate = 0.5
        [[ood]]
        set = "smooth-noise"
        distance = "far"
        [tasks.linf]
        steps = 7
        """
    )
    suite = suitefile.load(str(upper))
    assert suite.version == 4
    assert (suite.training.epochs, suite.training.learning_rate) == (2, 0.5)
    assert [ood.set for ood in suite.ood] == ["smooth-noise"]
    assert suite.tasks["linf"] == Linf(epsilon=4, steps=7)


def test_extends_takes_shipped_names(write):
    suite = suitefile.load(str(write('extends = "digits"\nversion = 9\n')))
    assert suite.id == suitefile.load("digits").id


def test_what_keys_and_fingerprints_say_of_a_network():
    plain = NetworkSpec("small-cnn")
    assert plain.meaning() == {"name": "small-cnn", "mean": (0.0,) * 3, "std": (1.0,) * 3}
    assert repr(plain) == "NetworkSpec(name='small-cnn', mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))"
    whole = NetworkSpec("own.py:Own", (0.5,) * 3, (0.25,) * 3, "fc", ("stem",), Preprocessing(64))
    assert repr(whole) == (
        "NetworkSpec(name='own.py:Own', mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), head='fc', taps=('stem',), "
        "preprocessing=Preprocessing(side=64, crop=0.875, interpolation='bilinear', mode='center'))"
    )
    assert whole.meaning() == {
        "name": "own.py:Own",
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "head": "fc",
        "taps": ("stem",),
        "preprocessing": {"side": 64, "crop": 0.875, "interpolation": "bilinear", "mode": "center"},
    }
    assert whole.trained_as == repr(whole).replace(" taps=('stem',),", "")
    # Of a module in memory, and of one that nobody normalises, () is no value and yet said.
    assert repr(NetworkSpec("memory:Own")) == "NetworkSpec(name='memory:Own', mean=(), std=())"


def test_fingerprint_is_of_the_meaning_not_of_the_words(write):
    first = suitefile.load(str(write(GOOD)))
    reworded = suitefile.load(str(write(GOOD.replace("a suite", "the suite") + "# remark\n", "other.toml")))
    assert reworded.fingerprint == first.fingerprint
    retasked = suitefile.load(str(write(GOOD.replace("epsilon = 4", "epsilon = 5"))))
    assert retasked.fingerprint == first.fingerprint  # each result says itself what was done to its images
    for before, after in [
        ("epochs = 2", "epochs = 3"),
        ('"letters"', '"smooth-noise"'),
    ]:
        assert suitefile.load(str(write(GOOD.replace(before, after)))).fingerprint != first.fingerprint


def test_a_fingerprint_follows_all_that_moves_a_figure_and_nothing_else():
    suite = suitefile.load("cifar10-adv")
    others = [
        replace(suite, id=replace(suite.id, heldout=suite.id.heldout + 1)),
        replace(suite, ood=suite.ood[:-1]),
        replace(suite, network=replace(suite.network, mean=(0.1, 0.2, 0.3))),
        replace(suite, network=replace(suite.network, name="small-cnn")),
        replace(suite, outliers=replace(suite.outliers, reserved=suite.outliers.reserved + 1)),
        replace(suite, outliers=None),
        replace(suite, training=replace(suite.training, weight_decay=0.5)),
        replace(suite, training=None),
    ]
    assert len({other.fingerprint for other in [suite, *others]}) == 1 + len(others)
    assert replace(suite, title="other words", tasks={}, detectors={}).fingerprint == suite.fingerprint


def test_detector_parameters_do_not_change_the_fingerprint(write):
    first = suitefile.load(str(write(GOOD)))
    tuned = suitefile.load(str(write(GOOD + "[detectors.atom]\nq = 0.5\n")))
    assert tuned.fingerprint == first.fingerprint
    assert tuned.detectors == {"atom": {"q": 0.5}}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("epochs = 2", "epoch = 2", ["line 18", "did you mean 'epochs'"]),
        ("epochs = 2", 'epochs = "two"', ["line 18", "a whole number", "'two'"]),
        ("epochs = 2", "epochs = true", ["line 18", "a whole number"]),
        ("epochs = 2", "epochs = 0", ["line 17", "above 0"]),
        ("epochs = 2", "epochs = 2\nlearning_rate = nan", ["line 19", "expected a number, got nan"]),
        ("epochs = 2", "epochs = 2\nlearning_rate = inf", ["line 17", "choose a finite rate"]),
        ("epochs = 2", f"epochs = 2\nlearning_rate = 1{'0' * 400}", ["line 19", "one of 401 digits"]),
        ("epochs = 2", "epochs = 2\nmomentum = 1.0", ["line 17", "momentum 1.0"]),
        ("epochs = 2", "epochs = 2\nweight_decay = -0.1", ["line 17", "weight_decay -0.1"]),
        ("epochs = 2", 'epochs = 2\naugment = ["crap"]', ["unknown augmentation 'crap'", "did you mean 'crop'"]),
        ("epsilon = 4", "epsilom = 4", ["line 23", "did you mean 'epsilon'"]),
        ("epsilon = 4", "epsilon = 300", ["line 22", "0 to 255"]),
        ("epsilon = 4", "epsilon = -1", ["line 22", "0 to 255"]),
        ("epsilon = 4", "epsilon = 1.5", ["line 23", "a whole number"]),
        ('kind = "linf"', 'kind = "l1"', ["unknown kind of task 'l1'"]),
        ("[tasks.clean]", "[tasks.claen]", ["unknown kind of task 'claen'", "did you mean 'clean'"]),
        ("[tasks.harder]", "[tasks.id]", ["give the task another name"]),
        ("[tasks.clean]", "[taks.clean]", ["taks", "did you mean 'tasks'"]),
        ('distance = "near"', 'distance = "close"', ["'near', 'far' or 'aside'"]),
        ('set = "letters"', 'set = "digits-test"', ["'digits-test'", "ID set as well"]),
        ('set = "letters"', 'set = "digits-train"', ["ID set as well"]),
        ('train = "digits-train"', 'train = "digits-test"', ["test images would be trained on"]),
        ('name = "small-cnn"', 'name = "small-cn"', ["unknown network", "did you mean 'small-cnn'"]),
        ('name = "small-cnn"', 'name = "small-cnn"\nstd = [1.0, 0.0, 1.0]', ["std above 0"]),
        ("classes = 10", "classes = 1", ["at least 2"]),
        ("classes = 10\n", "", ["'classes' is missing"]),
        ("version = 3\n", "", ["'version' is missing"]),
        ("version = 3", "version = [3", ["not valid TOML", "line"]),
        ("[[ood]]", "[ood]", ["expected a list of tables"]),
    ],
)
def test_says_what_is_wrong_and_where(write, before, after, told):
    assert before in GOOD
    message = refusal(write(GOOD.replace(before, after, 1)))
    assert "mine.toml" in message
    for part in told:
        assert part in message


def test_an_error_in_an_extended_file_names_that_file(write):
    base = write(GOOD.replace("epochs = 2", "epoch = 2"), "base.toml")
    message = refusal(write('extends = "base.toml"\nversion = 4\n'))
    assert f"{base}, line 18" in message


def test_a_suite_cannot_extend_itself(write):
    assert "cannot extend itself" in refusal(write('extends = "mine.toml"\n'))


def test_outliers_must_not_be_tested_on(write):
    assert "trained on" in refusal(write(GOOD + '[outliers]\nset = "letters"\n'))


def test_two_equal_ood_sets_are_refused(write):
    twice = GOOD.replace("[network]", '[[ood]]\nset = "letters"\ndistance = "far"\n\n[network]')
    assert "listed twice" in refusal(write(twice))


def test_unknown_names(write):
    assert "did you mean 'digits-adv'" in refusal("digits-avd")
    assert "no suite file" in refusal("nowhere/mine.toml")
    assert "a-z" in refusal(write(GOOD, "My Suite.toml"))


def test_means_are_near_far_all_and_what_the_suite_names():
    means = suitefile.load("cifar10-adv").means
    assert list(means) == ["all", "far", "paper"]
    assert means["paper"] == ["lsun-crop", "lsun-resize", "isun", "textures", "places365", "svhn-test"]
    assert suitefile.load("cifar100").means["paper"] == means["paper"]
    assert suitefile.load("svhn").means["paper"][-1] == "cifar10-test"
    assert suitefile.load("digits").means == {
        "all": ["letters", "photo-patches", "smooth-noise", "uniform-noise"],
        "near": ["letters"],
        "far": ["photo-patches", "smooth-noise", "uniform-noise"],
    }


def test_a_mean_over_sets_that_a_suite_lacks_is_not_inherited(tmp_path):
    extending = 'extends = "cifar10"\nversion = 1\n[[ood]]\nset = "textures"\ndistance = "far"\n'
    (tmp_path / "one.toml").write_text(extending)
    assert suitefile.load(str(tmp_path / "one.toml")).means == {"all": ["textures"], "far": ["textures"]}


def test_a_mean_changes_no_fingerprint_and_takes_no_name_that_is_taken(tmp_path):
    named = 'extends = "digits"\nversion = 2\n[means]\nglyphs = ["letters"]\n'
    (tmp_path / "mine.toml").write_text(named)
    mine = suitefile.load(str(tmp_path / "mine.toml"))
    assert mine.means["glyphs"] == ["letters"]
    assert mine.fingerprint == suitefile.load("digits").fingerprint
    for wrong, told in (("near", "choose another name than all, near, far"), ("a:b", "choose another name")):
        (tmp_path / "mine.toml").write_text(named.replace("glyphs", f'"{wrong}"'))
        with pytest.raises(OodbenchError, match=told):
            suitefile.load(str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text(named.replace('["letters"]', '"letters"'))
    with pytest.raises(OodbenchError, match="expected a list"):
        suitefile.load(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("name", suitefile.names())
def test_a_suite_survives_being_written_down_elsewhere(name):
    suite = suitefile.read(name)
    again = suitefile.assemble(name, json.loads(json.dumps(suitefile.table(suite))), "a pack")
    assert again.fingerprint == suite.fingerprint
    assert (again.means, again.version, again.title) == (suite.means, suite.version, suite.title)
    assert {method: dict(values) for method, values in again.detectors.items()} == suite.detectors


def test_what_is_wrong_with_a_suite_from_elsewhere_is_said_with_where_it_came_from():
    table = suitefile.table(suitefile.read("digits"))
    with pytest.raises(OodbenchError, match="a pack: id.classes: expected a whole number"):
        suitefile.assemble("mine", {**table, "id": {**table["id"], "classes": "ten"}}, "a pack")
    with pytest.raises(OodbenchError, match="a pack: the file's name '../up' becomes a folder's"):
        suitefile.assemble("../up", table, "a pack")
    with pytest.raises(OodbenchError, match="a pack: results in a folder 'reference' are taken for figures of others"):
        suitefile.assemble("reference", table, "a pack")
