"""The splits of OpenOOD v1.5: its own archives, cut by its own lists (Zhang et al. 2023, arXiv:2306.09301).

Archives and lists are those that its scripts/download/download.py names. No digest of them is published. Counts are of
the released lists, as users who counted them report; None where no report was found.
"""

from collections.abc import Mapping

from oodbench.sources.large import IMAGENET_VAL, OPENIMAGE_O
from oodbench.sources.listed import listed_photographs, listed_pictures
from oodbench.sources.photographs import photographs
from oodbench.sources.source import RemoteFile, Source, drive_file

_LISTS = drive_file("1lI1j0_fDDvjIt9JlWAw09X8ks-yrR_H1", "openood-benchmark_imglist.zip", 28)
_CIFAR10 = drive_file("1Co32RiiWe16lTaiOU6JMMnyUYS41IlO1", "openood-cifar10.zip")
_CIFAR100 = drive_file("1PGKheHUsf29leJPPGuXqzLBMwl8qMF8_", "openood-cifar100.zip")
_TIN = drive_file("1PZ-ixyx52U989IKsMA2OT-24fToTrelC", "openood-tin.zip")
_TIN597 = drive_file("1R0d8zBcUxWNXz6CPXanobniiIfQbpKzn", "openood-tin597.zip")
_MNIST = drive_file("1CCHAGWqA1KJTFFswuF9cbhmB-j98Y1Sb", "openood-mnist.zip")
_SVHN = drive_file("1DQfc11HOtB1nEwqS4pWUFp8vtQ3DczvI", "openood-svhn.zip")
_TEXTURE = drive_file("1OSz1m3hHfVWbRdmMwKbUzoU8Hg9UKcam", "openood-texture.zip")
_PLACES = drive_file("1Ec-LRSTf6u5vEctKX9vRp9OA6tqnJ0Ay", "openood-places365.zip")

_RESEARCH = "for research"
_IMAGENET = "ImageNet terms: non-commercial research"


def _small(title: str, archive: RemoteFile, name: str, count: int | None, terms: str) -> Source:
    """At 32 pixels, as OpenOOD shows them to its networks: shorter side resized (bilinear), middle cut out."""
    return Source(f"OpenOOD v1.5, {title}", (archive, _LISTS), listed_pictures(name, 32), count, terms)


OPENOOD: Mapping[str, Source] = {
    "openood-cifar10-id": _small(
        "CIFAR-10 test images that are not for validation", _CIFAR10, "cifar10/test_cifar10.txt", 9_000, _RESEARCH
    ),
    "openood-cifar10-cifar100": _small(
        "CIFAR-100 against CIFAR-10", _CIFAR100, "cifar10/test_cifar100.txt", 9_000, _RESEARCH
    ),
    "openood-cifar10-tin": _small(
        "Tiny-ImageNet against CIFAR-10, without shared classes", _TIN, "cifar10/test_tin.txt", 7_793, _IMAGENET
    ),
    "openood-cifar10-places365": _small(
        "Places365 against CIFAR-10, without shared classes",
        _PLACES,
        "cifar10/test_places365.txt",
        35_195,
        "non-commercial use",
    ),
    "openood-cifar100-id": _small(
        "CIFAR-100 test images that are not for validation", _CIFAR100, "cifar100/test_cifar100.txt", 9_000, _RESEARCH
    ),
    "openood-cifar100-cifar10": _small(
        "CIFAR-10 against CIFAR-100", _CIFAR10, "cifar100/test_cifar10.txt", None, _RESEARCH
    ),
    "openood-cifar100-tin": _small(
        "Tiny-ImageNet against CIFAR-100, without shared classes", _TIN, "cifar100/test_tin.txt", None, _IMAGENET
    ),
    "openood-cifar100-places365": _small(
        "Places365 against CIFAR-100, without shared classes",
        _PLACES,
        "cifar100/test_places365.txt",
        None,
        "non-commercial use",
    ),
    "openood-mnist": _small(
        "MNIST, training and test images, against CIFAR", _MNIST, "cifar10/test_mnist.txt", 70_000, "CC BY-SA 3.0"
    ),
    "openood-svhn": _small(
        "SVHN test images against CIFAR", _SVHN, "cifar10/test_svhn.txt", 26_032, "non-commercial use"
    ),
    "openood-texture": _small(
        "Describable Textures against CIFAR", _TEXTURE, "cifar10/test_texture.txt", 5_640, _RESEARCH
    ),
    "openood-tin597": _small(
        "Tiny-ImageNet-597, auxiliary outliers for CIFAR: 597 of ImageNet's other classes",
        _TIN597,
        "cifar100/train_tin597.txt",
        None,
        _IMAGENET,
    ),
    "openood-imagenet-id": Source(
        "OpenOOD v1.5, ImageNet-1k validation images but the 5,000 it validates on",
        (IMAGENET_VAL, _LISTS),
        listed_photographs("imagenet/test_imagenet.txt", folders=2),
        45_000,
        "ImageNet terms: non-commercial research",
    ),
    "openood-openimage-o": Source(
        "OpenOOD v1.5, OpenImage-O but the 1,763 images it validates on",
        (OPENIMAGE_O,),
        photographs(listed="openimage-o.txt.gz", without="openimage-o-openood-validation.txt.gz"),
        15_869,
        "OpenImages: images CC BY 2.0 each by its author, annotations CC BY 4.0",
    ),
}
"""By the name that suites use."""
