"""What must hold of the image sets that somebody gives beside a network: their labels, and that each is used once."""

from collections.abc import Collection, Mapping, Sequence

import torch

from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.overlap import common, contents, require_apart
from oodbench.networks.headless import HeadlessNetwork
from oodbench.networks.network import Network
from oodbench.scoring.benchmarking import Learned
from oodbench.scoring.representing import represented
from oodbench.statistics import label_order

LOOKED_AT = 500
"""Images of a set, spread over it, whose labels are held against what the network calls them."""


def require_labels(
    network: Network,
    images: torch.Tensor,
    classes: int | None,
    learned: Learned,
    tested: ImageSet | None = None,
) -> int:
    """How many classes there are: those of the network, unless `classes` says that further outputs are something else.

    Args:
        network: on the device of the images.
        images: a few, as it takes them.
        classes: as the caller says.
        learned: what detectors learn from.
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
    for name, found in (("id_images", tested), ("train", learned.train), ("heldout", learned.heldout)):
        if found is None or not len(found):
            continue
        if int(found.labels.max()) >= count:
            raise OodbenchError(
                f"{name} has the label {int(found.labels.max())}, and the network has {outputs} outputs for "
                f"{count} classes: labels count from 0, and must be those that the network was trained with"
            )
        if not found.unlabelled and (unknown := int((found.labels < 0).sum())):
            raise OodbenchError(
                f"{name} has no label for {unknown} of its {len(found)} images: label them all, or none"
            )
    _require_same_classes([one for one in (learned.train, learned.heldout, tested) if one is not None])
    return count


def _require_count(count: int, outputs: int, headless: bool) -> None:
    """OodbenchError unless there can be so many classes; a network without a head has no outputs to go by."""
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
    """OodbenchError where folders that are classes are other ones in another set."""
    named = [one for one in sets if one.classes]
    for one in named[1:]:
        if tuple(one.classes) != tuple(named[0].classes):
            odd = ", ".join(sorted({*one.classes} ^ {*named[0].classes})[:5]) or "in another order"
            raise OodbenchError(
                f"{one.name!r} and {named[0].name!r} have other classes ({odd}), so their labels do not mean the same: "
                "give each a folder for every class"
            )


def label_doubts(
    network: Network, sets: Mapping[str, ImageSet | None], classes: int, device: torch.device
) -> list[str]:
    """A line for each set whose labels hardly mean the network's classes; `LOOKED_AT` images of each are looked at.

    Args:
        network: on the device.
        sets: by name; those without labels are left out.
        classes: of ID images, its first outputs.
        device: where images are put.
    """
    said = []
    for name, images in sets.items():
        if images is None or images.unlabelled or isinstance(network, HeadlessNetwork):
            continue
        shown = images.spread(LOOKED_AT)
        predictions = represented(network, shown, device).logits[:, :classes].argmax(1).numpy()
        if found := label_order.doubt(shown.labels, predictions, classes, images.classes):
            said.append(f"{name}: {found}")
    return said


def require_sets_apart(sets: Mapping[str, ImageSet | None], ood: Collection[str] = ()) -> list[str]:
    """See to it that none of these sets, by what they are called, is a part of another, whatever the labels say.

    What is learned from images, or chosen on them, says nothing of how it does on them.

    Args:
        sets: by name.
        ood: names of OOD test sets, which may be parts of each other, but not the same.

    Returns:
        Which images two of them share, a line for each such two.

    Raises:
        OodbenchError: a set is a part of another.
    """
    return require_apart([contents(images, name) for name, images in sets.items() if images is not None], ood)


def require_unseen(calibrate: ImageSet, called: str, learned: Mapping[str, ImageSet | None]) -> None:
    """OodbenchError where ID images that thresholds are chosen on are among those that are learned from.

    Args:
        calibrate: to choose thresholds on.
        called: these, in messages.
        learned: what network or detector learn from, by what that is called; None where there is nothing.
    """
    given = contents(calibrate, called)
    for name, images in learned.items():
        known = contents(images, name) if images is not None else None
        if known and (shared := common(given, known)):
            raise OodbenchError(
                f"{shared}, so they cannot say what the detector does on new ones: calibrate on ID images that neither "
                "it nor its network has seen"
            )
