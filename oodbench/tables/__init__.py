"""Stored scores to a tidy frame, and the frame to a table for people."""

from oodbench.tables.against import Paired, against
from oodbench.tables.flags import flagged, severities
from oodbench.tables.frame import FAILURE, load_results, tidy
from oodbench.tables.layout import chosen, flat, render
from oodbench.tables.notes import about_attacked_id, about_cost, about_tuning
from oodbench.tables.published import Published
from oodbench.tables.stale import stale
from oodbench.tables.summary import View, aside, means

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
    "chosen",
    "flagged",
    "flat",
    "load_results",
    "means",
    "render",
    "severities",
    "stale",
    "tidy",
]
