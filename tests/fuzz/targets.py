"""What is mutated, and the commands that then meet it."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
from hypothesis import strategies as st

from oodbench.cli import commands
from tests.fuzz.calling import call, digests, inside, require_decent
from tests.fuzz.mutating import Mutation, edited_csv, edited_toml, odd_values, spoiled

Case = Any
"""Plain data, as a strategy draws it."""

RUN = ("run", "--suite", "tiny.toml", "--detector", "msp")


@contextmanager
def copied(world: Path, folder: Path) -> Iterator[Path]:
    """A copy of the world to spoil, as the current folder."""
    shutil.copytree(world, folder, symlinks=True)
    try:
        with inside(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spoil(folder: Path, name: str, mutation: Mutation) -> Path:
    file = folder / name
    file.write_bytes(mutation(file.read_bytes()))
    return file


def _kept(folder: Path, inputs: list[Path], *calls: tuple[str, ...]) -> None:
    known = digests(inputs)
    for arguments in calls:
        require_decent(call(*arguments), folder, known)


def suites(folder: Path, mutation: Mutation) -> None:
    """A suite's TOML file."""
    file = _spoil(folder, "tiny.toml", mutation)
    _kept(folder, [file, folder / "data"], ("list", "suites"), ("data", "list", "--suite", "tiny.toml"), RUN)


def packs(folder: Path, case: tuple[str, Mutation]) -> None:
    """A pack's bytes."""
    name, mutation = case
    file = _spoil(folder, f"data/{name}.h5", mutation)
    shutil.rmtree(folder / "results")
    _kept(folder, [file], ("data", "verify"), ("data", "list"), ("data", "show", name, "--out", "sheet.png"), RUN)


def spoil_hdf5(file: Path, edits: list[tuple[int, str, Any]]) -> None:
    """Take away, replace or rename datasets and attributes of an HDF5 file."""
    with h5py.File(file, "r+") as opened:
        nodes: list[tuple[Any, str, bool]] = []

        def look(_: str, node: Any) -> None:
            nodes.extend((node, name, True) for name in node.attrs)
            if isinstance(node, h5py.Group):
                nodes.extend((node, name, False) for name in node)

        look("", opened)
        opened.visititems(look)
        for number, how, value in edits:
            holder, name, is_attribute = nodes[number % len(nodes)]
            try:
                place = holder.attrs if is_attribute else holder
                if how == "rename" and not is_attribute:
                    holder.move(name, f"{name}-2")
                else:
                    del place[name]
                    if how == "replace":
                        place[name] = value
            except (KeyError, ValueError, TypeError, RuntimeError, OSError):
                continue  # an earlier edit took it away, or HDF5 cannot hold such a value


values = st.one_of(
    st.sampled_from(
        [0, 1, -1, 2.5, float("nan"), "", "text", "{}", "[1]", "é", b"\xff", True, 2**62, np.zeros(0), np.zeros((2, 2))]
    ),
    st.builds(np.full, st.integers(0, 40), st.sampled_from([0, 1, np.nan, np.inf, 255, -1])),
    st.builds(
        lambda n, kind: np.zeros((n, 32, 32, 3), kind),
        st.integers(0, 12),
        st.sampled_from(["u1", "f4", "i8"]),
    ),
    st.text(max_size=8),
)
edits = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["drop", "replace", "rename"]), values), min_size=1, max_size=3
)


def pack_contents(folder: Path, case: tuple[str, list[tuple[int, str, Any]]]) -> None:
    """What a pack says of itself."""
    name, changes = case
    file = folder / "data" / f"{name}.h5"
    spoil_hdf5(file, changes)
    shutil.rmtree(folder / "results")
    _kept(folder, [file], ("data", "verify"), ("data", "list"), ("data", "show", name, "--out", "sheet.png"), RUN)


def results(folder: Path, case: Mutation | list[tuple[int, str, Any]]) -> None:
    """A file of scores, its bytes or what it says of itself."""
    file = sorted((folder / "results" / "tiny").rglob("*.h5"))[0]
    if isinstance(case, list):
        spoil_hdf5(file, case)
    else:
        file.write_bytes(case(file.read_bytes()))
    _kept(
        folder,
        [folder / "results"],
        ("table", "results"),
        ("table", "results", "--format", "csv", "--by", "ood"),
        ("table", "results", "--convention", "published", "--intervals", "--seeds", "each"),
        ("check", "results", "--reference", "reference.csv"),
        ("report", "results", "-o", "page.html"),
        ("data", "export", "results", "--data", "exported"),
    )
    require_decent(call(*RUN, "--detector", "knn"), folder, digests([folder / "data"]))


