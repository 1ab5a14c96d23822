"""Trained networks that are kept for everybody: each is known by its digest and by the recipe that it was trained by.

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
"""Names that a shelf or a network on it may have: each is part of a file's name."""

Recipe = Mapping[str, str]
"""The recipe of a training, as texts by name; networks with equal recipes differ in the machine alone."""

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
"""Names of a recipe's entries for people; recipes are compared only where ID images and network are the same."""


@dataclass(frozen=True)
class Pretrained:
    """A trained network, by its entry in an index.

    Attributes:
        name: of the shelf and, behind "/", of the network.
        sha256: of its file.
        recipe: what it was trained by.
        images: fingerprints of the images that it was trained on, by the image set's name.
        trained_on: the machine, for people.
        seconds: that the training took; NaN where it is not known.
        accuracy: on ID test sets by name, in [0, 1].
        url: address from which its file can be downloaded; "" where there is none.
        note: a caveat for people; "" where there is none.
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
        """How long its training took, and on which machine, in words."""
        time = f"{self.seconds / 3600:.2f} hours" if self.seconds >= 3600 else f"{self.seconds:.0f} s"
        duration = "an unknown time" if isnan(self.seconds) else time
        return f"trained for {duration} on {self.trained_on or 'an unknown machine'}"

    @property
    def title(self) -> str:
        """Its name without the seed, which networks share that differ in their seed alone."""
        return self.name.removesuffix(f"-seed{self.recipe.get('seed', '')}")

    def place(self, shelves: Path) -> Path:
        """The path of its file in a folder of shelves."""
        return shelves / f"{self.name}.safetensors"

    def find(self, data: Path) -> Path | None:
        """The path of its file, or None where there is none.

        Raises:
            OodbenchError: a file is there, and it is not the one of the index.
        """
        errors: list[OodbenchError] = []
        for file in (self.place(shelves) for shelves in roots(data)):
            if file.is_file():
                try:
                    require_same(file, self.sha256, f"network {self.name}")
                except OodbenchError as error:
                    errors.append(error)
                else:
                    return file
        if errors:
            raise errors[0]
        return None

    def get(self, data: Path) -> Path:
        """The path of its file, downloaded if it is missing or not the one of the index.

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
        """Download its file to the data folder, verify it, and return its path.

        Raises:
            OodbenchError: it has no public address, or the download failed.
            StorageError: the file cannot be written.
        """
        if not self.url:
            raise OodbenchError(f"network {self.name} cannot be downloaded: {self.advice(data)}")
        file = self.place(data / FOLDER)
        return download(RemoteFile((self.url,), f"sha256:{self.sha256}", None, file.name), file.parent)

    def advice(self, data: Path) -> str:
        """How to get its file, for people who lack it."""
        if self.url:
            return f"`oodbench data fetch {self.name}`"
        return (
            f"it has no public address yet, and comes with a clone of oodbench's repository as "
            f"results/reference/networks/{self.name}.safetensors: copy that file to {self.place(data / FOLDER)}"
        )


@dataclass(frozen=True)
class Choice:
    """The network that takes the place of a training for an objective, if there is one.

    Attributes:
        network: the one that is kept for everybody; None where there is none, or a checkpoint was given.
        file: of the network; None where one has to be trained.
        why_not_pretrained: why no kept one will do; "" where one does, or none was asked for.
        others: choices of kept networks with the same recipe, perhaps trained on other images of the same names.
        module: a user's trained network in memory.
    """

    network: Pretrained | None = None
    file: Path | None = None
    why_not_pretrained: str = ""
    others: tuple[Choice, ...] = ()
    module: nn.Module | None = None

    def on(self, images: Mapping[str, str]) -> Choice:
        """The same choice, or the first of the others that was trained on the images here.

        Args:
            images: fingerprints of the sets here, by name; a set that is not here is compared by its name alone.
        """
        trained_on = self.network.images if self.network else {}
        differing = [name for name, fingerprint in trained_on.items() if images.get(name, fingerprint) != fingerprint]
        if self.network is None or not differing:
            return self
        if self.others:
            return replace(self.others[0], others=self.others[1:]).on(images)
        return Choice(
            why_not_pretrained=f"{self.network.name} was trained on other images of the name {', '.join(differing)}"
        )


