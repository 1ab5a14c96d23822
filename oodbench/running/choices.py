"""Words that a run takes in place of names and numbers, on the command line and in Python alike."""

ALL = "all"
"""Every suite, or every detector."""

AUTO = "auto"
"""In place of a number of processes: as many as cores, memory and work allow."""

ENGINES = ("sequential", "ray")
"""Engines that carry a run out: this machine, or a Ray cluster."""

LOCAL = "local"
"""A Ray cluster that is started for this run."""

LARGEST_SEED = 2**63 - 1
"""Seeds go from 0 to this, which generators and result files can hold."""
