"""Ctrl-C while a command is still being imported ends it as Ctrl-C does later on."""

import subprocess
import sys

import pytest

from oodbench.cli.interruption import INTERRUPTED, MESSAGE, is_interruption

PROGRAM = """
import signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests in the background ignores it

class Interrupting:
    def find_spec(self, name, *_):
        if name != MODULE:
            return None
        try:
            signal.raise_signal(signal.SIGINT)  # Python's handler raises KeyboardInterrupt here
        except KeyboardInterrupt as error:
            if CONVERTED:  # as an extension written in C++ does
                raise ImportError("initialization failed") from error
            raise

sys.meta_path.insert(0, Interrupting())
sys.argv = ["oodbench", "run", "--suite", "digits", "--detector", "msp", "--dry-run"]
from oodbench.cli import main
main()
"""


@pytest.mark.parametrize("converted", [False, True], ids=["as it is", "as an import error"])
@pytest.mark.parametrize("module", ["click", "numpy", "torch"])
def test_an_interrupted_import_ends_without_a_traceback(module, converted, tmp_path):
    program = f"MODULE, CONVERTED = {module!r}, {converted}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False
    )
    assert done.returncode == INTERRUPTED
    assert done.stderr.endswith(MESSAGE)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_of_its_own_is_no_interruption():
    error = ImportError("no module")
    error.__context__ = ValueError("x")
    error.__context__.__context__ = error  # a chain may be a ring
    assert not is_interruption(error)
