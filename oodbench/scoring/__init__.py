"""One detector on images at hand: fitted, scored, attacked."""

VERSION = 7
"""Bumped when the same network and images would give other scores; part of every result's key."""
