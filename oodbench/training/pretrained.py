"""Trained networks that are kept for everybody: what each is, by digest, and whether it is what a run would train.

A shelf is a folder of safetensors files beside an `index.json`. The index says of each network its file's SHA-256, what
it was trained by (`recipe`: objective, architecture, training, seed and the code behind them, but not the machine) and
on which images. A run that asks for trained networks takes one whose recipe is equal to its own, in all of it.

Shelves are the folders in `results/reference/networks`, which come with a clone and the smaller ones with a wheel, and
those in the folder `networks` of the data folder, where files of the former may lie as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.resources import files
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oodbench import networks, training
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest, read_text, write_atomic
from oodbench.basics.sourcecode import code_digest
from oodbench.sources.download import download
from oodbench.sources.source import RemoteFile
from oodbench.sources.trained import FOLDER

if TYPE_CHECKING:
    from torch import nn

    from oodbench.objective import Objective
    from oodbench.suite import Suite

INDEX = "index.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""A shelf, or a network on it: part of a file's name."""

Recipe = Mapping[str, str]
"""What a network is trained by, as plain text; two that are equal in it differ in the machine alone."""

WORDS = {
    "version": "the training loop",
    "objective": "the objective",
    "objective_code": "the code of the objective",
    "architecture": "the code or shape of the network",
    "training": "the training recipe",
    "start": "the weights that training starts from",
    "heldout": "how many ID training images are held out",
    "outliers": "the outliers",
    "seed": "its seed",
}
"""What recipes differ in, for people; a network of other ID images or another architecture is not spoken of."""


@dataclass(frozen=True)
class Pretrained:
    """A trained network, as its index has it.

    Attributes:
        name: of the shelf and, behind "/", of the network.
        sha256: of its file.
        recipe: what it was trained by.
        images: fingerprints of what it was trained on, by the image set's name.
        trained_on: the machine, for people.
        seconds: that the training took; NaN where nobody knows.
        accuracy: on ID test sets by name, in [0, 1].
        url: where its file can be downloaded; "" where nowhere.
        note: what is to be known of it; "" where nothing is.
    """

    name: str
    sha256: str
    recipe: Recipe
    images: Mapping[str, str]
    trained_on: str = ""
    seconds: float = float("nan")
    accuracy: Mapping[str, float] = field(default_factory=dict)
    url: str = ""
    note: str = ""

    @property
    def took(self) -> str:
        """How long its training took, and where, in words."""
        hours = f"{self.seconds / 3600:.2f} hours" if self.seconds >= 3600 else f"{self.seconds:.0f} s"
        long = "an unknown time" if isnan(self.seconds) else hours
        return f"trained for {long} on {self.trained_on or 'an unknown machine'}"

    @property
    def title(self) -> str:
        """Its name without the seed: what networks share that differ in their seed alone."""
        return self.name.removesuffix(f"-seed{self.recipe.get('seed', '')}")

    def place(self, shelves: Path) -> Path:
        """Its file in a folder of shelves."""
        return shelves / f"{self.name}.safetensors"

    def find(self, data: Path) -> Path | None:
        """Its file, where there is one.

        Raises:
            OodbenchError: a file is there, and it is not the one that the index speaks of.
        """
        amiss: list[OodbenchError] = []
        for file in (self.place(shelves) for shelves in roots(data)):
            if file.is_file():
                try:
                    require_same(file, self.sha256, f"network {self.name}")
                except OodbenchError as error:
                    amiss.append(error)
                else:
                    return file
        if amiss:
            raise amiss[0]
        return None

    def get(self, data: Path) -> Path:
        """Its file, downloaded if it is not there, or not as it should be.

        Raises:
            OodbenchError: as `find` and `fetch`.
            StorageError: as `fetch`.
        """
        try:
            found = self.find(data)
        except OodbenchError:
            if not self.url:
                raise
            found = None
        return found or self.fetch(data)

    def fetch(self, data: Path) -> Path:
        """Its file, downloaded to the data folder and verified.

        Raises:
            OodbenchError: it has no public address, or what went wrong on the way.
            StorageError: it cannot be written.
        """
        if not self.url:
            raise OodbenchError(f"network {self.name} cannot be downloaded: {self.where(data)}")
        file = self.place(data / FOLDER)
        return download(RemoteFile((self.url,), f"sha256:{self.sha256}", None, file.name), file.parent)

    def where(self, data: Path) -> str:
        """How to come by its file, for people who lack it."""
        if self.url:
            return f"`oodbench data fetch {self.name}`"
        return (
            f"it has no public address yet, and comes with a clone of oodbench's repository as "
            f"results/reference/networks/{self.name}.safetensors: copy that file to {self.place(data / FOLDER)}"
        )


