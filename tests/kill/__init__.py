"""Commands that are killed, starved of disk or run twice at once; `python -m tests.kill --help`."""
