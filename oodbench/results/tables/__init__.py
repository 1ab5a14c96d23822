"""Stored scores to a tidy frame, and the frame to a table for people."""

from oodbench.results.tables.against import Paired, against, between
from oodbench.results.tables.compact import compact
from oodbench.results.tables.comparable import standings, threats_apart
from oodbench.results.tables.flags import disqualified, flagged, severities
from oodbench.results.tables.frame import FAILURE, cell_names, load_results, of_tasks, tidy
from oodbench.results.tables.layout import as_json, chosen, flat, lacking, left_stale, printed, render
from oodbench.results.tables.lines import named_network
from oodbench.results.tables.notes import about_attacked_id, about_cost, about_tuning
from oodbench.results.tables.published import Published
from oodbench.results.tables.stale import stale
from oodbench.results.tables.summary import View, aside, means

__all__ = [
    "FAILURE",
    "Paired",
    "Published",
    "View",
    "about_attacked_id",
    "about_cost",
    "about_tuning",
    "against",
    "as_json",
    "aside",
    "between",
    "cell_names",
    "chosen",
    "compact",
    "disqualified",
    "flagged",
    "flat",
    "lacking",
    "left_stale",
    "load_results",
    "means",
    "named_network",
    "of_tasks",
    "printed",
    "render",
    "severities",
    "stale",
    "standings",
    "threats_apart",
    "tidy",
]
