"""The site: pages that are written by hand, and `_pages`, which writes the others."""
