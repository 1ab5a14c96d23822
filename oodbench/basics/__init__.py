"""Code that knows nothing of OOD detection: files, errors, random numbers, processes, the source behind a class."""
