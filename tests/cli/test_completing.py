"""What TAB offers, asked as the shells ask it."""

import pytest
from click.shell_completion import BashComplete

from oodbench.cli import commands


@pytest.fixture
def offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OODBENCH_DATA", raising=False)
    complete = BashComplete(commands, {}, "oodbench", "_OODBENCH_COMPLETE")

    def offered(line):
        *before, typed = line.split(" ")
        return [(item.type, item.value) for item in complete.get_completions(before, typed)]

    return offered


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("run --detector ato", ["atom"]),
        ("run --detector al", ["aloe", "all"]),
        ("tune --detector all", []),
        ("run --suite digits", ["digits", "digits-adv"]),
        ("run --task linf-", ["linf-adaptive"]),
        ("run --only lette", ["letters"]),
        ("run --checkpoint densenet-cifar10", ["densenet-cifar10", "densenet-cifar100"]),
        ("table --against ms", ["msp"]),
        ("check --task comp", ["compositional"]),
        ("data fetch frost", ["frost-photographs"]),
        ("data show textures-v", ["textures-vim"]),
        ("run --detector nothing-of-that-name", []),
    ],
)
def test_names_are_completed(offered, line, names):
    assert offered(line) == [("plain", name) for name in names]


def test_ones_own_are_offered_too_and_files_where_no_name_fits(offered, tmp_path):
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "mine.h5").write_bytes(b"no pack, which completion does not look into")
    (tmp_path / "plug.py").write_text("this is no Python")
    assert offered("run --suite mi") == [("plain", "mine.toml")]
    assert offered("run --suite ../elsewhere/") == [("file", "../elsewhere/")]
    assert offered("data show --data packs mi") == [("plain", "mine")]
    assert offered("run --plugin plug.py --detector ms") == []  # the run itself says what is wrong with the plugin


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(monkeypatch, capsys, shell):
    monkeypatch.setenv("_OODBENCH_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as ended:
        commands.main([], prog_name="oodbench", standalone_mode=False)
    assert ended.value.code == 0
    assert f"_OODBENCH_COMPLETE={shell}_complete" in capsys.readouterr().out
