"""The board end to end: entries begin, a new evaluation lowers one, history names both, nothing else moves a figure."""

import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest
import safetensors.numpy

from oodbench.board import adding, archive, at_hand, entries, page
from oodbench.board.entries import About, OnSet
from oodbench.board.verifying import verify
from oodbench.cli.work import board as work
from oodbench.images import catalogue
from tests.digitsevidence import IMAGES, LIMIT, attacked, forged, good, on_letters, resources, seen, whole, whole_seen

OWN = ("--suite", "digits-adv", "--detector", "msp", "--pretrained", "--eps", 32, "--limit", LIMIT)


@pytest.fixture(scope="module")
def stronger():
    """The same images, attacked for longer; letters alone."""
    return attacked(8, only=["letters"])


@pytest.fixture
def board(tmp_path, oodbench):
    """A board with one entry of few images."""
    entries.write_about(tmp_path / "board", About("A board", 5))
    archive.write(tmp_path / "first.zip", whole())
    code, out, err = oodbench("board", "add", "first.zip")
    assert code == 0, err + out
    return tmp_path / "board"


def added(oodbench, tmp_path, evidence, name="more.zip"):
    archive.write(tmp_path / name, evidence)
    return oodbench("board", "add", name)


def only(board):
    (entry,) = entries.read(board)
    return entry


def test_a_new_evaluation_lowers_an_entry_and_history_names_both(tmp_path, oodbench, board, stronger):
    before = only(board)
    said = {one.name: one.auroc for one in whole().description.rows[0].sets}
    assert before.figure("auroc") == pytest.approx(sum(said.values()) / 4)
    code, out, err = added(oodbench, tmp_path, replace(stronger, description=replace(stronger.description, by="Eve")))
    assert code == 0, err
    assert "new evaluation: AUROC" in out
    after = only(board)
    lower = stronger.description.rows[0].sets[0].auroc
    assert lower < said["letters"]
    assert after.figure("auroc") == pytest.approx((sum(said.values()) - said["letters"] + lower) / 4)
    assert after.figure("fpr95") >= before.figure("fpr95")
    assert [one.by for one in after.strongest()] == ["Eve", "a test"]
    first, second = after.history()
    assert "a test (" in first and "Eve (" in second
    assert f"letters AUROC {100 * said['letters']:.2f} of a test (" in second and f"becomes {100 * lower:.2f}" in second
    code, out, _ = oodbench("board", "show", "--history")
    assert code == 0 and first in out and second in out
    code, out, _ = oodbench("board", "show")
    assert code == 0 and f"{100 * after.figure('auroc'):.2f}" in out
    (row,) = csv.DictReader((board / "entries.csv").read_text().splitlines())
    assert float(row["auroc"]) == pytest.approx(after.figure("auroc"), abs=1e-6) and row["evidence"] == "2"
    assert "Eve" in (board / "index.html").read_text()
    code, out, err = oodbench("board", "check")
    assert code == 0 and out.count("holds") == 2, out + err


def test_weaker_evidence_is_recorded_and_changes_nothing(tmp_path, oodbench, board):
    before = only(board)
    sources = catalogue.load("letters", tmp_path)

    def as_they_are(one):
        images = sources.pixels(at_hand.places(sources, one.indices))
        return replace(one, images=images, scores=np.asarray(seen(good()).sets["letters"].clean))

    weaker = forged(good(), lambda row: on_letters(row, as_they_are))
    code, out, _ = added(oodbench, tmp_path, weaker)
    assert code == 0 and "recorded, weaker than what is there" in out
    after = only(board)
    assert [after.figure(one) for one in entries.METRICS] == [before.figure(one) for one in entries.METRICS]
    assert len(after.evidence) == 2 and after.history()[1].endswith("weaker than what is there; nothing changes")


def test_the_same_images_count_once_whoever_hands_them_in(tmp_path, oodbench, board):
    code, _, err = oodbench("board", "add", "first.zip")
    assert code == 1 and "reused evidence: this very archive is on the board already" in err
    renamed = replace(whole(), description=replace(whole().description, by="Mallory"))
    code, _, err = added(oodbench, tmp_path, renamed)
    assert code == 1 and "reused digest: these are the images of a test (" in err
    assert len(only(board).evidence) == 1 and len(list((board / "evidence").iterdir())) == 1


