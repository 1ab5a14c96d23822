"""Stored scores to a tidy frame, and the frame to a table for people."""

from oodbench.results.tables.against import Paired, paired_differences, result_difference
from oodbench.results.tables.compact import render_compact
from oodbench.results.tables.comparable import standings, tell_threats_apart
from oodbench.results.tables.flags import disqualified_figures, find_flags, severities
from oodbench.results.tables.frame import FAILURE, cell_names, load_results, select_tasks, tidy
from oodbench.results.tables.layout import (
    flat_frame,
    json_text,
    missing_set_lines,
    percent_text,
    render,
    select_rows,
    stale_lines,
)
from oodbench.results.tables.lines import network_notes
from oodbench.results.tables.notes import attacked_id_notes, cost_text, mean_notes, shared_image_notes, tuning_text
from oodbench.results.tables.published import Published
from oodbench.results.tables.stale import stale_groups
from oodbench.results.tables.summary import View, mean_sets, sets_aside

__all__ = [
    "FAILURE",
    "Paired",
    "Published",
    "View",
    "attacked_id_notes",
    "cell_names",
    "cost_text",
    "disqualified_figures",
    "find_flags",
    "flat_frame",
    "json_text",
    "load_results",
    "mean_notes",
    "mean_sets",
    "missing_set_lines",
    "network_notes",
    "paired_differences",
    "percent_text",
    "render",
    "render_compact",
    "result_difference",
    "select_rows",
    "select_tasks",
    "sets_aside",
    "severities",
    "shared_image_notes",
    "stale_groups",
    "stale_lines",
    "standings",
    "tell_threats_apart",
    "tidy",
    "tuning_text",
]
