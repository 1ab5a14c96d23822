"""`oodbench data`: each of its verbs, carried out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.cli.options import typed
from oodbench.cli.terminal import width
from oodbench.cli.work.data_list import about, about_size, needed, place, wrapped
from oodbench.images import catalogue, pieces
from oodbench.images.builtin import BUILTINS
from oodbench.images.packs import write_pack
from oodbench.images.sheet import Picture, sheet
from oodbench.results.attacked_images import kept
from oodbench.results.folder import find
from oodbench.results.store import Cell, require_writable
from oodbench.sources import hub_images, own, torchvision_weights
from oodbench.sources.assets import ASSETS, fetch_asset
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.classes import listed_classes
from oodbench.sources.fetch import fetch
from oodbench.sources.hub_images import HubImages
from oodbench.sources.own import PackRequest, require_no_other
from oodbench.sources.source import RemoteFile
from oodbench.sources.trained import FOLDER, TRAINED, fetch_trained
from oodbench.sources.verify import verify
from oodbench.suitefiles import suitefile
from oodbench.training import pretrained

FILES: Mapping[str, tuple[RemoteFile, ...]] = {
    **{name: source.files for name, source in SOURCES.items()},
    **{name: (network.file,) for name, network in TRAINED.items()},
    **{name: asset.files for name, asset in ASSETS.items()},
}
"""What has to be fetched for each of them."""


def fetch_(
    names: tuple[str, ...],
    suites: tuple[str, ...],
    unverified: bool,
    count: int | None,
    name: str | None,
    size: int,
    files: bool,
    classes: str | None,
    skip_broken: bool,
    data: Path,
) -> None:
    """See `oodbench.cli.data.fetch_`."""
    addresses = [one for one in names if one.startswith("hf://")]
    failures = []
    if addresses:
        require_writable(data)
        listed = listed_classes(classes) if classes else None
        for given in addresses:
            try:
                address = HubImages.parse(given)
                called = require_name(address.called if name is None else name)
                how = PackRequest(called, data, None if files else size, skip_broken, listed)
                hub_images.pack_unless_there(address, how, click.echo)
            except OodbenchError as error:
                failures.append(str(error))
    others = [one for one in names if one not in addresses]
    if others or suites or not addresses:
        failures += _fetch_public(others, suites, unverified, count, data)
    if failures:
        raise OodbenchError("\n".join(failures))


def _fetch_public(
    names: Sequence[str], suites: tuple[str, ...], unverified: bool, count: int | None, data: Path
) -> list[str]:
    """What went wrong with each of them."""
    of_suites = [name for suite in suites for name in needed(suitefile.read(suite))]
    wanted = dict.fromkeys([*names, *(name for name in of_suites if name not in BUILTINS)])
    if not wanted:
        raise OodbenchError("nothing to fetch: name an image set of `oodbench data list`, or --suite NAME")
    require_writable(data)
    kept = {name: one for name, one in pretrained.known(data).items() if name in wanted}
    missing = [name for name in wanted if name in FILES and not place(name, data).is_file()]
    files = dict.fromkeys(file for name in missing for file in FILES[name])
    if missing:
        click.echo(f"to fetch: {about_size([*files])} at most, for {', '.join(missing)}", err=True)
    failures: list[str] = []
    for name in wanted:
        try:
            if name in kept:
                click.echo(f"{name}: {kept[name].get(data)}")
            elif name in ASSETS:
                click.echo(f"{name}: {fetch_asset(name, data)}")
            elif name.startswith(torchvision_weights.SCHEME):
                click.echo(f"{name}: {torchvision_weights.fetch(name, data / FOLDER)}")
            elif name in TRAINED:
                click.echo(f"{name}: {fetch_trained(name, data)}")
            elif name not in SOURCES and name in of_suites:
                click.echo(f"{name}: {_own(name, data)}")
            else:
                fetch(name, data, click.echo, unverified, count)
        except OodbenchError as error:
            failures.append(str(error))
    return failures


def require_name(name: str) -> str:
    """The name that a pack may have.

    Raises:
        OodbenchError: it may not.
    """
    if not suitefile.NAME.fullmatch(name) or name in BUILTINS:
        raise OodbenchError(f"{name!r} cannot be the name of a pack: use a-z, 0-9, - _ . and no built-in set's name")
    return name


def pack(
    path: Path,
    name: str,
    size: int,
    files: bool,
    classes: str | None,
    skip_broken: bool,
    replace: bool,
    data: Path,
) -> None:
    """See `oodbench.cli.data.pack`."""
    require_name(name)
    require_writable(data)
    path, listed = path.expanduser(), listed_classes(classes) if classes else None
    how = PackRequest(name, data, None if files else size, skip_broken, listed, replace=replace)
    own.pack(path, how, click.echo)


def export(results: Path, replace: bool, data: Path) -> None:
    """See `oodbench.cli.data.export`."""
    cells, left_out = _cells(results)
    for line in left_out:
        click.echo(f"WARNING: {line}", err=True)
    sizes: list[int] = []
    files: dict[str, list[Path]] = {}
    for cell in cells:
        for one in kept(cell):
            sizes.append(one.images.pixels().nbytes)
            files.setdefault(one.images.name, []).append(cell.path)
    if not sizes:
        raise OodbenchError(f"{results} keeps no attacked images: attack with `oodbench run ... --keep-images`")
    amount = f"{len(sizes)} pack{'s' if len(sizes) > 1 else ''} of {sum(sizes) / 1e6:,.1f} MB in all before compression"
    if not typed("data"):
        raise OodbenchError(
            f"{results} makes {amount}: say where to put them with --data DIR, which `oodbench run` then takes as well"
        )
    for name, paths in files.items():
        if len(paths) > 1:
            raise OodbenchError(
                f"{' and '.join(map(str, paths))} keep images that would all be called {name}: export each by itself, "
                "to a folder of its own"
            )
    require_writable(data)
    for cell in cells:
        for one in kept(cell):
            require_no_other(data / f"{one.images.name}.h5", one.images, replace)
    click.echo(f"{amount}, to {data}", err=True)
    for cell in cells:
        for one in kept(cell):
            target = data / f"{one.images.name}.h5"
            write_pack(target, one.images, one.about)
            click.echo(f"{target}: {len(one.images)} images, {one.images.source}")


def verify_(names: tuple[str, ...], data: Path) -> None:
    """See `oodbench.cli.data.verify_`."""
    bad = False
    for name in names or [name for name in catalogue.names(data) if name not in BUILTINS]:
        verdict = verify(name, data)
        bad |= not verdict.good
        click.echo(f"{'good' if verdict.good else 'BAD '}  {name}: {verdict.said}")
    if bad:
        raise click.exceptions.Exit(1)


def show(name: str, count: int, corrupted: int | None, out: Path | None, data: Path) -> None:
    """See `oodbench.cli.data.show`."""
    if said := about(name, data):
        click.echo("\n".join(wrapped(said, width())))
        drawable = name in catalogue.names(data)
        if not drawable and not any(map(typed, ("count", "corrupted", "out"))):
            return
    images = catalogue.load(name, data)
    if corrupted is None:
        some = images.spread(count)
        captions = [str(index) for index in some.indices]
        pictures = [Picture(pixels, caption) for pixels, caption in zip(some.pixels(), captions, strict=True)]
        drawn = sheet(pictures, 10, f"{name}: {len(some)} of {len(images)} images. {images.source}")
    elif corrupted < len(images):
        from oodbench.corruptions.gallery import gallery  # which takes torch

        drawn = gallery(
            images.pixels(slice(corrupted, corrupted + 1))[0], f"{name}, image {corrupted}, under 19 corruptions"
        )
    else:
        raise OodbenchError(f"{name} has no image {corrupted}: choose 0 to {len(images) - 1}")
    file = out or Path(f"{name}.png")
    write_atomic(file, drawn)
    click.echo(file)


def split(names: tuple[str, ...], folder: Path, most: int, data: Path) -> None:
    """See `oodbench.cli.data.split`."""
    require_writable(folder)
    for name in names:
        found = pieces.split(name, data, folder, most * 1_000_000)
        for file in found.files(folder):
            click.echo(f"{file}: {file.stat().st_size / 1e6:,.1f} MB")
        click.echo(f"{folder / name}{pieces.LISTED}: what they are, fingerprint {found.fingerprint[:16]}")


def join(folder: Path, data: Path) -> None:
    """See `oodbench.cli.data.join`."""
    found = pieces.listed(folder)
    if not found:
        raise OodbenchError(
            f"{folder} has no NAME{pieces.LISTED}, which `oodbench data split` writes beside the pieces"
        )
    require_writable(data)
    failures = []
    for one in found:
        try:
            click.echo(f"{pieces.join(one, folder, data)}: whole, fingerprint {one.fingerprint[:16]}")
        except OodbenchError as error:
            failures.append(str(error))
    if failures:
        raise OodbenchError("\n".join(failures))


def _cells(results: Path) -> tuple[Sequence[Cell], Sequence[str]]:
    """The file, or what is in the folder, and what of that is left out."""
    if results.is_file():
        return [Cell(results)], []
    found = find(results)
    return found.cells, found.left_out


def _own(name: str, data: Path) -> Path:
    """A pack of one's own, which a suite needs and nobody offers.

    Raises:
        OodbenchError: it is not there.
    """
    if not (pack := place(name, data)).is_file():
        raise OodbenchError(
            f"{name} is no public set that could be fetched: make a pack of this name, as its suite says, with "
            f"`oodbench data pack PATH {name}`"
        )
    return pack
