"""From a suite's TOML file, and what a run changes in it, to a `Suite`."""