def test_rows_that_a_kill_kept_from_the_board_are_added_by_the_next_addition(tmp_path):
    evidence = replace(attacked(1, detectors=["msp", "energy"]), sha256="6" * 64)
    rows = list(verify(evidence, resources()))
    made = adding.changes(evidence, rows, [], About("A board", 5), "")
    assert len(made) == 2
    archive.write(tmp_path / "two.zip", evidence)
    entries.write_about(tmp_path / "board", About("A board", 5))
    adding.land(tmp_path / "board", tmp_path / "two.zip", evidence, made[:1], "")
    (left,) = adding.changes(evidence, rows, entries.read(tmp_path / "board"), About("A board", 5), "")
    assert left == made[1]
    adding.land(tmp_path / "board", tmp_path / "two.zip", evidence, [left], "")
    with pytest.raises(adding.NotAcceptedError, match="reused evidence"):
        adding.changes(evidence, rows, entries.read(tmp_path / "board"), About("A board", 5), "")


def test_a_board_that_somebody_else_begins_meanwhile_keeps_both(tmp_path, oodbench, stronger, monkeypatch):
    archive.write(tmp_path / "first.zip", attacked(1, only=["letters"]))
    archive.write(tmp_path / "second.zip", stronger)
    verify, begun = work.print_verification, []

    def print_verification(evidence, *rest):
        rows = verify(evidence, *rest)
        if not begun:
            begun.append(True)
            assert oodbench("board", "add", "second.zip")[0] == 0
        return rows

    monkeypatch.setattr(work, "print_verification", print_verification)
    monkeypatch.setattr(entries, "read_about", lambda _: About("A board", 5))
    code, _, err = oodbench("board", "add", "first.zip")
    assert code == 0, err
    assert len(only(tmp_path / "board").evidence) == 2


def test_what_does_not_hold_or_was_not_looked_at_writes_nothing(tmp_path, oodbench, monkeypatch):
    lowered = forged(good(), lambda row: on_letters(row, lambda one: replace(one, scores=one.scores + 3)))
    code, _, err = added(oodbench, tmp_path, lowered)
    assert code == 1 and "not accepted: row 1" in err and "edited score" in err
    monkeypatch.setattr(at_hand.catalogue, "load", lambda name, *_: (_ for _ in ()).throw(archive.OodbenchError(name)))
    code, _, err = added(oodbench, tmp_path, good())
    assert code == 1 and "not checked" in err
    assert not (tmp_path / "board").exists() or not list((tmp_path / "board").iterdir())


def test_an_entry_begins_with_all_sets_evenly_and_with_enough_images():
    def begun(row, about):
        return adding.changes(whole(), [row], [], about, "")

    row = whole_seen()
    (change,) = begun(row, About(least_images=6))
    assert change.entry.name.startswith("digits-adv/msp-linf32-6-") and change.entry.case == row.row.said.case
    with pytest.raises(adding.NotAcceptedError, match="6 images of letters, and entries of this board begin with 7"):
        begun(row, About(least_images=7))
    some = {name: one for name, one in row.sets.items() if name != "letters"}
    (change,) = begun(replace(row, sets=some), About(least_images=5))
    assert [one.name for one in change.entry.sets] == [*some] and "3 of 4 sets x 6" in page.text([change.entry])
    with pytest.raises(adding.NotAcceptedError, match="of none of the sets of the suite's mean, letters, "):
        begun(replace(row, sets={}), About(least_images=5))
    letters = row.sets["letters"]
    first = replace(letters, indices=letters.sources.indices[:IMAGES])
    with pytest.raises(adding.NotAcceptedError, match="letters are chosen by hand"):
        begun(replace(row, sets={**row.sets, "letters": first}), About(least_images=5))


def test_evidence_of_more_images_begins_an_entry_beside_the_one_that_it_is_about():
    row = whole_seen()
    fewer = {name: cut(one, at_hand.even_sample(one.sources, 3)) for name, one in row.sets.items()}
    (change,) = adding.changes(whole(), [replace(row, sets=fewer)], [], About(least_images=3), "")
    again = replace(whole(), sha256="1" * 64)
    made = adding.changes(again, [row], [change.entry], About(least_images=3), "")
    assert [len(one.entry.evidence) for one in made] == [2, 1]
    assert [one.entry.sets[0].count for one in made] == [3, 6]
    assert made[0].entry.figure("auroc") == change.entry.figure("auroc")
    letters = replace(row, sets={"letters": row.sets["letters"]})
    (change,) = adding.changes(whole(), [letters], [], About(least_images=5), "")
    more = replace(row, sets={**fewer, "letters": replace(row.sets["letters"], images="3" * 64)})
    made = adding.changes(again, [more], [change.entry], About(least_images=3), "")
    assert [len(one.entry.sets) for one in made] == [1, 4]


