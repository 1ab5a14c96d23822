"""Which noise smooths best, and which detector is guaranteed most: what docs/certificates.md has was made by this.

`python -m studies.certificates sigma` chooses where no test image is; `... few` makes a suite of few ID test images,
for `oodbench run`; `... table` runs the task `smoothed` on such a suite for every detector whose network is kept.
"""

from pathlib import Path

import click
import pandas as pd
import torch

import oodbench
from oodbench.images import catalogue
from oodbench.images.packs import write_pack
from oodbench.metrics import auroc, curve
from oodbench.networks import build, checkpoints
from oodbench.registry import discover
from oodbench.scoring.batches import Purpose
from oodbench.scoring.fitting import fit
from oodbench.scoring.smoothed import score_smoothed
from oodbench.suitefiles import suitefile
from oodbench.suitefiles.settings import apply
from oodbench.tasks import Smoothed
from oodbench.training import pretrained

DEAR = ("median", "ross", "mahalanobis", "mds-ensemble")
"""Left out unless named: eight passes for each copy, and twenty-five for each of the two that are smooth already."""

FEW = """extends = "{suite}"
version = 1
title = "{suite} with fewer ID test images"
[id]
test = "{test}"
"""


@click.group()
@click.option("--suite", "name", default="digits-adv", show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.pass_context
def commands(context: click.Context, name: str, data: Path) -> None:
    """Smoothed certificates, measured."""
    context.obj = name, data


@commands.command()
@click.option("--detector", "names", multiple=True, default=("msp", "energy", "maxlogit"), show_default=True)
@click.option("--sigma", "sigmas", type=float, multiple=True, default=(0.2, 0.25, 0.35, 0.5, 1.0), show_default=True)
@click.option("--radius", default=64, show_default=True, help="L2, in 1/255.")
@click.option("--draws", default=500, show_default=True)
@click.option("--images", default=32, show_default=True, help="Of each side.")
@click.pass_obj
def sigma(
    asked: tuple[str, Path], names: tuple[str, ...], sigmas: tuple[float, ...], radius: int, draws: int, images: int
) -> None:
    """Smoothed and guaranteed AUROC at each sigma: held-out ID images against reserved outliers, on one network."""
    name, data = asked
    suite = suitefile.load(name)
    assert suite.id.train and suite.outliers, "the suite keeps no images for this"
    _, held_out = catalogue.load(suite.id.train, data).split(suite.id.heldout)
    reserved = catalogue.load(suite.outliers.set, data).first(suite.outliers.reserved)
    sides = held_out.called("held-out").spread(images), reserved.called("reserved").spread(images)
    detectors = [discover()[each]() for each in names]
    (objective,) = {detector.objective() for detector in detectors}
    file = pretrained.choose(suite, objective, 1, data).file
    assert file, f"there is no kept network for {', '.join(names)}"
    spec, outputs = suite.network, suite.id.classes + objective.reject_outputs
    network = build(spec.name, outputs, mean=spec.mean, std=spec.std, seed=1).eval()
    checkpoints.load(network, file)
    fit(detectors, network, suite.id.classes)
    rows = []
    for each in sigmas:
        task = Smoothed(sigma=each, draws=draws, radii=(radius,))
        of_id, of_ood = (
            score_smoothed(detectors, side, task, Purpose(1, side.name), torch.device("cpu"), images) for side in sides
        )
        for detector, ids, others in zip(detectors, of_id, of_ood, strict=True):
            bounds = others.extras[f"high-{radius}"]
            values = [100 * auroc(curve(ids.scores, side)) for side in (others.scores, bounds)]
            rows.append((each, detector.name, *(round(float(value), 2) for value in values)))
    columns = ["sigma", "detector", "smoothed", f"guaranteed at {radius}/255"]
    click.echo(pd.DataFrame(rows, columns=columns).set_index(["sigma", "detector"]).unstack().to_string())


def _few(name: str, data: Path, images: int, out: Path) -> Path:
    """The suite with so few ID test images, evenly over the classes: its file, beside a folder `data` with its pack."""
    suite = suitefile.load(name)
    test = f"{suite.id.test}-{images}"
    out.mkdir(parents=True, exist_ok=True)
    write_pack(out / "data" / f"{test}.h5", catalogue.load(suite.id.test, data).spread(images).called(test))
    file = out / f"{name}-{images}.toml"
    file.write_text(FEW.format(suite=name, test=test))
    return file


OUT = click.option("--out", type=click.Path(path_type=Path), default=Path("results/certificates"), show_default=True)


@commands.command()
@click.option("--images", default=100, show_default=True, help="ID test images.")
@OUT
@click.pass_obj
def few(asked: tuple[str, Path], images: int, out: Path) -> None:
    """A suite with few ID test images, whose noisy copies take less time."""
    file = _few(*asked, images, out)
    click.echo(f"oodbench run --suite {file} --data {file.parent / 'data'} --pretrained --task smoothed ...")


@commands.command()
@click.option("--detector", "names", multiple=True, help="All whose network is kept if left out.")
@click.option("--sigma", default=0.25, show_default=True)
@click.option("--radius", "radii", type=int, multiple=True, default=(16, 32, 64, 128), show_default=True)
@click.option("--draws", default=500, show_default=True)
@click.option("--images", default=50, show_default=True, help="ID images, and half as many of each OOD set.")
@OUT
@click.pass_obj
def table(
    asked: tuple[str, Path],
    names: tuple[str, ...],
    sigma: float,
    radii: tuple[int, ...],
    draws: int,
    images: int,
    out: Path,
) -> None:
    """AUROC smoothed and guaranteed, a row a detector, the one that is guaranteed most at the third radius first."""
    name, data = asked
    file = _few(name, data, images, out)
    kept = suitefile.load(str(file))
    known = discover()
    usual = [one for one in known if one not in DEAR and not known[one].only_by_name]
    _, configured = apply([], kept, [known[one] for one in names or usual])
    with_network = [
        one.name for one in configured if pretrained.choose(kept, one.objective(), 1, data).file is not None
    ]
    oodbench.run(
        suites=[str(file)],
        detectors=with_network,
        tasks=["smoothed"],
        parameters={
            "smoothed.sigma": sigma,
            "smoothed.draws": draws,
            "smoothed.radii": list(radii),
        },
        pretrained=True,
        images=images // 2,
        data=out / "data",
        out=out / "results",
        say=lambda line: click.echo(line, err=True),
    )
    frame = oodbench.load_results(out / "results")
    aurocs = frame[frame["metric"] == "auroc"]
    means = (100 * aurocs.pivot_table(index="detector", columns="task", values="value", sort=False)).round(2)
    click.echo(means.sort_values(means.columns[min(3, len(radii))], ascending=False).to_string())


if __name__ == "__main__":
    torch.set_num_threads(1)
    commands()
