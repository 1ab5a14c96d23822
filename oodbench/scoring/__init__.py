"""Fits one detector, and scores and attacks images with it."""

VERSION = 8
"""Bumped when the same network and images would give other scores; part of every result's key."""
