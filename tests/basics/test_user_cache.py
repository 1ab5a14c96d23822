"""Texts that are kept until what they depend on changes."""

import pytest

from oodbench.basics.user_cache import cached_texts, sources_digest


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Asks for texts under a key: them, and how often they had to be found until then."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    times = []

    def find():
        times.append(1)
        return {"a": f"text {len(times)}"}

    return lambda key: (cached_texts("texts", key, find)["a"], len(times))


def test_they_are_found_once_under_a_key(found):
    assert found("one") == found("one") == ("text 1", 1)
    assert found("two") == found("two") == ("text 2", 2)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b'{"key": "one", "texts": {"a": 1}}', b'{"key": "one"}'])
def test_a_file_that_holds_something_else_is_written_anew(found, tmp_path, content):
    found("one")
    (tmp_path / "cache" / "oodbench" / "texts.json").write_bytes(content)
    assert found("one") == ("text 2", 2)
    assert found("one") == ("text 2", 2)


def test_where_nothing_can_be_kept_they_are_found_again(found, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert found("one") == ("text 1", 1)
    assert found("one") == ("text 2", 2)


def test_the_digest_of_sources_sees_every_letter_and_place_but_not_the_folder(tmp_path):
    for folder in ("one", "two", "three"):
        (tmp_path / folder / "in").mkdir(parents=True)
        (tmp_path / folder / "in" / "a.py").write_text("a = 1  # a remark\n")
    assert sources_digest(tmp_path / "one") == sources_digest(tmp_path / "two")
    (tmp_path / "two" / "in" / "a.py").write_text("a = 1  # another\n")
    (tmp_path / "three" / "in" / "a.py").rename(tmp_path / "three" / "a.py")
    assert len({sources_digest(tmp_path / folder) for folder in ("one", "two", "three")}) == 3
