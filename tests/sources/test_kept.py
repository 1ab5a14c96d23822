"""A kept network that is fetched by name."""

from hashlib import sha256

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.training.pretrained import Pretrained


def test_a_kept_network_is_downloaded_to_where_it_is_looked_for(served, tmp_path):
    served.files["/atom.safetensors"] = b"weights"
    digest = sha256(b"weights").hexdigest()
    network = Pretrained("shelf/atom", digest, {}, {}, url=f"{served.url}/atom.safetensors")
    assert network.find(tmp_path) is None
    assert network.fetch(tmp_path) == tmp_path / "networks" / "shelf" / "atom.safetensors"
    assert network.find(tmp_path).read_bytes() == b"weights"


def test_what_comes_instead_is_not_taken(served, tmp_path):
    served.files["/atom.safetensors"] = b"others"
    network = Pretrained("shelf/atom", "0" * 64, {}, {}, url=f"{served.url}/atom.safetensors")
    with pytest.raises(OodbenchError, match=r"atom\.safetensors could not be fetched"):
        network.fetch(tmp_path)
    assert network.find(tmp_path) is None
