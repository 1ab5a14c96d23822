"""All that evidence is checked with on this machine: the suite, its images, the network, the detector over it."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcecode import code_digest
from oodbench.basics.threads import on_threads
from oodbench.board.archive import Indices, Pixels
from oodbench.detector import Detector
from oodbench.images import catalogue
from oodbench.images.imageset import ImageSet
from oodbench.networks import checkpoints
from oodbench.networks.named import AT
from oodbench.networks.network import Network
from oodbench.networks.statedicts import split_entry
from oodbench.registry import Registry
from oodbench.running.config import RunConfig
from oodbench.running.fitting_images import fitting_images
from oodbench.running.plan import SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Machinery, choose_device
from oodbench.running.train_or_load import provide
from oodbench.scoring.attacking import Attack, aim, score_attacked
from oodbench.scoring.batches import Purpose
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import fit
from oodbench.sources.trained import FOLDER
from oodbench.suite import Suite
from oodbench.suitefiles import settings, suitefile
from oodbench.suitefiles.selection import name_before_variants, vary
from oodbench.suitefiles.settings import NETWORK, Setting
from oodbench.tasks import KINDS, Task
from oodbench.tasks.versions import Versions
from oodbench.training import pretrained


@dataclass(frozen=True)
class Resources:
    """Where to look for what evidence names.

    Attributes:
        registry: the detectors.
        data: folder of image packs.
        networks: files of trained networks, beside those that are kept for everybody.
        suites: files of suites, beside those that come with oodbench.
        device: where networks run, as `choose_device` takes it.
    """

    registry: Registry
    data: Path
    networks: tuple[Path, ...] = ()
    suites: tuple[Path, ...] = ()
    device: str = "cpu"

    def suite(self, name: str) -> Suite | None:
        """Return the suite of a name; None where there is none. A name in an archive is never opened as a file."""
        for file in self.suites:
            if file.stem == name:
                return suitefile.read(str(file))
        return suitefile.read(name) if name in suitefile.names() else None


@dataclass(frozen=True)
class Subject:
    """A detector on a suite, with the settings by which a run changed them.

    Attributes:
        suite: as its file says.
        detector: its class.
        settings: of the run.
        attack: name of the task that was carried out; "" for none.
        limit: how many images of each set the run took; 0 for all.
        seed: of the run.
    """

    suite: Suite
    detector: type[Detector]
    settings: tuple[Setting, ...]
    attack: str
    limit: int
    seed: int

    def __post_init__(self) -> None:
        for setting in self.settings:
            if setting.name == f"{NETWORK}.name" and (AT in str(setting.value) or "/" in str(setting.value)):
                raise OodbenchError(
                    f"the network is {str(setting.value)[:80]!r}, which is built by code that no archive of evidence "
                    "may name: register it as an entry point, and give it its name there"
                )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that its suite needs, so that each setting has one to set: also other tasks of the run."""
        named = [self.attack, *(setting.name.rpartition(".")[0] for setting in self.settings)]
        found = [
            name_before_variants(name)
            for name in named
            if name in self.suite.tasks or name_before_variants(name) in KINDS
        ]
        return tuple(dict.fromkeys(found))

    def applied(self) -> tuple[Suite, Detector]:
        """Return the suite and the detector as the settings make them.

        Raises:
            OodbenchError: a setting that nothing here has.
        """
        varied = vary(self.suite, self.tasks, (), "out")
        suite, (detector,) = settings.apply(self.settings, varied, [self.detector])
        return suite, detector