def cut(one, indices):
    """A set as seen, of the images at some places alone."""
    which = np.isin(one.indices, indices)
    return replace(one, indices=one.indices[which], scores=one.scores[which], clean=one.clean[which], images="2" * 64)


def test_evidence_of_some_of_an_entrys_images_is_refused_by_name():
    row = whole_seen()
    (change,) = adding.changes(whole(), [row], [], About(least_images=5), "")
    fewer = {
        name: replace(one, indices=one.indices[1:], scores=one.scores[1:], clean=one.clean[1:], images="0" * 64)
        for name, one in row.sets.items()
    }
    again = replace(whole(), sha256="1" * 64)
    with pytest.raises(adding.NotAcceptedError, match=r"not all images of any set of digits-adv/msp-linf32-6-\w+ \("):
        adding.changes(again, [replace(row, sets=fewer)], [change.entry], About(least_images=5), "")


def test_another_ball_or_network_is_another_entry():
    case = whole().rows[0].said.case
    keys = {
        entries.key_of(replace(case, **change), {"letters": 6})
        for change in ({}, {"epsilon": 31}, {"norm": "l2"}, {"network_digest": "a" * 64}, {"parameters": '{"a": 1}'})
    }
    assert len(keys) == 5
    assert entries.key_of(replace(case, kept=""), {"letters": 6}) in keys  # where a network lies says nothing of it


def test_a_board_shows_the_parameters_of_each_detector_that_has_some():
    (change,) = adding.changes(whole(), [whole_seen()], [], About(least_images=5), "")
    plain = change.entry
    case = replace(plain.case, detector="oe", parameters='{"weight": 0.5}')
    tuned = replace(plain, case=case)
    assert "parameters" not in page.text([plain])
    shown = page.text([plain, tuned]).splitlines()
    first = shown.index("parameters:")
    assert shown[first : first + 3] == ["parameters:", f'  oe, {tuned.key[:8]}: {{"weight": 0.5}}', ""]


def test_of_each_set_the_strongest_counts_and_the_earlier_where_two_are_equal():
    row = whole_seen()
    (change,) = adding.changes(whole(), [row], [], About(least_images=5), "")
    entry, (first,) = change.entry, change.entry.evidence
    one = replace(first, sha256="1" * 64, by="B", sets=(OnSet("letters", 0.01, 0.2, "1" * 64),))
    two = replace(first, sha256="2" * 64, by="C", sets=(OnSet("letters", 0.01, 0.9, "2" * 64),))
    entry = replace(entry, evidence=(first, one, two))
    assert entry.standing("auroc", "letters").evidence.by == "B"
    worst = max(0.9, first.on("letters").fpr95)
    assert entry.standing("fpr95", "letters").value == worst
    assert entry.standing("auroc", "uniform-noise").evidence.by == "a test"


def test_an_entry_reads_back_as_it_was_written(tmp_path):
    row = whole_seen()
    (change,) = adding.changes(whole(), [row], [], About(least_images=5), "https://example.org/a.zip")
    odd = replace(change.entry.evidence[0], by='Ann "A" <b>O\'Neil</b> \\ Ω', note="https://x.org/?a=1&b=2")
    entry = replace(change.entry, evidence=(odd,))
    entries.write_about(tmp_path, About())
    entries.write(tmp_path, entry)
    assert entries.read(tmp_path) == [entry]
    shown = page.html(About("<script>"), [entry]).decode()
    assert "<b>" not in shown and "<script" not in shown and "&lt;b&gt;O" in shown
    assert 'href="https://example.org/a.zip"' in shown


