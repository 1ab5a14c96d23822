"""Networks by name, normalisation inside; checkpoints."""

from oodbench.networks.builder import Builder
from oodbench.networks.by_name import (
    USUAL_SHAPE,
    Normalisation,
    build,
    code,
    describe,
    made,
    normalisation,
    preprocessing,
    require,
)
from oodbench.networks.named import called, names

__all__ = [
    "USUAL_SHAPE",
    "Builder",
    "Normalisation",
    "build",
    "called",
    "code",
    "describe",
    "made",
    "names",
    "normalisation",
    "preprocessing",
    "require",
]
