"""One TOML file a suite. Installed as `oodbench.suites`."""
