"""Trained networks: the training loop, what it starts from, and networks that are kept for everybody."""

VERSION = 3
"""Raised when the same inputs would train to other weights, so that networks of an older loop are not taken for new."""
