"""What a run makes of a result file in its own place that has lost something."""

from pathlib import Path

import h5py
import pytest

NETWORK = Path(__file__).parents[2] / "results" / "reference" / "networks" / "digits" / "plain.safetensors"
RUN = ("run", "--suite", "digits", "--checkpoint", NETWORK, "--limit", "20", "--detector", "msp", "--only", "letters")


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "it does not say its network_digest"), (7, "the attribute network_digest is '7', expected text")],
)
def test_a_result_that_does_not_know_its_network_is_named_and_left_as_it_is(oodbench, value, said):
    assert oodbench(*RUN, "--task", "clean")[0] == 0
    (file,) = Path("results/digits").rglob("*.h5")
    with h5py.File(file, "r+") as opened:
        del opened.attrs["network_digest"]
        if value is not None:
            opened.attrs["network_digest"] = value
    known = file.read_bytes()
    code, _, err = oodbench(*RUN, "--task", "clean")
    assert code == 2
    assert f"{file} is no result of `oodbench run` ({said}): move it out" in err
    assert file.read_bytes() == known
