"""Every public image set that suites name: here those of 32 pixels, as small as their suites see them.

Digests are those that torchvision and other libraries check; counts and subsets are those of Chen et al. 2021,
arXiv:2006.15207, where it uses a set.
"""

from collections.abc import Mapping

from oodbench.sources.large import DTD, LARGE
from oodbench.sources.openood import OPENOOD
from oodbench.sources.photographs import IMAGE_FILES
from oodbench.sources.pools import POOLS
from oodbench.sources.readers import array, cifar, idx, pictures, svhn
from oodbench.sources.source import Source
from oodbench.sources.source import remote_file as _file
from oodbench.sources.tinyimagenet import tiny_imagenet_train, tiny_imagenet_val

_CIFAR10 = _file(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a", 170.5
)
_CIFAR100 = _file(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85", 169.0
)
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_SVHN_TEST = _file(f"{_SVHN}test_32x32.mat", "md5:eb5a983be6a315427106f1b164d9cef3", 64.3)
_TINY = _file("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "md5:90528d7ca1a48142e341f4ef8d21d0de", 248.1)
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_RESEARCH = "for research; the authors state no licence"
_IMAGENET = "ImageNet terms: non-commercial research"
_ROUNDED = "JPEG files, decoded and resized here: other versions of Pillow may round single pixels otherwise."

_TEXTURES = (
    *("banded", "blotchy", "braided", "bubbly", "bumpy"),
    *("chequered", "cobwebbed", "cracked", "crosshatched", "crystalline"),
)

SOURCES: Mapping[str, Source] = {
    "cifar10-train": Source(
        "CIFAR-10 training images (Krizhevsky 2009)",
        (_CIFAR10,),
        cifar([f"data_batch_{number}" for number in range(1, 6)], "labels"),
        50_000,
        _RESEARCH,
        measured="12e3b1199b9ab0412aac114bf6589ddb80c151a609ce037b985b0ee3c1dd16b0",
    ),
    "cifar10-test": Source(
        "CIFAR-10 test images (Krizhevsky 2009)",
        (_CIFAR10,),
        cifar(["test_batch"], "labels"),
        10_000,
        _RESEARCH,
        measured="5d89b0e8763783f0cf177b8ccbc52274ba180d56a510611f7f5323f837fbd2ed",
    ),
    "cifar100-train": Source(
        "CIFAR-100 training images, fine labels (Krizhevsky 2009)",
        (_CIFAR100,),
        cifar(["train"], "fine_labels"),
        50_000,
        _RESEARCH,
    ),
    "cifar100-test": Source(
        "CIFAR-100 test images, fine labels (Krizhevsky 2009)",
        (_CIFAR100,),
        cifar(["test"], "fine_labels"),
        10_000,
        _RESEARCH,
    ),
    "svhn-train": Source(
        "SVHN training images, cropped digits (Netzer et al. 2011)",
        (_file(f"{_SVHN}train_32x32.mat", "md5:e26dedcc434d2e4c54c9b2d4a06d8373", 182.0),),
        svhn(),
        73_257,
        "non-commercial use",
    ),
    "svhn-test": Source(
        "SVHN: the first 1,000 test images of each digit, as Chen et al. 2021 take them",
        (_SVHN_TEST,),
        svhn(each=1000),
        10_000,
        "non-commercial use",
    ),
    "svhn-test-10k": Source(
        "SVHN: the first 10,000 of the 26,032 test images, cropped digits (Netzer et al. 2011)",
        (_SVHN_TEST,),
        svhn(first=10_000),
        10_000,
        "non-commercial use",
        "svhn-test is another choice out of the same images.",
        measured="1e3b0cc40d7ee6c8696aed310cd54507dcebe0a537d06c189dc4517df38e6b34",
    ),
    "textures": Source(
        "Describable Textures, all 47 classes, at 32 pixels (Cimpoi et al. 2014)",
        (DTD,),
        pictures(r"dtd/images/.*\.jpg", 32, labelled=True),
        5_640,
        "for research",
    ),
    "textures-10classes": Source(
        "Describable Textures, the first ten of the 47 classes, at 32 pixels (Cimpoi et al. 2014)",
        (DTD,),
        pictures(rf"dtd/images/({'|'.join(_TEXTURES)})/.*\.jpg", 32, labelled=True),
        1_200,
        "for research",
        _ROUNDED,
        measured="aabd648eb5bcfa39018247f7fc8ccc2ed9a6757f76156585c33f382178cb461d",
    ),
    "places365": Source(
        "Places365: the 10,000 test images that Chen et al. 2021 list, at 32 pixels (Zhou et al. 2017)",
        (
            _file(
                "http://data.csail.mit.edu/places/places365/test_256.tar",
                "md5:f532f6ad7b582262a2ec8009075e186b",
                4_700,
            ),
        ),
        pictures(IMAGE_FILES, 32, listed="places365-test-10000.txt.gz"),
        10_000,
        "non-commercial use",
    ),
    "lsun-crop": Source(
        "LSUN test images, cropped, as released with ODIN (Yu et al. 2015, Liang et al. 2018)",
        (
            _file(
                "https://www.dropbox.com/s/raw/fhtsw1m3qxlwj6h/LSUN.tar.gz",
                "md5:458a0a0ab8e5f1cb4516d7400568e460",
                30,
                "https://www.dropbox.com/s/fhtsw1m3qxlwj6h/LSUN.tar.gz?dl=1",
            ),
        ),
        pictures(IMAGE_FILES, 32),
        10_000,
        _RESEARCH,
        "Crops of 36 pixels, resized here as the reference does.",
    ),
    "lsun-resize": Source(
        "LSUN test images, shrunk, as released with ODIN (Yu et al. 2015, Liang et al. 2018)",
        (
            _file(
                "https://www.dropbox.com/s/raw/moqh2wh8696c3yl/LSUN_resize.tar.gz",
                "md5:278b7b31c8cb7e804a1465a8ce03a2dc",
                30,
                "https://www.dropbox.com/s/moqh2wh8696c3yl/LSUN_resize.tar.gz?dl=1",
            ),
        ),
        pictures(IMAGE_FILES, 32),
        10_000,
        _RESEARCH,
        "Shrunk without antialiasing: artefacts alone tell these images from CIFAR's (Tack et al. 2020).",
    ),
    "isun": Source(
        "iSUN images, shrunk, as released with ODIN (Xu et al. 2015, Liang et al. 2018)",
        (
            _file(
                "https://www.dropbox.com/s/raw/ssz7qxfqae0cca5/iSUN.tar.gz",
                "md5:be77b0f2c26fda898afac5f99645ee70",
                20,
                "https://www.dropbox.com/s/ssz7qxfqae0cca5/iSUN.tar.gz?dl=1",
            ),
        ),
        pictures(IMAGE_FILES, 32),
        8_925,
        _RESEARCH,
        "Shrunk without antialiasing: artefacts alone tell these images from CIFAR's.",
    ),
    "mnist-test": Source(
        "MNIST test images, 28 pixels, grey in three channels (LeCun et al. 1998)",
        (
            _file(f"{_MNIST}t10k-images-idx3-ubyte.gz", "md5:9fb629c4189551a2d022fa330f9573f3", 1.65),
            _file(f"{_MNIST}t10k-labels-idx1-ubyte.gz", "md5:ec29112dd5afa0611ce80d1b7f02629c", 0.005),
        ),
        idx,
        10_000,
        "CC BY-SA 3.0",
    ),
    "tiny-imagenet-val": Source(
        "Tiny-ImageNet validation images at 32 pixels (Le and Yang 2015)",
        (_TINY,),
        pictures(r"tiny-imagenet-200/val/images/.*\.JPEG", 32),
        10_000,
        _IMAGENET,
    ),
    "tiny-imagenet-train": Source(
        "Tiny-ImageNet training images at 32 pixels, as auxiliary outliers (Le and Yang 2015)",
        (_TINY,),
        pictures(r"tiny-imagenet-200/train/.*\.JPEG", 32, labelled=True),
        100_000,
        _IMAGENET,
        "Sorted by class: neighbours are alike.",
    ),
    "tinyimagenet-heldout": Source(
        "Tiny-ImageNet validation images of 74 classes that neither CIFAR-10 nor tinyimagenet-outliers has, at 32 "
        "pixels (Le and Yang 2015)",
        (_TINY,),
        tiny_imagenet_val("tinyimagenet-heldout.txt.gz", 32),
        3_700,
        _IMAGENET,
        f"That CIFAR-10 lacks these classes was decided by their names. {_ROUNDED}",
        measured="c2c96ef3b50c8d64f2a91872869b2836c150f541dd3b3067875e3b947282cf6d",
    ),
    "tinyimagenet-outliers": Source(
        "Tiny-ImageNet training images, the first 200 by name of each of 100 classes that CIFAR-10 lacks, at 32 "
        "pixels, as auxiliary outliers (Le and Yang 2015)",
        (_TINY,),
        tiny_imagenet_train("tinyimagenet-outliers.txt.gz", 200, 32),
        20_000,
        _IMAGENET,
        "Sorted by class: neighbours are alike. The networks in results/reference were trained with 200 images of the "
        "same classes, of which nobody noted which of the 500 they were: so these may be others, and what is trained "
        "with them may come out a little different.",
        measured="5dddb8cb6ecc6f7835814090338a28c6e81cc8ec6522a7ae3185d4424b8a260a",
    ),
    "300k-random-images": Source(
        "300K Random Images, the usual stand-in for 80 Million Tiny Images (Hendrycks et al. 2019)",
        (
            _file(
                "https://people.eecs.berkeley.edu/~hendrycks/300K_random_images.npy",
                "md5:64ca64357de98351f28454274a112dc3",
                921.6,
            ),
        ),
        array(),
        300_000,
        "drawn from a data set that its authors have withdrawn",
        "CIFAR's classes were taken out by its authors.",
    ),
    **POOLS,
    **LARGE,
    **OPENOOD,
}
"""By the name that suites use."""
