"""Results in one small file: the same table, nothing lost that a table needs, and archives that are something else."""

import warnings
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from oodbench import load_results
from oodbench.basics.errors import OodbenchError
from oodbench.results import bundle
from oodbench.results.bundling import write_bundles
from oodbench.results.store import Cell, cells
from oodbench.results.tables import tidy

OOD = [("letters", [0.1, 5.7, 3.1, 8.4]), ("photo-patches", [2.25, 0.3])]


@pytest.fixture
def made(stored):
    """Stores a result whose scores are no float32 numbers."""
    return partial(stored, task="linf", ood=OOD)


def test_a_bundle_gives_the_table_of_the_folder(tmp_path, made, oodbench):
    made(tmp_path / "results", detector="msp")
    made(tmp_path / "results", detector="energy", seed=2)
    written = write_bundles(cells(tmp_path / "results"), tmp_path / "kept")
    assert written == [tmp_path / "kept" / "digits.zip"]
    columns = ["suite", "detector", "seed", "task", "ood", "metric", "value", "fingerprint", "scores", "cell"]
    there, kept = load_results(tmp_path / "results")[columns], load_results(written[0])[columns]
    assert len(there) > 8 and there.equals(kept)
    code, out, _ = oodbench("table", written[0])
    assert code == 0 and "energy" in out


def test_whoever_unpacks_it_has_a_results_folder(tmp_path, made):
    made(tmp_path / "results")
    (file,) = write_bundles(cells(tmp_path / "results"), tmp_path)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert load_results(tmp_path / "unpacked")["value"].tolist() == load_results(file)["value"].tolist()


@pytest.mark.parametrize("folder", ["/home/me/secret", "C:\\\\me\\\\secret"])
def test_a_bundle_tells_nothing_of_the_folders_it_was_made_in(tmp_path, made, folder):
    slash = folder[-7]
    paths = {"checkpoint": f"{folder}{slash}net.pth", "plugin": f"{folder}{slash}mine.py", "data": folder}
    cell = made(tmp_path / "results", **paths)
    assert write_bundles([cell], tmp_path) == write_bundles([cell], tmp_path)  # once more, into what is there
    (kept,) = cells(tmp_path / "digits.zip")
    about = kept.attributes()
    assert (about["checkpoint"], about["plugin"], about["data"]) == ("net.pth", "mine.py", "data")
    assert b"secret" not in bundle.read(kept.path)


def test_what_an_earlier_version_told_of_folders_leaves_a_bundle_with_the_next_update(tmp_path, made):
    told = made(tmp_path / "results", checkpoint="/home/me/secret/net.pth")
    bundle.write(tmp_path / "digits.zip", {"digits/msp/a.h5": told.path.read_bytes()})
    write_bundles([made(tmp_path / "more", detector="energy", checkpoint="zoo/net.pth")], tmp_path)
    about = {cell.attributes()["detector"]: cell.attributes() for cell in cells(tmp_path / "digits.zip")}
    assert about["msp"]["checkpoint"] == "net.pth"
    assert about["energy"]["checkpoint"] == "zoo/net.pth"  # leads to no machine


def test_scores_are_float32_and_read_as_float64(tmp_path, made):
    cell = made(tmp_path / "results")
    (file,) = write_bundles([cell], tmp_path)
    (kept,) = cells(file)
    for ours, theirs in zip(kept.read(), cell.read(), strict=True):
        assert ours.scores.dtype == np.float64 and ours.predictions.dtype == np.int64
        assert np.array_equal(ours.scores, theirs.scores.astype(np.float32))
        assert np.array_equal(ours.predictions, theirs.predictions) and ours.attributes == theirs.attributes


