"""What several pages look at, read once."""

from functools import cache

from oodbench.suite import Suite
from oodbench.suitefiles import suitefile


@cache
def suites() -> tuple[Suite, ...]:
    """Every suite that comes with oodbench, in the order of names."""
    return tuple(suitefile.load(name) for name in suitefile.names())
