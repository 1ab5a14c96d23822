"""A board on disk: a folder with a TOML file an entry, the evidence behind them, and the pages made of both.

    board.toml               title, and the least number of images of a set that an entry may be of
    entries/SUITE/NAME.toml  what was attacked, and every accepted piece of evidence, in the order in which it came
    evidence/DIGEST.zip      the archives
    entries.csv, index.html  made of the entries by `oodbench board render`

An entry's figures are not stored: they follow from its evidence. Of each OOD set the lowest AUROC and the highest
FPR@95 that any evidence shows count, and the entry's own are the means over its sets.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest, read_text, write_atomic
from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.board.description import Case

ABOUT, ENTRIES, EVIDENCE = "board.toml", "entries", "evidence"
METRICS = ("auroc", "fpr95")
LEAST = 50
"""Images of each OOD set that an entry is of at least, where the board says nothing else."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class About:
    """What a board says of itself.

    Attributes:
        title: on top of its page.
        least_images: of each OOD set, for an entry to begin.
    """

    title: str = "OOD detectors under attack"
    least_images: int = LEAST


@dataclass(frozen=True)
class OnSet:
    """Figures on one OOD set, fractions in [0, 1].

    Attributes:
        name: of the set.
        auroc, fpr95: as they were scored when it was accepted.
        images: SHA-256 of the attacked images.
    """

    name: str
    auroc: float
    fpr95: float
    images: str

    def __post_init__(self) -> None:
        if not (0 <= self.auroc <= 1 and 0 <= self.fpr95 <= 1):
            raise ValueError(f"figures of {self.name} are no fractions")


@dataclass(frozen=True)
class Accepted:
    """One piece of evidence that was verified.

    Attributes:
        sha256: of its archive.
        row: which of its rows, counted from 1.
        by, attack, note: in words of whoever handed it in.
        accepted: the day, YYYY-MM-DD.
        url: where the archive lies; "" where it is in the board's folder.
        sets: figures on the images of the entry.
    """

    sha256: str
    row: int
    by: str
    attack: str
    note: str
    accepted: str
    url: str
    sets: tuple[OnSet, ...]

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.sha256):
            raise ValueError("sha256 is not valid: 64 hex digits are expected")
        if not all(text.isprintable() for text in (self.by, self.attack, self.note, self.accepted, self.url)):
            raise ValueError("a text holds what cannot be printed")
        if self.url and not self.url.startswith("https://"):
            raise ValueError("url does not begin with https://")

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.by or 'unnamed'} ({self.sha256[:8]})"

    def on(self, name: str) -> OnSet | None:
        """Return its figures on a set; None where it has no images of that."""
        return next((one for one in self.sets if one.name == name), None)


@dataclass(frozen=True)
class Clean:
    """One of an entry's OOD sets, with the figures on its images when nobody attacks.

    Attributes:
        name: of the set.
        count: images of it, evenly spread.
        auroc, fpr95: fractions, not attacked.
    """

    name: str
    count: int
    auroc: float
    fpr95: float


@dataclass(frozen=True)
class Standing:
    """A figure on one set, and whose evidence it is."""

    value: float
    evidence: Accepted


@dataclass(frozen=True)
class Entry:
    """One detector over one network, attacked in one ball on certain images.

    Attributes:
        case: what is attacked, and how far.
        sets_of_suite: how many OOD sets the suite has, asides left out.
        sets: those of them that the entry is about, whose mean its figures are.
        evidence: what was accepted, the earliest first.
    """

    case: Case
    sets_of_suite: int
    sets: tuple[Clean, ...]
    evidence: tuple[Accepted, ...]

    def __post_init__(self) -> None:
        names = [one.name for one in self.sets]
        if not names or len({*names}) < len(names) or min(one.count for one in self.sets) < 1:
            raise ValueError("its sets are not valid: name at least one, each once and with at least one image")
        if not self.evidence or any(self.evidence[0].on(name) is None for name in names):
            raise ValueError("it has no evidence, or its first has not all of its sets")

    @property
    def key(self) -> str:
        """A digest that two entries of one claim have in common."""
        return key_of(self.case, {one.name: one.count for one in self.sets})

    @property
    def name(self) -> str:
        """Its file, without the suffix: the suite's folder, and what is attacked where."""
        case, count = self.case, max(one.count for one in self.sets)
        ball = f"{case.norm}{case.epsilon}"
        return f"{case.suite}/{case.detector}-{ball}-{count}-{self.key[:8]}"

    def standing(self, metric: str, name: str, evidence: Sequence[Accepted] | None = None) -> Standing | None:
        """Return the strongest evidence on a set: the earliest with the lowest AUROC, or the highest FPR@95."""
        sign = 1 if metric == "auroc" else -1
        best: Standing | None = None
        for one in self.evidence if evidence is None else evidence:
            if (found := one.on(name)) is not None:
                value = float(getattr(found, metric))
                if best is None or sign * value < sign * best.value:
                    best = Standing(value, one)
        return best

    def figure(self, metric: str) -> float:
        """Return the mean over its sets of the figure by the strongest evidence."""
        found = [self.standing(metric, one.name) for one in self.sets]
        return sum(one.value for one in found if one) / len(self.sets)

    def clean(self, metric: str) -> float:
        """Return the mean over its sets of the figure when nobody attacks."""
        return sum(float(getattr(one, metric)) for one in self.sets) / len(self.sets)

    def strongest(self, metric: str = "auroc") -> tuple[Accepted, ...]:
        """Return the evidence that the figure rests on, each piece once."""
        found = [self.standing(metric, one.name) for one in self.sets]
        return tuple(dict.fromkeys(one.evidence for one in found if one))

    def history(self) -> list[str]:
        """Return a line for each piece of evidence, in its order: what it replaced, and whose that was."""
        lines = []
        for number, one in enumerate(self.evidence):
            before = self.evidence[:number]
            lines.append(f"{one.accepted}  {one.name}, {one.attack}: {self._change_text(one, before)}")
        return lines

    def _change_text(self, one: Accepted, before: Sequence[Accepted]) -> str:
        if not before:
            return ", ".join(f"{each.name} AUROC {100 * each.auroc:.2f}" for each in one.sets)
        said = []
        for each in self.sets:
            for metric, called in (("auroc", "AUROC"), ("fpr95", "FPR@95")):
                old = self.standing(metric, each.name, before)
                new = self.standing(metric, each.name, (*before, one))
                if new and new.evidence is one and old:
                    said.append(
                        f"{each.name} {called} {100 * old.value:.2f} of {old.evidence.name} becomes "
                        f"{100 * new.value:.2f}"
                    )
        return "; ".join(said) or "weaker than what is there; nothing changes"


