"""What the harness costs: ratios, each measured side by side in one run. `python -m benchmarks --help`.

No absolute time is a result: machines differ, and a ratio taken on one of them says what the code does.
"""
