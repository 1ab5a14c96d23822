"""Evidence that has what was changed in photographs, which show nothing to whoever lacks them: held, and forged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from oodbench.basics.errors import OodbenchError
from oodbench.board import archive, making
from oodbench.board.archive import load
from oodbench.board.description import RefusedError
from oodbench.images import catalogue
from tests.digitsevidence import failing, forged, good, on_letters, seen, with_row


def as_changes(row):
    """The row as `--changes` puts it into an archive."""
    sets = {name: making.as_changes(one, catalogue.load(name, Path("nowhere"))) for name, one in row.sets.items()}
    return replace(row, sets=sets)


@pytest.fixture(scope="module")
def changes():
    return forged(good(), as_changes)


def test_changes_hold_as_the_images_do_and_are_none(tmp_path, oodbench, changes):
    archive.write(tmp_path / "evidence.zip", changes)
    found = load(tmp_path / "evidence.zip")
    arrays = safetensors.numpy.load(archive.pack_arrays(found.rows[0].id_scores, found.rows[0].sets))
    assert not [name for name in arrays if name.endswith("/images")]
    signed = arrays["ood/letters/changes"].astype(np.int8)
    assert 0 < np.abs(signed.astype(int)).max() <= 32
    code, out, err = oodbench("verify", "evidence.zip")
    assert code == 0, err
    assert "letters, ball and grid: 6 8-bit images within L-infinity 32/255" in out and "13 holds" in out


def test_images_and_changes_are_one_piece_of_evidence_to_a_board(changes):
    """They say the same digest of the images, by which a board knows what it has already."""
    assert [one.images for one in seen(changes).sets.values()] == [one.images for one in seen(good()).sets.values()]


def too_far(one):
    moved = one.changes.copy()
    moved[0] += 64
    return replace(one, changes=moved)


def saying_so(evidence, change):
    """Forged by somebody who gives the digest of what the changes make, too."""
    sources = catalogue.load("letters", Path("nowhere"))
    made = forged(evidence, lambda row: on_letters(row, change))
    (row,) = made.rows
    one = row.sets["letters"]
    images = archive.images_digest(sources.pixels(one.indices) + one.changes)
    said = (replace(row.said.sets[0], images=images), *row.said.sets[1:])
    return with_row(made, replace(row, said=replace(row.said, sets=said)))


def test_forged_changes_are_refused_by_name(changes):
    (line,) = failing(forged(changes, lambda row: on_letters(row, too_far)))
    assert line == "letters, changes: reused digest: they do not make the images whose SHA-256 it says"
    (line,) = failing(saying_so(changes, too_far))
    assert line.startswith("letters, ball and grid: outside the ball: 1 of 6 images")
    (line,) = failing(
        forged(changes, lambda row: on_letters(row, lambda one: replace(one, changes=one.changes[:, 1:])))
    )
    assert line.startswith("letters, changes: wrong source image: images are 31 x 32 pixels")


def test_changes_are_not_made_of_sources_of_another_size():
    """A pack of the right name that is another one than the attacked images were made of."""
    sources = catalogue.load("letters", Path("nowhere"))
    smaller = replace(sources, images=sources.images[:, 1:])
    with pytest.raises(OodbenchError, match="wrong source image: images are 32 x 32 pixels, and those of letters 31"):
        making.as_changes(good().rows[0].sets["letters"], smaller)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: replace(one, images=one.changes), "is missing, or nothing that a row has"),
        (lambda one: replace(one, changes=one.changes.astype(np.float32)), "off the grid: the changes of letters"),
        (lambda one: replace(one, changes=one.changes[:3]), "have the shape"),
        (lambda one: replace(one, changes=None), "is missing, or nothing that a row has"),
    ],
)
def test_arrays_of_changes_that_are_none_are_refused(tmp_path, changes, change, named):
    made = forged(changes, lambda row: on_letters(row, change))
    (row,) = made.rows
    said = tuple(replace(one, images=good().rows[0].said.sets[n].images) for n, one in enumerate(row.said.sets))
    archive.write(tmp_path / "e.zip", with_row(made, replace(row, said=replace(row.said, sets=said))))
    with pytest.raises(RefusedError, match=named):
        load(tmp_path / "e.zip")


def test_the_command_puts_changes_of_images_of_ones_own_into_an_archive(tmp_path, oodbench):
    some = catalogue.load("letters", tmp_path).spread(6)
    brighter = np.clip(some.images.astype(int) + 30, 0, 255).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", **{"letters": brighter, "letters.indices": some.indices})
    told = ["--suite", "digits-adv", "--detector", "msp", "--pretrained", "--eps", "32", "--limit", "60"]
    code, _, err = oodbench("evidence", "--images", "mine.npz", *told, "--changes", "-o", "own.zip")
    assert code == 0, err
    one = load(tmp_path / "own.zip").rows[0].sets["letters"]
    assert one.images is None and np.array_equal(some.images + one.changes, brighter)
