"""ImageNet and the sets that are held against it: photographs as they are, each network does its own preprocessing.

Digests are those that torchvision 0.20 (ImageNet), detectors 0.1.11 (MOS, NINCO) and torch-uncertainty 0.13
(OpenImage-O) check.
"""

from collections.abc import Mapping

from oodbench.sources.photographs import imagenet_train, imagenet_val, photographs
from oodbench.sources.source import Source, drive_file, file_by_hand, remote_file

_IMAGENET_TERMS = "ImageNet terms: non-commercial research"
_WHERE = "from image-net.org, ILSVRC2012, after a login"
_MOS = "http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset/"
_AUTHORS = "for research; the authors state no licence"

DTD = remote_file(
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    "md5:fff73e5086ae6bdbea199a49dfb8a4c1",
    625.2,
)
IMAGENET_VAL = file_by_hand("ILSVRC2012_img_val.tar", "md5:29b22e2961454d5413ddabcf34fc5622", 6_700, _WHERE)
OPENIMAGE_O = remote_file(
    "https://zenodo.org/records/10540831/files/OpenImage-O.zip", "md5:c0abd7cd4b6f218a7149adc718d70e6e", None
)

LARGE: Mapping[str, Source] = {
    "imagenet-val": Source(
        "ImageNet-1k validation images (Russakovsky et al. 2015)",
        (
            IMAGENET_VAL,
            file_by_hand("ILSVRC2012_devkit_t12.tar.gz", "md5:fa75699e90414af021442c21a62c3abf", 2.6, _WHERE),
        ),
        imagenet_val,
        50_000,
        _IMAGENET_TERMS,
    ),
    "imagenet-train": Source(
        "ImageNet-1k training images (Russakovsky et al. 2015)",
        (file_by_hand("ILSVRC2012_img_train.tar", "md5:1d675b47d978889d74fa0da5fadfb00e", 148_000, _WHERE),),
        imagenet_train,
        1_281_167,
        _IMAGENET_TERMS,
        "Sorted by class.",
    ),
    "inaturalist": Source(
        "iNaturalist: 10,000 plants of classes that ImageNet-1k lacks, chosen by Huang and Li 2021, arXiv:2105.01879",
        (remote_file(f"{_MOS}iNaturalist.tar.gz", "md5:5be6ea8aa027d7b631916427b32cb335", None),),
        photographs(),
        10_000,
        "non-commercial research (iNaturalist 2017)",
    ),
    "sun": Source(
        "SUN: 10,000 scenes of classes that ImageNet-1k lacks, chosen by Huang and Li 2021, arXiv:2105.01879",
        (remote_file(f"{_MOS}SUN.tar.gz", "md5:8469c3ada62211477954ec1be53b12d0", None),),
        photographs(),
        10_000,
        _AUTHORS,
    ),
    "places": Source(
        "Places: 10,000 scenes of classes that ImageNet-1k lacks, chosen by Huang and Li 2021, arXiv:2105.01879",
        (remote_file(f"{_MOS}Places.tar.gz", "md5:b5cb5eba2754ae2a28beea8718db699a", None),),
        photographs(),
        10_000,
        "non-commercial use",
    ),
    "textures-large": Source(
        "Describable Textures, all 47 classes, as they are (Cimpoi et al. 2014)",
        (DTD,),
        photographs(r"dtd/images/.*\.jpg"),
        5_640,
        "for research",
        "Some show what ImageNet has a class for; textures-vim leaves those out.",
    ),
    "textures-vim": Source(
        "Describable Textures: the 5,160 without ImageNet's classes, listed by Wang et al. 2022, arXiv:2203.10807",
        (DTD,),
        photographs(r"dtd/images/.*\.jpg", listed="textures-vim.txt.gz"),
        5_160,
        "for research",
    ),
    "openimage-o": Source(
        "OpenImage-O: 17,632 images chosen one by one to be none of ImageNet's classes (Wang et al. 2022, "
        "arXiv:2203.10807)",
        (OPENIMAGE_O,),
        photographs(listed="openimage-o.txt.gz"),
        17_632,
        "OpenImages: images CC BY 2.0 each by its author, annotations CC BY 4.0",
    ),
    "ninco": Source(
        "NINCO: 64 classes that ImageNet-1k lacks, every image looked at (Bitterwolf et al. 2023, arXiv:2306.00826)",
        (
            remote_file(
                "https://zenodo.org/record/8013288/files/NINCO_all.tar.gz",
                "md5:b9ffae324363cd900a81ce3c367cd834",
                None,
            ),
        ),
        photographs(r"(.*/)?NINCO_OOD_classes/(.*/)?[^/.][^/]*\.(jpg|jpeg|png|JPG|JPEG)"),
        5_879,
        "MIT, says its repository",
    ),
    "ssb-hard": Source(
        "SSB-hard: classes of ImageNet-21k that resemble those of ImageNet-1k (Vaze et al. 2022, arXiv:2110.06207)",
        (drive_file("1PzkA-WGG8Z18h0ooL_pDdz9cO-DCIouE", "openood-ssb_hard.zip"),),
        photographs(),
        49_000,
        "ImageNet terms: non-commercial research",
        "The archive of OpenOOD.",
    ),
}
"""By the name that suites use."""
