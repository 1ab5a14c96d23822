"""Large pools of outliers, read some images at a time."""

import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest
from archive_making import written, zip_bytes

from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import read_pack, write_parts
from oodbench.sources import outliers
from oodbench.sources.outliers import TINY_BYTES, downsampled, tiny_images, tiny_selection
from oodbench.sources.readers import names_listed

RANDOM = np.random.default_rng(0)


def batch(images, labels):
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return pickle.dumps({"data": rows, "labels": list(labels), "mean": rows.mean(0)}, protocol=3)


@pytest.fixture
def pool():
    images = RANDOM.integers(0, 256, (30, 8, 8, 3), np.uint8)
    labels = RANDOM.integers(1, 1001, 30)
    batches = [batch(images[3 * number : 3 * number + 3], labels[3 * number : 3 * number + 3]) for number in range(10)]
    return (
        images,
        labels,
        [(f"part/train_data_batch_{number + 1}", one) for number, one in enumerate(batches)],
    )


def test_batches_of_two_archives_in_order_with_labels_from_zero(tmp_path, pool):
    images, labels, entries = pool
    paths = [
        written(tmp_path / "1.zip", zip_bytes([("readme.txt", b"x"), *entries[:5]])),
        written(tmp_path / "2.zip", zip_bytes(entries[5:])),
    ]
    parts = list(downsampled(8)(paths).batches)
    np.testing.assert_array_equal(np.concatenate([pixels for pixels, _ in parts]), images)
    np.testing.assert_array_equal(np.concatenate([numbers for _, numbers in parts]), labels - 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entries: entries[:9], "hold 9 of the 10 batches"),
        (
            lambda entries: [entries[0], entries[2]],
            "has part/train_data_batch_3 where train_data_batch_2 should be",
        ),
        (lambda entries: [(entries[0][0], batch(np.zeros((1, 4, 4, 3), np.uint8), [1]))], "no images of 8 pixels"),
        (lambda entries: [(entries[0][0], entries[0][1][:200])], "is not a batch of images"),
    ],
)
def test_batches_that_are_not_what_they_should_be(tmp_path, pool, change, said):
    path = written(tmp_path / "1.zip", zip_bytes(change(pool[2])))
    with pytest.raises(OodbenchError, match=said):
        list(downsampled(8)([path]).batches)


class Evil:
    def __init__(self, where):
        self.where = where

    def __reduce__(self):
        return os.mkdir, (self.where,)


def test_a_batch_that_unpacks_beyond_all_measure_is_given_up(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(outliers, "LARGEST_BATCH", 1 << 20)
    bomb = pickle.dumps({"data": np.zeros((1 << 22,), np.uint8), "labels": [1]})
    path = tmp_path / "1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_data_batch_1", bomb)
    assert path.stat().st_size < 1 << 16
    with pytest.raises(OodbenchError, match="train_data_batch_1 unpacks to more than 1 MiB"):
        list(downsampled(8)([path]).batches)


def test_a_batch_that_wants_to_run_something_does_not(tmp_path):
    mark = tmp_path / "harmed"
    path = written(tmp_path / "1.zip", zip_bytes([("train_data_batch_1", pickle.dumps({"data": Evil(str(mark))}))]))
    with pytest.raises(OodbenchError, match="it asks for"):
        list(downsampled(8)([path]).batches)
    assert not mark.exists()


def flat_file(path, count):
    """Images stored column by column: byte = row + 32 * column + 1024 * channel."""
    images = RANDOM.integers(0, 256, (count, 32, 32, 3), np.uint8)
    rows, columns, channels = np.mgrid[:32, :32, :3]
    records = np.empty((count, TINY_BYTES), np.uint8)
    records[:, rows + 32 * columns + 1024 * channels] = images
    return written(path, records.tobytes()), images


def test_tiny_images_at_even_distances_from_a_flat_file(tmp_path, monkeypatch):
    monkeypatch.setattr(outliers, "AT_A_TIME", 2)
    path, images = flat_file(tmp_path / "tiny_images.bin", 11)
    parts = list(tiny_images(5)([path]).batches)
    assert [len(pixels) for pixels, _ in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([pixels for pixels, _ in parts]), images[[0, 2, 4, 6, 8]])
    assert all((labels == -1).all() for _, labels in parts)
    with pytest.raises(OodbenchError, match="at most 10"):
        tiny_images(11)([path])  # the last record is never reached


def test_images_of_cifars_classes_are_replaced_by_others_that_are_not():
    overlap = np.array([0, 1, 2, 3, 6])
    chosen = tiny_selection(20, 10, overlap)
    kept = np.arange(10) * 2
    barred = np.isin(kept, overlap)
    assert (chosen[~barred] == kept[~barred]).all()
    assert not np.isin(chosen, overlap).any()
    assert chosen.max() < 20
    assert (tiny_selection(20, 10, overlap) == chosen).all()


def test_the_overlap_list_is_the_published_one():
    numbers = sorted(int(number) for number in names_listed("tinyimages-cifar-overlap.txt.gz"))
    assert (len(numbers), numbers[0], numbers[-1]) == (132_409, 35_607, 79_257_073)


def test_parts_make_one_pack_that_is_whole_or_not_there(tmp_path):
    images, labels = RANDOM.integers(0, 256, (7, 4, 4, 3), np.uint8), np.arange(7)
    parts = [(images[:3], labels[:3]), (images[3:], labels[3:])]
    assert write_parts(tmp_path / "p.h5", "p", iter(parts), "somewhere", {"terms": "free"}) == 7
    pack = read_pack(tmp_path / "p.h5", "p")
    np.testing.assert_array_equal(pack.images, images)
    np.testing.assert_array_equal(pack.labels, labels)
    with h5py.File(tmp_path / "p.h5") as file:
        assert file.attrs["terms"] == "free"

    def breaks():
        yield parts[0]
        raise OodbenchError("no more")

    for found in (breaks(), iter([])):
        with pytest.raises(OodbenchError):
            write_parts(tmp_path / "q.h5", "q", found, "somewhere")
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]
