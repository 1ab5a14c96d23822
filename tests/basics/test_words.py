"""Words for people, and what keeps them in the cell of a table."""

import pytest

from oodbench.basics.words import in_markdown_cell


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("msp (seed 1)", "msp (seed 1)"),
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),  # the backslash is one, and the bar another letter
        ("a\nb", "a b"),
        ("", ""),
    ],
)
def test_a_text_stays_within_its_cell(text, written):
    assert in_markdown_cell(text) == written
