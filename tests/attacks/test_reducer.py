"""The reducer: nothing leaves the ball, the grid or the exact score, whatever is offered."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.attacks.reducer import Reducer


def brightness(images):
    return images.double().sum((1, 2, 3)) * 255


def grey(level, count=4):
    return torch.full((count, 1, 1, 1), level / 255)


def test_keeps_the_first_of_the_best_and_says_which_offer_it_was():
    reducer = Reducer(brightness, grey(100), 8)
    reducer.offer(grey(103))
    reducer.offer(torch.cat([grey(103, 1), grey(105, 1), grey(90, 1), grey(104, 1)]))
    assert (reducer.images * 255).flatten().round().tolist() == [103, 105, 103, 104]
    assert reducer.winner.tolist() == [1, 2, 1, 2]
    assert reducer.best.round().tolist() == [103, 105, 103, 104]
    assert reducer.before.round().tolist() == [100] * 4


def test_the_image_itself_is_the_first_candidate():
    reducer = Reducer(brightness, grey(100), 8)
    reducer.offer(grey(95))
    assert reducer.winner.tolist() == [0] * 4
    assert torch.equal((reducer.images * 255).round(), (grey(100) * 255).round())


def test_offers_for_some_rows_leave_the_others():
    reducer = Reducer(brightness, grey(100), 8)
    scores = reducer.offer(torch.cat([grey(107, 1), grey(102, 1)]), torch.tensor([3, 1]))
    assert scores.round().tolist() == [107, 102]
    assert reducer.best.round().tolist() == [100, 102, 100, 107]


def test_what_is_not_a_number_is_the_image_itself():
    reducer = Reducer(brightness, grey(100), 8)
    assert reducer.offer(grey(float("nan"))).round().tolist() == [100] * 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), epsilon=st.integers(0, 40), offers=st.integers(1, 4))
def test_whatever_is_offered_stays_in_the_ball_on_the_grid_and_exact(seed, epsilon, offers):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (5, 3, 2, 2), generator=generator)
    weights = torch.randn((3, 2, 2), generator=generator, dtype=torch.float64)

    def score(images):
        return torch.sin(9 * (images.double() * weights).sum((1, 2, 3)))

    reducer = Reducer(score, levels / 255, epsilon)
    offered = [reducer.offer(torch.randn((5, 3, 2, 2), generator=generator) * 2) for _ in range(offers)]
    reached = reducer.images * 255
    assert (reached - reached.round()).abs().max() < 1e-3
    assert (reached.round() - levels).abs().max() <= epsilon
    assert reached.round().min() >= 0
    assert reached.round().max() <= 255
    torch.testing.assert_close(score(reducer.images), reducer.best)
    torch.testing.assert_close(reducer.best, torch.stack([reducer.before, *offered]).amax(0))