@dataclass(frozen=True)
class LoadedDetector:
    """A detector over the network in a file, on images that are here; `ready` before it scores.

    Attributes:
        plan: of the run that scored.
        network: on the device, in evaluation mode.
        file: that it was read from.
        machinery: what calculates.
        id_scores: of the ID images (M,); none before it is `ready`.
    """

    plan: SuitePlan
    network: Network
    file: Path
    machinery: Machinery
    id_scores: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def detector(self) -> Detector:
        """The detector."""
        (planned,) = self.plan.networks
        (cell,) = planned.cells
        return cell.detector

    @property
    def over_code(self) -> str:
        """Digest of the code of the method that the detector is over; "" where it is over none."""
        return over_code_of(self.detector)

    @cached_property
    def weights(self) -> str:
        """Digest of the network's."""
        return checkpoints.weights_digest(self.network)

    def ready(self) -> "LoadedDetector":
        """Return the same, fitted and with its ID images scored.

        Raises:
            OodbenchError: the detector cannot be fitted.
        """
        with on_threads(self._threads):
            shown = fitting_images(self.plan, [self.detector], self.machinery.device)
            fit([self.detector], self.network, self.plan.suite.id.classes, shown)
        return replace(self, id_scores=self._scores(self.id_images))

    @property
    def id_images(self) -> ImageSet:
        """The ID test images."""
        return self.plan.images[self.plan.suite.id.test]

    def scores(self, name: str, images: Pixels, indices: Indices, drawn_by: str = "") -> Floats:
        """Score images of the OOD set `name`, uint8 (N, H, W, 3) from the places `indices` in it.

        A score that draws takes the draws of the run, or those that follow from the text `drawn_by`.
        """
        return self._scores(ImageSet(name, images, np.full(len(images), -1), "handed in", indices), drawn_by)

    def id_scores_drawn_by(self, text: str) -> Floats:
        """Return the ID scores (M,) with the draws that follow from a text."""
        return self._scores(self.id_images, text)

    def attacked(self, images: ImageSet, task: Task) -> Pixels:
        """Attack images as a run does, and return the attacked ones, uint8 (N, H, W, 3)."""
        with on_threads(self._threads):
            goal = aim(self.detector, task, self.id_images, self.id_scores, self.machinery.device)
            attack = Attack(self.detector, task, goal, self._purpose(images), keep_images=True)
            return score_attacked(attack, images, self.machinery.device).images

    def _scores(self, images: ImageSet, drawn_by: str = "") -> Floats:
        with on_threads(self._threads):
            purpose, device = self._purpose(images, drawn_by), self.machinery.device
            (scored,) = score_versions([self.detector], images, Versions(), purpose, device)
            return scored.scores

    @property
    def _threads(self) -> int:
        return self.plan.networks[0].threads

    def _purpose(self, images: ImageSet, drawn_by: str = "") -> Purpose:
        return Purpose(drawn_by or self.plan.seed, images.name)


def ood_set(suite: Suite, name: str, data: Path, limit: int) -> ImageSet:
    """Return an OOD set as a run with this limit takes it.

    Raises:
        OodbenchError: it is not at hand, or broken.
    """
    found = catalogue.load(name, data, suite.network.input_preprocessing())
    return found.spread(limit or None)


def even_sample(images: ImageSet, count: int, limit: int = 0) -> Indices:
    """Return the places of the `count` images that a run takes of a whole set; `limit` is its `--limit`, 0 for none."""
    return images.spread(limit or None).spread(count).indices


def places(images: ImageSet, indices: Indices) -> npt.NDArray[np.int64]:
    """Return where images with these places in the whole set stand in a part of it; -1 for those that it lacks."""
    order = np.argsort(images.indices, kind="stable")
    found = np.minimum(np.searchsorted(images.indices[order], indices), len(order) - 1)
    return np.where(images.indices[order[found]] == indices, order[found], -1)


def load_detector(subject: Subject, resources: Resources, network: Path) -> LoadedDetector:
    """Return the detector over the network in a file, not fitted yet; nothing is trained.

    Raises:
        OodbenchError: images, or anything that the detector learns from, are not here; the file is another network.
    """
    available = catalogue.names(resources.data)
    sets = [ood.set for ood in subject.suite.ood if ood.set in available] or [ood.set for ood in subject.suite.ood]
    config = RunConfig(
        [str(_suite_file(subject.suite, resources))],
        [subject.detector.name],
        seed=subject.seed,
        device=resources.device,
        data=resources.data,
        checkpoint=network,
        limit=subject.limit or None,
        tasks=subject.tasks,
        only=sets[:1],
        parameters=subject.settings,
    )
    request = config.request(resources.registry, choose_device(resources.device))
    (each,) = plan(request, resources.registry)
    (planned,) = each.networks
    with on_threads(planned.threads):
        built = provide(each, planned, request.machinery, _ignore_line)
    return LoadedDetector(each, built, network, request.machinery)


