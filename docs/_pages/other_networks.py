"""Tables of pages about other networks than that of the table of real photographs, each from a results folder.

    python -m docs._pages.other_networks robust-classifiers RESULTS

What stands between the two marks of a table is replaced.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd
from tabulate import tabulate

from docs._pages.real_photographs import BEGIN, END, POINT, replaced
from oodbench.results import tables
from oodbench.results.folder import find_results
from oodbench.results.tables.flags import find_flags, severities

DOCS = Path(__file__).parents[1]
SCORES = DOCS.parent / "results" / "reference" / "scores"

PLACE = ["suite", "detector", "task"]
"""What a figure of a page is of."""


def means(frame: pd.DataFrame, metric: str) -> dict[tuple[str, str, str], float]:
    """The mean of a metric over OOD sets, of the most images measured: by suite, detector and task.

    Args:
        frame: tidy results, one row a figure; or a reference's rows.
        metric: such as "auroc".

    Returns:
        In percent, by (suite, detector, task).
    """
    rows = frame[(frame["metric"] == metric) & (frame["ood"] != "") & ~frame["ood"].str.startswith("mean:")]
    by_task = of_most_images(rows).groupby(PLACE)["value"]
    return {(str(suite), str(name), str(task)): 100 * float(part.mean()) for (suite, name, task), part in by_task}


def of_most_images(frame: pd.DataFrame) -> pd.DataFrame:
    """Of the rows of each suite, detector and task those of the most images; 0 stands for all of them."""
    size = frame["images"].replace(0, 10**9)
    return frame[size == size.groupby([frame[name] for name in PLACE]).transform("max")]


def doubted(frame: pd.DataFrame) -> set[tuple[str, str, str]]:
    """(suite, detector, task) whose figures may be off by more than a point."""
    found = set()
    cells = frame.drop_duplicates("cell").set_index("cell")
    for (cell, task), off in severities(find_flags(frame[frame["metric"] != "accuracy"])).items():
        if off > POINT:
            found.add((str(cells.loc[cell, "suite"]), str(cells.loc[cell, "detector"]), task))
    return found


def accuracies(frame: pd.DataFrame) -> pd.Series:
    """ID accuracy by suite, in percent."""
    return 100 * frame[frame["metric"] == "accuracy"].groupby("suite")["value"].first()


ROBUST_DETECTORS = ("msp", "energy", "mahalanobis", "knn")
ROBUST_TASKS = ("clean", "linf-eps2", "linf")


def robust_classifiers(frame: pd.DataFrame) -> str:
    """A line a network: accuracy, and for each detector its AUROC clean, under 2/255 and under 8/255."""
    auroc, marked, accuracy = means(frame, "auroc"), doubted(frame), accuracies(frame)

    def cell(suite: str, detector: str) -> str:
        figures = (
            f"{auroc[suite, detector, task]:.1f}" + "‡" * ((suite, detector, task) in marked) for task in ROBUST_TASKS
        )
        return " / ".join(figures)

    lines = [
        [suite, f"{accuracy[suite]:.1f}", *(cell(suite, detector) for detector in ROBUST_DETECTORS)]
        for suite in sorted(map(str, accuracy.index))
    ]
    return tabulate(lines, ["network", "accuracy", *ROBUST_DETECTORS], "github", disable_numparse=True)


SCENES, TEXTURES = "sun-scenes", "textures-256px"


def imagenet_small(frame: pd.DataFrame) -> str:
    """A line a detector: FPR@95 / AUROC on clean scenes and textures, and under `linf` as the mean of both.

    The detector with the best mean AUROC on clean images stands first.
    """
    rows = of_most_images(frame[(frame["limit"] == 0) & frame["ood"].isin([SCENES, TEXTURES])])
    clean = rows[rows["task"] == "clean"].groupby(["detector", "ood", "metric"])["value"]
    value = {tuple(map(str, place)): 100 * float(one.iloc[0]) for place, one in clean}
    fpr95, auroc, marked = means(rows, "fpr95"), means(rows, "auroc"), doubted(rows)
    (suite,) = set(map(str, rows["suite"]))
    names = sorted((name for _, name, task in auroc if task == "clean"), key=lambda name: -auroc[suite, name, "clean"])

    def mark(name: str, task: str) -> str:
        return "‡" * ((suite, name, task) in marked)

    def on(name: str, ood: str) -> str:
        return f"{value[name, ood, 'fpr95']:.1f} / {value[name, ood, 'auroc']:.1f}{mark(name, 'clean')}"

    def attacked(name: str) -> str:
        place = suite, name, "linf"
        return f"{fpr95[place]:.1f} / {auroc[place]:.1f}{mark(name, 'linf')}"

    lines = [[name, on(name, SCENES), on(name, TEXTURES), attacked(name)] for name in names]
    return tabulate(lines, ["detector", "scenes", "textures", "linf, both"], "github", disable_numparse=True)


SMALL, LARGER = "cifar10-small-adv", "densenet"
"""The suites of one and the other network."""


def larger_network(frame: pd.DataFrame) -> str:
    """A line a detector: FPR@95 / AUROC clean and under `linf`, on the small network and on the larger one.

    Those of the small network are computed from the scores that come with oodbench. The detector with the best clean
    AUROC on the larger network stands first.
    """
    small = tables.tidy(find_results(SCORES / f"{SMALL}.zip").cells, {})
    both = pd.concat([small, frame])
    both = of_most_images(both[(both["settings"] == "") & (both["limit"] == 0) & (both["ood"] != "")])
    # A mean over some of the sets would stand beside means over all.
    sets = both.groupby(PLACE)["ood"].transform("nunique")
    whole = both[sets == both.groupby("suite")["ood"].transform("nunique")]
    fpr95, auroc, marked = means(whole, "fpr95"), means(whole, "auroc"), doubted(whole)
    names = [name for suite, name, task in auroc if (suite, task) == (LARGER, "clean")]

    def cell(suite: str, name: str, task: str) -> str:
        place = suite, name, task
        return f"{fpr95[place]:.2f} / {auroc[place]:.2f}" + "‡" * (place in marked) if place in auroc else "–"

    columns = [(suite, task) for task in ("clean", "linf") for suite in (SMALL, LARGER)]
    lines = [
        [name, *(cell(suite, name, task) for suite, task in columns)]
        for name in sorted(names, key=lambda name: -auroc[LARGER, name, "clean"])
    ]
    head = ["detector", "clean, small", "clean, DenseNet", "linf, small", "linf, DenseNet"]
    return tabulate(lines, head, "github", disable_numparse=True)


def of_every_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """What was measured with other seeds, and of the same detectors what comes with oodbench: the first seed's."""
    first = tables.tidy(find_results(SCORES / f"{SMALL}.zip").cells, {})
    every = pd.concat([first[first["detector"].isin(frame["detector"])], frame])
    return every[(every["settings"] == "") & (every["limit"] == 0)]


