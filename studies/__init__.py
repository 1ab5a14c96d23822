"""Experiments behind pages of the documentation, each run by `python -m studies.NAME`.

`coverage` and `promises` simulate how often intervals and thresholds hold, `certificates` measures what is guaranteed,
and `overturn` tries to lower what the adaptive attack leaves.
"""
