"""Images that a network cannot take are named before anything is done."""

import re

import numpy as np
import pytest

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.networks.sizes import require_takes


@pytest.mark.parametrize(("name", "side"), [("small-cnn", 16), ("small-cnn", 64), ("densenet-bc-100-12", 2)])
def test_images_that_a_network_cannot_take_are_refused_with_a_size_that_it_takes(name, side):
    network = networks.build(name, 3, seed=0).eval()
    with pytest.raises(OodbenchError, match=f"{name}.*{side} x {side} pixels.*--size") as caught:
        require_takes(network, name, (3, side, side))
    smallest = int(re.search(r"--size (\d+)", str(caught.value))[1])
    require_takes(network, name, (3, smallest, smallest))
    require_takes(network, name, (3, 32, 32))
    if side < smallest:
        with pytest.raises(OodbenchError):
            require_takes(network, name, (3, smallest // 2, smallest // 2))


def test_a_size_that_fits_no_network_ends_in_a_line(oodbench, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("small-test", "small-ood", "small-train"):
        pixels = rng.integers(0, 256, (20, 16, 16, 3), dtype="uint8")
        write_pack(tmp_path / "data" / f"{name}.h5", ImageSet(name, pixels, rng.integers(0, 10, 20), "drawn"))
    (tmp_path / "mine.toml").write_text(
        """
        version = 1
        id = {test = "small-test", classes = 10, train = "small-train"}
        ood = [{set = "small-ood", distance = "far"}]
        network = {name = "small-cnn"}
        training = {epochs = 1}
        """
    )
    code, _, err = oodbench("run", "--suite", "mine.toml", "--detector", "msp")
    assert code == 2 and "cannot take images of 16 x 16 pixels" in err and "--size 28" in err
    assert "Traceback" not in err and not (tmp_path / "results").exists()
