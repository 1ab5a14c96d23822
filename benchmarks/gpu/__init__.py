"""`python -m benchmarks.gpu`: all that is to be measured on a GPU, in slices of a few minutes. See docs/gpu.md."""
