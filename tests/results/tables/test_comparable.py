"""Unlike things are never averaged and never rivals: threats, images, code, parameters."""

import json
import re

import h5py
import pytest

from oodbench.registry import code_of, discover
from oodbench.results.tables import View, flat_frame, render, tidy
from oodbench.results.tables.comparable import standings, tell_threats_apart
from oodbench.results.tables.summary import summarise

ALL_PASS, NONE_PASS, HALF_PASS = (9.5,) * 4, (0.0,) * 4, (0.0, 1.0, 9.5, 9.5)
"""Of an OOD set, against ID scores of 2 to 9: FPR@95 is 1, 0 and 1/2."""


IDS = {"id_train_images": "1"}
"""What a network learned from."""


def changed(cell, group="linf/a", **attributes):
    """The cell with other attributes in one of its groups."""
    with h5py.File(cell.path, "a") as file:
        file[group].attrs.update(attributes)
    return cell


def at(cell, epsilon, **more):
    """The cell with its attack at another radius."""
    return changed(cell, constants=json.dumps({"kind": "linf", "epsilon": epsilon, **more}))


def values(cells, metric="fpr95"):
    """(line, task) to value in percent and deviation."""
    entries = [entry for entry in summarise(tidy(cells, {}), View()) if entry.metric == metric]
    return {(entry.line, entry.task): 100 * entry.value for entry in entries}