def require_same(file: Path, expected: str, what: str) -> None:
    """Raise OodbenchError unless the SHA-256 of a file is `expected`; `what` names the file for people."""
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
        OodbenchError: an index is broken, or two of them have different files of one name.
    """
    networks: dict[str, Pretrained] = {}
    for root in roots(data):
        for index in sorted(root.glob(f"*/{INDEX}")):
            for network in read_index(index).values():
                if networks.setdefault(network.name, network).sha256 != network.sha256:
                    raise OodbenchError(
                        f"{index} speaks of another file {network.name} than the one that comes with oodbench: rename "
                        "the folder that it lies in, and networks in it are called after that"
                    )
    return networks


def read_index(index: Path) -> dict[str, Pretrained]:
    """The networks of one shelf, by name; none where it has no index yet.

    Raises:
        OodbenchError: the index is broken; the error says what is wrong.
    """
    if not index.is_file():
        return {}
    shelf = index.absolute().parent.name
    text = read_text(index)
    try:
        content = json.loads(text)
        _require_keys(content, {"networks"})
        return {
            entry.name: entry for entry in (_entry(shelf, key, about) for key, about in content["networks"].items())
        }
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OodbenchError(
            f"{index} is not an index of trained networks ({type(error).__name__}: {reason}): `oodbench keep` writes "
            "one; bring the right one back, or name another data folder"
        ) from error


def write_index(index: Path, networks: Mapping[str, Pretrained]) -> None:
    """Write the index of one shelf, in the order of names.

    Raises:
        StorageError: it cannot be written.
    """
    entries = {
        name.rpartition("/")[2]: {
            "sha256": network.sha256,
            "recipe": dict(sorted(network.recipe.items())),
            "images": dict(sorted(network.images.items())),
            "trained_on": network.trained_on,
            "seconds": None if isnan(network.seconds) else network.seconds,  # JSON knows no NaN
            "accuracy": dict(sorted(network.accuracy.items())),
            "url": network.url,
            **({"note": network.note} if network.note else {}),
        }
        for name, network in sorted(networks.items())
    }
    write_atomic(index, (json.dumps({"networks": entries}, indent=1, allow_nan=False) + "\n").encode())


def _entry(shelf: str, name: str, about: Mapping[str, Any]) -> Pretrained:
    """The network of an index's entry; ValueError, TypeError or KeyError for an entry that is not valid."""
    if not (NAME.fullmatch(name) and NAME.fullmatch(shelf)):
        raise ValueError(f"{shelf}/{name} is not a valid name of a network: use a-z, 0-9, - _ and .")
    network = Pretrained(
        f"{shelf}/{name}",
        str(about["sha256"]),
        _texts(about["recipe"]),
        _texts(about["images"]),
        _printable(about["trained_on"]),
        nan if about["seconds"] is None else float(about["seconds"]),
        {_printable(on): float(share) for on, share in about["accuracy"].items()},
        str(about.get("url", "")),
        _printable(about.get("note", "")),
    )
    if not all(0 <= share <= 1 for share in network.accuracy.values()):
        raise ValueError(f"{name}: accuracy is not a share from 0 to 1")
    if not re.fullmatch("[0-9a-f]{64}", network.sha256):
        raise ValueError(f"{name}: sha256 is not 64 hexadecimal digits")
    if network.url and not network.url.startswith("https://"):
        raise ValueError(f"{name}: url does not begin with https://")
    return network


def _require_keys(content: Any, names: set[str]) -> None:
    """Raise ValueError unless `content` is an object with these keys."""
    if not isinstance(content, dict) or not names <= content.keys():
        raise ValueError(f"expected {', '.join(sorted(names))}")


