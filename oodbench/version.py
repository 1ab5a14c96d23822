"""The version, in a module of its own.

`import oodbench` beside an editable clone of that name finds the clone's folder and nothing that the package says of
itself; modules of the package are found all the same, so that `python -m oodbench` works there.
"""

__version__ = "0.1.0"
