"""Pickled batches: what numpy wrote is read, in every dialect, and what numpy would choke on is refused."""

import io
import pickle

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.sources.pickles import pixels_of, read_batch

ROWS = np.random.default_rng(0).integers(0, 256, (4, 12), dtype=np.uint8)

OF_PYTHON_2 = (
    b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x06\x00\x7f\x80\xc3\xff\x01tbU\x06labels](K\x07K\x09eu."
)
"""A dict of an array of 2 x 3 bytes and a list, as the archives of CIFAR have it: bytes are text there."""


class Built:
    """Pickled as a call of `what`, and a state."""

    def __init__(self, what, arguments, state=None):
        self.made = (what, arguments) if state is None else (what, arguments, state)

    def __reduce__(self):
        return self.made


FORGED = Built(np.dtype, ("V8", False, True), (4, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0))
"""A record of one object that denies to hold one: numpy follows the address that stands in its place."""


def read(content):
    return read_batch(io.BytesIO(content), "x")


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
@pytest.mark.parametrize("rows", [ROWS, np.asfortranarray(ROWS), ROWS.astype(">f4")])
def test_arrays_of_numbers_come_back(protocol, rows):
    found = read(pickle.dumps({"data": rows, "mean": rows.mean(), "names": ["a"]}, protocol))
    assert found["data"].dtype == rows.dtype
    np.testing.assert_array_equal(found["data"], rows)
    assert found["mean"] == rows.mean()
    assert found["names"] == ["a"]


def test_text_of_python_2_is_bytes():
    found = read(OF_PYTHON_2)
    assert found["data"].tolist() == [[0, 127, 128], [195, 255, 1]]
    assert found["labels"] == [7, 9]


@pytest.mark.parametrize(
    "data",
    [
        Built(np.ndarray, ((1,), FORGED, b"A" * 8)),
        Built(np.ndarray, ((1 << 40,), "u1")),
        np.array([{}], object),
        np.zeros(2, [("a", "u1")]),
        Built(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), FORGED, False, b"A" * 8)),
        Built(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (9,), np.dtype("u1"), False, b"AB")),
        Built(np._core.multiarray.scalar, (np.dtype("f8"), b"12345")),
    ],
)
def test_arrays_of_anything_else_are_refused(data):
    with pytest.raises(OodbenchError, match="x is not a batch of images"):
        read(pickle.dumps({"data": data}, 2))


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"data": ROWS}, "no images of 2 pixels with labels"),
        ({"data": ROWS, "labels": [1, 2, 3]}, "no images of 2 pixels"),
        ({"data": ROWS, "labels": ["a"] * 4}, "no images of 2 pixels"),
        ({"data": ROWS, "labels": [[1], [2, 3], [], []]}, "no images of 2 pixels"),
        ({"data": ROWS / 255, "labels": [1] * 4}, r"x holds float64 \(4, 12\)"),
        ({"data": ROWS[:, :11], "labels": [1] * 4}, r"x holds uint8 \(4, 11\)"),
    ],
)
def test_rows_that_are_no_images_are_refused(batch, said):
    with pytest.raises(OodbenchError, match=said):
        pixels_of(batch, "labels", 2, "x")


def test_rows_are_planar():
    images, labels = pixels_of({"data": ROWS, "fine_labels": [1, 0, 2, 5]}, "fine_labels", 2, "x")
    assert images[0, 0, 1].tolist() == ROWS[0, [1, 5, 9]].tolist()
    assert labels.tolist() == [1, 0, 2, 5]
