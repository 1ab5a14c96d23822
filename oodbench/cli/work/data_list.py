"""`oodbench data list`: image sets, networks and assets in columns; and the description of each one."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlparse

import click

from oodbench.basics.errors import OodbenchError
from oodbench.cli.terminal import width
from oodbench.images import catalogue
from oodbench.images.builtin import BUILTINS
from oodbench.images.packs import length
from oodbench.sources.assets import ASSETS
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.source import RemoteFile
from oodbench.sources.trained import FOLDER, TRAINED
from oodbench.sources.verify import pack_difference
from oodbench.suite import Suite
from oodbench.suitefiles import suitefile
from oodbench.training import pretrained

KINDS: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "images": (SOURCES, BUILTINS),
    "networks": (TRAINED,),
    "assets": (ASSETS,),
}
"""All public and built-in names, by the kind that `list` takes."""

PRETRAINED = "pretrained"
"""The kind, beside `KINDS`, of the networks that are kept for everybody."""


def list_(kind: str | None, suite: str | None, data: Path) -> None:
    """Print the names of one kind or of all, or the image sets that a suite needs."""
    wanted = {"images": needed_sets(suitefile.read(suite))} if suite else names_by_kind(data, kind)
    click.echo(columns_text(wanted, data, width()))


def needed_sets(suite: Suite) -> list[str]:
    """Return every image set that a suite names."""
    sets = [suite.id.train, suite.id.test, *(ood.set for ood in suite.ood), suite.outliers and suite.outliers.set]
    return list(dict.fromkeys(name for name in sets if name))


def names_by_kind(data: Path, kind: str | None) -> Mapping[str, Sequence[str]]:
    """Return the names of one kind, or of all: public, built in, kept for everybody, and one's own."""
    names = {one: [name for known in KINDS[one] for name in known] for one in ([kind] if kind else KINDS)}
    if "images" in names:
        names["images"] += [name for name in catalogue.names(data) if name not in names["images"]]
    if "networks" in names:
        names[PRETRAINED] = [*pretrained.known(data)]
    return {one: names_of_kind for one, names_of_kind in names.items() if names_of_kind}


