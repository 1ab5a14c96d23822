"""Stored scores to a tidy frame, and the frame to a table for people."""

from oodbench.tables.against import Paired, against
from oodbench.tables.alike import standings, threats_apart
from oodbench.tables.flags import flagged, severities
from oodbench.tables.frame import FAILURE, cell_names, load_results, tidy
from oodbench.tables.layout import chosen, flat, printed, render
from oodbench.tables.notes import about_attacked_id, about_cost, about_tuning
from oodbench.tables.published import Published
from oodbench.tables.stale import stale
from oodbench.tables.summary import View, aside, means, named_network

__all__ = [
    "FAILURE",
    "Paired",
    "Published",
    "View",
    "about_attacked_id",
    "about_cost",
    "about_tuning",
    "against",
    "aside",
    "cell_names",
    "chosen",
    "flagged",
    "flat",
    "load_results",
    "means",
    "named_network",
    "printed",
    "render",
    "severities",
    "stale",
    "standings",
    "threats_apart",
    "tidy",
]
