"""Evidence that holds, and each kind of forgery refused by its name, by a forger who makes all digests anew."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.board import archive, at_hand, making
from oodbench.board.archive import load
from oodbench.board.findings import Status
from oodbench.board.verifying import verify
from oodbench.images import catalogue
from tests.digitsevidence import (
    IMAGES,
    attacked,
    constants,
    failing,
    forged,
    good,
    in_case,
    on_letters,
    resources,
    seen,
    whole,
    with_row,
)


def test_what_a_run_left_holds_line_by_line(tmp_path, oodbench):
    archive.write(tmp_path / "evidence.zip", good())
    code, out, err = oodbench("verify", "evidence.zip")
    assert code == 0, err
    lines = [line.strip() for line in out.splitlines()]
    checks = [line.removeprefix("holds").split(":")[0].strip() for line in lines if line.startswith("holds")]
    assert checks == [
        "suite",
        "detector",
        "attack",
        *(f"{name}, {what}" for name in ("letters", "uniform-noise") for what in ("sources", "ball and grid")),
        "network",
        "ID scores, digits-test",
        *(f"{name}, {what}" for name in ("letters", "uniform-noise") for what in ("scores", "figures")),
    ]
    assert lines[-1] == "13 holds"
    assert sum("to the bit" in line for line in lines) == 3


def moved(change):
    """Images of letters, changed."""
    return lambda row: on_letters(row, lambda one: replace(one, images=change(one.images.copy())))


def one_level_too_far(images):
    before = catalogue.load("letters", at_hand.Path("nowhere"))
    first = good().rows[0].sets["letters"].indices[0]
    images[0] = before.pixels(np.array([first]))[0]
    images[0, 0, 0, 0] += 33 if images[0, 0, 0, 0] < 100 else -33
    return images


def of_each_other(row):
    """The same images, each said to be made of the next one's source."""
    return on_letters(row, lambda one: replace(one, indices=np.roll(one.indices, 1)))


def of_no_image(row):
    return on_letters(row, lambda one: replace(one, indices=one.indices + 100_000))


def lowered(row):
    return on_letters(row, lambda one: replace(one, scores=one.scores + 3.0))


def raised_id(row):
    return replace(row, id_scores=row.id_scores - 3.0)


def fewer_id(row):
    return replace(row, id_scores=row.id_scores[5:])


