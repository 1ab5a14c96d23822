"""`oodbench data`: public and own image sets, fetched, packed, shown and checked."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, Group, collect_into, data_option, results_argument, several, typed

KINDS = ("images", "networks", "assets")
"""Kinds of which `oodbench data list` may show one alone."""


@click.group(cls=Group, examples=("oodbench data list", "oodbench data show letters --corrupted 0"))
def data() -> None:
    """Image sets: fetch public ones, pack your own, verify and look at them."""


@data.command("list", cls=Examples, examples=("oodbench data list networks", "oodbench data list --suite cifar10"))
@click.argument("kind", type=click.Choice([*KINDS]), required=False)
@click.option("--suite", metavar="NAME|FILE", shell_complete=completing.suites, help="Only what this suite needs.")
@data_option
def list_(kind: str | None, suite: str | None, data: Path) -> None:
    """What there is and how large, packs of one's own included; all kinds, or one. `oodbench data show NAME` says more.

    A set is missing, present, or it differs: its pack has another number of images than the public set of its name.
    """
    from oodbench.cli.work import data_list as work

    work.list_(kind, suite, data)


size_option = click.option(
    "--size", type=click.IntRange(min=1), default=32, show_default=True, help="Side of image files, in pixels."
)
files_option = click.option(
    "--files", is_flag=True, help="Keep image files as they are: each network resizes them its own way."
)
classes_option = click.option(
    "--classes",
    metavar="FILE|imagenet-1k",
    help="Labels by this list, a class a line; or by ImageNet's 1,000 WordNet names.",
)
skip_broken_option = click.option(
    "--skip-broken", is_flag=True, help="Leave out images that cannot be read; the pack says which."
)


@dataclass(frozen=True)
class FetchOptions:
    """The options of `oodbench data fetch`, called as in its declaration."""

    names: tuple[str, ...]
    suites: tuple[str, ...]
    unverified: bool
    count: int | None
    name: str | None
    size: int
    files: bool
    classes: str | None
    skip_broken: bool
    data: Path


@data.command(
    "fetch",
    cls=Examples,
    examples=(
        "oodbench data fetch cifar10-test",
        "oodbench data fetch --suite cifar10-adv",
        "oodbench data fetch hf://datasets/org/birds@COMMIT/test --as birds-test --size 64",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.data_names)
@several("--suite", "suites", "NAME|FILE", completing.suites, "All that this suite needs; repeatable.")
@click.option("--unverified", is_flag=True, help="Take files too that nobody has published a digest of; packs say so.")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="N images, of a set that is a choice out of many."
)
@click.option(
    "--as", "name", metavar="NAME", help="Of the pack made of hf://; the last part of the address if left out."
)
@size_option
@files_option
@classes_option
@skip_broken_option
@data_option
@collect_into(FetchOptions)
def fetch_(options: FetchOptions) -> None:
    """Download public image sets, verify them, and write them as packs; or trained networks.

    An interrupted download goes on where it stopped. What is there already is left alone. Files that take a login are
    put into the folder `downloads` of the data folder by hand; `oodbench data show NAME` says where to get them.
    Photographs are packed as the files that they are, and `oodbench data verify` decodes them and names broken ones.

    hf://datasets/org/name@COMMIT/folder is a folder of image files in a data set on the Hugging Face hub, or a zip, tar
    or safetensors file of images. It becomes a pack as `oodbench data pack` makes them, with its options.
    """
    hub_addresses = [name for name in options.names if name.startswith("hf://")]
    if not hub_addresses and any(map(typed, ("name", "size", "files", "classes", "skip_broken"))):
        raise click.UsageError("--as, --size, --files, --classes and --skip-broken are for hf://datasets/...")
    if options.name is not None and len(hub_addresses) != 1:
        raise click.UsageError("--as names one pack: give one hf:// address with it")
    from oodbench.cli.work import data as work

    work.fetch_(options)


@dataclass(frozen=True)
class PackOptions:
    """The options of `oodbench data pack`, called as in its declaration."""

    path: Path
    name: str
    size: int
    files: bool
    classes: str | None
    skip_broken: bool
    replace: bool
    data: Path


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
@size_option
@files_option
@classes_option
@skip_broken_option
@click.option("--replace", is_flag=True, help="Put the pack in place of another one of this name.")
@data_option
@collect_into(PackOptions)
def pack(options: PackOptions) -> None:
    """Make a pack of one's own images, for suites to name.

    PATH is a folder or an archive (tar, zip) of image files, whose first folders are the classes: labels in the order
    of their names, or of the numbers that these begin with. The shorter side is resized (bilinear, antialiased) and the
    middle cut out, unless --files keeps files for networks of timm. Or it is a file of arrays, whose size is kept:
    .npy, .npz (images, labels), tensors of torch.save, HDF5, .mat like SVHN's, idx, a batch of CIFAR's.

    Images of some of a network's classes need the labels that the network has for them: --classes names all of its
    classes in its order, and an image is of the one that a folder around it, or the front of its own name, is called
    after (n01440764/1.jpg, n01440764_tench.jpg).

    What was packed, with classes and their sizes, and what was left out is printed. A pack of this name that holds
    something else is not replaced unless you say --replace.
    """
    from oodbench.cli.work import data as work

    work.pack(options)


@data.command(
    cls=Examples,
    examples=(
        "oodbench data export results/ --data adversarial",
        "oodbench data export results/digits-adv/atom --data adversarial",
    ),
)
@results_argument
@click.option("--replace", is_flag=True, help="Put packs in place of others of their names.")
@data_option
def export(results: Path, replace: bool, data: Path) -> None:
    """Make packs of attacked images, to score again without attacking.

    RESULTS is a results folder or a file of one, made with --keep-images. Each set of attacked images becomes a pack,
    once its SHA-256 is that of the images that were scored; suites name it like any other set, and the task `clean`
    scores it with any detector. Nothing is written where a pack of such a name holds something else, unless you say
    --replace.
    """
    from oodbench.cli.work import data as work

    work.export(results, replace, data)


@data.command("verify", cls=Examples, examples=("oodbench data verify", "oodbench data verify cifar10-test"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.image_sets)
@data_option
def verify_(names: tuple[str, ...], data: Path) -> None:
    """Check packs: whole, and as many images as the set has. Exit code 1 if one is not."""
    from oodbench.cli.work import data as work

    work.verify_(names, data)


@data.command(
    cls=Examples,
    examples=("oodbench data show digits-test --count 50", "oodbench data show letters --corrupted 3 --out all.png"),
)
@click.argument("name", shell_complete=completing.data_names)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many images are shown, evenly over the classes.",
)
@click.option("--corrupted", type=click.IntRange(min=0), metavar="N", help="All corrupted versions of image N instead.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="PNG file; NAME.png if left out.")
@data_option
def show(name: str, count: int, corrupted: int | None, out: Path | None, data: Path) -> None:
    """Say what an image set, network or asset is, and draw a contact sheet of a set that is there.

    People should look at what they measure on.
    """
    from oodbench.cli.work import data as work

    work.show(name, count, corrupted, out, data)


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
    from oodbench.cli.work import data as work

    work.split(names, folder, most, data)


@data.command(cls=Examples, examples=("oodbench data join pieces", "oodbench data join pieces --data data"))
@click.argument("folder", type=click.Path(path_type=Path))
@data_option
def join(folder: Path, data: Path) -> None:
    """Put packs together from the pieces that `split` made, once they hold the images that were taken apart.

    FOLDER has all pieces of a pack, and the file that says what they are. Packs that are there already are left alone.
    """
    from oodbench.cli.work import data as work

    work.join(folder, data)
