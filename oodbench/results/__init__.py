"""Scores on disk, and what people read of them: tables, reports, and the comparison with a reference."""