def references(folder: Path, mutation: Mutation) -> None:
    """A reference CSV."""
    file = _spoil(folder, "reference.csv", mutation)
    _kept(
        folder,
        [file, folder / "results"],
        ("check", "results", "--reference", "reference.csv"),
        ("table", "results", "--compare", "reference.csv"),
    )
    require_decent(call("check", "results", "--reference", "reference.csv", "--update"), folder, {})


def leaderboards(folder: Path, mutation: Mutation) -> None:
    """A CSV file of a leaderboard."""
    file = _spoil(folder, "cifar10.csv", mutation)
    asked = ("reference", "import", "openood", "cifar10.csv", "--commit", "28d3a40", "-o", "board.csv")
    _kept(folder, [file], asked, ("table", "results", "--compare", "board.csv"))


def feature_packs(folder: Path, mutation: Mutation) -> None:
    """A feature pack."""
    file = _spoil(folder, "tiny.features", mutation)
    asked = ("run", "--features", "tiny.features", "--detector", "msp", "--detector", "knn", "--out", "scored")
    _kept(folder, [file], asked, ("run", "--features", "tiny.features", "--detector", "all", "--dry-run"))


def checkpoints(folder: Path, case: tuple[str, Mutation]) -> None:
    """A trained network."""
    suffix, mutation = case
    file = folder / f"spoiled{suffix}"
    file.write_bytes(mutation((folder / "network.safetensors").read_bytes()))
    _kept(folder, [file], (*RUN, "--checkpoint", file.name, "--task", "clean"))


def stored_networks(folder: Path, mutation: Mutation) -> None:
    """A network that a run trained, found broken by the next one."""
    file = next((folder / "results" / "networks").glob("*.safetensors"))
    file.write_bytes(mutation(file.read_bytes()))
    shutil.rmtree(folder / "results" / "tiny")
    _kept(folder, [folder / "data"], RUN)


def kept_networks(folder: Path, case: tuple[str, Mutation]) -> None:
    """A network that somebody keeps for others, or the index that says what it is."""
    name, mutation = case
    _spoil(folder, f"data/networks/shelf/{name}", mutation)
    shutil.rmtree(folder / "results" / "tiny")
    _kept(folder, [folder / "data"], (*RUN, "--pretrained", "--task", "clean"), ("data", "list", "networks"))
    keep = ("keep", "--suite", "tiny.toml", "--detector", "msp", "--into", "data/networks/shelf")
    require_decent(call(*keep), folder, digests([folder / "tiny.toml"]))


def detector_files(folder: Path, mutation: Mutation) -> None:
    """A fitted detector."""
    file = _spoil(folder, "tiny.ood", mutation)
    _kept(
        folder,
        [file, folder / "photos"],
        ("score", "photos", "--with", "tiny.ood", "-o", "scores.csv"),
        ("score", "tiny-ood", "photos.zip", "--with", "tiny.ood", "--fdr", "0.5", "--format", "json"),
    )


FILES = ("photos/cat/0.png", "photos/cat/1.jpg", "photos/cat/2.gif", "photos/dog/7.png")


def photographs(folder: Path, case: tuple[str, str, Mutation, str]) -> None:
    """A folder of image files, one of them spoiled, under another name perhaps."""
    name, renamed, mutation, kind = case
    file = _spoil(folder, name, mutation)
    if renamed:
        target = file.with_name(renamed)
        file.rename(target)
    more = ("--files",) if kind == "files" else ()
    _kept(
        folder,
        [folder / "photos"],
        ("data", "pack", "photos", "mine", *more),
        ("data", "pack", "photos", "mine", "--skip-broken", *more),
        ("data", "verify", "mine"),
        ("data", "show", "mine", "--out", "sheet.png"),
        ("score", "photos", "--with", "tiny.ood"),
    )


def archives(folder: Path, case: tuple[str, Mutation, str]) -> None:
    """An archive of image files."""
    name, mutation, kind = case
    file = _spoil(folder, name, mutation)
    more = ("--files",) if kind == "files" else ()
    _kept(folder, [file], ("data", "pack", name, "mine", *more), ("data", "verify", "mine"))


def arrays(folder: Path, case: tuple[str, bytes]) -> None:
    """A file that may hold arrays, by any name."""
    name, content = case
    file = folder / name
    file.write_bytes(content)
    _kept(folder, [file], ("data", "pack", name, "mine"), ("data", "pack", name, "mine", "--files"))


def plugins(folder: Path, mutation: Mutation) -> None:
    """A plugin file: it is the user's own code and may do what it likes, but what it is not is said."""
    file = _spoil(folder, "plug.py", mutation)
    _kept(folder, [file], ("run", "--suite", "tiny.toml", "--detector", "brightness", "--plugin", "plug.py"))