@pytest.mark.parametrize("unit", [1e44, 1e-44])
def test_scores_beyond_float32_lose_nothing(tmp_path, stored, unit):
    stored(tmp_path / "results", ood=[("letters", [0.1 * unit, 5.7 * unit, 3.1 * unit])])
    (file,) = write_bundles(cells(tmp_path / "results"), tmp_path)
    columns = ["metric", "value", "scores"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there, kept = load_results(tmp_path / "results")[columns], load_results(file)[columns]
    assert there.equals(kept)
    (letters,) = [group for cell in cells(file) for group in cell.read() if group.role == "ood"]
    assert letters.scores.tolist() == [0.1 * unit, 5.7 * unit, 3.1 * unit]


def test_scores_close_together_stay_apart(tmp_path, stored):
    letters = [1 + step * 1e-9 for step in (1, 2, 3, 4)]
    stored(tmp_path / "results", ood=[("letters", letters)])
    (file,) = write_bundles(cells(tmp_path / "results"), tmp_path)
    (kept,) = [group for cell in cells(file) for group in cell.read() if group.role == "ood"]
    assert kept.scores.tolist() == letters


PLATEAU = -np.log(1e-12)
"""What a score ends at that clamps a probability; float32 holds no such number."""


@pytest.mark.parametrize(
    ("ids", "letters"),
    [
        ([2.0, 3.0, 4.0, 5.0, *[PLATEAU] * 4], [PLATEAU, PLATEAU - 1e-9, PLATEAU]),
        (
            [0.1, 0.2, 0.3, 0.4, *(1 - step * 1e-10 for step in range(4))],
            [0.1, 0.5, *(1 - step * 1e-9 for step in (1, 2, 3))],
        ),
    ],
    ids=["equal ones", "close ones"],
)
def test_what_is_equal_or_close_on_two_sides_stays_so(tmp_path, stored, ids, letters):
    stored(tmp_path / "results", attacked_id=ids, ood=[("letters", letters), ("photo-patches", [0.25, 0.5])])
    (file,) = write_bundles(cells(tmp_path / "results"), tmp_path)
    columns = ["ood", "metric", "value", "scores", "ties"]
    assert load_results(file)[columns].equals(load_results(tmp_path / "results")[columns])


def test_the_same_results_give_the_same_bytes(tmp_path, made):
    cell = made(tmp_path / "results")
    (first,), (second,) = write_bundles([cell], tmp_path / "a"), write_bundles([cell], tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_a_result_replaces_the_one_of_its_name_and_leaves_the_others(tmp_path, made):
    write_bundles([made(tmp_path / "old", key="a"), made(tmp_path / "old", detector="energy", key="b")], tmp_path)
    (file,) = write_bundles([made(tmp_path / "new", key="c")], tmp_path)
    names = sorted(path.relative_to(file).as_posix() for path in bundle.member_paths(file))
    assert names == ["digits/energy/seed1-bbbbbb.h5", "digits/msp/seed1-cccccc.h5"]


def test_detectors_with_a_plus_in_their_name_lie_in_bundles_too(tmp_path, made):
    (file,) = write_bundles([made(tmp_path / "results", detector="rmds++")], tmp_path)
    (cell,) = cells(file)
    assert cell.attributes()["detector"] == "rmds++"


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["digits/msp/seed1-aa.h5", "../evil.h5"], ["/a/b/c.h5"]])
def test_other_archives_are_no_results(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    with pytest.raises(OodbenchError, match="not a bundle of results"):
        cells(tmp_path / "other.zip")


def test_what_is_no_archive_or_damaged_is_named(tmp_path, made):
    (tmp_path / "text.zip").write_bytes(b"hello")
    with pytest.raises(OodbenchError, match=r"cannot read .*text\.zip as a zip archive"):
        cells(tmp_path / "text.zip")
    (file,) = write_bundles([made(tmp_path / "results")], tmp_path)
    content = bytearray(file.read_bytes())
    content[200] ^= 255
    file.write_bytes(bytes(content))
    (cell,) = cells(file)
    with pytest.raises(OodbenchError, match="cannot read"):
        tidy([cell], {})


def test_an_archive_that_would_swell_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("digits/msp/seed1-aa.h5", bytes(bundle.LARGEST + 1))
    with pytest.raises(OodbenchError, match="larger than any result"):
        Cell(tmp_path / "bomb.zip" / "digits/msp/seed1-aa.h5").read()


def test_update_keeps_the_scores_beside_the_figures_and_check_reads_them(tmp_path, made, oodbench):
    made(tmp_path / "results")
    file, kept = tmp_path / "mine.csv", tmp_path / "kept"
    call = ["check", tmp_path / "results", "--reference", file]
    code, out, _ = oodbench(*call, "--update", "--scores", kept)
    assert code == 0 and "digits.zip" in out
    assert oodbench("check", kept / "digits.zip", "--reference", file)[0] == 0
    code, _, err = oodbench(*call, "--scores", kept)
    assert code == 2 and "--update" in err


def test_a_result_whose_file_was_called_otherwise_is_kept_and_read(tmp_path, made):
    cell = made(tmp_path / "results")
    copy = cell.path.rename(cell.path.with_name("Seed1 (1).h5"))
    (file,) = write_bundles([Cell(copy)], tmp_path)
    (path,) = bundle.member_paths(file)
    assert path.name.startswith("seed1-")
    assert [group.scores.tolist() for group in Cell(path).read()] == [
        group.scores.astype(np.float32).astype(float).tolist() for group in Cell(copy).read()
    ]


def test_two_results_whose_files_have_one_name_are_both_kept(tmp_path, made):
    here = made(tmp_path / "here", network_digest="a" * 64)
    there = made(tmp_path / "there", network_digest="b" * 64)
    assert here.path.name == there.path.name
    (file,) = write_bundles([here, there], tmp_path)
    assert {Cell(path).attributes()["network_digest"][0] for path in bundle.member_paths(file)} == {"a", "b"}


def test_what_is_measured_anew_replaces_that_and_no_more(tmp_path, made):
    write_bundles(
        [made(tmp_path / "old", task="linf", key="ab"), made(tmp_path / "old", task="clean", key="ab")], tmp_path
    )
    (file,) = write_bundles([made(tmp_path / "new", task="clean", key="cd")], tmp_path)
    found = {path.stem: {group.task for group in Cell(path).read()} for path in bundle.member_paths(file)}
    assert found == {"seed1-cdcdcdcdcdcd": {"id", "clean"}, "seed1-abababababab": {"id", "linf"}}


@pytest.mark.parametrize(("name", "value"), [("suite", "../../evil"), ("detector", ".."), ("suite", "/tmp/evil")])
def test_no_result_says_where_its_scores_are_written_to(tmp_path, made, name, value):
    cell = made(tmp_path / "results" / "deep" / "enough")
    attributes = {**cell.attributes(), name: value}
    cell.note(attributes, {})
    with pytest.raises(OodbenchError, match="cannot be kept"):
        write_bundles([cell], tmp_path / "kept")
    assert not list(tmp_path.rglob("*.zip"))


def test_the_scores_are_those_of_the_figures_and_not_of_an_older_result(tmp_path, made, oodbench):
    made(tmp_path / "results" / "a", key="ab")
    newer = made(tmp_path / "results" / "b", key="cd", ood=[("letters", [0.1, 0.2]), ("photo-patches", [2.25, 0.3])])
    for group in newer.read():
        newer.add(
            replace(group, attributes={**group.attributes, "date": "2026-01-02T00:00:00+00:00"}), newer.attributes()
        )
    file, kept = tmp_path / "mine.csv", tmp_path / "kept"
    code, _, err = oodbench("check", tmp_path / "results", "--reference", file, "--update", "--scores", kept)
    assert code == 0, err
    assert [path.stem for path in bundle.member_paths(kept / "digits.zip")] == ["seed1-cdcdcdcdcdcd"]


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damage_of_every_kind_is_an_error_that_says_so(tmp_path, made, method):
    (file,) = write_bundles([made(tmp_path / "results")], tmp_path)
    (path,) = bundle.member_paths(file)
    with zipfile.ZipFile(tmp_path / "other.zip", "w", method) as archive:
        archive.writestr("digits/msp/seed1-aa.h5", bundle.read(path))
    content = (tmp_path / "other.zip").read_bytes()
    inside, listed = len(content) // 2, content.rindex(b"PK\1\2") + 6
    # In the middle of the member, in the version of the format that the directory asks for, and at the end.
    for place, raw in ((inside, content), (listed, content), (-1, content[:-1])):
        (tmp_path / "other.zip").write_bytes(raw[:place] + bytes([raw[place] ^ 0x97]) + raw[place:][1:])
        with pytest.raises(OodbenchError, match="cannot read"):
            for cell in cells(tmp_path / "other.zip"):
                cell.read()
