"""Reference figures, published and measured: CSV files, read by `oodbench.results.reference`."""
