"""The real images that checks are made with are those that figures were measured on."""

from oodbench.images.packs import read_pack
from tests.realimages import differing, needs_real_images, real_images


@needs_real_images
def test_packs_hold_the_images_that_were_measured():
    names = ["svhn-test-10k", "textures-10classes", "tinyimagenet-heldout"]
    folder = real_images(names)
    assert differing(names) == []
    # The first of the public file of SVHN's test images show these digits.
    assert read_pack(folder / "svhn-test-10k.h5", "svhn-test-10k").labels[:8].tolist() == [5, 2, 1, 0, 6, 1, 9, 1]


@needs_real_images
def test_photographs_have_the_labels_of_imagenet():
    found = read_pack(real_images(["imagenet-samples"]) / "imagenet-samples.h5", "imagenet-samples")
    assert (len(found), len(found.classes), len({*found.labels})) == (200, 1000, 200)
    assert [found.classes[label] for label in found.labels] == [name[:9] for name in found.images.names()]
