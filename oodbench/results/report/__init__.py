"""Stored results to one self-contained HTML page: what was measured, the curves behind it, and what it rests on."""

from oodbench.results.report.against import Other
from oodbench.results.report.collect import boards
from oodbench.results.report.page import render
from oodbench.results.report.site import Site, site_of, write_site

__all__ = ["Other", "Site", "boards", "render", "site_of", "write_site"]
