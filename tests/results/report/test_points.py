"""Operating points of a page: what a threshold promises, and what it delivers on images that did not choose it."""

import numpy as np
import pytest

from oodbench.results.report import boards
from oodbench.results.tables.operating import TUNED_ON_TEST, chooses_threshold
from oodbench.statistics.conformal import threshold
from oodbench.statistics.intervals import share_interval


def test_a_point_holds_what_the_stored_scores_deliver(made, data):
    cell = made(tasks=("clean", "linf"))
    ((row,),) = (board.rows for board in boards([cell], data))
    stored = {(group.task, group.image_set): group for group in cell.read()}
    ids = stored["id", "ids"]
    half = chooses_threshold(ids.indices)
    limit = threshold(ids.scores[half], 0.95).value
    point = next(one for one in row.operating if one.keep == 0.95)
    assert (point.threshold, point.n_chosen_on, point.note) == (limit, 20, "")
    count = int((ids.scores[~half] < limit).sum())
    assert point.id_rejected.value == count / 20
    assert (point.id_rejected.low, point.id_rejected.high) == share_interval(count, 20)
    assert point.id_rejected_attacked == {}
    caught = {name: (stored["linf", name].scores < limit).mean() for name in ("cats", "dogs", "noise")}
    assert point.caught["linf"]["cats"].value == pytest.approx(caught["cats"])
    assert point.caught["linf"]["all sets"].value == pytest.approx(np.mean(list(caught.values())))
    assert point.caught["clean"]["cats"].value == (stored["clean", "cats"].scores < limit).mean()


def test_a_promise_that_twenty_images_cannot_give_says_so(made, data):
    ((row,),) = (board.rows for board in boards([made()], data))
    point = next(one for one in row.operating if one.keep == 0.99)
    assert "20 ID images are too few to promise that 99 % are kept" in point.note
    assert point.caught == {} and point.id_rejected is None


def test_a_detector_that_is_tuned_on_the_id_test_images_has_no_threshold(made, data):
    cell = made(tuned='{"source": "id-test", "id_images": 9, "outliers": 0}')
    ((row,),) = (board.rows for board in boards([cell], data))
    assert all((point.note, point.n_chosen_on, point.caught) == (TUNED_ON_TEST, 0, {}) for point in row.operating)


def test_a_view_that_lacks_a_set_has_no_share(made, data):
    cells = [made("able"), made("baker", sets=("cats", "dogs"))]
    (board,) = boards(cells, data)
    able, baker = (row.operating[0].caught["clean"] for row in board.rows)
    assert able["all sets"] is not None and baker["all sets"] is None and baker["near sets"] is not None