def test_files_of_a_board_that_were_edited_are_found(tmp_path, oodbench, board):
    file = entries.place(board, only(board))
    text = file.read_text()
    number = repr(only(board).evidence[0].sets[0].auroc)
    file.write_text(text.replace(f"auroc = {number}", "auroc = 0.001", 1))
    code, out, _ = oodbench("board", "check")
    assert code == 1 and "the entry has other figures than its archive" in out
    for name, other in (("small-cnn", "densenet-bc-100-12"), ("digits/plain", "digits/atom"), ("digits/plain", "")):
        file.write_text(text.replace(f'"{name}"', f'"{other}"', 1))
        code, out, _ = oodbench("board", "check")
        assert code == 1 and "the entry says something else of what is attacked than its first archive" in out
    file.write_text(text.replace("epsilon = 32", "epsilon = 64", 1))
    code, _, err = oodbench("board", "show")
    assert code == 2 and "is not what its name says" in err
    file.write_text(text.replace("epsilon = 32", "epsilon = ", 1))
    code, _, err = oodbench("board", "show")
    assert code == 2 and "is broken" in err
    for cut in ("[[sets]]", "[[evidence]]", "sha256", "[case]"):
        file.write_text(text[: text.index(cut)])
        code, _, err = oodbench("board", "show")
        assert code == 2 and "is broken" in err
    file.write_text(text)
    (kept,) = (board / "evidence").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    code, out, _ = oodbench("board", "check")
    assert code == 1 and "not a whole zip archive" in out


def moved(images, level):
    """Images a few levels off, inside [0, 255]."""
    return np.clip(images.astype(int) + level, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".safetensors"])
def test_images_of_an_attack_of_ones_own_are_evidence(tmp_path, oodbench, suffix):
    sources = catalogue.load("letters", tmp_path).spread(LIMIT)
    some = sources.spread(IMAGES)
    arrays = {"letters": moved(some.images, 30), "letters.indices": some.indices}
    file = tmp_path / f"mine{suffix}"
    if suffix == ".npz":
        np.savez(file, **arrays)
    elif suffix == ".h5":
        with h5py.File(file, "w") as made:
            made.update(arrays)
    else:
        safetensors.numpy.save_file(arrays, file)
    code, out, err = oodbench("evidence", "--images", file.name, *OWN, "--attack", "brighter", "-o", "own.zip")
    assert code == 0, err
    assert "digits-adv, msp, own, L-infinity 32/255: 6 images of each set" in out
    found = archive.load(tmp_path / "own.zip")
    assert np.array_equal(found.rows[0].sets["letters"].images, arrays["letters"])
    assert not seen(found).amiss and found.description.rows[0].words == "brighter"
    again = ("evidence", "--images", file.name, *OWN, "--attack", "once more", "-o", "own.zip")
    assert "there is a own.zip already" in oodbench(*again)[2]
    assert archive.load(tmp_path / "own.zip").description.rows[0].words == "brighter"
    assert oodbench(*again, "--replace")[0] == 0
    assert archive.load(tmp_path / "own.zip").description.rows[0].words == "once more"


@pytest.mark.parametrize(("epsilon", "code"), [(56, 0), (55, 2)])
def test_a_ball_may_be_one_of_l2(tmp_path, oodbench, epsilon, code):
    """One level in each of 3,072 numbers is a change of the length 55.4."""
    images = images_of(tmp_path)[:1]
    np.savez(tmp_path / "mine.npz", letters=np.where(images < 255, images + 1, images - 1).astype(np.uint8))
    own = [*OWN[:5], "--norm", "l2", "--eps", epsilon, "-o", "own.zip"]
    found, _, err = oodbench("evidence", "--images", "mine.npz", *own)
    assert found == code and ("outside the ball: 1 of 1 images" in err) == (code == 2), err
    assert "which is 55.43 of 255 away where 55 are allowed" in err or code == 0


@pytest.mark.parametrize(("norm", "most"), [("linf", 255), ("l2", 14_134)])
def test_no_ball_is_wider_than_images_are(tmp_path, oodbench, norm, most):
    """All that are would hold the same images, and be as many entries."""
    np.savez(tmp_path / "mine.npz", letters=images_of(tmp_path))
    for epsilon in (most, most + 1):
        own = [*OWN[:5], "--norm", norm, "--eps", epsilon, "-o", f"own {epsilon}.zip"]
        code, _, err = oodbench("evidence", "--images", "mine.npz", *own)
        assert code == (0 if epsilon == most else 2), err
    assert f"another ball: no two images of the size of letters are farther from each other than {most}/255" in err


def images_of(tmp_path):
    return catalogue.load("letters", tmp_path).images[:4]


