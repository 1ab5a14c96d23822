"""What is said of each metric: nothing that can be measured is without a name or a direction."""

from oodbench.cli import table
from oodbench.metrics import AT_CLEAN, CONVENTIONS, METRICS
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables.comparable import OF_ID
from oodbench.statistics.intervals import METHODS


def test_every_metric_of_every_convention_has_its_facts():
    assert FACTS.keys() == {*METRICS, *AT_CLEAN, OF_ID}
    for convention, metrics in CONVENTIONS.items():
        assert metrics.keys() == set(METRICS) == METHODS[convention].keys()
    assert sorted(table.CONVENTIONS) == sorted(CONVENTIONS) == sorted(METHODS)


def test_error_rates_should_be_low_and_all_else_high():
    low = {name for name, facts in FACTS.items() if facts.lower_is_better}
    assert low == {"fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "detection_error"}
    assert {facts.heading[-1] for facts in FACTS.values() if facts.name in low} == {"↓"}


def test_no_two_metrics_are_called_the_same():
    assert (
        len({facts.heading for facts in FACTS.values()}) == len({facts.short for facts in FACTS.values()}) == len(FACTS)
    )
