"""What knows nothing of OOD detection: files, errors, random numbers, processes, the code behind a class."""