def rows(text):
    return [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")][2:]


def test_a_column_holds_one_threat_and_seeds_of_another_stand_apart(tmp_path, stored):
    """The suite was edited from epsilon 8 to 1 between two seeds: `energy (2 seeds) linf 60.43 ± 7.42`."""
    cells = [
        at(stored(tmp_path, "energy", seed=1, ood=[("a", ALL_PASS)]), 8),
        at(stored(tmp_path, "energy", seed=2, key="cd", ood=[("a", HALF_PASS)]), 1),
        at(stored(tmp_path, "msp", seed=1, ood=[("a", HALF_PASS)]), 8),
    ]
    assert values(cells) == {
        ("energy (seed 1)", "linf (epsilon=8)"): 100,
        ("energy (seed 2)", "linf (epsilon=1)"): 50,
        ("msp (seed 1)", "linf (epsilon=8)"): 50,
    }
    text = render(tidy(cells, {}), View(metrics=("fpr95",)))
    assert ["energy (seed 2)", "linf (epsilon=1)", "50.00"] in rows(text)  # no rival, so never the best
    assert ["msp (seed 1)", "linf (epsilon=8)", "**50.00**"] in rows(text)
    assert "±" not in text


def test_a_seed_that_lacks_a_task_is_not_counted_in_it(tmp_path, stored):
    cells = [stored(tmp_path, seed=seed, key=key, ood=[("a", ALL_PASS)]) for seed, key in ((1, "ab"), (2, "cd"))]
    stored(tmp_path, seed=1, task="clean", ood=[("a", ALL_PASS)])
    assert set(values(cells)) == {("msp (2 seeds)", "linf"), ("msp (seed 1)", "clean")}


def test_sets_of_one_cell_at_two_radii_are_two_tasks_that_each_lack_one(tmp_path, stored):
    """A run with the edited suite was interrupted after the first set."""
    cell = at(stored(tmp_path, ood=[("a", ALL_PASS), ("b", ALL_PASS)], means='{"all": ["a", "b"]}'), 1)
    entries = [entry for entry in summarise(tidy([cell], {}), View()) if entry.metric == "fpr95"]
    assert {entry.task: entry.missing for entry in entries} == {"linf (epsilon=1)": ("b",), "linf (epsilon=32)": ("a",)}


def test_what_older_versions_did_not_store_had_its_default(tmp_path, stored):
    cells = [
        at(stored(tmp_path, seed=1, ood=[("a", ALL_PASS)]), 8),
        at(stored(tmp_path, seed=2, key="cd", ood=[("a", NONE_PASS)]), 8, side="out", steps=40),
    ]
    assert values(cells) == {("msp (2 seeds)", "linf"): 50}


def test_old_code_is_averaged_with_no_new_one(tmp_path, stored):
    """Old plugin code for seed 1, new for seed 2: `50.00 ± 66.85`."""
    cells = [
        stored(tmp_path, "plug", seed=1, ood=[("a", ALL_PASS)], code="old"),
        stored(tmp_path, "plug", seed=2, key="cd", ood=[("a", NONE_PASS)], code="new"),
        stored(tmp_path, "msp", ood=[("a", HALF_PASS)], code="other"),
    ]
    for name in ("id/digits-test", "linf/a"):
        changed(cells[1], name, date="2026-03-01T00:00:00+00:00")
    assert values(cells) == {
        ("plug (seed 1, other code)", "linf"): 100,
        ("plug (seed 2)", "linf"): 0,
        ("msp (seed 1)", "linf"): 50,
    }
    text = render(tidy(cells, {}), View(metrics=("auroc",)))
    assert "Apart: plug (seed 1, other code), linf: the method's code has changed since" in text
    assert [row[2] for row in rows(text)] == ["0.00", "**100.00**", "50.00"]
    best_if_it_counted = render(tidy([cells[0], cells[2]], {}), View(metrics=("fpr95",)))
    assert "**50.00**" in best_if_it_counted
    (apart, _, _) = flat_frame(tidy(cells, {}), View(metrics=("auroc",)))["apart"]
    assert apart == "other code"


def test_what_an_older_harness_scored_or_trained_is_held_against_nothing(tmp_path, stored):
    """Seeds of two versions were averaged, and the older ones competed, without a word."""
    cells = [
        stored(tmp_path, "msp", seed=1, ood=[("a", ALL_PASS)]),  # does not say: of the version that first did
        stored(tmp_path, "msp", seed=2, key="cd", ood=[("a", ALL_PASS)], scoring_version=7, training_version=3),
        stored(tmp_path, "msp", seed=3, key="ef", ood=[("a", NONE_PASS)], scoring_version=7, training_version=4),
        stored(tmp_path, "energy", seed=1, ood=[("a", HALF_PASS)], scoring_version=8, training_version=4),
        stored(tmp_path, "odin", seed=1, ood=[("a", NONE_PASS)], scoring_version=8, training_version=0, checkpoint="x"),
    ]
    assert values(cells[:2]) == {("msp (2 seeds)", "linf"): 100}
    assert values(cells[:3]) == {("msp (2 seeds, other code)", "linf"): 100, ("msp (seed 3)", "linf"): 0}
    found = values(cells[2:])
    assert found[("msp (seed 3, other code)", "linf")] == 0
    assert [value for (line, _), value in found.items() if "other code" not in line] == [50, 0]


def test_todays_code_counts_where_it_is_known(tmp_path, stored):
    cells = [stored(tmp_path, seed=seed, key=key, code=key) for seed, key in ((1, "ab"), (2, "cd"))]
    frame = tidy(cells, {})
    frame["current"] = ["yes" if code == "ab" else "no" for code in frame["code"]]
    found = standings(tell_threats_apart(frame))
    assert [found[cell, "linf"].apart for cell in frame["cell"].unique()] == ["", "other code"]


@pytest.mark.parametrize("group", ["linf/a", "id/digits-test"])
def test_other_images_of_the_same_name_are_no_rivals(tmp_path, stored, group):
    """A pack was changed in place between two runs."""
    cells = [
        stored(tmp_path, seed=1, ood=[("a", ALL_PASS)]),
        stored(tmp_path, seed=2, key="cd", ood=[("a", ALL_PASS)]),
        stored(tmp_path, seed=3, key="ef", ood=[("a", NONE_PASS)]),
        stored(tmp_path, "odin", ood=[("a", HALF_PASS)]),
    ]
    for cell, fingerprint in zip(cells, ("1", "1", "2", "1"), strict=True):
        changed(cell, group, fingerprint=fingerprint * 64)
    assert values(cells) == {
        ("msp (2 seeds)", "linf"): 100,
        ("msp (seed 3, other images)", "linf"): 0,
        ("odin (seed 1)", "linf"): 50,
    }
    text = render(tidy(cells, {}), View(metrics=("fpr95",)))
    assert "Apart: msp (seed 3, other images), linf: image sets of the same names held other images" in text
    assert [row[2] for row in rows(text)] == ["100.00 ± 0.00", "0.00", "**50.00**"]


def test_networks_that_were_trained_on_other_images_of_the_same_name_are_no_seeds_of_one_line(tmp_path, stored):
    """The training set was packed anew between two seeds: `msp (2 seeds) 69.67 ± 28.76`."""
    first, again, both = (json.dumps(one) for one in (IDS, {"id_train_images": "2"}, {**IDS, "outlier_images": "3"}))
    cells = [
        stored(tmp_path, seed=1, ood=[("a", ALL_PASS)], learned_from=first),
        stored(tmp_path, seed=2, key="cd", ood=[("a", ALL_PASS)], learned_from=first),
        stored(tmp_path, seed=3, key="ef", ood=[("a", NONE_PASS)], learned_from=again),
        stored(tmp_path, "oe", ood=[("a", HALF_PASS)], learned_from=both),
        stored(tmp_path, "knn", ood=[("a", HALF_PASS)], learned_from="{}"),  # somebody's network, which does not say
    ]
    assert values(cells) == {
        ("msp (2 seeds)", "linf"): 100,
        ("msp (seed 3, other images)", "linf"): 0,
        ("oe (seed 1)", "linf"): 50,
        ("knn (seed 1)", "linf"): 50,
    }
    text = render(tidy(cells, {}), View(metrics=("fpr95",)))
    assert "or its network was trained on others, so this is held against no other line" in text


def test_a_result_that_does_not_say_what_it_learned_from_is_a_seed_like_those_that_do(tmp_path, stored):
    said = json.dumps(IDS)
    older, newer = (
        stored(tmp_path, seed=1, ood=[("a", ALL_PASS)]),
        stored(tmp_path, seed=2, key="cd", ood=[("a", ALL_PASS)], learned_from=said),
    )
    assert values([older, newer]) == {("msp (2 seeds)", "linf"): 100}
    other = stored(tmp_path, seed=3, key="ef", ood=[("a", ALL_PASS)], learned_from='{"id_train_images": "2"}')
    assert not any("2 seeds" in line or "3 seeds" in line for line, _ in values([older, newer, other]))


def test_fewer_images_are_no_rivals_of_more(tmp_path, stored):
    cells = [
        stored(tmp_path, "msp", ood=[("a", HALF_PASS)]),
        stored(tmp_path, "odin", ood=[("a", ALL_PASS)]),
        stored(tmp_path, "quick", ood=[("a", NONE_PASS)], limit=7),
    ]
    text = render(tidy(cells, {}), View(metrics=("fpr95",)))
    assert [row[2] for row in rows(text)] == ["**50.00**", "100.00", "0.00"]
    assert "other images" not in text


def test_parameters_that_differ_are_said(tmp_path, stored):
    cells = [
        stored(tmp_path, "knn", key=key, parameters=json.dumps({"k": k, "p": 2}), **about)
        for key, k, about in (("ab", 1, {}), ("cd", 5, {}), ("ef", 9, {"settings": "knn.k=9"}))
    ]
    assert {line for line, _ in values(cells)} == {
        "knn (seed 1, k=1)",
        "knn (seed 1, k=5)",
        "knn (seed 1, knn.k=9)",
    }


def test_suites_as_they_are_stand_before_those_that_a_run_changed(tmp_path, stored):
    cells = [
        stored(tmp_path, settings="epochs=1", key="ab", suite_fingerprint="1" * 64),
        stored(tmp_path, settings="epochs=2", key="cd", suite_fingerprint="2" * 64),
        stored(tmp_path, key="ef"),
    ]
    titles = re.findall(r"### (.*), fingerprint", render(tidy(cells, {})))
    assert titles == ["digits (version 2", "digits (version 2, epochs=1", "digits (version 2, epochs=2"]


def test_methods_over_another_one_have_that_ones_code_too(tmp_path, stored):
    """The base of `median` was changed between two seeds, and `median` itself was not."""
    over = {"code": "same", "over": "energy"}
    cells = [
        stored(tmp_path, "median", seed=1, key="ab", ood=[("a", ALL_PASS)], over_code="old", **over),
        stored(tmp_path, "median", seed=2, key="cd", ood=[("a", NONE_PASS)], over_code="new", **over),
        stored(tmp_path, "median", seed=3, key="ef", ood=[("a", HALF_PASS)], **over | {"over": "msp"}, over_code="its"),
    ]
    changed(cells[1], date="2026-03-01T00:00:00+00:00")
    changed(cells[1], "id/digits-test", date="2026-03-01T00:00:00+00:00")
    assert values(cells) == {
        ("median (seed 1, other code)", "linf"): 100,
        ("median (seed 2)", "linf"): 0,
        ("median (seed 3)", "linf"): 50,
    }


def test_figures_of_former_code_are_said_to_be_so(tmp_path, stored, oodbench):
    stored(tmp_path / "results", "energy", code="0" * 64)
    stored(tmp_path / "results", "msp", code=code_of(discover([]), "msp"))
    for more in ((), ("--long",)):
        out = " ".join(oodbench("table", *more)[1].split())
        assert "Made by other code than the method has today: energy" in out
        assert "msp." not in out.partition("Made by other code")[2].partition("today:")[2][:40]
    assert "other code than the method has today: energy − msp" in oodbench("table", "--against", "msp")[1]
    assert "other code than the method has today: msp − energy" in oodbench("table", "--against", "energy")[1]
    assert "Made by other code than the method has today: energy" in oodbench("threshold", "--keep", "0.5")[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"checkpoint": "net.pt", "network_digest": "a" * 64}, {"checkpoint": "net.pt", "network_digest": "b" * 64}),
        ({"options": ""}, {"options": "--precision bf16"}),
        ({"options": "--device cuda"}, {"options": "--device cuda --tf32"}),
        ({"checkpoint": "a.features", "features": "a, of x"}, {"checkpoint": "a.features", "features": "a, of y"}),
    ],
    ids=["another network of one name", "bf16", "TF32", "another pack of one name"],
)
def test_what_is_part_of_a_key_is_never_averaged(tmp_path, stored, one, other):
    cells = [
        stored(tmp_path, seed=1, ood=[("a", ALL_PASS)], **one),
        stored(tmp_path, seed=2, key="cd", ood=[("a", NONE_PASS)], **other),
    ]
    assert sorted(values(cells).values()) == [0, 100]
    alike = [cells[0], stored(tmp_path, seed=3, key="ef", ood=[("a", NONE_PASS)], **one)]
    assert list(values(alike).values()) == [50]


