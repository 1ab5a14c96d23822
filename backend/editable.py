"""The build backend: setuptools, and an `import oodbench` that works beside the clone's folder.

Setuptools' own editable install is a finder that is asked last. Where somebody works in the folder that holds a clone,
`oodbench/` there, which is no package, comes before it: as a namespace package that has neither `run` nor `evaluate`.
Python takes any regular package on its path before a namespace package, so the editable wheel gets one, whose only
module stands back for the clone's own. Wheels and source distributions are setuptools' as they are.
"""

import base64
import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  # the other hooks of PEP 517 and 660

ENTRANCE = '''"""In place of the package that this editable install is of."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

_spec = spec_from_file_location(__name__, {init!r})
sys.modules[__name__] = _module = module_from_spec(_spec)
_spec.loader.exec_module(_module)
'''
"""`oodbench/__init__.py` in site-packages: an import hands out what stands in `sys.modules` when it is done."""


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """An editable wheel in `wheel_directory`, see PEP 660; its file name."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    init = Path("oodbench", "__init__.py").resolve()
    _add(Path(wheel_directory, name), "oodbench/__init__.py", ENTRANCE.format(init=str(init)).encode())
    return name


def _add(wheel: Path, name: str, content: bytes) -> None:
    """Put one file into a wheel and into its RECORD; a zip file cannot be changed in place."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
        changed = Path(folder, wheel.name)
        with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
            new.writestr(name, content)
            for info in old.infolist():
                kept = old.read(info)
                if info.filename.endswith(".dist-info/RECORD"):
                    kept += f"{name},sha256={digest},{len(content)}\n".encode()
                new.writestr(info, kept)
        shutil.move(changed, wheel)