@dataclass(frozen=True)
class Choice:
    """What there is for an objective in place of a training.

    Attributes:
        network: the one that is kept for everybody; None where there is none, or a checkpoint was given.
        file: of the network; None where one has to be trained.
        why: no kept one will do; "" where one does, or none was asked for.
        others: that were trained by the same, perhaps on other images of the same names.
        module: a trained one that somebody has in memory.
    """

    network: Pretrained | None = None
    file: Path | None = None
    why: str = ""
    others: tuple[Choice, ...] = ()
    module: nn.Module | None = None

    def on(self, images: Mapping[str, str]) -> Choice:
        """The same, or the first of the others that was trained on the `images` here: fingerprints by set.

        A set that is not here is known by its name alone.
        """
        own = self.network.images if self.network else {}
        other = [name for name, fingerprint in own.items() if images.get(name, fingerprint) != fingerprint]
        if self.network is None or not other:
            return self
        if self.others:
            return replace(self.others[0], others=self.others[1:]).on(images)
        return Choice(why=f"{self.network.name} was trained on other images of the name {', '.join(other)}")


def require_same(file: Path, expected: str, what: str) -> None:
    """OodbenchError unless the SHA-256 of a file is `expected`."""
    try:
        found = sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise OodbenchError(f"cannot read {file}: {error.strerror or error}; mend its permissions") from error
    if found != expected:
        raise OodbenchError(
            f"{what}: {file} is not the file that its index speaks of, or a damaged one (SHA-256 {found[:16]}..., "
            f"expected {expected[:16]}...): bring the right one back, as `git checkout` does in a clone, or run "
            "without --pretrained"
        )


def roots(data: Path) -> tuple[Path, Path]:
    """Folders of shelves, in the order in which they are searched."""
    return Path(str(files("oodbench.figures"))) / "networks", data / FOLDER


def known(data: Path) -> dict[str, Pretrained]:
    """Every network of every shelf, by name.

    Raises:
        OodbenchError: an index is broken, or two of them speak of different files of one name.
    """
    found: dict[str, Pretrained] = {}
    for root in roots(data):
        for index in sorted(root.glob(f"*/{INDEX}")):
            for one in read_index(index).values():
                if found.setdefault(one.name, one).sha256 != one.sha256:
                    raise OodbenchError(
                        f"{index} speaks of another file {one.name} than the one that comes with oodbench: rename the "
                        "folder that it lies in, and networks in it are called after that"
                    )
    return found


def read_index(index: Path) -> dict[str, Pretrained]:
    """The networks of one shelf, by name; none where it has no index yet.

    Raises:
        OodbenchError: it is broken, with what is wrong.
    """
    if not index.is_file():
        return {}
    shelf = index.absolute().parent.name
    text = read_text(index)
    try:
        content = json.loads(text)
        _require_text(content, {"networks"})
        return {
            entry.name: entry for entry in (_entry(shelf, key, about) for key, about in content["networks"].items())
        }
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise OodbenchError(
            f"{index} is no index of trained networks ({type(error).__name__}: {said}): `oodbench keep` writes one; "
            "bring the right one back, or name another data folder"
        ) from error


def write_index(index: Path, networks: Mapping[str, Pretrained]) -> None:
    """Write the index of one shelf, in the order of names.

    Raises:
        StorageError: it cannot be written.
    """
    entries = {
        name.rpartition("/")[2]: {
            "sha256": one.sha256,
            "recipe": dict(sorted(one.recipe.items())),
            "images": dict(sorted(one.images.items())),
            "trained_on": one.trained_on,
            "seconds": None if isnan(one.seconds) else one.seconds,  # JSON knows no NaN
            "accuracy": dict(sorted(one.accuracy.items())),
            "url": one.url,
            **({"note": one.note} if one.note else {}),
        }
        for name, one in sorted(networks.items())
    }
    write_atomic(index, (json.dumps({"networks": entries}, indent=1, allow_nan=False) + "\n").encode())


