"""The digits run keeps its promise: MSP falls to the attack, ATOM does not, and both still read digits.

Stated tolerances, not committed scores: training from scratch differs a little from machine to machine.
"""

import subprocess
import sys
from io import StringIO

import pandas as pd

command = [sys.executable, "-m", "oodbench", "table", sys.argv[1], "--format", "csv"]
frame = pd.read_csv(StringIO(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
means = frame.groupby(["detector", "task", "metric"])["value"].mean() * 100
promises = [
    ("MSP, L-infinity, FPR@95 at least 95", means["msp", "linf", "fpr95"], lambda value: value >= 95),
    ("ATOM, L-infinity, FPR@95 at most 10", means["atom", "linf", "fpr95"], lambda value: value <= 10),
    ("MSP, ID accuracy at least 97", means["msp", "id", "accuracy"], lambda value: value >= 97),
    ("ATOM, ID accuracy at least 97", means["atom", "id", "accuracy"], lambda value: value >= 97),
]
for promise, value, kept in promises:
    print(f"{'pass' if kept(value) else 'FAIL'}  {promise}: {value:.2f}")
sys.exit(0 if all(kept(value) for _, value, kept in promises) else 1)