MISTAKES = {
    "outside the ball": (lambda images: {"letters": moved(images, 40)}, "outside the ball: "),
    "off the grid": (lambda images: {"letters": (moved(images, 3) / 255 + 0.001).clip(0, 1)}, "off the grid: "),
    "levels as floats": (lambda images: {"letters": images.astype(float)}, "divide levels by 255"),
    "of others": (lambda images: {"letters": images[::-1]}, "wrong source image"),
    "of no set": (lambda images: {"letter": images}, "no OOD set 'letter'"),
    "a source twice": (lambda images: {"letters": images, "letters.indices": np.zeros(4, int)}, "names a source twice"),
    "a source too many": (
        lambda images: {"letters": images, "letters.indices": np.arange(5)},
        "expected whole numbers",
    ),
    "sources of nothing": (lambda images: {"letters": images, "noise.indices": np.arange(4)}, "no images of that set"),
    "another size": (lambda images: {"letters": images[:, :8, :8]}, "wrong source image: images are 8 x 8 pixels"),
    "pickled": (lambda images: {"letters": np.array([{"a": 1}], object)}, "without pickles"),
    "nothing": (lambda images: {}, "holds no array"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_images_that_are_no_evidence_are_refused_by_name(tmp_path, oodbench, kind):
    make, named = MISTAKES[kind]
    np.savez(tmp_path / "mine.npz", **make(images_of(tmp_path)))
    code, _, err = oodbench("evidence", "--images", "mine.npz", *OWN[:-2], "-o", "own.zip")
    assert code == 2 and named in err, err
    assert not (tmp_path / "own.zip").exists()


USAGE = [
    (["evidence", "-o", "e.zip"], "give a results folder, or attacked images"),
    (["evidence", "results", "--eps", 8, "-o", "e.zip"], "--eps is for evidence of images of your own"),
    (["evidence", "--images", "m.npz", "--task", "linf", "-o", "e.zip"], "--task is for evidence of a results folder"),
    (["evidence", "--images", "m.npz", "-o", "e.zip"], "takes one --suite, one --detector"),
    (["evidence", "--images", "m.npz", *OWN[:4], "--eps", 8, "-o", "e.zip"], "takes --pretrained, or the one network"),
    (["evidence", "--images", "m.txt", *OWN, "-o", "e.zip"], "give one of .npz, .h5"),
    (["evidence", "--images", "m.npz", *OWN, "-o", "e.zip"], "there is no file m.npz"),
    (["evidence", "nowhere", "-o", "e.zip"], "nowhere"),
    (["board", "show"], "is no board"),
    (["board", "check"], "is no board"),
    (["board", "add", "e.zip", "--url", "ftp://x"], "--url begins with https://"),
    (["board", "add", "e.zip"], "there is no evidence e.zip"),
    (["board", "add", "e.zip", "--board", "."], "is no board, and there is something in it"),
]


@pytest.mark.parametrize(("arguments", "named"), USAGE, ids=[named for _, named in USAGE])
def test_mistakes_of_usage_end_with_2(tmp_path, oodbench, arguments, named):
    (tmp_path / "something").touch()
    code, _, err = oodbench(*arguments)
    assert code == 2 and named in " ".join(err.split()), err


def test_words_that_nobody_could_show_are_refused(tmp_path, oodbench):
    np.savez(tmp_path / "mine.npz", letters=images_of(tmp_path))
    for option in ("--by", "--attack"):
        code, _, err = oodbench("evidence", "--images", "mine.npz", *OWN[:-2], option, "\x1b[2J", "-o", "own.zip")
        assert code == 2 and f"{option}" in err and "cannot be evidence" in err


def test_results_without_an_attack_are_no_evidence(tmp_path, oodbench, stored):
    stored(tmp_path / "results", task="clean")
    code, _, err = oodbench("evidence", "results", "-o", "e.zip")
    assert code == 2 and "holds no attack of what was asked for" in err
    code, _, err = oodbench("evidence", "results", "--task", "clean", "-o", "e.zip")
    assert code == 2 and "task clean: its attack is none of" in err


def test_a_suites_name_may_have_a_dot_in_it(oodbench, stored, tmp_path):
    stored(tmp_path / "results", task="linf", suite="digits")
    code, _, err = oodbench("evidence", "results", "--suite", "digits.2", "-o", "e.zip")
    assert code == 2 and "holds no attack of what was asked for" in err
    code, _, err = oodbench("evidence", "results", "--suite", "digits.toml", "-o", "e.zip")
    assert "holds no attack of what was asked for" not in err