def key_of(case: Case, counts: Mapping[str, int]) -> str:
    """Return a digest of all that makes two pieces of evidence comparable: the case, and the sample of each set."""
    meant = {name: value for name, value in asdict(case).items() if name not in ("kept", "network")}
    return digest(json.dumps([meant, dict(sorted(counts.items()))], sort_keys=True))


def read_about(board: Path) -> About:
    """Read what a board says of itself; the defaults where it says nothing.

    Raises:
        OodbenchError: its file is broken.
    """
    file = board / ABOUT
    return _read_file(About, file) if file.is_file() else About()


def write_about(board: Path, about: About) -> None:
    """Raises StorageError: it cannot be written."""
    write_atomic(board / ABOUT, _toml(about).encode())


def read(board: Path) -> list[Entry]:
    """Read all entries of a board, by suite and name.

    Raises:
        OodbenchError: there is no board, or one of its files is broken.
    """
    if not (board / ABOUT).is_file():
        raise OodbenchError(
            f"{board} is no board, it has no {ABOUT}: `oodbench board add evidence.zip --board "
            f"{quote(str(board))}` begins one"
        )
    files = sorted((board / ENTRIES).glob("*/*.toml"))
    found = [_read_file(Entry, file) for file in files]
    for file, entry in zip(files, found, strict=True):
        if file != place(board, entry):
            raise OodbenchError(
                f"{file} is not what its name says, which is made of what it holds: bring back the file that "
                "`oodbench board add` wrote, as `git checkout` does"
            )
    return found


def place(board: Path, entry: Entry) -> Path:
    """Return the file of an entry."""
    return board / ENTRIES / f"{entry.name}.toml"


def write(board: Path, entry: Entry) -> None:
    """Raises StorageError: it cannot be written."""
    head = "# Written by `oodbench board add` from verified evidence; figures follow from it.\n\n"
    write_atomic(place(board, entry), (head + _toml(entry)).encode())


def with_evidence(entry: Entry, accepted: Accepted) -> Entry:
    """Return the entry with one more piece of evidence."""
    return replace(entry, evidence=(*entry.evidence, accepted))


def _read_file(cls: type[Any], file: Path) -> Any:
    try:
        return build(cls, tomllib.loads(read_text(file)))
    except (tomllib.TOMLDecodeError, DeclarationError, RecursionError) as error:
        raise OodbenchError(f"{file} is broken ({error}): bring back the file that `oodbench board` wrote") from error


def _toml(said: Any) -> str:
    """Return a dataclass as TOML: plain values first, then tables, then lists of tables."""
    return "\n".join(_lines(said, "")) + "\n"


def _lines(said: Any, at: str) -> list[str]:
    values = {field.name: getattr(said, field.name) for field in fields(said)}
    lines = [f"{name} = {_value(value)}" for name, value in values.items() if not _is_table(value)]
    for name, value in values.items():
        inside = f"{at}{name}"
        if is_dataclass(value):
            lines += ["", f"[{inside}]", *_lines(value, f"{inside}.")]
        elif _is_table(value):
            for one in value:
                lines += ["", f"[[{inside}]]", *_lines(one, f"{inside}.")]
    return lines


def _is_table(value: Any) -> bool:
    return is_dataclass(value) or isinstance(value, tuple)


def _value(value: str | int | float) -> str:
    if isinstance(value, str):
        # Texts of a board hold nothing that cannot be printed, so JSON's quotes are TOML's.
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
