"""Virtual environments in which a clone of the project is installed, without fetching anything."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def editable(clone: Path, folder: Path) -> Path:
    """The Python of a new environment in `folder`: `clone` installed editable, all else from this environment."""
    venv.create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    libraries = ("site-packages", "dist-packages")  # Debian's Python has the latter.
    site.joinpath("zz.pth").write_text("\n".join(path for path in sys.path if Path(path).name in libraries))
    install = ["--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", clone]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    return python
