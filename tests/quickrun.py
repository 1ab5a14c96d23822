"""A run of a few digits, as several test files begin."""

QUICK = ("--limit", "60", "--set", "epochs=2", "--set", "linf.steps=3", "--task", "clean", "--task", "linf")
"""Options that make it take seconds."""


def run(oodbench, *arguments):
    """Standard output and error of a run that ends well."""
    code, out, err = oodbench("run", "--suite", "digits-adv", *arguments, *QUICK)
    assert code == 0, err
    return out, err
