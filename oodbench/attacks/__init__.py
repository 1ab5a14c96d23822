"""Ascents that move images inside a ball; they know neither tasks nor detectors."""