def other_seeds(frame: pd.DataFrame) -> str:
    """A line a detector: clean FPR@95 / AUROC by the seed of the network's training, and how far the AUROCs lie apart.

    The detector with the best mean AUROC stands first.
    """
    every = of_every_seed(frame)
    clean = every[(every["task"] == "clean") & (every["images"] == 0)]
    fpr95: Any
    auroc: Any
    fpr95, auroc = (  # frames, whose elements pandas' types call anything from text to dates
        100 * clean[clean["metric"] == metric].groupby(["detector", "seed"])["value"].mean().unstack()
        for metric in ("fpr95", "auroc")
    )
    marked = doubted(clean)
    lines = [
        [
            f"{name}{'‡' * ((SMALL, name, 'clean') in marked)}",
            *(f"{fpr95.loc[name, seed]:.2f} / {auroc.loc[name, seed]:.2f}" for seed in auroc.columns),
            f"{auroc.loc[name].mean():.2f}",
            f"{auroc.loc[name].max() - auroc.loc[name].min():.2f}",
        ]
        for name in map(str, auroc.mean(axis=1).sort_values(ascending=False).index)
    ]
    head = ["detector", *(f"seed {seed}" for seed in auroc.columns), "mean AUROC", "apart"]
    return tabulate(lines, head, "github", disable_numparse=True)


ATTACKED_TASKS = ("clean", "linf", "linf-adaptive")


def attacked_seeds(frame: pd.DataFrame) -> str:
    """A line a detector and seed: accuracy, and FPR@95 / AUROC clean and under two attacks.

    The detector with the best mean AUROC under the adaptive attack stands first.
    """
    every = of_every_seed(frame[frame["detector"].isin(frame[frame["task"] == ATTACKED_TASKS[-1]]["detector"])])
    lines: list[list[str]] = []
    left: dict[str, float] = defaultdict(float)
    for seed, every_size in every.groupby("seed"):
        rows = of_most_images(every_size)
        fpr95, auroc, marked = means(rows, "fpr95"), means(rows, "auroc"), doubted(rows)
        accuracy = 100 * rows[rows["metric"] == "accuracy"].groupby("detector")["value"].first()
        for name in map(str, accuracy.index):
            places = [(SMALL, name, task) for task in ATTACKED_TASKS]
            cells = [f"{fpr95[place]:.2f} / {auroc[place]:.2f}" + "‡" * (place in marked) for place in places]
            lines.append([name, str(seed), f"{accuracy[name]:.2f}", *cells])
            left[name] += auroc[places[-1]]
    lines.sort(key=lambda line: (-left[line[0]], line[1]))
    head = ["detector", "seed", "accuracy", "clean", "linf", "adaptive"]
    return tabulate(lines, head, "github", disable_numparse=True)


@dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Attributes:
        page: the page's file.
        make: the table from tidy results.
        begin: the mark above it.
        end: the mark below it.
    """

    page: Path
    make: Callable[[pd.DataFrame], str]
    begin: str = BEGIN
    end: str = END


SEEDS_PAGE = DOCS / "other-seeds" / "index.md"

TABLES: Mapping[str, PageTable] = {
    "robust-classifiers": PageTable(DOCS / "robust-classifiers" / "index.md", robust_classifiers),
    "imagenet-small": PageTable(DOCS / "imagenet-small.md", imagenet_small),
    "larger-network": PageTable(DOCS / "larger-network" / "index.md", larger_network),
    "other-seeds": PageTable(SEEDS_PAGE, other_seeds),
    "other-seeds-attacked": PageTable(SEEDS_PAGE, attacked_seeds, "<!-- attacked: begin -->", "<!-- attacked: end -->"),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", type=click.Choice(sorted(TABLES)))
@click.argument("results", type=click.Path(path_type=Path, exists=True))
def main(name: str, results: Path) -> None:
    """Write a table of a page from a results folder."""
    table = TABLES[name]
    frame = tables.tidy(find_results(results).cells, {})
    page = table.page.read_text(encoding="utf-8")
    table.page.write_text(replaced(page, table.make(frame), table.begin, table.end), encoding="utf-8")
    click.echo(f"{table.page}: {frame['cell'].nunique()} results")


if __name__ == "__main__":
    main(prog_name="python -m docs._pages.other_networks")
