"""Every public set from an archive in its own layout, over a server on this machine, to a pack."""

import gzip
import hashlib
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from archive_making import jpeg, png, tar_bytes, zip_bytes
from scipy.io import savemat
from test_large import development_kit
from test_outliers import flat_file

from oodbench.images.packs import read_pack
from oodbench.images.photographs import Photographs
from oodbench.sources import photographs, readers, tinyimagenet
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.fetch import fetch
from oodbench.sources.photographs import names_listed
from oodbench.sources.source import RemoteFile

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
LISTED = 3
"""So many names are taken of lists of thousands."""


def shortened(name):
    return frozenset(sorted(names_listed(name))[:LISTED])


def some(list_name):
    return sorted(shortened(list_name))


def batch(pixels, labels, key="labels"):
    return pickle.dumps({"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1), key: labels}, 2)


def matrix(pixels, labels):
    file = io.BytesIO()
    savemat(file, {"X": pixels.transpose(1, 2, 3, 0), "y": np.asarray(labels)[:, None]}, do_compression=True)
    return file.getvalue()


def array(pixels):
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(head + values.tobytes())


def images(*names, write=jpeg):
    return [(name, write(number)) for number, name in enumerate(names)]


def cifar10():
    batches = [(f"data_batch_{number + 1}", [number]) for number in range(5)] + [("test_batch", [5])]
    entries = [(f"cifar-10-batches-py/{name}", batch(PIXELS[rows], [9 - rows[0]])) for name, rows in batches]
    return tar_bytes([("cifar-10-batches-py/readme.html", b"<a>"), *reversed(entries)], "w:gz")


def cifar100():
    entries = [
        (f"cifar-100-python/{name}", batch(PIXELS[rows], [99] * len(PIXELS[rows]), "fine_labels"))
        for name, rows in (("train", slice(4)), ("test", slice(4, 6)))
    ]
    return tar_bytes([*entries, ("cifar-100-python/meta", b"x")], "w:gz")


def dtd(*names):
    text = [("dtd/labels/train1.txt", b"banded/banded_0002.jpg"), ("dtd/imdb/imdb.mat", b"MATLAB")]
    return tar_bytes([*text, *images(*(f"dtd/images/{name}" for name in names))], "w:gz")


TWO_TEXTURES = dtd("zigzagged/zigzagged_0001.jpg", "banded/banded_0002.jpg")
VIM = dtd("banded/not_listed.jpg", *some("textures-vim.txt.gz"))
TINY_OUTLIERS, TINY_HELDOUT = some("tinyimagenet-outliers.txt.gz"), some("tinyimagenet-heldout.txt.gz")
TINY_CLASSES = sorted([*TINY_OUTLIERS, *TINY_HELDOUT, "n00000000"])
TINY_PARTS = zip_bytes(
    [
        ("tiny-imagenet-200/wnids.txt", "".join(f"{name}\n" for name in reversed(TINY_CLASSES)).encode()),
        (
            "tiny-imagenet-200/val/val_annotations.txt",
            "".join(
                f"val_{number}.JPEG\t{name}\t0\t0\t63\t63\n"
                for number, name in enumerate([*TINY_HELDOUT[1:], "n00000000", TINY_HELDOUT[0]])
            ).encode(),
        ),
        *images(
            *(f"tiny-imagenet-200/val/images/val_{number}.JPEG" for number in range(4)),
            *(
                f"tiny-imagenet-200/train/{name}/images/{name}_{number}.JPEG"
                for name in ("n00000000", *reversed(TINY_OUTLIERS))
                for number in range(201)
            ),
            *(f"tiny-imagenet-200/train/{name}/images/{name}_0.JPEG" for name in TINY_HELDOUT),
        ),
    ]
)
TINY = zip_bytes(
    images(
        *(f"tiny-imagenet-200/train/{name}/images/{name}_0.JPEG" for name in ("n02", "n01")),
        *(f"tiny-imagenet-200/val/images/val_{number}.JPEG" for number in range(3)),
        "tiny-imagenet-200/test/images/test_0.JPEG",
    )
)


def shrunken(folder):
    return tar_bytes([*images(f"{folder}/1.jpg", f"{folder}/0.jpg"), (f"{folder}/._0.jpg", b"left by a Mac")], "w:gz")


def chosen(folder):
    return tar_bytes(images(f"{folder}/images/b.jpg", f"{folder}/images/a.jpg"), "w:gz")


def downsampled(side, numbers):
    pixels = np.zeros((1, side, side, 3), np.uint8)
    return zip_bytes([(f"train_data_batch_{number}", batch(pixels + number, [number])) for number in numbers])


def openood(path, label, folder=""):
    """An archive with one image that a list names and one that it does not, and the archive of lists."""
    kind = path.partition("_")[2].removesuffix(".txt")
    name = f"{folder or kind}/test/a.png"
    archive = zip_bytes([(name, png(PIXELS[0])), (f"{folder or kind}/test/b.png", png(PIXELS[1]))])
    return [archive, zip_bytes([(f"benchmark_imglist/{path}", f"{name} {label}\n".encode())])]


def imagenet_val(tmp_path):
    kit = development_kit(tmp_path / "kit.tar.gz", [1, 3, 2]).read_bytes()
    return [tar_bytes(images(*(f"ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)))), kit]


def imagenet_openood(tmp_path):
    text = b"imagenet_1k/val/ILSVRC2012_val_00000003.JPEG 7\nimagenet_1k/val/ILSVRC2012_val_00000001.JPEG 5\n"
    return [imagenet_val(tmp_path)[0], zip_bytes([("benchmark_imglist/imagenet/test_imagenet.txt", text)])]


def imagenet_train():
    return tar_bytes([(f"{name}.tar", tar_bytes(images(f"{name}_1.JPEG"))) for name in ("n02", "n01")])


def openimage_o():
    without = shortened("openimage-o-openood-validation.txt.gz")
    return zip_bytes(images(*(f"images/{name}" for name in sorted({*some("openimage-o.txt.gz"), *without}))))


FILES = "files"
LAYOUTS = {
    "cifar10-train": ([cifar10()], 32, [9, 8, 7, 6, 5]),
    "cifar10-test": ([cifar10()], 32, [4]),
    "cifar100-train": ([cifar100()], 32, [99] * 4),
    "cifar100-test": ([cifar100()], 32, [99] * 2),
    "svhn-train": ([matrix(PIXELS[:3], [10, 1, 9])], 32, [0, 1, 9]),
    "svhn-test": ([matrix(np.repeat(PIXELS[:2], 1001, 0), [1] * 1001 + [10] * 1001)], 32, [1] * 1000 + [0] * 1000),
    "textures": ([TWO_TEXTURES], 32, [0, 1]),
    "places365": ([tar_bytes(images(*some("places365-test-10000.txt.gz"), "test_256/other.jpg"))], 32, [-1] * LISTED),
    "lsun-crop": ([shrunken("LSUN/test")], 32, [-1, -1]),
    "lsun-resize": ([shrunken("LSUN_resize")], 32, [-1, -1]),
    "isun": ([shrunken("iSUN/iSUN_patches")], 32, [-1, -1]),
    "mnist-test": ([idx(PIXELS[..., 0][:, :28, :28]), idx(np.arange(6, dtype=np.uint8))], 28, [0, 1, 2, 3, 4, 5]),
    "svhn-test-10k": ([matrix(np.repeat(PIXELS[:2], 5001, 0), [1] * 5001 + [10] * 5001)], 32, [1] * 5001 + [0] * 4999),
    "textures-10classes": (
        [dtd("zigzagged/zigzagged_0001.jpg", "crystalline/crystalline_0002.jpg", "banded/banded_0002.jpg")],
        32,
        [0, 1],
    ),
    "tinyimagenet-heldout": (
        [TINY_PARTS],
        32,
        [TINY_CLASSES.index(name) for name in (*TINY_HELDOUT[1:], TINY_HELDOUT[0])],
    ),
    "tinyimagenet-outliers": ([TINY_PARTS], 32, np.repeat([*map(TINY_CLASSES.index, TINY_OUTLIERS)], 200).tolist()),
    "tiny-imagenet-val": ([TINY], 32, [-1] * 3),
    "tiny-imagenet-train": ([TINY], 32, [0, 1]),
    "300k-random-images": ([array(PIXELS)], 32, [-1] * 6),
    "imagenet32-train": ([downsampled(32, range(1, 11))], 32, [*range(10)]),
    "imagenet64-train": ([downsampled(64, range(1, 6)), downsampled(64, range(6, 11))], 64, [*range(10)]),
    "imagenet-val": (imagenet_val, FILES, [2, 1, 0]),
    "imagenet-train": ([imagenet_train()], FILES, [0, 1]),
    "inaturalist": ([chosen("iNaturalist")], FILES, [-1, -1]),
    "sun": ([chosen("SUN")], FILES, [-1, -1]),
    "places": ([chosen("Places")], FILES, [-1, -1]),
    "textures-large": ([TWO_TEXTURES], FILES, [-1, -1]),
    "textures-vim": ([VIM], FILES, [-1] * LISTED),
    "openimage-o": ([openimage_o()], FILES, [-1] * LISTED),
    "ninco": (
        [tar_bytes(images("NINCO/NINCO_OOD_classes/a/0.jpeg", "NINCO/NINCO_popular_datasets_subsamples/x/1.jpeg"))],
        FILES,
        [-1],
    ),
    "ssb-hard": ([zip_bytes(images("ssb_hard/n01/0.JPEG"))], FILES, [-1]),
    "openood-cifar10-id": (openood("cifar10/test_cifar10.txt", 3), 32, [3]),
    "openood-cifar10-cifar100": (openood("cifar10/test_cifar100.txt", -1), 32, [-1]),
    "openood-cifar10-tin": (openood("cifar10/test_tin.txt", -1), 32, [-1]),
    "openood-cifar10-places365": (openood("cifar10/test_places365.txt", -1), 32, [-1]),
    "openood-cifar100-id": (openood("cifar100/test_cifar100.txt", 3), 32, [3]),
    "openood-cifar100-cifar10": (openood("cifar100/test_cifar10.txt", -1), 32, [-1]),
    "openood-cifar100-tin": (openood("cifar100/test_tin.txt", -1), 32, [-1]),
    "openood-cifar100-places365": (openood("cifar100/test_places365.txt", -1), 32, [-1]),
    "openood-mnist": (openood("cifar10/test_mnist.txt", -1), 32, [-1]),
    "openood-svhn": (openood("cifar10/test_svhn.txt", -1), 32, [-1]),
    "openood-texture": (openood("cifar10/test_texture.txt", -1), 32, [-1]),
    "openood-tin597": (openood("cifar100/train_tin597.txt", 5), 32, [5]),
    "openood-imagenet-id": (imagenet_openood, FILES, [7, 5]),
    "openood-openimage-o": ([openimage_o()], FILES, [-1] * (LISTED - 1)),  # one of them is for validation
    "tiny-images": (lambda tmp_path: [flat_file(tmp_path / "t.bin", 9)[0].read_bytes()], 32, [-1] * 4),
}
"""By set: the contents of its files, the side of its images, and the labels that there must be."""


def test_no_set_is_left_out():
    assert LAYOUTS.keys() == SOURCES.keys()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_set_from_its_own_layout(name, tmp_path, served, published, monkeypatch):
    contents, side, labels = LAYOUTS[name]
    contents = contents(tmp_path) if callable(contents) else contents
    monkeypatch.setattr(readers, "names_listed", shortened)
    monkeypatch.setattr(photographs, "names_listed", shortened)
    monkeypatch.setattr(tinyimagenet, "names_listed", shortened)
    source, files = SOURCES[name], []
    for number, (file, content) in enumerate(zip(source.files, contents, strict=True)):
        served.files[f"/{number}"] = content
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        files.append(RemoteFile((f"{served.url}/{number}",), digest, len(content), file.name))
    published(name, replace(source, files=tuple(files), count=len(labels)))
    pack = fetch(name, tmp_path / "data", lambda _: None, count=len(labels) if source.sized else None)
    found = read_pack(pack, name)
    assert found.labels.tolist() == labels
    assert isinstance(found.images, Photographs) == (side == FILES)
    assert side == FILES or found.images.shape == (len(labels), side, side, 3)