FORGERIES = {
    "image outside the ball": (moved(one_level_too_far), "letters, ball and grid: outside the ball: 1 of 6 images"),
    "wrong source image": (of_each_other, "letters, sources: wrong source image"),
    "a source that there is none of": (of_no_image, "letters, sources: wrong source image: letters has no image no. 1"),
    "edited score": (lowered, "letters, scores: edited score: 6 of 6 are not what the network says"),
    "edited ID score": (raised_id, "ID scores, digits-test: edited score: 60 of 60"),
    "ID scores left out": (fewer_id, "ID scores, digits-test: edited score: there are 55, and 60 images"),
    "another suite version": (lambda row: in_case(row, suite_version=3), "suite: another suite: the evidence is of"),
    "another suite fingerprint": (lambda row: in_case(row, suite_fingerprint="a" * 64), "suite: another suite"),
    "other code of the method": (lambda row: in_case(row, code="b" * 64), "detector: other code"),
    "other code of the method below": (
        lambda row: in_case(row, over_code="f" * 64),
        "detector: other code: that of the",
    ),
    "parameters in other words": (
        lambda row: in_case(row, parameters="{ }"),
        "detector: other parameters: they are written otherwise than oodbench writes them, which is {}",
    ),
    "parameters that are none": (lambda row: in_case(row, parameters="{"), "detector: other parameters: msp has {}"),
    "another detector": (lambda row: in_case(row, detector="energy"), "detector: other code"),
    "other ID images": (lambda row: in_case(row, id_fingerprint="c" * 64), "ID images: other ID images"),
    "other network": (lambda row: in_case(row, kept="digits/oe"), "network: other network: the weights of oe.safe"),
    "edited digest of the network": (lambda row: in_case(row, network_digest="d" * 64), "network: other network"),
    "the name of another architecture": (
        lambda row: in_case(row, network="densenet-bc-100-12"),
        "network: other network: the evidence calls it densenet-bc-100-12, and the network of digits-adv",
    ),
    "a larger ball than the attack's": (lambda row: in_case(row, epsilon=64), "attack: another ball"),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_is_refused_by_its_name(kind):
    change, named = FORGERIES[kind]
    found = failing(forged(good(), change))
    assert any(line.startswith(named) for line in found), found


def test_a_wrong_source_is_told_from_an_image_outside_the_ball():
    """Where the forger says digests of sources that fit, too, the image itself gives away whose ball it is in."""

    def swapped(row):
        said, true = row.said.sets[0], row.sets["letters"].indices
        sources = catalogue.load("letters", at_hand.Path("nowhere"))
        claimed = np.roll(true, 1)
        digest = at_hand.ImageSet("x", sources.pixels(claimed), np.zeros(IMAGES, np.int64), "")
        made = replace(said, sources=archive.images_digest(digest.images))
        row = replace(row, said=replace(row.said, sets=(made, *row.said.sets[1:])))
        return on_letters(row, lambda one: replace(one, indices=claimed))

    (line,) = failing(forged(good(), swapped))
    assert line.startswith("letters, ball and grid: wrong source image: the image for no.")
    assert f"but in the one around no. {good().rows[0].sets['letters'].indices[0]}" in line


def test_a_figure_that_its_own_scores_do_not_give_is_edited():
    (row,) = good().rows
    said = replace(row.said.sets[0], auroc=row.said.sets[0].auroc - 0.01)
    found = failing(with_row(good(), replace(row, said=replace(row.said, sets=(said, *row.said.sets[1:])))))
    assert len(found) == 1 and found[0].startswith("letters, figures: edited auroc")


FROST = {"kind": "compositional", "frost": "/etc"}
"""Names a folder to look into."""


@pytest.mark.parametrize(
    "task", [{"kind": "linf", "side": "both"}, {"kind": "clean"}, {"kind": "evil"}, {"steps": -1}, FROST]
)
def test_an_attack_that_is_none_is_refused(task):
    changed = in_said(constants=constants(**task))
    assert any(line.startswith("attack: ") for line in failing(forged(good(), changed)))


def in_said(**changes):
    return lambda row: replace(row, said=replace(row.said, **changes))


@pytest.mark.parametrize("setting", ["network.name=evil.py:Net", "network.name=hf-hub:evil/net", "nothing=1"])
def test_settings_call_no_code_and_nothing_unknown(setting):
    found = failing(forged(good(), in_said(settings=(setting,))))
    assert len(found) == 1 and found[0].startswith("settings: ")


def test_a_network_that_is_carried_under_the_digest_of_another_one_is_refused():
    (row,) = good().rows
    own = at_hand.kept_file("digits/oe", at_hand.Path("nowhere")).read_bytes()
    claimed = in_case(row, kept="")
    made = with_row(good(), claimed)
    described = replace(made.description, networks=(row.said.case.network_digest,))
    made = replace(made, description=described, networks={row.said.case.network_digest: own})
    (line,) = failing(made)
    assert line.startswith("network: other network: the weights of the one in the archive are")


def carrying(row, raw):
    """The good archive with this row, and a network of the row's digest in it."""
    made, digest = with_row(good(), row), row.said.case.network_digest
    return replace(made, description=replace(made.description, networks=(digest,)), networks={digest: raw})


def test_a_network_that_is_carried_is_scored_with(tmp_path):
    own = at_hand.kept_file("digits/plain", at_hand.Path("nowhere")).read_bytes()
    archive.write(tmp_path / "e.zip", carrying(in_case(good().rows[0], kept=""), own))
    assert not seen(load(tmp_path / "e.zip")).amiss


def test_a_network_that_is_carried_has_no_kept_networks_name():
    """Its weights are those of its digest, and its scores hold: nothing but the name is false."""
    own = at_hand.kept_file("digits/plain", at_hand.Path("nowhere")).read_bytes()
    for name in ("digits/oe", "digits/atom"):  # atom has an output more, so it is not even read
        (line,) = failing(carrying(in_case(good().rows[0], kept=name), own))
        assert line.startswith("network: other network: 29ee3bb5700b are the weights of the one in the archive, and")
        assert line.endswith(f"the kept network {name}")


def test_a_kept_network_that_is_not_here_is_held_to_the_file_of_its_index(tmp_path, monkeypatch):
    plain, other = (at_hand.kept_file(f"digits/{name}", tmp_path) for name in ("plain", "oe"))
    monkeypatch.setattr(at_hand.pretrained.Pretrained, "find", lambda *_: None)
    for files in ((), (other, tmp_path / "gone.safetensors")):
        (found,) = verify(good(), replace(resources(), networks=files))
        assert found.amiss.status == Status.UNCHECKED
        assert found.amiss.said.startswith("the kept network digits/plain is not here: ")
    (found,) = verify(good(), replace(resources(), networks=(other, plain)))
    assert not found.amiss
    unheard = seen(forged(good(), lambda row: in_case(row, kept="mine/best"))).amiss
    assert unheard.status == Status.UNCHECKED
    assert unheard.said.startswith("no shelf of kept networks here has a mine/best: put the shelf of that name")


def test_what_is_not_here_is_named_and_not_called_forged(tmp_path, oodbench, monkeypatch):
    def without_letters(name, *rest):
        if name == "letters":
            raise OodbenchError("image set 'letters' is missing")
        return catalogue_load(name, *rest)

    catalogue_load = catalogue.load
    monkeypatch.setattr(at_hand.catalogue, "load", without_letters)
    found = seen(forged(good(), lambda row: in_case(row, kept="")))
    unchecked = {one.what for one in found.findings if one.status == Status.UNCHECKED}
    assert unchecked == {"letters, sources and ball", "network and scores"}
    assert not [one for one in found.findings if one.status == Status.FAILS] and found.amiss
    named = forged(good(), lambda row: in_case(row, suite="unheard-of"))
    archive.write(tmp_path / "e.zip", named)
    code, out, _ = oodbench("verify", "e.zip")
    assert code == 0 and "not checked    suite: unheard-of is not known here: name its file with --suite" in out


def test_an_attack_without_images_is_carried_out_again():
    made = attacked(1, keep=False, only=["letters"])
    assert made.rows[0].sets["letters"].images is None
    found = seen(made)
    assert not found.amiss and any("carried out again" in one.said for one in found.findings)
    (row,) = made.rows
    other = replace(row.said.sets[0], images="e" * 64)
    (line,) = failing(with_row(made, replace(row, said=replace(row.said, sets=(other,)))))
    assert line.startswith("letters, images: carried out again here, the attack leaves other images")
    (line,) = failing(forged(made, lambda row: replace(row, said=replace(row.said, attack="own", constants=""))))
    assert line == "letters, images: there are none, and nobody else can carry out this attack"


def test_a_ball_that_is_wider_than_images_are_is_refused_also_where_there_are_none():
    with pytest.raises(OodbenchError, match="no two images of the size of letters are farther from each other than"):
        attacked(1, keep=False, only=["letters"], tasks=["l2"], parameters={"l2.steps": 1, "l2.epsilon": 20_000})
    (row,) = attacked(
        1, keep=False, only=["letters"], tasks=["l2"], parameters={"l2.steps": 1, "l2.epsilon": 14_134}
    ).rows
    said = replace(row.said, constants=row.said.constants.replace("14134", "14135"))
    (line,) = failing(with_row(good(), in_case(replace(row, said=said), epsilon=14_135)))
    assert line.startswith("letters, ball and grid: another ball: ")


def test_nobody_is_made_to_attack_for_ever():
    (row,) = good().rows
    endless = replace(row.said, constants=constants(steps=10**9), sets=row.said.sets[:1])
    sets = {"letters": replace(row.sets["letters"], images=None)}
    row = replace(row, said=replace(endless, sets=(replace(endless.sets[0], kept=False),)), sets=sets)
    found = seen(forged(with_row(good(), row), lambda one: one))
    assert not [one for one in found.findings if one.status == Status.FAILS]
    assert "passes an image, which nobody waits for: hand in the images" in found.amiss.said


def test_a_network_is_found_by_its_digest_among_several(tmp_path):
    files = tuple(at_hand.kept_file(f"digits/{name}", tmp_path) for name in ("rowl", "oe", "plain"))
    made = with_row(good(), in_case(good().rows[0], kept=""))
    (found,) = verify(made, replace(resources(), networks=files))
    assert not found.amiss
    (found,) = verify(made, replace(resources(), networks=files[:2]))
    assert found.amiss.said.startswith("other network: the weights of oe.safetensors here are")


def test_tolerance_is_a_share_of_the_spread_of_id_scores():
    spread = np.subtract(*np.quantile(good().rows[0].id_scores, [0.75, 0.25]))

    def shifted(share):
        return forged(good(), lambda row: on_letters(row, lambda one: replace(one, scores=one.scores + share * spread)))

    assert not failing(shifted(0.0009))
    assert failing(shifted(0.0011))


def test_a_kept_network_is_found_wherever_the_results_went(tmp_path, monkeypatch):
    # The path that was noted leads nowhere.
    monkeypatch.setattr(making, "split_entry", lambda file: (tmp_path / "gone", ""))
    assert attacked(1, only=["letters"]).rows[0].said.case.kept == "digits/plain"


def test_a_copy_of_a_kept_network_is_named_and_not_carried(tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(at_hand.kept_file("digits/plain", tmp_path).read_bytes())
    assert at_hand.kept_name(copy, tmp_path) == "digits/plain"
    copy.write_bytes(at_hand.kept_file("digits/oe", tmp_path).read_bytes())
    assert at_hand.kept_name(copy, tmp_path) == "digits/oe"
    copy.write_bytes(b"another one")
    assert at_hand.kept_name(copy, tmp_path) == ""


def test_evidence_of_a_results_folder_is_what_was_stored():
    (row,) = whole().rows
    case = row.said.case
    assert (case.suite, case.detector, case.norm, case.epsilon, case.kept) == (
        "digits-adv",
        "msp",
        "linf",
        32,
        "digits/plain",
    )
    assert [one.name for one in row.said.sets] == ["letters", "photo-patches", "smooth-noise", "uniform-noise"]
    assert not whole().networks and json.loads(row.said.made.checks)["letters"]["unsteadiness"] >= 0


@pytest.mark.parametrize(
    "asked",
    [
        {"tasks": ["linf", "linf-adaptive"], "parameters": {"linf.steps": 1, "linf-adaptive.level": "quick"}},
        {"detectors": ["msp", "knn"], "parameters": {"linf.steps": 1, "knn.k": 5}},
        {"detectors": ["msp", "knn"], "parameters": {"linf.steps": 1, "k": 5}},
    ],
)
def test_a_run_may_have_set_what_is_of_other_tasks_and_detectors(asked):
    evidence = attacked(1, only=["letters"], **asked)
    assert len(evidence.rows) == 2
    for row in evidence.rows:
        assert {one.status for one in seen(with_row(evidence, row)).findings} == {Status.HOLDS}