def columns_text(wanted: Mapping[str, Sequence[str]], data: Path, width: int) -> str:
    """Return the names of each kind in columns, in lines of `width` letters, and below them what is wrong with any."""
    parts, notes, known = [], [], pretrained.known(data)
    for kind, names in wanted.items():
        rows = [("", kind, "count" if kind == "images" else "", "MB", "")]
        for name in names:
            state, trouble = _state(name, data, known)
            notes += [f"{name} {'is broken' if state == 'broken' else 'differs'}: {trouble}"] if trouble else []
            rows.append((state, name, _count(name, data), _megabytes(name), _title(name, data, known)))
        columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{state:{columns[0]}}  {name:{columns[1]}}  {count:>{columns[2]}}  {size:>{columns[3]}}  {title}"
            for state, name, count, size, title in rows
        ]
        parts.append("\n".join(_cut(line.rstrip(), width) for line in lines))
    hint = "`oodbench data show NAME` says of each where it comes from, its terms, and what to know of it."
    return "\n\n".join([*parts, "\n".join(line for note in [*notes, hint] for line in wrapped(note, width))])


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines; words, some of which are commands, stay whole."""
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def describe(name: str, data: Path) -> str:
    """Return all that is known of a set, network or asset, in words; "" for a name that nobody has given."""
    known = pretrained.known(data)
    every = {*SOURCES, *BUILTINS, *TRAINED, *ASSETS, *known, *catalogue.names(data)}
    if name not in every:
        return ""
    state, trouble = _state(name, data, known)
    description = _pretrained_description(known[name]) if name in known else _description(name, data)
    words = f"{name} ({state}): {trouble}{description}"
    return f"{words} `oodbench data fetch {name}` fetches it." if state == "missing" else words


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def _count(name: str, data: Path) -> str:
    """Return how many images a set has; "" where that is not known."""
    if (pack := data / f"{name}.h5").is_file() and name not in TRAINED:
        try:
            return f"{length(pack):,}"
        except OodbenchError:
            return ""
    count = SOURCES[name].count if name in SOURCES else None
    return "" if count is None else f"{count:,}"


def _megabytes(name: str) -> str:
    """Return how much there is to download, or that it has to be brought by hand."""
    if name in SOURCES:
        files: Sequence[RemoteFile] = SOURCES[name].files
    elif name in TRAINED:
        files = [TRAINED[name].file]
    elif name in ASSETS:
        files = ASSETS[name].files
    else:
        return ""
    if any(not file.urls for file in files):
        return "by hand"
    known = sum(file.size or 0 for file in files) / 1e6
    return "?" if any(file.size is None for file in files) else f"{known:,.0f}" if known >= 1 else "<1"


def _title(name: str, data: Path, known: Mapping[str, pretrained.Pretrained]) -> str:
    """Return a few words about a set, network or asset."""
    for offered in (ASSETS, TRAINED, SOURCES):
        if name in offered:
            return offered[name].title
    if name in BUILTINS:
        return f"built in; {BUILTINS[name].description}"
    if name in known:
        return _pretrained_description(known[name])
    return _own_pack_text(name, data)


def _own_pack_text(name: str, data: Path) -> str:
    """Return the words for a name that nobody offers."""
    return "your own pack" if place(name, data).is_file() else "no public set: `oodbench data pack` your images"


def place(name: str, data: Path) -> Path:
    """Return where the file of a set, network or asset is, or would be."""
    if name in ASSETS:
        return data / ASSETS[name].folder / ASSETS[name].files[-1].name
    return data / FOLDER / TRAINED[name].file.name if name in TRAINED else data / f"{name}.h5"


def _state(name: str, data: Path, known: Mapping[str, pretrained.Pretrained]) -> tuple[str, str]:
    """Return the state of a name in the data folder, such as "missing", and a sentence on what is wrong, or ""."""
    if name in known:
        return _pretrained_state(known[name], data)
    if name not in BUILTINS and not place(name, data).is_file():
        return "missing", ""
    try:
        difference = pack_difference(name, data)
    except OodbenchError as error:
        return "broken", f"{error}. "
    return ("differs", f"{difference}. ") if difference else ("present", "")


def _pretrained_state(network: pretrained.Pretrained, data: Path) -> tuple[str, str]:
    """Return the same as `_state` for a network that is kept for everybody."""
    try:
        return ("present" if network.find(data) else "missing"), ""
    except OodbenchError as error:
        return "broken", f"{error}. "


def _description(name: str, data: Path) -> str:
    if name in ASSETS:
        return f"{ASSETS[name].title}; {ASSETS[name].terms}"
    if name in TRAINED:
        return _network_description(name)
    if name in BUILTINS:
        return f"built in; {BUILTINS[name].description}"
    if name not in SOURCES:
        return _own_pack_text(name, data)
    source = SOURCES[name]
    count = f"{source.count:,} images" if source.count is not None else "as many images as its list names"
    proof = "" if source.proven else " Nobody publishes a digest: fetch it with --unverified."
    note = f" {source.note}" if source.note else ""
    return f"{source.title}; {count}, {size_text(source.files)}; {source.terms}.{note}{proof}"


def _network_description(name: str) -> str:
    network = TRAINED[name]
    accuracy = f"{network.accuracy:.2%} right on {network.on}" if network.accuracy else "accuracy not known"
    accuracy += f" (says {network.source})" if network.accuracy and network.source else ""
    known = network.file.digest.partition(":")[2]
    proof = f"SHA-256 {known[:16]}..." + (" (no more of it is published)" if network.file.abridged else "")
    normalised = f"mean {_numbers_text(network.mean)}, std {_numbers_text(network.std)}"
    file = f"{size_text([network.file])}, {proof}; {network.terms}"
    return f"{network.title}; {network.network}, {normalised}; {accuracy}; {file}. --checkpoint {name}"


def _pretrained_description(network: pretrained.Pretrained) -> str:
    accuracies = "".join(f"{share:.2%} right on {on}; " for on, share in network.accuracy.items())
    objective = network.recipe.get("objective", "").partition("(")[0]
    return (
        f"objective {objective}, seed {network.recipe.get('seed', '')}; {accuracies}{network.took}; "
        f"SHA-256 {network.sha256[:16]}...; {network.note + '; ' if network.note else ''}--pretrained"
    )


def _hosts_text(files: Sequence[RemoteFile]) -> str:
    hosts = dict.fromkeys(urlparse(url).netloc for file in files for url in file.urls)
    return f" from {' or '.join(hosts)}"


def _by_hand_text(file: RemoteFile) -> str:
    size = f"about {file.size / 1e6:,.0f} MB, " if file.size else ""
    return f"{file.name} by hand ({size}{file.where})"


def _numbers_text(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def size_text(files: Sequence[RemoteFile]) -> str:
    """Return how much there is to download, and what has to be brought by hand; sizes are round figures."""
    known = sum(file.size for file in files if file.size is not None and file.urls) / 1e6
    unknown = any(file.size is None for file in files if file.urls)
    parts = [f"about {known:,.0f} MB to download" if known >= 1 else "less than 1 MB to download"] if known else []
    parts += [f"{'more' if known else 'a download'} of a size not known"] if unknown else []
    online = [" and ".join(parts) + _hosts_text(files)] if parts else []
    return " and ".join([*online, *(_by_hand_text(file) for file in files if not file.urls)]) or "nothing to download"
