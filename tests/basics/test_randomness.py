import numpy as np
import pytest

from oodbench.basics.randomness import generators_per_image, uniform_per_image

PURPOSES = [("linf", f"suite-{number}/1", number) for number in range(400)]
"""So many that the two words of their keys lie on either side of 2^63 in each of the four ways."""


def test_each_image_has_a_generator_of_its_own_whatever_the_purpose():
    for purpose in PURPOSES:
        assert len({generator.random() for generator in generators_per_image(range(100), *purpose)}) == 100, purpose


def test_purposes_and_streams_share_no_draws():
    first = {generators_per_image([7], *purpose)[0].random() for purpose in PURPOSES}
    streams = {generators_per_image([7], "linf", stream=number)[0].random() for number in range(100)}
    assert len(first) == len(PURPOSES)
    assert len(streams) == 100


@pytest.mark.parametrize("kind", [list, np.array])
def test_an_image_draws_the_same_whichever_images_are_drawn_with_it(kind):
    for purpose in PURPOSES[:20]:
        together = uniform_per_image(kind([3, 0, 12]), (2, 4), *purpose)
        assert np.array_equal(uniform_per_image(kind([12]), (2, 4), *purpose)[0], together[2])
        assert np.array_equal(uniform_per_image(kind([0, 3]), (2, 4), *purpose), together[[1, 0]])
