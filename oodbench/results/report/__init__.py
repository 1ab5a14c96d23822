"""Stored results to one self-contained HTML page: what was measured, the curves behind it, and what it rests on."""

from oodbench.results.report.collect import boards
from oodbench.results.report.page import render

__all__ = ["boards", "render"]