def load_with_weights(subject: Subject, resources: Resources, files: Sequence[Path], digest: str) -> LoadedDetector:
    """Return the detector over the first file whose weights have the digest; else over the last that can be read.

    Raises:
        OodbenchError: none can be read; the error of the last one is raised, see `load_detector`.
    """
    found: LoadedDetector | None = None
    for number, file in enumerate(files, 1):
        try:
            found = load_detector(subject, resources, file)
        except OodbenchError:
            if number == len(files) and found is None:
                raise
        else:
            if found.weights == digest:
                break
    assert found is not None  # one was read, or the last raised
    return found


def _suite_file(suite: Suite, resources: Resources) -> Path | str:
    return next((file for file in resources.suites if file.stem == suite.name), suite.name)


def kept_name(network: Path, data: Path) -> str:
    """Return the name under which a file, or a copy of it, is kept for everybody; "" where it is on no shelf."""
    digest = _sha256(network)
    return next((one.name for one in pretrained.known(data).values() if one.sha256 == digest), "")


def kept_file(name: str, data: Path) -> Path | None:
    """Return the file of a network that is kept for everybody; None where it is not here.

    Raises:
        OodbenchError: it is not the one that its index speaks of.
    """
    known = pretrained.known(data)
    return known[name].find(data) if name in known else None


def find_kept(name: str, resources: Resources) -> Path:
    """Return the file of a network that is kept for everybody, from its shelf or among the networks that were named.

    Raises:
        OodbenchError: it is not here, with how to come by it; or it is not the one that its index speaks of.
    """
    known = pretrained.known(resources.data)
    if name not in known:
        raise OodbenchError(
            f"no shelf of kept networks here has a {name}: put the shelf of that name, with its index, into "
            f"{resources.data / FOLDER}"
        )
    kept = known[name]
    there = (file for file in resources.networks if split_entry(file)[0].is_file())
    named = (file for file in there if _sha256(file) == kept.sha256)
    if (found := kept.find(resources.data) or next(named, None)) is None:
        raise OodbenchError(f"the kept network {name} is not here: {kept.advice(resources.data)}")
    return found


def _sha256(network: Path) -> str:
    return sha256(split_entry(network)[0].read_bytes()).hexdigest()


@contextmanager
def networks_as_files(raw: Mapping[str, bytes]) -> Iterator[Mapping[str, Path]]:
    """Write the networks that an archive carries to files of our own naming, which last as long as the block."""
    with tempfile.TemporaryDirectory(prefix="oodbench-") as folder:
        found = {digest: Path(folder) / f"{digest}.safetensors" for digest in raw}
        for digest, file in found.items():
            file.write_bytes(raw[digest])
        yield found


def task_of(constants: str) -> Task:
    """Return the task of the constants that a result has.

    Raises:
        OodbenchError: it does not move OOD images, and those alone, in a ball around what they are.
    """
    try:
        said = dict(json.loads(constants))
        kind = KINDS[said.pop("kind")]
        if len(kind().versions()) > 1:  # its constants may name folders, which are not looked into
            raise OodbenchError(
                f"{kind.kind!r} begins at corrupted images: evidence is of balls around images as they are"
            )
        task = kind(**said)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise OodbenchError(f"its attack is none of {', '.join(KINDS)} with constants that these take") from error
    if not task.attacks():
        raise OodbenchError(f"{task.kind!r} moves no image in a ball: evidence is of attacks")
    if task.side != "out":
        raise OodbenchError("its ID images are attacked, too: evidence is of attacks on OOD images alone")
    return task


def parameters_of(detector: Detector) -> str:
    """Return a detector's parameters as an archive has them, in JSON."""
    return json.dumps(asdict(detector.parameters), sort_keys=True)


def over_code_of(detector: Detector) -> str:
    """Return the digest of the code of the method that a detector is over; "" where it is over none."""
    over = detector.over()
    return code_digest(type(over), root=Detector) if over else ""


def parse_settings(texts: Sequence[str]) -> tuple[Setting, ...]:
    """Return the settings of a run from their texts in an archive."""
    return tuple(map(settings.parse, texts))


def _ignore_line(_: str) -> None:
    """Print nothing: nothing is trained."""