def _entry(shelf: str, name: str, about: Mapping[str, Any]) -> Pretrained:
    if not (NAME.fullmatch(name) and NAME.fullmatch(shelf)):
        raise ValueError(f"{shelf}/{name} is no name of a network: a-z, 0-9, - _ .")
    found = Pretrained(
        f"{shelf}/{name}",
        str(about["sha256"]),
        _words(about["recipe"]),
        _words(about["images"]),
        _shown(about["trained_on"]),
        nan if about["seconds"] is None else float(about["seconds"]),
        {_shown(on): float(share) for on, share in about["accuracy"].items()},
        str(about.get("url", "")),
        _shown(about.get("note", "")),
    )
    if not all(0 <= share <= 1 for share in found.accuracy.values()):
        raise ValueError(f"{name}: accuracy is no share")
    if not re.fullmatch("[0-9a-f]{64}", found.sha256):
        raise ValueError(f"{name}: sha256 is not one")
    if found.url and not found.url.startswith("https://"):
        raise ValueError(f"{name}: url does not begin with https://")
    return found


def _require_text(content: Any, names: set[str]) -> None:
    if not isinstance(content, dict) or not names <= content.keys():
        raise ValueError(f"expected {', '.join(sorted(names))}")


def _words(about: Any) -> dict[str, str]:
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise ValueError("expected texts by name")
    return {_shown(name): _shown(value) for name, value in about.items()}


def _shown(text: Any) -> str:
    """A text that is shown to people as it stands, and must not command their terminal."""
    if not str(text).isprintable():
        raise ValueError(f"{str(text)[:40]!r} holds what cannot be printed")
    return str(text)


def recipe(suite: Suite, objective: Objective, seed: int, data: Path) -> dict[str, str]:
    """What the network of an objective is trained by on a suite: what `Pretrained.recipe` must be equal to.

    Number formats of the machine, device, processes and the number of images that `--limit` leaves are not in it.
    """
    # What is kept can be listed without torch, which these take.
    from oodbench.networks.network import Network
    from oodbench.objective import Objective
    from oodbench.training.suite_network import made_network, start_digest

    network = made_network(suite, objective, seed)
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in network.state_dict().items()]
    parts = {type(part) for part in network.modules() if isinstance(part, Network)}
    own = [code] if (code := networks.code(suite.network.name)) else []
    exposed = objective.uses_outliers and suite.outliers is not None
    return {
        "version": str(training.VERSION),
        "objective": objective.identity,
        "objective_code": code_digest(type(objective), root=Objective),
        "network": suite.network.trained_as,
        "architecture": digest(code_digest(*parts, root=Network), *shapes, *own),
        "training": json.dumps(suite.training and suite.training.meaning(), sort_keys=True),
        "start": start_digest(suite, data),
        "id_train": str(suite.id.train),
        "heldout": str(suite.id.heldout),
        "outliers": repr(suite.outliers) if exposed else "",
        "seed": str(seed),
    }


def choose(suite: Suite, objective: Objective, seed: int, data: Path) -> Choice:
    """The kept network that is what a run would train for an objective, images aside; or why there is none.

    Raises:
        OodbenchError: an index is broken, or the file is not the one that its index speaks of.
    """
    wanted, sets = recipe(suite, objective, seed, data), {*sets_trained_on(suite, objective)}
    kept = known(data)
    alike = [one for one in kept.values() if one.recipe == wanted]
    if not alike:
        return Choice(why=_nearest(wanted, kept))
    telling = [one for one in alike if one.images.keys() == sets]
    if not telling:
        return Choice(why=f"the index of {alike[0].name} does not say which {' and '.join(sorted(sets))} it saw")
    there = [Choice(one, file) for one in telling if (file := one.find(data))]
    if not there:
        return Choice(why=f"{telling[0].name} is not here: {telling[0].where(data)}")
    return replace(there[0], others=tuple(there[1:]))


def sets_trained_on(suite: Suite, objective: Objective) -> list[str]:
    """Names of the image sets that the network of an objective is trained on."""
    outliers = suite.outliers.set if objective.uses_outliers and suite.outliers else None
    return [name for name in (suite.id.train, outliers) if name]


def _nearest(wanted: Recipe, kept: Mapping[str, Pretrained]) -> str:
    """Why none of the networks will do: what the one that is most like it differs in, if any is for the same thing."""
    kind = wanted["objective"].partition("(")[0]
    alike = [
        (len(differing), one.name, differing)
        for one in kept.values()
        if all(one.recipe.get(name) == wanted[name] for name in ("network", "id_train"))
        and one.recipe.get("objective", "").partition("(")[0] == kind
        and (differing := differences(one.recipe, wanted))
    ]
    if not alike:
        return "none is kept for it"
    _, name, differing = min(alike)
    return f"{name} is not what would be trained here, it differs in {', '.join(differing)}"


def differences(one: Recipe, other: Recipe) -> list[str]:
    """In what two recipes differ, for people."""
    names = dict.fromkeys([*one, *other])
    return [WORDS.get(name, name) for name in names if one.get(name) != other.get(name)]
