"""`oodbench evidence`: rows of a results folder, or of images from an attack of one's own, put into an archive."""

from collections.abc import Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.board import handed_in, making
from oodbench.board.archive import Evidence, Row, write
from oodbench.board.at_hand import Resources, Subject
from oodbench.cli.evidence import EvidenceOptions
from oodbench.cli.terminal import warn
from oodbench.cli.work.output import refuse_to_overwrite
from oodbench.networks.network import Network
from oodbench.registry import discover
from oodbench.results.folder import find_results
from oodbench.sources.trained import checkpoint
from oodbench.suitefiles import settings, suitefile
from oodbench.training import pretrained as shelves


def evidence_of_results(results: Path, options: EvidenceOptions) -> None:
    """Write evidence of the attacks that a results folder holds."""
    refuse_to_overwrite(options.output, options.replace)
    resources, keep = _resources(options), _keep(options)
    suites = [_suite_name(name) for name in options.suites]
    folder = find_results(results)
    for line in folder.left_out:
        warn(line)
    rows: list[tuple[Row, Network]] = []
    for cell in folder.cells:
        about = cell.attributes()
        if (suites and about["suite"] not in suites) or (options.names and about["detector"] not in options.names):
            continue
        if attacks := making.attacks_in(cell, options.tasks):
            rows += making.rows_of_result(cell, attacks, resources, warn, keep)
    if not rows:
        raise OodbenchError(
            f"{results} holds no attack of what was asked for: evidence is of attacks on OOD images in a ball, such as "
            "`oodbench run --suite digits-adv --detector msp --pretrained --task linf-adaptive --keep-images` makes"
        )
    _write(rows, options)


def evidence_of_images(file: Path, epsilon: int, options: EvidenceOptions) -> None:
    """Write evidence of attacked images from a file, which are scored here.

    Args:
        file: of arrays, see `oodbench.board.handed_in`.
        epsilon: radius of the ball that the attack kept to, in 1/255.
        options: all options of the verb, with one suite and one detector.
    """
    refuse_to_overwrite(options.output, options.replace)
    resources, data = _resources(options), options.data
    suite = suitefile.load(options.suites[0])
    changes = tuple(settings.parse(text) for text in options.assignments)
    subject = Subject(suite, resources.registry[options.names[0]], changes, "", options.limit or 0, options.seed)
    attack = making.OwnAttack(options.norm, epsilon, options.words, handed_in.read(file))
    network = resources.networks[0] if resources.networks else _kept_network(subject, data)
    _write([making.row_of_images(attack, subject, resources, network, _keep(options))], options)


def _resources(options: EvidenceOptions) -> Resources:
    suite_files = tuple(Path(name) for name in options.suites if Path(name).suffix == ".toml")
    networks = tuple(checkpoint(str(file), options.data) for file in options.checkpoints)
    return Resources(discover(options.plugins), options.data, networks, suite_files, options.device)


def _keep(options: EvidenceOptions) -> making.Keep:
    return making.as_changes if options.changes else making.as_images


def _suite_name(suite: str) -> str:
    """Return the name of a suite that is given by name or by its file; a name may have a dot in it."""
    return Path(suite).stem if Path(suite).suffix == ".toml" else suite


def _kept_network(subject: Subject, data: Path) -> Path:
    """Return the file of the network that is kept for everybody; OodbenchError where there is none."""
    suite, detector = subject.applied()
    choice = shelves.choose(suite, detector.objective(), subject.seed, data)
    if choice.file is None:
        raise OodbenchError(f"there is no kept network of {detector.name} on {suite.name}: {choice.why_not_pretrained}")
    return choice.file


def _write(rows: Sequence[tuple[Row, Network]], options: EvidenceOptions) -> None:
    evidence = making.join_rows(rows, options.by, options.note)
    write(options.output, evidence)
    _print_content(options.output, evidence)


def _print_content(output: Path, evidence: Evidence) -> None:
    """Print what an archive holds, and how large it is."""
    for row in evidence.description.rows:
        figures = ", ".join(f"{one.name} {100 * one.auroc:.2f}" for one in row.sets)
        click.echo(f"{row.title}: {row.sets[0].count} images of each set, AUROC {figures}")
    carried = f", {len(evidence.networks)} networks" if evidence.networks else ""
    count = len(evidence.rows)
    click.echo(f"{output}: {count} row{'s' * (count != 1)}{carried}, {output.stat().st_size / 1e6:.1f} MB")
