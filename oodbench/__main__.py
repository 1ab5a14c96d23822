"""`python -m oodbench` is the `oodbench` command."""

from oodbench.cli import main

if __name__ == "__main__":
    main()
