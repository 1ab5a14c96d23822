"""`oodbench data`: image sets from the public or one's own, looked at and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.cli import completing
from oodbench.cli.data_list import KINDS, about, about_size, listed, named, place, wrapped
from oodbench.cli.options import Examples, Group, data_option, results_argument, typed
from oodbench.cli.terminal import width
from oodbench.corruptions.gallery import gallery
from oodbench.images import catalogue, pieces
from oodbench.images.builtin import BUILTINS
from oodbench.images.packs import write_pack
from oodbench.images.sheet import Picture, sheet
from oodbench.results.attacked_images import kept
from oodbench.results.folder import find
from oodbench.results.store import Cell, require_writable
from oodbench.sources import SOURCES
from oodbench.sources.assets import ASSETS, fetch_asset
from oodbench.sources.classes import listed_classes
from oodbench.sources.fetch import fetch
from oodbench.sources.own import pack_files, pack_pixels
from oodbench.sources.source import RemoteFile
from oodbench.sources.trained import TRAINED, fetch_trained
from oodbench.sources.verify import verify
from oodbench.suite import Suite
from oodbench.suitefiles import suitefile
from oodbench.training import pretrained


@click.group(cls=Group, examples=("oodbench data list", "oodbench data show letters --corrupted 0"))
def data() -> None:
    """Image sets: fetch public ones, pack your own, verify and look at them."""


FILES: Mapping[str, tuple[RemoteFile, ...]] = {
    **{name: source.files for name, source in SOURCES.items()},
    **{name: (network.file,) for name, network in TRAINED.items()},
    **{name: asset.files for name, asset in ASSETS.items()},
}
"""What has to be fetched for each of them."""


@data.command("list", cls=Examples, examples=("oodbench data list networks", "oodbench data list --suite cifar10"))
@click.argument("kind", type=click.Choice([*KINDS]), required=False)
@click.option("--suite", metavar="NAME|FILE", shell_complete=completing.suites, help="Only what this suite needs.")
@data_option
def list_(kind: str | None, suite: str | None, data: Path) -> None:
    """What there is and how large, packs of one's own included; all kinds, or one. `oodbench data show NAME` says more.

    A set is missing, present, or it differs: its pack has another number of images than the public set of its name.
    """
    wanted = {"images": _needed(suitefile.load(suite))} if suite else named(data, kind)
    click.echo(listed(wanted, data, width()))


@data.command(
    "fetch", cls=Examples, examples=("oodbench data fetch cifar10-test", "oodbench data fetch --suite cifar10-adv")
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.data_names)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=completing.suites,
    help="All that this suite needs; repeatable.",
)
@click.option("--unverified", is_flag=True, help="Take files too that nobody has published a digest of; packs say so.")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="N images, of a set that is a choice out of many."
)
@data_option
def fetch_(names: tuple[str, ...], suites: tuple[str, ...], unverified: bool, count: int | None, data: Path) -> None:
    """Download public image sets, verify them, and write them as packs; or trained networks.

    An interrupted download goes on where it stopped. What is there already is left alone. Files that take a login are
    put into the folder `downloads` of the data folder by hand; `oodbench data list` says where to get them. Photographs
    are packed as the files that they are: `oodbench data verify` decodes them and names each that is broken.
    """
    needed = [name for suite in suites for name in _needed(suitefile.load(suite))]
    wanted = dict.fromkeys([*names, *(name for name in needed if name not in BUILTINS)])
    if not wanted:
        raise OodbenchError("nothing to fetch: name an image set of `oodbench data list`, or --suite NAME")
    require_writable(data)
    kept = {name: one for name, one in pretrained.known(data).items() if name in wanted}
    missing = [name for name in wanted if name in FILES and not place(name, data).is_file()]
    files = dict.fromkeys(file for name in missing for file in FILES[name])
    if missing:
        click.echo(f"to fetch: {about_size([*files])} at most, for {', '.join(missing)}", err=True)
    failures = []
    for name in wanted:
        try:
            if name in kept:
                click.echo(f"{name}: {kept[name].get(data)}")
            elif name in ASSETS:
                click.echo(f"{name}: {fetch_asset(name, data)}")
            elif name in TRAINED:
                click.echo(f"{name}: {fetch_trained(name, data)}")
            elif name not in SOURCES and name in needed:
                click.echo(f"{name}: {_own(name, data)}")
            else:
                fetch(name, data, click.echo, unverified, count)
        except OodbenchError as error:
            failures.append(str(error))
    if failures:
        raise OodbenchError("\n".join(failures))


@data.command(
    cls=Examples,
    examples=(
        "oodbench data pack ~/photos mine --size 32",
        "oodbench data pack ~/photos mine --files",
        "oodbench data pack imagenette.tgz imagenette --files --classes imagenet-1k",
        "oodbench data pack train_32x32.mat house-numbers",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("name")
@click.option(
    "--size", type=click.IntRange(min=1), default=32, show_default=True, help="Side of image files, in pixels."
)
@click.option("--files", is_flag=True, help="Keep image files as they are: each network resizes them its own way.")
@click.option(
    "--classes",
    metavar="FILE|imagenet-1k",
    help="Labels by this list, a class a line; or by ImageNet's 1,000 WordNet names.",
)
@click.option("--skip-broken", is_flag=True, help="Leave out images that cannot be read; the pack says which.")
@data_option
def pack(path: Path, name: str, size: int, files: bool, classes: str | None, skip_broken: bool, data: Path) -> None:
    """Make a pack of one's own images, for suites to name.

    PATH is a folder or an archive (tar, zip) of image files, whose first folders are the classes: labels in the order
    of their names, or of the numbers that these begin with. The shorter side is resized (bilinear, antialiased) and the
    middle cut out, unless --files keeps files for networks of timm. Or it is a file of arrays, whose size is kept:
    .npy, .npz (images, labels), tensors of torch.save, HDF5, .mat like SVHN's, idx, a batch of CIFAR's.

    Images of some of a network's classes need the labels that the network has for them: --classes names all of its
    classes in its order, and an image is of the one that a folder around it, or the front of its own name, is called
    after (n01440764/1.jpg, n01440764_tench.jpg).

    What was packed, with classes and their sizes, and what was left out is printed.
    """
    if not suitefile.NAME.fullmatch(name) or name in BUILTINS:
        raise OodbenchError(f"{name!r} cannot be the name of a pack: use a-z, 0-9, - _ . and no built-in set's name")
    require_writable(data)
    path, listed = path.expanduser(), listed_classes(classes) if classes else None
    if files:
        pack_files(path, name, data, click.echo, skip_broken, listed)
    else:
        pack_pixels(path, name, size, data, click.echo, skip_broken, listed)


@data.command(
    cls=Examples,
    examples=(
        "oodbench data export results/ --data adversarial",
        "oodbench data export results/digits-adv/atom --data adversarial",
    ),
)
@results_argument
@data_option
def export(results: Path, data: Path) -> None:
    """Make packs of attacked images, to score again without attacking.

    RESULTS is a results folder or a file of one, made with --keep-images. Each set of attacked images becomes a pack,
    once its SHA-256 is that of the images that were scored; suites name it like any other set, and the task `clean`
    scores it with any detector.
    """
    cells, left_out = _cells(results)
    for line in left_out:
        click.echo(f"WARNING: {line}", err=True)
    sizes = [one.images.pixels().nbytes for cell in cells for one in kept(cell)]
    if not sizes:
        raise OodbenchError(f"{results} keeps no attacked images: attack with `oodbench run ... --keep-images`")
    amount = f"{len(sizes)} pack{'s' if len(sizes) > 1 else ''} of {sum(sizes) / 1e6:,.1f} MB in all before compression"
    if not typed("data"):
        raise OodbenchError(
            f"{results} makes {amount}: say where to put them with --data DIR, which `oodbench run` then takes as well"
        )
    require_writable(data)
    click.echo(f"{amount}, to {data}", err=True)
    for cell in cells:
        for one in kept(cell):
            target = data / f"{one.images.name}.h5"
            write_pack(target, one.images, one.about)
            click.echo(f"{target}: {len(one.images)} images, {one.images.source}")


def _cells(results: Path) -> tuple[Sequence[Cell], Sequence[str]]:
    """The file, or what is in the folder, and what of that is left out."""
    if results.is_file():
        return [Cell(results)], []
    found = find(results)
    return found.cells, found.left_out


@data.command("verify", cls=Examples, examples=("oodbench data verify", "oodbench data verify cifar10-test"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.image_sets)
@data_option
def verify_(names: tuple[str, ...], data: Path) -> None:
    """Check packs: whole, and as many images as the set has. Exit code 1 if one is not."""
    bad = False
    for name in names or [name for name in catalogue.names(data) if name not in BUILTINS]:
        verdict = verify(name, data)
        bad |= not verdict.good
        click.echo(f"{'good' if verdict.good else 'BAD '}  {name}: {verdict.said}")
    if bad:
        raise click.exceptions.Exit(1)


@data.command(
    cls=Examples,
    examples=("oodbench data show digits-test --count 50", "oodbench data show letters --corrupted 3 --out all.png"),
)
@click.argument("name", shell_complete=completing.data_names)
@click.option(
    "--count", type=click.IntRange(min=1), default=100, show_default=True, help="Images, of each class its share."
)
@click.option("--corrupted", type=click.IntRange(min=0), metavar="N", help="All corrupted versions of image N instead.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="PNG file; NAME.png if left out.")
@data_option
def show(name: str, count: int, corrupted: int | None, out: Path | None, data: Path) -> None:
    """Say what an image set, network or asset is, and draw a contact sheet of a set that is there.

    People should look at what they measure on.
    """
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
        drawn = gallery(
            images.pixels(slice(corrupted, corrupted + 1))[0], f"{name}, image {corrupted}, under 19 corruptions"
        )
    else:
        raise OodbenchError(f"{name} has no image {corrupted}: choose 0 to {len(images) - 1}")
    file = out or Path(f"{name}.png")
    write_atomic(file, drawn)
    click.echo(file)


@data.command(
    cls=Examples,
    examples=(
        "oodbench data split cifar10-train --to pieces",
        "oodbench data split cifar10-train cifar10-test --to pieces --most 20",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.image_sets)
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, metavar="DIR", help="For the pieces.")
@click.option(
    "--most", type=click.IntRange(min=1), default=64, show_default=True, metavar="MB", help="Megabytes of a piece."
)
@data_option
def split(names: tuple[str, ...], folder: Path, most: int, data: Path) -> None:
    """Cut packs into pieces, to carry them to a machine without a network; `join` puts them together there.

    Pieces are compressed. A file beside them says what images must come of them; carry it along.
    """
    require_writable(folder)
    for name in names:
        found = pieces.split(name, data, folder, most * 1_000_000)
        for file in found.files(folder):
            click.echo(f"{file}: {file.stat().st_size / 1e6:,.1f} MB")
        click.echo(f"{folder / name}{pieces.LISTED}: what they are, fingerprint {found.fingerprint[:16]}")


@data.command(cls=Examples, examples=("oodbench data join pieces", "oodbench data join pieces --data data"))
@click.argument("folder", type=click.Path(path_type=Path))
@data_option
def join(folder: Path, data: Path) -> None:
    """Put packs together from the pieces that `split` made, once they hold the images that were taken apart.

    FOLDER has all pieces of a pack, and the file that says what they are. Packs that are there already are left alone.
    """
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


def _needed(suite: Suite) -> list[str]:
    """Every image set that a suite names."""
    sets = [suite.id.train, suite.id.test, *(ood.set for ood in suite.ood), suite.outliers and suite.outliers.set]
    return list(dict.fromkeys(name for name in sets if name))


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
