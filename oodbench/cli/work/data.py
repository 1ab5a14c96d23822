"""`oodbench data`: each of its verbs, carried out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import require_writable, write_atomic
from oodbench.cli.data import FetchOptions, PackOptions
from oodbench.cli.options import typed
from oodbench.cli.terminal import warn, width
from oodbench.cli.work.data_list import describe, needed_sets, place, size_text, wrapped
from oodbench.images import catalogue, pieces
from oodbench.images.builtin import BUILTINS
from oodbench.images.packs import write_pack
from oodbench.images.sheet import Picture, sheet
from oodbench.results.attacked_images import kept_image_sets
from oodbench.results.folder import find_results
from oodbench.results.store import Cell
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
"""The files that have to be fetched for each image set, network and asset."""


def fetch_(options: FetchOptions) -> None:
    """Download image sets, networks and assets; errors are printed together when all others are there."""
    addresses = [name for name in options.names if name.startswith("hf://")]
    failures = _fetch_from_hub(addresses, options) if addresses else []
    others = [name for name in options.names if name not in addresses]
    if others or options.suites or not addresses:
        failures += _fetch_public(others, options.suites, options.unverified, options.count, options.data)
    if failures:
        raise OodbenchError("\n".join(failures))


def _fetch_from_hub(addresses: Sequence[str], options: FetchOptions) -> list[str]:
    """Make a pack of each address on the Hugging Face hub, and return what went wrong."""
    require_writable(options.data, "--data")
    classes = listed_classes(options.classes) if options.classes else None
    failures = []
    for text in addresses:
        try:
            address = HubImages.parse(text)
            pack_name = require_name(address.pack_name if options.name is None else options.name)
            size = None if options.files else options.size
            request = PackRequest(pack_name, options.data, size, options.skip_broken, classes)
            hub_images.pack_unless_there(address, request, click.echo)
        except OodbenchError as error:
            failures.append(str(error))
    return failures


def _fetch_public(
    names: Sequence[str], suites: tuple[str, ...], unverified: bool, count: int | None, data: Path
) -> list[str]:
    """Fetch public image sets, networks and assets, and all that suites need; return what went wrong."""
    names_of_suites = [name for suite in suites for name in needed_sets(suitefile.read(suite))]
    wanted = dict.fromkeys([*names, *(name for name in names_of_suites if name not in BUILTINS)])
    if not wanted:
        raise OodbenchError("nothing to fetch: name an image set of `oodbench data list`, or --suite NAME")
    require_writable(data, "--data")
    kept_networks = {name: network for name, network in pretrained.known(data).items() if name in wanted}
    missing = [name for name in wanted if name in FILES and not place(name, data).is_file()]
    files = dict.fromkeys(file for name in missing for file in FILES[name])
    if missing:
        click.echo(f"to fetch: {size_text([*files])} at most, for {', '.join(missing)}", err=True)
    failures: list[str] = []
    for name in wanted:
        try:
            if name in kept_networks:
                click.echo(f"{name}: {kept_networks[name].get(data)}")
            elif name in ASSETS:
                click.echo(f"{name}: {fetch_asset(name, data)}")
            elif name.startswith(torchvision_weights.SCHEME):
                click.echo(f"{name}: {torchvision_weights.fetch(name, data / FOLDER)}")
            elif name in TRAINED:
                click.echo(f"{name}: {fetch_trained(name, data)}")
            elif name not in SOURCES and name in names_of_suites:
                click.echo(f"{name}: {_require_own_pack(name, data)}")
            else:
                fetch(name, data, click.echo, unverified, count)
        except OodbenchError as error:
            failures.append(str(error))
    return failures


def require_name(name: str) -> str:
    """Return the name, once it is one that a pack may have.

    Raises:
        OodbenchError: it is not.
    """
    if not suitefile.NAME.fullmatch(name) or name in BUILTINS:
        raise OodbenchError(f"{name!r} cannot be the name of a pack: use a-z, 0-9, - _ . and no built-in set's name")
    return name


def pack(options: PackOptions) -> None:
    """Make a pack of image files, or of a file of arrays."""
    require_name(options.name)
    require_writable(options.data, "--data")
    classes = listed_classes(options.classes) if options.classes else None
    size = None if options.files else options.size
    request = PackRequest(options.name, options.data, size, options.skip_broken, classes, replace=options.replace)
    own.pack(options.path.expanduser(), request, click.echo)


def export(results: Path, replace: bool, data: Path) -> None:
    """Make a pack of each set of attacked images that results keep."""
    cells, left_out = _cells(results)
    for line in left_out:
        warn(line)
    sizes: list[int] = []
    files: dict[str, list[Path]] = {}
    for cell in cells:
        for attacked in kept_image_sets(cell):
            sizes.append(attacked.images.pixels().nbytes)
            files.setdefault(attacked.images.name, []).append(cell.path)
    if not sizes:
        raise OodbenchError(f"{results} keeps no attacked images: attack with `oodbench run ... --keep-images`")
    amount = f"{len(sizes)} pack{'s' if len(sizes) > 1 else ''} of {sum(sizes) / 1e6:,.1f} MB in all before compression"
    if not typed("data"):
        raise OodbenchError(
            f"{results} makes {amount}: say where to put them with --data DIR, which `oodbench run` then takes as well"
        )
    _require_one_file_per_name(files)
    require_writable(data, "--data")
    for cell in cells:
        for attacked in kept_image_sets(cell):
            require_no_other(data / f"{attacked.images.name}.h5", attacked.images, replace)
    click.echo(f"{amount}, to {data}", err=True)
    for cell in cells:
        for attacked in kept_image_sets(cell):
            target = data / f"{attacked.images.name}.h5"
            write_pack(target, attacked.images, attacked.origin)
            click.echo(f"{target}: {len(attacked.images)} images, {attacked.images.source}")


def _require_one_file_per_name(files: Mapping[str, Sequence[Path]]) -> None:
    """Raise OodbenchError where several files keep images that would become packs of one name."""
    for name, paths in files.items():
        if len(paths) > 1:
            raise OodbenchError(
                f"{' and '.join(map(str, paths))} keep images that would all be called {name}: export each by itself, "
                "to a folder of its own"
            )


def verify_(names: tuple[str, ...], data: Path) -> None:
    """Check packs and print a verdict on each; exit code 1 if one is bad."""
    bad = False
    for name in names or [name for name in catalogue.names(data) if name not in BUILTINS]:
        verdict = verify(name, data)
        bad |= not verdict.good
        click.echo(f"{'good' if verdict.good else 'BAD '}  {name}: {verdict.text}")
    if bad:
        raise click.exceptions.Exit(1)


def show(name: str, count: int, corrupted: int | None, out: Path | None, data: Path) -> None:
    """Print what is known of a name, and draw a contact sheet of an image set."""
    if description := describe(name, data):
        click.echo("\n".join(wrapped(description, width())))
        drawable = name in catalogue.names(data)
        if not drawable and not any(map(typed, ("count", "corrupted", "out"))):
            return
    images = catalogue.load(name, data)
    if corrupted is None:
        sample = images.spread(count)
        captions = [str(index) for index in sample.indices]
        pictures = [Picture(pixels, caption) for pixels, caption in zip(sample.pixels(), captions, strict=True)]
        png = sheet(pictures, 10, f"{name}: {len(sample)} of {len(images)} images. {images.source}")
    elif corrupted < len(images):
        from oodbench.corruptions.gallery import gallery  # which takes torch

        png = gallery(
            images.pixels(slice(corrupted, corrupted + 1))[0], f"{name}, image {corrupted}, under 19 corruptions"
        )
    else:
        raise OodbenchError(f"{name} has no image {corrupted}: choose 0 to {len(images) - 1}")
    file = out or Path(f"{name}.png")
    write_atomic(file, png)
    click.echo(file)


def split(names: tuple[str, ...], folder: Path, most: int, data: Path) -> None:
    """Cut packs into pieces."""
    require_writable(folder, "--to")
    for name in names:
        listed = pieces.split(name, data, folder, most * 1_000_000)
        for file in listed.files(folder):
            click.echo(f"{file}: {file.stat().st_size / 1e6:,.1f} MB")
        click.echo(f"{folder / name}{pieces.LISTED}: what they are, fingerprint {listed.fingerprint[:16]}")


def join(folder: Path, data: Path) -> None:
    """Put packs together from their pieces."""
    packs = pieces.pieces_in(folder)
    if not packs:
        raise OodbenchError(
            f"{folder} has no NAME{pieces.LISTED}, which `oodbench data split` writes beside the pieces"
        )
    require_writable(data, "--data")
    failures = []
    for listed in packs:
        try:
            click.echo(f"{pieces.join(listed, folder, data)}: whole, fingerprint {listed.fingerprint[:16]}")
        except OodbenchError as error:
            failures.append(str(error))
    if failures:
        raise OodbenchError("\n".join(failures))


def _cells(results: Path) -> tuple[Sequence[Cell], Sequence[str]]:
    """Return the results of a file or a folder, and a line for each of them that is left out."""
    if results.is_file():
        return [Cell(results)], []
    folder = find_results(results)
    return folder.cells, folder.left_out


def _require_own_pack(name: str, data: Path) -> Path:
    """Return the file of a pack of one's own, which a suite needs and nobody offers.

    Raises:
        OodbenchError: it is not there.
    """
    if not (pack := place(name, data)).is_file():
        raise OodbenchError(
            f"{name} is no public set that could be fetched: make a pack of this name, as its suite says, with "
            f"`oodbench data pack PATH {name}`"
        )
    return pack