def command_lines(folder: Path, arguments: list[str]) -> None:
    """Whatever somebody may type."""
    require_decent(call(*arguments), folder, digests([folder / "data", folder / "photos", folder / "tiny.toml"]))


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _leaves(each, (*path, name))
    else:
        yield path, command


WORDS = """
tiny.toml tiny tiny-test tiny-ood mine msp knn atom energy linf clean linf-adaptive results results/tiny data photos
photos.zip photos.tar.gz network.safetensors plug.py reference.csv nowhere nowhere/at/all /dev/null - -- -1 0 1 2 1,2
atom.q=0.5 0-1 8 256 1e3 nan auto cpu cuda cuda:9 gpu all: fpr95 auroc task ood mean each both in full csv json latex
published openood epochs=1 atom.q=2 knn.k=0 epochs=x linf.epsilon=1 linf.steps=0 = a= =b q=0,0.5 é a/b .. * $HOME %s {0}
"""

words = st.one_of(st.sampled_from([*WORDS.split(), "", " ", "x" * 300]), odd_values)
"""Words of every kind; no public set and no whole suite of its own, which would take minutes or the net."""

LEAVES = [(path, command) for path, command in _leaves(commands) if path not in (("data", "fetch"),)]


@st.composite
def typed(draw: st.DrawFn) -> list[str]:
    """A command with some of its options, their values from anywhere."""
    path, command = draw(st.sampled_from(LEAVES))
    said = list(path)
    options = [each for each in command.params if isinstance(each, click.Option)]
    for option in draw(st.lists(st.sampled_from(options), max_size=4)) if options else []:
        said.append(draw(st.sampled_from([*option.opts, *option.secondary_opts])))
        if not option.is_flag:
            choices = list(option.type.choices) if isinstance(option.type, click.Choice) else []
            said.append(str(draw(st.sampled_from(choices) | words if choices else words)))
    said += draw(st.lists(words, max_size=2))
    if path == ("run",) or path == ("tune",):
        said += draw(st.sampled_from([["--suite", "tiny.toml", "--detector", "msp"], ["--suite", "tiny.toml"], []]))
    return draw(st.sampled_from([said, said, said, said[:-1], [*said, *said[-1:]]]))


PACKS = st.sampled_from(["tiny-train", "tiny-test", "tiny-ood", "tiny-outliers", "photographs"])

NAMES = ("", "", "", "x.JPEG", "x.tif", "x.bmp", "x.webp", "x.txt", "x", ".x.png", "é.png", "x.svg")
"""What an image file may be called instead; "" leaves it."""

ARRAYS = ("a.npy", "a.npz", "a.mat", "a.pt", "a-idx3-ubyte", "a.idx3-ubyte", "data_batch_1", "a.h5", "a.gz")
"""What a file of arrays may be called."""

TARGETS: Mapping[str, tuple[Callable[[Path, Any], None], st.SearchStrategy[Case]]] = {
    "command-lines": (command_lines, typed()),
    "suites": (suites, edited_toml),
    "packs": (packs, st.tuples(PACKS, spoiled)),
    "pack-contents": (pack_contents, st.tuples(PACKS, edits)),
    "results": (results, spoiled | edits),
    "references": (references, edited_csv),
    "leaderboards": (leaderboards, edited_csv),
    "feature-packs": (feature_packs, spoiled),
    "checkpoints": (
        checkpoints,
        st.tuples(st.sampled_from([".safetensors", ".pt", ".pth.tar", ".ckpt", ".bin", ""]), spoiled),
    ),
    "stored-networks": (stored_networks, spoiled),
    "kept-networks": (kept_networks, st.tuples(st.sampled_from(["index.json", "plain.safetensors"]), spoiled)),
    "detector-files": (detector_files, spoiled),
    "photographs": (
        photographs,
        st.tuples(
            st.sampled_from(FILES),
            st.sampled_from(
                ["", "", "", "x.JPEG", "x.tif", "x.bmp", "x.webp", "x.txt", "x", ".x.png", "é.png", "x.svg"]
            ),
            spoiled,
            st.sampled_from(["files", "pixels"]),
        ),
    ),
    "archives": (
        archives,
        st.tuples(st.sampled_from(["photos.zip", "photos.tar.gz"]), spoiled, st.sampled_from(["files", "pixels"])),
    ),
    "arrays": (
        arrays,
        st.tuples(
            st.sampled_from(
                ["a.npy", "a.npz", "a.mat", "a.pt", "a-idx3-ubyte", "a.idx3-ubyte", "data_batch_1", "a.h5", "a.gz"]
            ),
            st.sampled_from([b""]).flatmap(lambda empty: spoiled.map(lambda mutation: mutation(empty))),
        ),
    ),
    "plugins": (plugins, spoiled),
}
"""What can be fuzzed, by name: how a case is tried in a folder, and how one is drawn."""
