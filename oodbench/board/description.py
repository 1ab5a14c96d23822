"""The description in an archive of evidence: the content of its `evidence.json`, as plain data and strictly read."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from oodbench.attacks.balls import BALLS
from oodbench.basics.errors import OodbenchError
from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.basics.words import excerpt
from oodbench.images.imageset import is_name
from oodbench.tasks.task import L2_MOST, NORMS

SCHEMA = 1
"""Bumped when the layout of an archive changes."""

OWN = "own"
"""The name of an attack of which oodbench knows nothing but the images that it left."""

LONGEST = 2_000
"""Letters of any text in it; parameters and settings are the longest."""

MOST_RADIUS = {"linf": 255, "l2": L2_MOST}
"""Of a ball, in 1/255: what is farther than white from black is in no image."""

MOST_ROWS = 99
MOST_IMAGES = 100_000

_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEPT = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}/[a-z0-9][a-z0-9._-]{0,79}")


class RefusedError(OodbenchError):
    """An archive that is not valid evidence, or pretends to be; the message says by what."""


@dataclass(frozen=True)
class Case:
    """A detector on a suite, and the ball in which it is attacked: evidence of equal cases is about the same claim.

    Attributes:
        suite, suite_version, suite_fingerprint: of the benchmark, with the run's settings in the last.
        detector, code, over_code: its name, the digest of its method's code and of the method that it is over, or "".
        parameters: JSON, of the detector.
        network, network_digest: what it is called; SHA-256 of its weights.
        kept: its name on a shelf of trained networks, "digits/atom"; "" where it is on none.
        norm, epsilon: the ball, "linf" or "l2", and its radius in 1/255 of pixel space.
        id_set, id_fingerprint: whose clean scores set every threshold, and the SHA-256 of these images.
        limit: how many images of each set the run took; 0 for all.
    """

    suite: str
    suite_version: int
    suite_fingerprint: str
    detector: str
    code: str
    over_code: str
    parameters: str
    network: str
    network_digest: str
    kept: str
    norm: str
    epsilon: int
    id_set: str
    id_fingerprint: str
    limit: int

    def __post_init__(self) -> None:
        _require_texts(self)
        for name in ("suite_fingerprint", "network_digest", "id_fingerprint"):
            _require(_DIGEST.fullmatch(getattr(self, name)), f"{name} is not a SHA-256 digest")
        _require(_WORD.fullmatch(self.suite) and _WORD.fullmatch(self.detector), "suite or detector has an odd name")
        _require(not self.kept or _KEPT.fullmatch(self.kept), f"kept is {self.kept!r}, expected SHELF/NETWORK")
        _require(is_name(self.id_set), f"id_set {self.id_set!r} is not the name of an image set")
        _require(self.norm in BALLS, f"norm is {self.norm!r}: expected {' or '.join(BALLS)}")
        most = MOST_RADIUS[self.norm]
        _require(0 < self.epsilon <= most, f"epsilon is {self.epsilon}: expected 1 to {most} in the norm {self.norm}")
        _require(self.limit >= 0 and self.suite_version >= 0, "limit or suite_version is negative")

    @property
    def ball(self) -> str:
        """For people."""
        return f"{NORMS[self.norm]} {self.epsilon}/255"


@dataclass(frozen=True)
class SetDescription:
    """One OOD set under attack.

    Attributes:
        name: of the image set.
        count: attacked images of it.
        kept: they are in the archive, as they are or as what was changed; otherwise the attack is to be carried out
            again.
        images: SHA-256 of them, see `oodbench.images.imageset.images_digest`.
        sources: the same of the images that they were made of.
        auroc, fpr95: fractions in [0, 1], of their scores against the ID scores.
    """

    name: str
    count: int
    kept: bool
    images: str
    sources: str
    auroc: float
    fpr95: float

    def __post_init__(self) -> None:
        _require(is_name(self.name), f"{self.name!r} is not the name of an image set")
        _require(0 < self.count <= MOST_IMAGES, f"count of {self.name} is {self.count}")
        _require(_DIGEST.fullmatch(self.images) and _DIGEST.fullmatch(self.sources), "a digest is not a SHA-256 digest")
        for value in (self.auroc, self.fpr95):
            _require(isfinite(value) and 0 <= value <= 1, f"a figure of {self.name} is {value}, no fraction")


@dataclass(frozen=True)
class Made:
    """How scores and images were made: no verification rests on it, and it explains one that fails.

    Attributes:
        oodbench, torch, hardware, date: versions, machine, and when.
        options: words of the command for precision and compilation.
        checks: JSON, what the attack said of itself, by set.
    """

    oodbench: str
    torch: str
    hardware: str
    date: str
    options: str
    checks: str = "{}"

    def __post_init__(self) -> None:
        _require_texts(self)


@dataclass(frozen=True)
class RowDescription:
    """One detector under one attack.

    Attributes:
        case: what was attacked, and how far.
        attack: name of the task, or `OWN`.
        constants: JSON, what the task was; "" of an attack of somebody's own.
        words: the attack in words.
        settings: what the run changed, `name=value` each.
        seed: of training, attacks, and what a score draws.
        sets: OOD sets.
        arrays: SHA-256 of the row's file of arrays.
        made: with what.
    """

    case: Case
    attack: str
    constants: str
    words: str
    settings: tuple[str, ...]
    seed: int
    sets: tuple[SetDescription, ...]
    arrays: str
    made: Made

    def __post_init__(self) -> None:
        _require_texts(self)
        _require(_WORD.fullmatch(self.attack), f"attack {self.attack!r} has an odd name")
        _require(all(len(text) <= LONGEST and text.isprintable() for text in self.settings), "a setting is no text")
        _require(self.seed >= 0, "seed is negative")
        _require(_DIGEST.fullmatch(self.arrays), "arrays is not a SHA-256 digest")
        names = [one.name for one in self.sets]
        _require(names and len(set(names)) == len(names), "its sets are not valid: name at least one, each once")

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.case.suite}, {self.case.detector}, {self.attack}, {self.case.ball}"


@dataclass(frozen=True)
class Description:
    """A whole archive.

    Attributes:
        schema: of the layout.
        by: who hands it in, in words; may be "".
        note: what they say of it.
        rows: at least one.
        networks: digests of the networks that the archive carries.
    """

    schema: int
    by: str
    note: str
    rows: tuple[RowDescription, ...]
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_texts(self)
        _require(0 < len(self.rows) <= MOST_ROWS, f"it has {len(self.rows)} rows, expected 1 to {MOST_ROWS}")
        _require(all(map(_DIGEST.fullmatch, self.networks)), "a network is not a SHA-256 digest")
        _require(len(set(self.networks)) == len(self.networks), "it names a network twice")

    def written(self) -> bytes:
        """Return the content of `evidence.json`."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()


def read(raw: bytes) -> Description:
    """Read the description in an `evidence.json`.

    Raises:
        RefusedError: it is not valid; the message says what is wrong.
    """
    try:
        table = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(table, Mapping):
            raise ValueError("expected an object")
        if table.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {str(table.get('schema'))[:20]!r}, this oodbench reads {SCHEMA}")
        return build(Description, table)
    except (ValueError, RecursionError, DeclarationError, TypeError) as error:
        said = excerpt(" ".join(str(error).split()))
        raise RefusedError(f"its evidence.json says nothing that can be checked ({said})") from error


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _require(holds: Any, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _require_texts(said: Any) -> None:
    """Raise ValueError for a text that is too long, or would command a terminal."""
    for field in fields(said):
        text = getattr(said, field.name)
        if isinstance(text, str) and not (len(text) <= LONGEST and text.isprintable()):
            raise ValueError(f"{field.name} is longer than {LONGEST} letters, or holds what cannot be printed")
