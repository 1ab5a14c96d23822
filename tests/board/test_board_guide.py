"""The guide of evidence and the board, done from top to bottom on a few images."""

import re
import shlex

import pytest

from oodbench.board import adding, archive, entries, page
from oodbench.board.entries import About
from oodbench.cli.verbs import commands
from tests.prose import GUIDES, ROOT, one

GUIDE = GUIDES["board"]
STEPS = [shlex.split(line)[1:] for line in re.findall(r"^(oodbench .*)$", GUIDE, re.MULTILINE)]


SHORT = {"100": "4", "linf-adaptive": "linf", "linf-adaptive.level=quick": "linf.steps=2"}


@pytest.mark.usefixtures("briefly_continued")
def test_the_guide_from_top_to_bottom(tmp_path, oodbench):
    entries.write_about(tmp_path / "mine", About(least_images=4))
    program = one("python", "# attack.py", GUIDE).replace("spread(100)", "spread(4)").replace("(100,)", "(4,)")
    said = []
    for step in STEPS:
        if "mine.npz" in step:
            exec(compile(program.replace("0.5, 100", "0.5, 3"), "attack.py", "exec"), {"__name__": "attack"})
        code, out, err = oodbench(*[SHORT.get(word, word) for word in step])
        assert code == 0, err
        said.append(out)
    (entry,) = entries.read(tmp_path / "mine")
    assert [one.by for one in entry.evidence] == ["the authors", "a reader"]
    (history,) = [out for step, out in zip(STEPS, said, strict=True) if "--history" in step]
    assert "a reader (" in history and "the authors (" in history
    verified = [out for step, out in zip(STEPS, said, strict=True) if step[0] == "verify"]
    assert len(verified) == 2  # as images, and as what was changed in them
    for out in verified:
        assert "holds          letters, ball and grid: 4 8-bit images within L-infinity 32/255" in out


def test_every_option_of_the_verbs_is_explained_in_the_guide():
    verbs = [commands.commands[name] for name in ("evidence", "verify")]
    verbs += commands.commands["board"].commands.values()
    options = {
        max(option.opts, key=len) for verb in verbs for option in verb.params if option.param_type_name == "option"
    }
    assert not [option for option in sorted(options - {"--output"}) if f"{option}" not in GUIDE]


def test_this_repositorys_board_is_what_its_evidence_makes_of_it():
    """Its entries can be read, all of their archives are there, and the page is the one that they give."""
    board = ROOT / "board"
    found = entries.read(board)
    assert len(found) >= 7
    for digest in {each.sha256 for entry in found for each in entry.evidence if not each.url}:
        assert archive.load(adding.archive_file(board, digest)).sha256 == digest
    assert (board / "entries.csv").read_bytes() == page.table(found)
    assert (board / "index.html").read_bytes() == page.html(entries.read_about(board), found)
