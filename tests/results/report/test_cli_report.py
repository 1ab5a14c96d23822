"""`oodbench report` at the command line: where the page lands, and what is said of results that are none."""

import h5py
import pytest


def test_a_page_is_written_where_it_is_asked_for(made, data, oodbench, tmp_path):
    made()
    code, out, err = oodbench("report", "results", "-o", "new/page.html", "--data", data)
    assert code == 0, err
    assert str(tmp_path / "new" / "page.html") in out
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_the_help_ends_with_two_lines_that_run(made, oodbench):
    code, out, _ = oodbench("report", "--help")
    assert code == 0
    made("msp", suite="digits-adv")
    for example in out.rstrip().splitlines()[-2:]:
        program, *arguments = example.split()
        assert program == "oodbench"
        assert oodbench(*arguments)[0] == 0


def test_nothing_to_show(oodbench, tmp_path):
    (tmp_path / "results").mkdir()
    for folder in ("results", "nowhere"):
        code, _, err = oodbench("report", folder)
        assert code == 2
        assert "there are no results in" in err
        assert not (tmp_path / "report.html").exists()


def foreign(path):
    with h5py.File(path, "w") as file:
        file["images"] = [1, 2, 3]


def cut(path):
    path.write_bytes(path.read_bytes()[:3000])


def newer(path):
    with h5py.File(path, "a") as file:
        file.attrs["oodbench_schema"] = 99


@pytest.mark.parametrize(
    ("harm", "said"), [(foreign, "not written by oodbench"), (cut, "cannot read"), (newer, "newer oodbench")]
)
def test_a_bad_file_is_named_and_left_out_and_an_earlier_page_stays_where_all_are(made, oodbench, tmp_path, harm, said):
    (tmp_path / "report.html").write_text("earlier")
    bad = made("bad").path
    harm(bad)
    code, _, err = oodbench("report", "results")
    assert code == 2
    assert (tmp_path / "report.html").read_text() == "earlier"
    made("good")
    code, _, more = oodbench("report", "results")
    assert code == 0
    assert '"detector":"good"' in (tmp_path / "report.html").read_text()
    for text in (err, more):
        assert said in text
        assert str(bad.relative_to(tmp_path)) in text
        assert "Traceback" not in text


def test_a_place_that_cannot_be_written_is_named(made, oodbench, tmp_path):
    made()
    (tmp_path / "file").touch()
    code, _, err = oodbench("report", "results", "-o", "file/page.html")
    assert code == 2
    assert "cannot write file/page.html" in err
