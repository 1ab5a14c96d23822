"""What the checks of figures against a reference are tried on."""

import pytest

from oodbench.results.tables import tidy
from oodbench.results.updating import update_reference


@pytest.fixture
def measured(tmp_path, stored):
    """A cell with FPR@95 1/2 and AUROC 1/2 on "a"; its checkpoint pins the network."""
    return stored(tmp_path / "results", ood=[("a", [0.0, 1.0, 9.5, 9.5])], checkpoint="nets/plain.safetensors")


@pytest.fixture
def known(measured):
    return update_reference(None, tidy([measured], {}))
