"""Trained networks: the training loop, what it starts from, and networks that are kept for everybody."""
