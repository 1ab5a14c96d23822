"""Work on somebody's own network and images, as they describe it: the same words for `benchmark` and `fit`."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network
from oodbench.networks.of_module import wrap_module
from oodbench.networks.wrapping import Wrapping
from oodbench.scoring import benchmarking
from oodbench.scoring.benchmarking import Learned
from oodbench.scoring.user_input import Given
from oodbench.tasks import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class OnModule(Wrapping):
    """A network, and what detectors on it may learn from.

    Attributes:
        train: ID images that the network was trained on, with labels, for detectors that learn from them.
        heldout: ID images that the network was not trained on, for detectors that tune themselves.
        outliers: OOD images that are no test images, for detectors that tune themselves on these, too.
        classes: the network's first outputs, which are ID classes; all of them if left out.
        device: where the network and the images are put.
        plugins: files that define detectors.
    """

    train: Any = None
    heldout: Any = None
    outliers: Any = None
    classes: int | None = None
    device: str = "cpu"
    plugins: Sequence[str | Path] = ()

    @property
    def plugin_files(self) -> list[Path]:
        """Files that define detectors."""
        return [Path(plugin) for plugin in self.plugins]

    def taken(self, images: Any, what: str, name: str, labelled: bool = True) -> Given:
        """Images of one set, whatever holds them; `what` names them in messages, and OOD images need no labels.

        Raises:
            OodbenchError: they are of another kind.
        """
        return benchmarking.taken(images, what, name, self.preprocessing, labelled)

    def learned(self) -> Learned:
        """What there is to learn from.

        Raises:
            OodbenchError: images are of another kind.
        """

        def there(images: Any, name: str, labelled: bool = True) -> ImageSet | None:
            return None if images is None else self.taken(images, name, name, labelled).images

        outliers = there(self.outliers, "outliers", labelled=False)
        return Learned(there(self.train, "train"), there(self.heldout, "heldout"), outliers)

    def of(self, network: nn.Module, tried: Tensor) -> Network:
        """The network, on the device of the images that it is tried on.

        Raises:
            OodbenchError: it cannot be used, see `oodbench.networks.of_module.ModuleNetwork`.
        """
        return wrap_module(network, tried, self)


@dataclass(frozen=True, eq=False)
class BenchmarkConfig(OnModule):
    """What detectors are held against.

    Attributes:
        network: any module in evaluation mode that maps images to logits, see
            `oodbench.networks.of_module.ModuleNetwork`.
        id_images: test images of the classes that the network knows.
        ood_images: of others; or several sets by name.
        detectors: by name, or made with parameters of their own; "all" for every one that needs no training of its
            own. Of those, what cannot be fitted is left out and named in a warning; else that is an error.
        attack: see `evaluate`; what is attacked is each detector's own score.
        epsilon: see `evaluate`.
        convention: of the metrics: "default", "published" or "openood".
        intervals: give 95 % intervals over images, see `oodbench.statistics.intervals`.
        seed: of attacks and corruptions.
    """

    network: nn.Module
    id_images: Any
    ood_images: Any
    _: KW_ONLY
    detectors: str | Detector | Sequence[str | Detector] = "all"
    attack: str | Task | None = None
    epsilon: int | None = None
    convention: str = "default"
    intervals: bool = False
    seed: int = 1


@dataclass(frozen=True, eq=False)
class FitConfig(OnModule):
    """What a detector that goes to work is made of.

    Attributes:
        network: any module in evaluation mode that maps images to logits, see
            `oodbench.networks.of_module.ModuleNetwork`.
        detector: by name, or made with parameters of its own.
        calibrate: ID images that neither network nor detector has seen, for thresholds and p-values; `heldout` serves
            where it is left out and the detector does not tune itself on that.
        images: some of the size that the network takes, where the detector learns from none.
    """

    network: nn.Module
    detector: str | Detector
    _: KW_ONLY
    calibrate: Any = None
    images: Any = None
