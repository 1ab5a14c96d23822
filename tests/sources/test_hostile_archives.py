"""Archives whose digest is right and whose content is not: no pack comes of them, and nothing elsewhere."""

import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archive_making import png, tar_bytes

from oodbench.sources import archives
from oodbench.sources.readers import pictures
from oodbench.sources.source import RemoteFile, Source

LARGE = 1 << 20
DRAWN = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def deflated(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


HOSTILE = {
    "up and away": lambda: tar_bytes([("../up.png", png(DRAWN)), ("/tmp/oodbench-up.png", png(DRAWN))], "w:gz"),
    "bomb": lambda: tar_bytes([("0.png", bytes(LARGE + 1))], "w:gz"),
    "zip bomb": lambda: deflated([("0.png", bytes(LARGE + 1))]),
    "bomb of an image": lambda: tar_bytes([("0.png", png(np.zeros((1, 5000, 3), np.uint8)))], "w:gz"),
    "cut": lambda: tar_bytes([("0.png", png(DRAWN))], "w:gz")[:500],
    "no archive": lambda: b"moved to another server\n" * 20,
    "postscript": lambda: tar_bytes([("0.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")], "w:gz"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_leaves_no_pack_and_nothing_outside(oodbench, tmp_path, served, published, monkeypatch, kind):
    """Its digest is right: somebody published a bad file."""
    monkeypatch.setattr(archives, "LARGEST", LARGE)
    content = HOSTILE[kind]()
    served.files["/a.bin"] = content
    file = RemoteFile((f"{served.url}/a.bin",), f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    published("hostile", Source("Hostile", (file,), pictures(r".*\.png", 32), 3, "free"))
    code, out, err = oodbench("data", "fetch", "hostile")
    assert code == 2
    assert "Traceback" not in out + err
    assert re.search(r"oodbench: (hostile should have 3 images and 2|.*a\.bin)", err)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "data/downloads/a.bin"
    ]
    assert not Path("/tmp/oodbench-up.png").exists()
