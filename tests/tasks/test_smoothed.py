"""The task `smoothed` as it is asked for: what it stores, what it refuses, what it says of itself."""

import json

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.basics.strict_dataclasses import build
from oodbench.tasks import STORED, Smoothed, constants


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"sigma": 0.0}, "sigma is 0.0: without noise nothing is smoothed"),
        ({"sigma": float("inf")}, "sigma is inf"),
        ({"sigma": -0.1}, "sigma is -0.1"),
        ({"draws": 0}, "draws is 0"),
        ({"draws": 10**7}, "draws is 10000000"),
        ({"confidence": 1.0}, "confidence is 1.0: choose above 0 and below 1"),
        ({"confidence": 99.9}, "confidence is 99.9"),
        ({"radii": ()}, r"radii are \[\]"),
        ({"radii": (64, 16)}, "the smallest first"),
        ({"radii": (0, 16)}, "above 0"),
        ({"radii": (16, 16)}, "each once"),
        ({"radii": (-1,)}, "epsilon is -1"),
        ({"side": "neither"}, "side is 'neither'"),
        ({"attack": "hard"}, "attack is 'hard': choose one of 'quick', 'standard', 'plus'"),
        ({"eot": 0}, "eot is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(entries, said):
    with pytest.raises(ValueError, match=said):
        Smoothed(**entries)


def test_all_images_hold_together():
    task = Smoothed(confidence=0.99)
    assert task.failure(200) == pytest.approx(0.01 / 200)
    assert Smoothed(confidence=0.99, side="both").failure(200) == pytest.approx(0.01 / 400)


def test_too_few_draws_say_how_many_are_needed():
    task = Smoothed(draws=20, radii=(16, 64))
    with pytest.raises(OodbenchError, match="20 draws guarantee nothing of 200 images together") as caught:
        task.require_enough(200)
    needed = int(str(caught.value).partition("it takes ")[2].partition(" draws")[0])
    Smoothed(draws=needed, radii=(16, 64)).require_enough(200)
    with pytest.raises(OodbenchError):
        Smoothed(draws=needed - 1, radii=(16, 64)).require_enough(200)


def test_a_radius_beyond_the_draws_is_trivial_and_says_how_many_would_do():
    task = Smoothed(draws=200, radii=(16, 128))
    task.require_enough(200)
    near, far = task.guaranteed_task(16), task.guaranteed_task(128)
    assert not near.is_trivial(200)
    assert far.is_trivial(200)
    said = far.trivial_text(200)
    reached = int(said.partition("beyond L2 ")[2].partition("/255")[0])
    assert 16 < reached < 128
    assert not task.guaranteed_task(reached).is_trivial(200)
    assert task.guaranteed_task(reached + 1).is_trivial(200)


def test_what_is_stored_bears_its_radius_in_its_name():
    names = [name for name, _ in Smoothed(radii=(16, 64), attack="quick").parts("mine")]
    assert names == ["mine", "mine-eps16", "mine-attacked-eps16", "mine-eps64", "mine-attacked-eps64"]
    assert [name for name, _ in Smoothed().parts("mine", "id")] == ["mine"]
    assert len(list(Smoothed(side="both").parts("mine", "id"))) == 5


def test_every_part_is_known_where_results_are_read():
    for _, part in Smoothed(attack="quick").parts("smoothed"):
        said = json.loads(json.dumps(constants(part)))
        assert build(STORED[said.pop("kind")], said) == part
