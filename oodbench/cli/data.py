"""`oodbench data`: image sets from the public or one's own, looked at and checked."""

from pathlib import Path

import click

from oodbench import suitefile
from oodbench.cli.options import Examples, Group, data_option
from oodbench.corruptions.gallery import gallery
from oodbench.errors import OodbenchError
from oodbench.files import write_atomic
from oodbench.images import catalogue
from oodbench.images.builtin import BUILTINS
from oodbench.images.sheet import Picture, sheet
from oodbench.sources import SOURCES
from oodbench.sources.assets import ASSETS, fetch_asset
from oodbench.sources.fetch import fetch, pack_folder, verify
from oodbench.sources.trained import FOLDER, TRAINED, fetch_trained
from oodbench.store import require_writable
from oodbench.suite import Suite


@click.group(cls=Group, examples=("oodbench data list", "oodbench data show letters --corrupted 0"))
def data() -> None:
    """Image sets: fetch public ones, pack your own, verify and look at them."""


@data.command("list", cls=Examples, examples=("oodbench data list", "oodbench data list --suite cifar10"))
@click.option("--suite", metavar="NAME|FILE", help="Only what this suite needs.")
@data_option
def list_(suite: str | None, data: Path) -> None:
    """What there is: present or not, how large, under which terms, from where."""
    wanted = _needed(suitefile.load(suite)) if suite else [*SOURCES, *BUILTINS, *TRAINED, *ASSETS]
    for name in wanted:
        present = name in BUILTINS or _place(name, data).is_file()
        click.echo(f"{'present' if present else 'missing'}  {name}: {_about(name)}")


@data.command(
    "fetch", cls=Examples, examples=("oodbench data fetch cifar10-test", "oodbench data fetch --suite cifar10-adv")
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--suite", "suites", multiple=True, metavar="NAME|FILE", help="All that this suite needs; repeatable.")
@data_option
def fetch_(names: tuple[str, ...], suites: tuple[str, ...], data: Path) -> None:
    """Download public image sets, verify them, and write them as packs; or trained networks.

    An interrupted download goes on where it stopped. What is there already is left alone.
    """
    needed = [name for suite in suites for name in _needed(suitefile.load(suite))]
    wanted = dict.fromkeys([*names, *(name for name in needed if name not in BUILTINS)])
    if not wanted:
        raise OodbenchError("nothing to fetch: name an image set of `oodbench data list`, or --suite NAME")
    require_writable(data)
    missing = [name for name in wanted if not (data / f"{name}.h5").is_file() and name in SOURCES]
    files = {file for name in missing for file in SOURCES[name].files}
    click.echo(
        f"to download: {sum(file.size for file in files) / 1e6:,.0f} MB at most, for {', '.join(missing)}", err=True
    )
    failures = []
    for name in wanted:
        try:
            if name in ASSETS:
                click.echo(f"{name}: {fetch_asset(name, data)}")
            elif name in TRAINED:
                click.echo(f"{name}: {fetch_trained(name, data)}")
            else:
                fetch(name, data, say=click.echo)
        except OodbenchError as error:
            failures.append(str(error))
    if failures:
        raise OodbenchError("\n".join(failures))


@data.command(
    cls=Examples,
    examples=("oodbench data pack ~/photos mine --size 32", "oodbench data pack scans.zip scans --size 32"),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("name")
@click.option(
    "--size", type=click.IntRange(min=1), default=32, show_default=True, help="Side of the images, in pixels."
)
@data_option
def pack(path: Path, name: str, size: int, data: Path) -> None:
    """Make a pack of the image files in a folder or an archive, for suites to name.

    The shorter side is resized (bilinear, antialiased) and the middle cut out; folders become labels, in order of
    their names.
    """
    if not suitefile.NAME.fullmatch(name) or name in BUILTINS:
        raise OodbenchError(f"{name!r} cannot be the name of a pack: use a-z, 0-9, - _ . and no built-in set's name")
    require_writable(data)
    click.echo(pack_folder(path.expanduser(), name, size, data))


@data.command("verify", cls=Examples, examples=("oodbench data verify", "oodbench data verify cifar10-test"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
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
@click.argument("name")
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Images, at even distances.")
@click.option("--corrupted", type=click.IntRange(min=0), metavar="N", help="All corrupted versions of image N instead.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="PNG file; NAME.png if left out.")
@data_option
def show(name: str, count: int, corrupted: int | None, out: Path | None, data: Path) -> None:
    """Draw a contact sheet of an image set: people should look at what they measure on."""
    images = catalogue.load(name, data)
    if corrupted is None:
        some = images.spread(count)
        captions = [str(index) for index in some.indices]
        pictures = [Picture(pixels, caption) for pixels, caption in zip(some.images, captions, strict=True)]
        drawn = sheet(pictures, 10, f"{name}: {len(some)} of {len(images)} images. {images.source}")
    elif corrupted < len(images):
        drawn = gallery(images.images[corrupted], f"{name}, image {corrupted}, under 19 corruptions")
    else:
        raise OodbenchError(f"{name} has no image {corrupted}: choose 0 to {len(images) - 1}")
    file = out or Path(f"{name}.png")
    write_atomic(file, drawn)
    click.echo(file)


def _needed(suite: Suite) -> list[str]:
    """Every image set that a suite names."""
    sets = [suite.id.train, suite.id.test, *(ood.set for ood in suite.ood), suite.outliers and suite.outliers.set]
    return list(dict.fromkeys(name for name in sets if name))


def _place(name: str, data: Path) -> Path:
    if name in ASSETS:
        return data / ASSETS[name].folder / ASSETS[name].files[-1].name
    return data / FOLDER / TRAINED[name].file.name if name in TRAINED else data / f"{name}.h5"


def _about(name: str) -> str:
    if name in ASSETS:
        return f"{ASSETS[name].title}; {ASSETS[name].terms}"
    if name in TRAINED:
        network = TRAINED[name]
        right = f"{network.accuracy:.2%} right on {network.on}" if network.accuracy else "accuracy not known"
        return f"{network.title}; {right}; {network.file.size / 1e6:.1f} MB; {network.terms}. --checkpoint {name}"
    if name in BUILTINS:
        return f"built in; {BUILTINS[name].description}"
    if name not in SOURCES:
        return "no public source is known: put its pack into the data folder"
    source = SOURCES[name]
    note = f" {source.note}" if source.note else ""
    return f"{source.title}; {source.count:,} images, {source.size / 1e6:,.0f} MB to download; {source.terms}.{note}"