def _texts(about: Any) -> dict[str, str]:
    """An object of texts by name; ValueError for anything else."""
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise ValueError("expected texts by name")
    return {_printable(name): _printable(value) for name, value in about.items()}


def _printable(text: Any) -> str:
    """A text that is printed as it stands; ValueError where it has characters that could command a terminal."""
    if not str(text).isprintable():
        raise ValueError(f"{str(text)[:40]!r} holds what cannot be printed")
    return str(text)


def recipe(suite: Suite, objective: Objective, seed: int, data: Path) -> dict[str, str]:
    """The recipe by which a run trains the network of an objective on a suite; `Pretrained.recipe` is compared with it.

    The machine, its number formats, the processes and the number of images that `--limit` leaves are not in it.
    """
    # These modules import torch, which takes seconds, so they are imported where they are needed: what is kept can be
    # listed without them.
    from oodbench.networks.network import Network
    from oodbench.objective import Objective
    from oodbench.training.suite_network import made_network, start_digest

    network = made_network(suite, objective, seed)
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in network.state_dict().items()]
    parts = {type(part) for part in network.modules() if isinstance(part, Network)}
    user_code = [code] if (code := networks.code(suite.network.name)) else []
    exposed = objective.uses_outliers and suite.outliers is not None
    return {
        "version": str(training.VERSION),
        "objective": objective.identity,
        "objective_code": code_digest(type(objective), root=Objective),
        "network": suite.network.trained_as,
        "architecture": digest(code_digest(*parts, root=Network), *shapes, *user_code),
        "training": json.dumps(suite.training and suite.training.meaning(), sort_keys=True),
        "start": start_digest(suite, data),
        "id_train": str(suite.id.train),
        "heldout": str(suite.id.heldout),
        "outliers": repr(suite.outliers) if exposed else "",
        "seed": str(seed),
    }


def choose(suite: Suite, objective: Objective, seed: int, data: Path) -> Choice:
    """The kept network that has the recipe of the training of an objective, or why there is none; see `Choice.on`.

    Raises:
        OodbenchError: an index is broken, or the file is not the one of its index.
    """
    wanted, sets = recipe(suite, objective, seed, data), {*sets_trained_on(suite, objective)}
    kept = known(data)
    alike = [network for network in kept.values() if network.recipe == wanted]
    if not alike:
        return Choice(why_not_pretrained=_nearest_text(wanted, kept))
    candidates = [network for network in alike if network.images.keys() == sets]
    if not candidates:
        return Choice(
            why_not_pretrained=f"the index of {alike[0].name} does not say which {' and '.join(sorted(sets))} it saw"
        )
    choices = [Choice(network, file) for network in candidates if (file := network.find(data))]
    if not choices:
        return Choice(why_not_pretrained=f"{candidates[0].name} is not here: {candidates[0].advice(data)}")
    return replace(choices[0], others=tuple(choices[1:]))


def sets_trained_on(suite: Suite, objective: Objective) -> list[str]:
    """Names of the image sets that the network of an objective is trained on."""
    outliers = suite.outliers.set if objective.uses_outliers and suite.outliers else None
    return [name for name in (suite.id.train, outliers) if name]


def _nearest_text(wanted: Recipe, kept: Mapping[str, Pretrained]) -> str:
    """Why none of the networks will do: in what the most similar one differs, if any is for the same objective."""
    kind = wanted["objective"].partition("(")[0]
    similar = [
        (len(differing), network.name, differing)
        for network in kept.values()
        if all(network.recipe.get(name) == wanted[name] for name in ("network", "id_train"))
        and network.recipe.get("objective", "").partition("(")[0] == kind
        and (differing := differences(network.recipe, wanted))
    ]
    if not similar:
        return "none is kept for it"
    _, name, differing = min(similar)
    return f"{name} is not what would be trained here, it differs in {', '.join(differing)}"


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The entries in which two recipes differ, for people."""
    names = dict.fromkeys([*one, *other])
    return [WORDS.get(name, name) for name in names if one.get(name) != other.get(name)]
