"""Large pools of auxiliary outliers; people bring the files themselves."""

from collections.abc import Mapping

from oodbench.sources.outliers import TINY_BYTES, TINY_IMAGES, downsampled, tiny_images
from oodbench.sources.source import RemoteFile, Source, file_by_hand

_WHERE = "from image-net.org, downsampled ImageNet, after a login"
_TERMS = "ImageNet terms: non-commercial research"

POOLS: Mapping[str, Source] = {
    "imagenet32-train": Source(
        "downsampled ImageNet training images at 32 pixels, as auxiliary outliers (Chrabaszcz et al. 2017, "
        "arXiv:1707.08819)",
        (file_by_hand("Imagenet32_train.zip", "", None, _WHERE),),
        downsampled(32),
        1_281_167,
        _TERMS,
        "Holds CIFAR's classes. About 4 GB in memory.",
    ),
    "imagenet64-train": Source(
        "downsampled ImageNet training images at 64 pixels (Chrabaszcz et al. 2017, arXiv:1707.08819)",
        (
            file_by_hand("Imagenet64_train_part1.zip", "", None, _WHERE),
            file_by_hand("Imagenet64_train_part2.zip", "", None, _WHERE),
        ),
        downsampled(64),
        1_281_167,
        _TERMS,
        "For networks of 64 pixels; about 16 GB in memory. Chen et al. 2021 cut random 32x32 pieces out of them for "
        "their networks of 32 pixels, whose suites take imagenet32-train here. Holds CIFAR's classes.",
    ),
    "tiny-images": Source(
        "80 Million Tiny Images: a million at even distances, --count N for another number (Torralba et al. 2008)",
        (
            RemoteFile(
                (),
                f"size:{TINY_IMAGES * TINY_BYTES}",
                TINY_IMAGES * TINY_BYTES,
                "tiny_images.bin",
                "for those who still have it: it is offered nowhere any more",
            ),
        ),
        tiny_images(1_000_000),
        1_000_000,
        "WITHDRAWN by its authors in 2020, who ask that it be neither used nor passed on",
        "Sorted by noun: neighbours are alike. Images that a list says are of CIFAR's classes are replaced by random "
        "others. The file is not hashed, only its size is checked.",
        tiny_images,
    ),
}
"""By the name that suites use."""
