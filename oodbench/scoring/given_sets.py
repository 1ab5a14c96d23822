"""Checks the image sets that a user gives beside a network: their labels, and that each is used once."""

from collections.abc import Collection, Mapping, Sequence

import torch

from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.overlap import common, contents, require_apart
from oodbench.networks.headless import HeadlessNetwork
from oodbench.networks.network import Network
from oodbench.scoring.learning_images import LearningImages
from oodbench.scoring.representing import represent_set
from oodbench.statistics import label_order

COMPARED_IMAGES = 500
"""Images of a set, spread over it, whose labels are compared with the network's predictions."""


def require_labels(
    network: Network,
    images: torch.Tensor,
    classes: int | None,
    learning: LearningImages,
    tested: ImageSet | None = None,
) -> int:
    """The number of classes: all outputs of the network, unless `classes` says that some are something else.

    Args:
        network: on the device of the images.
        images: a few, as it takes them.
        classes: as the caller says.
        learning: images that detectors learn from.
        tested: ID images, if there are any.

    Raises:
        OodbenchError: there are more classes than outputs, or labels beyond them, or of some images alone; or folders
            of classes do not go together.
    """
    if isinstance(network, HeadlessNetwork):
        if classes is None:
            raise OodbenchError("the network has no head that says how many classes there are: say it, classes=")
        outputs = classes
    else:
        with torch.no_grad():
            outputs = network.represent(images).logits.shape[1]
    count = outputs if classes is None else classes
    _require_count(count, outputs, isinstance(network, HeadlessNetwork))
    for name, image_set in {"id_images": tested, **learning.id_sets}.items():
        if image_set is None or not len(image_set):
            continue
        if int(image_set.labels.max()) >= count:
            raise OodbenchError(
                f"{name} has the label {int(image_set.labels.max())}, and the network has {outputs} outputs for "
                f"{count} classes: labels count from 0, and must be those that the network was trained with"
            )
        if not image_set.unlabelled and (unknown := int((image_set.labels < 0).sum())):
            raise OodbenchError(
                f"{name} has no label for {unknown} of its {len(image_set)} images: label them all, or none"
            )
    id_sets = (learning.train, learning.heldout, tested)
    _require_same_classes([image_set for image_set in id_sets if image_set is not None])
    return count


def _require_count(count: int, outputs: int, headless: bool) -> None:
    """Raise OodbenchError unless there can be so many classes; a network without a head has no outputs to compare."""
    if headless and count < 2:
        raise OodbenchError(f"classes is {count}: give how many classes the network's features tell apart, 2 at least")
    if outputs < 2:
        raise OodbenchError(
            "the network has one output, and a single sigmoid output is not enough, since each class needs a logit of "
            "its own: give its last layer two outputs; weights (0, w) and biases (0, b) in place of w and b do it"
        )
    if not 2 <= count <= outputs:
        raise OodbenchError(f"classes is {count}, and the network has {outputs} outputs: give 2 to {outputs}")


def _require_same_classes(sets: Sequence[ImageSet]) -> None:
    """Raise OodbenchError where folders that are classes differ from set to set."""
    named = [image_set for image_set in sets if image_set.classes]
    for image_set in named[1:]:
        if tuple(image_set.classes) != tuple(named[0].classes):
            odd = ", ".join(sorted({*image_set.classes} ^ {*named[0].classes})[:5]) or "in another order"
            raise OodbenchError(
                f"{image_set.name!r} and {named[0].name!r} have other classes ({odd}), so their labels do not mean "
                "the same: give each a folder for every class"
            )


def label_doubts(
    network: Network, sets: Mapping[str, ImageSet | None], classes: int, device: torch.device
) -> list[str]:
    """A sentence for each set whose labels hardly are the network's classes, by `COMPARED_IMAGES` images of each.

    Args:
        network: on the device.
        sets: by name; those without labels are left out.
        classes: of ID images, its first outputs.
        device: where images are put.
    """
    doubts = []
    for name, images in sets.items():
        if images is None or images.unlabelled or isinstance(network, HeadlessNetwork):
            continue
        shown = images.spread(COMPARED_IMAGES)
        predictions = represent_set(network, shown, device).logits[:, :classes].argmax(1).numpy()
        if doubt := label_order.doubt(shown.labels, predictions, classes, images.classes):
            doubts.append(f"{name}: {doubt}")
    return doubts


def require_sets_apart(sets: Mapping[str, ImageSet | None], ood: Collection[str] = ()) -> list[str]:
    """Require that no set is a part of another, whatever the labels say.

    Results on images that something was learned from or chosen on say nothing of other images.

    Args:
        sets: by the names that messages give them.
        ood: names of OOD test sets, which may be parts of each other, but not the same.

    Returns:
        A sentence for each two sets that share images.

    Raises:
        OodbenchError: a set is a part of another.
    """
    return require_apart([contents(images, name) for name, images in sets.items() if images is not None], ood)


def require_unseen(calibrate: ImageSet, name: str, learning: Mapping[str, ImageSet | None]) -> None:
    """Raise OodbenchError where ID images that thresholds are chosen on are among those that are learned from.

    Args:
        calibrate: images to choose thresholds on.
        name: of these in messages.
        learning: images that network or detector learn from, by their names in messages; None where there are none.
    """
    given = contents(calibrate, name)
    for learning_name, images in learning.items():
        known = contents(images, learning_name) if images is not None else None
        if known and (shared := common(given, known)):
            raise OodbenchError(
                f"{shared}, so they cannot say what the detector does on new ones: calibrate on ID images that neither "
                "it nor its network has seen"
            )
