"""Mutated input of every kind against the command line; `python -m tests.fuzz --help`."""
