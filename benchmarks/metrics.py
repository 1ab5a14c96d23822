"""All metrics at once against scikit-learn's functions, and all intervals against one evaluation."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks.compare import Ratio, Row, interleaved
from benchmarks.setting import Setting
from oodbench.basics.arrays import Floats
from oodbench.metrics import evaluate
from oodbench.statistics.intervals import intervals


def measure(setting: Setting) -> Iterator[Row]:
    """For each number of scores, then the intervals."""
    for count in setting.sizes.scores:
        yield _evaluation(setting, count)
    yield _intervals(setting, setting.sizes.bounded)


def _evaluation(setting: Setting, count: int) -> Row:
    scores = _scores(count)
    works = [lambda: with_scikit_learn(*scores), lambda: evaluate(*scores)]
    ratio = Ratio.of(*interleaved(works, setting.sizes.repetitions, setting.device))
    against = "scikit-learn: AUROC, two average precisions, ROC curve"
    return Row("metrics", "all six metrics", against, "speed-up", ratio, 2.0, f"{count} + {count} scores")


def _intervals(setting: Setting, count: int) -> Row:
    scores = _scores(count)
    works = [lambda: intervals(*scores), lambda: evaluate(*scores)]
    ratio = Ratio.of(*interleaved(works, setting.sizes.repetitions, setting.device))
    note = f"{count} + {count} scores, all six metrics"
    return Row("metrics", "all six intervals", "one evaluation", "cost", ratio, 30.0, note)


def with_scikit_learn(id_scores: Floats, ood_scores: Floats) -> dict[str, float]:
    """AUROC and average precisions, and a ROC curve from which a threshold could be read."""
    positive = np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    scores = np.concatenate([id_scores, ood_scores])
    roc_curve(positive, scores)
    return {
        "auroc": float(roc_auc_score(positive, scores)),
        "aupr_in": float(average_precision_score(positive, scores)),
        "aupr_out": float(average_precision_score(1 - positive, -scores)),
    }


def _scores(count: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(7)
    return generator.normal(1.0, 1.0, count), generator.normal(0.0, 1.0, count)