def test_a_line_says_that_it_was_scored_in_tf32(tmp_path, stored):
    cells = [stored(tmp_path), stored(tmp_path, key="cd", options="--device cuda --tf32")]
    assert sorted(line for line, _ in values(cells)) == ["msp (seed 1)", "msp (seed 1, scored in TF32)"]


def test_results_of_other_code_are_held_against_nothing(tmp_path, stored):
    cells = [stored(tmp_path, seed=seed, key=key, code=key) for seed, key in ((1, "ab"), (2, "cd"))]
    frame = tidy(cells, {})
    frame["current"] = ["yes" if code == "ab" else "no" for code in frame["code"]]
    found = standings(tell_threats_apart(frame))
    assert [found[cell, "linf"].rivals is None for cell in frame["cell"].unique()] == [False, True]


def test_equals_share_the_mark_of_the_best(tmp_path, stored):
    best, worst = [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 9.5, 9.5]
    cells = [
        stored(tmp_path, detector=name, ood=[("a", scores)])
        for name, scores in (("msp", best), ("atom", best), ("oe", worst))
    ]
    body = rows(render(tidy(cells, {}), View(by="ood", metrics=("auroc",))))
    assert [row[-1] for row in body[-3:]] == ["**100.00**", "**100.00**", "50.00"]
