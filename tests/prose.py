"""What the project tells people: the README and the guides, read by the tests that hold them to it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "guides").glob("*.md"))}
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT = "\n".join([README, *GUIDES.values()])


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Code of one language, in the order of the text."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def one(language: str, what: str, text: str = TEXT) -> str:
    """The only block of a language that holds `what`."""
    (found,) = (block for block in blocks(language, text) if what in block)
    return found
