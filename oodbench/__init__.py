"""oodbench: does an out-of-distribution detector hold up, also when someone attacks it?"""

__version__ = "0.1.0"
