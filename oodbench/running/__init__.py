"""A run: what was asked for, planned and counted, then carried out, in one or several processes."""
