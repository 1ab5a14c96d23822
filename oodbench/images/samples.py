"""Samples that scikit-learn ships, read from its files: to import it takes a second, as long as a small run."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """`sklearn.datasets.load_digits`: images (1797, 8, 8) with levels 0 to 16, and what each of them shows."""
    file = _file("data", "digits.csv.gz")
    if file is None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return bunch.images, bunch.target.astype(np.int64)
    table = np.loadtxt(file, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def photograph(name: str) -> Image.Image:
    """`sklearn.datasets.load_sample_image`: "china.jpg" or "flower.jpg", RGB."""
    file = _file("images", name)
    if file is None:
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(name))
    with Image.open(file) as image:
        return image.convert("RGB")


def _file(folder: str, name: str) -> Path | None:
    """A file of scikit-learn's data sets; None where this version keeps it elsewhere."""
    spec = find_spec("sklearn")
    places = spec.submodule_search_locations if spec else None
    files = [Path(place, "datasets", folder, name) for place in places or ()]
    return next((file for file in files if file.is_file()), None)
