"""Texts in whatever encoding people have: suites and references that are read, output that is written."""

import codecs
import errno
import os
import pickle
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import read_text
from oodbench.cli.terminal import SIGNS, refusal_reason, write_anyhow
from oodbench.results import reference
from oodbench.results.reference import COLUMNS
from oodbench.suitefiles import suitefile

SUITE = 'extends = "digits"\nversion = 2\ntitle = "Zürich"\n'
ROW = dict.fromkeys(COLUMNS, "") | {
    "suite": "digits",
    "detector": "msp",
    "task": "clean",
    "ood": "letters",
    "metric": "auroc",
    "convention": "default",
    "value": "0.953",
    "tolerance": "0.01",
    "n_id": "500",
    "note": "größer",
}


def csv(separator=",", lines="\n", **changed):
    row = ROW | changed
    return lines.join([separator.join(COLUMNS), separator.join(row[name] for name in COLUMNS), ""])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("lines", ["\n", "\r\n"])
def test_suites_are_read_whatever_an_editor_puts_in_front(tmp_path, encoding, lines):
    (tmp_path / "mine.toml").write_bytes(SUITE.replace("\n", lines).encode(encoding))
    assert suitefile.load(str(tmp_path / "mine.toml")).title == "Zürich"
    (tmp_path / "wrong.toml").write_bytes((SUITE + "verison = 3\n").replace("\n", lines).encode(encoding))
    with pytest.raises(OodbenchError, match="line 4"):
        suitefile.load(str(tmp_path / "wrong.toml"))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (SUITE.encode("latin-1"), "line 3 has the byte 0xfc.*save it as UTF-8"),
        (SUITE.encode("utf-16-le"), "null bytes.*UTF-16"),
        (codecs.BOM_UTF16_LE + SUITE.encode("utf-16-le")[:-1], "breaks off"),
    ],
)
def test_other_encodings_are_named(tmp_path, raw, told):
    (tmp_path / "mine.toml").write_bytes(raw)
    (tmp_path / "mine.csv").write_bytes(raw)
    for read in (lambda: suitefile.load(str(tmp_path / "mine.toml")), lambda: reference.read(tmp_path / "mine.csv")):
        with pytest.raises(OodbenchError, match=told):
            read()
    with pytest.raises(OodbenchError, match="cannot read"):
        read_text(tmp_path)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (csv(), "utf-8-sig"),
        (csv(lines="\r\n"), "utf-16"),
        (csv(";", "\r\n"), "utf-8-sig"),
        (csv(";", value="0,953", tolerance="1,0e-02"), "utf-8"),
        (csv(";", value=",953", tolerance="0,01"), "utf-8"),
        ("sep=;\r\n" + csv(";", "\r\n", value="0,953", tolerance="0,01"), "utf-8"),
        (csv("\t", value="0,953"), "utf-16"),
    ],
)
def test_references_are_read_as_spreadsheets_write_them(tmp_path, text, encoding):
    (tmp_path / "own.csv").write_bytes(text.encode(encoding))
    (row,) = reference.read(tmp_path / "own.csv").to_dict("records")
    assert (row["value"], row["tolerance"], row["n_id"]) == (0.953, 0.01, 500)
    assert (row["suite"], row["note"]) == ("digits", "größer")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (csv(";", n_id="10.000"), "line 2: n_id is '10.000', expected a whole number"),
        ("sep=;\n" + csv(";", value="0.9.5"), "line 3: value is '0.9.5'"),
        (csv(value='"0,953"'), "line 2: value is '0,953', expected a number with a decimal point"),
        (csv("|"), "lacks the columns"),
    ],
)
def test_a_number_that_could_mean_another_is_refused(text, told):
    with pytest.raises(OodbenchError, match=told):
        reference.parse(text, "own.csv")


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "iso-8859-1", "ascii", "utf-8"])
def test_output_takes_every_text(monkeypatch, encoding):
    streams = [TextIOWrapper(BytesIO(), encoding=encoding) for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    write_anyhow()
    text = "FPR@95 ↓ 1 ± 2 † 数 \udcff " + "".join(SIGNS)
    for stream in streams:
        stream.write(text)
        stream.flush()
        written = stream.buffer.getvalue().decode(encoding)
        assert written.startswith("FPR@95 ") and "1 ± 2" in written.replace("+-", "±") and "\\udcff" in written
        assert ("数" if encoding == "utf-8" else "\\u6570") in written


def shell(tmp_path, command, **environment):
    """Exit code of a piped `oodbench`, standard output as bytes, standard error."""
    script = f"set -o pipefail; {command}".replace("oodbench", f"'{sys.executable}' -m oodbench", 1)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, env={**os.environ, **environment}, timeout=120
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_a_table_is_whole_where_a_terminal_lacks_its_arrows(tmp_path, stored):
    stored(tmp_path / "results")
    code, out, err = shell(tmp_path, "oodbench table --long", PYTHONIOENCODING="cp1252")
    assert (code, err) == (0, "")
    assert b"FPR@95 v" in out and b"AUROC ^" in out and out.decode("cp1252").rstrip().endswith(".")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_output_that_nobody_takes_ends_in_a_line_or_in_silence(tmp_path, stored):
    stored(tmp_path / "results")
    code, _, err = shell(tmp_path, "oodbench table --format csv > /dev/full")
    assert code == 2 and err.count("\n") == 1 and "No space left on device" in err
    code, _, err = shell(tmp_path, "oodbench table --format csv | true")
    assert code in (0, 141) and err == ""  # 0 where the pipe took it all before it was closed


def test_only_errors_of_the_output_are_taken_for_such():
    assert refusal_reason(OSError(errno.ENOSPC, "full", "a-file.h5")) is None
    assert refusal_reason(OSError(errno.ENOENT, "nothing there")) is None
    assert refusal_reason(OSError(errno.ENOSPC, "full")) == "full"


def test_a_mistake_of_ours_is_no_failed_check(oodbench, monkeypatch):
    monkeypatch.setattr(suitefile, "names", lambda: 1 / 0)
    code, _, err = oodbench("list", "suites")
    assert code == 3 and "ZeroDivisionError" in err and "a mistake in oodbench" in err
    monkeypatch.setattr(suitefile, "names", lambda: pickle.loads(b""))
    code, _, err = oodbench("list", "suites")  # the end of a file, which click takes for somebody's Ctrl-D
    assert code == 3 and "EOFError" in err and "interrupted" not in err

    def refused():
        raise PermissionError(errno.EACCES, "Permission denied", "secret.toml")

    monkeypatch.setattr(suitefile, "names", refused)
    code, _, err = oodbench("list", "suites")
    assert code == 2 and err.startswith("oodbench: cannot use secret.toml: Permission denied")
