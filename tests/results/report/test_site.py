"""A folder of pages: an index that leads to each suite, names that are safe, and nothing of anybody else's touched."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.results.report import boards, site_of, write_site
from oodbench.results.report.site import INDEX, file_names
from tests.results.report.conftest import maker

HOSTILE = "</a><script>alert(1)</script>'\""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Boards of two suites, one of which has two."""
    folder = tmp_path_factory.mktemp("site")
    write = maker(folder)
    cells = [write("able", gap=6.0, keep=False), write("baker", suite="birds", keep=False)]
    return boards([*cells, write(HOSTILE, suite="birds", limit=7, keep=False)], folder)


@pytest.fixture(scope="module")
def site(found):
    return site_of(found)


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.tags = [], []
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if tag == "a" and name == "href"]


def test_the_index_says_what_each_suite_comes_to_and_leads_to_its_page(site):
    assert sorted(site.pages) == ["birds.html", INDEX, "toys.html"]
    index = Links(site.pages[INDEX])
    assert set(index.found) == {
        "birds.html",
        "birds.html#results=1",
        "birds.html#results=2",
        "toys.html",
        "toys.html#results=1",
    }
    assert "script" not in index.tags
    text = site.pages[INDEX].decode()
    assert "Under attack (linf), able keeps an AUROC of " in text
    assert "script-src" not in text
    assert "default-src 'none'" in text
    assert HOSTILE not in text
    assert b'"suite":"birds"' in site.pages["birds.html"] and b'"suite":"toys"' not in site.pages["birds.html"]
    assert Links(site.pages["birds.html"].partition(b"<script")[0]).found == ["#leaderboard", INDEX]


def test_a_second_site_takes_the_place_of_the_first(site, found, tmp_path):
    folder = tmp_path / "public"
    (folder / "images").mkdir(parents=True)
    (folder / "about.html").write_text("ours")
    assert write_site(site, folder) == []
    again = site_of([replace(board, summary="Anew.") for board in found if board.suite == "toys"])
    assert write_site(again, folder) == [folder / "birds.html"]
    assert (folder / INDEX).read_bytes() == again.pages[INDEX]
    assert (folder / "about.html").read_text() == "ours"
    assert (folder / "birds.html").read_bytes() == site.pages["birds.html"]


def by_hand(path):
    path.write_text("<!doctype html>ours")


def edited(path):
    path.write_bytes(path.read_bytes().replace(b"</body>", b"<p>our note</p></body>"))


def linked(path):
    kept = path.with_name("kept")
    kept.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(kept)


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [by_hand, edited, linked, a_folder])
@pytest.mark.parametrize("name", [INDEX, "toys.html"])
def test_what_no_site_wrote_stays_and_nothing_is_written(site, tmp_path, harm, name):
    folder = tmp_path / "public"
    write_site(site, folder)
    harm(folder / name)
    (folder / "birds.html").unlink()
    before = {path: path.is_dir() or path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OodbenchError, match=rf"{re.escape(name)}: not written by .* nothing was written"):
        write_site(site, folder)
    assert {path: path.is_dir() or path.read_bytes() for path in folder.iterdir()} == before


def test_names_are_safe_on_any_disk_and_never_the_same():
    suites = ["../../etc/passwd", "a/b", "a b", "A-B", "index", "con", "NUL.x", "...", "é", "x" * 300, "ok-1.2"]
    names = file_names(suites)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,90}\.html", name) for name in names.values())
    lower = [name.lower() for name in names.values()]
    assert len(set(lower)) == len(suites)
    assert not {"index.html", "con.html", "nul.x.html"} & set(lower)
    assert names["ok-1.2"] == "ok-1.2.html"


def test_the_command_writes_a_site_and_leaves_out_o(made, data, oodbench, tmp_path):
    made("able")
    code, out, err = oodbench("report", "results", "--site", "public", "--data", data)
    assert code == 0, err
    assert "2 pages" in out and "public/index.html" in out
    assert sorted(path.name for path in (tmp_path / "public").iterdir()) == [INDEX, "toys.html"]
    assert not (tmp_path / "report.html").exists()
    code, _, err = oodbench("report", "results", "--site", "public", "-o", "page.html")
    assert code == 2 and "leave out -o" in err
    (tmp_path / "public" / INDEX).write_text("ours")
    code, _, err = oodbench("report", "results", "--site", "public")
    assert code == 2 and "public/index.html" in err and "Traceback" not in err
    assert (tmp_path / "public" / INDEX).read_text() == "ours"
