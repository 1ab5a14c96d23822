"""Figures for papers: what is drawn is what was measured."""

import json

import h5py
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.results.report import boards, plots
from oodbench.results.report.undrawn import undrawn_lines

pytest.importorskip("matplotlib")
from matplotlib.container import BarContainer, ErrorbarContainer

CURVE = ("clean", "linf", "linf-eps0", "linf-eps16")
ALL = "all sets"


@pytest.fixture
def board(made, data):
    (found,) = boards([made("able", tasks=CURVE, gap=4.0, keep=False), made("baker", tasks=CURVE, keep=False)], data)
    return found


def mean(board, detector, task, metric="auroc"):
    (row,) = (row for row in board.rows if row.detector == detector)
    return 100 * row.means[task][next(iter(board.views))][metric].value


def test_bars_are_as_high_as_the_means_and_hatched_where_not_to_be_believed(board):
    (axes,) = plots.bars(board, "", "fpr95").axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    drawn = [bar for container in axes.containers if isinstance(container, BarContainer) for bar in container]
    heights = [bar.get_height() for bar in drawn]
    assert heights == [mean(board, name, task, "fpr95") for name in ("able", "baker") for task in names]
    assert axes.get_ylabel() == "FPR@95, percent"
    hatched = [bar.get_hatch() is not None for bar in drawn]
    assert hatched == [row.doubts(task, ALL) for row in board.rows for task in names]
    assert any(hatched)
    assert sum(isinstance(container, ErrorbarContainer) for container in axes.containers) == len(drawn)


def test_every_row_is_in_the_legend_once_also_one_that_lacks_the_first_task(made, data):
    (board,) = boards([made("able", tasks=("clean",), keep=False), made("baker", tasks=("linf",), keep=False)], data)
    (axes,) = plots.bars(board, "", "auroc").axes
    assert sorted(text.get_text().split()[0] for text in axes.get_legend().get_texts()) == ["able", "baker"]


def test_a_roc_curve_ends_in_the_corners_and_has_a_panel_for_each_set(board):
    panels = plots.roc(board, "linf", "auroc").axes
    assert [axes.get_title() for axes in panels] == ["cats, linf", "dogs, linf", "noise, linf"]
    line = panels[0].lines[0]
    assert {(line.get_xdata()[end], line.get_ydata()[end]) for end in (0, -1)} == {(0, 0), (1, 1)}
    value = next(panel for panel in board.rows[0].panels if (panel.task, panel.ood) == ("linf", "cats"))
    assert line.get_label() == f"able ({value.metrics['auroc'].text}{board.rows[0].mark('linf', 'cats')})"


def test_a_histogram_counts_every_image(board):
    panels = plots.hist(board, "linf", "auroc").axes
    assert len(panels) == 2 * 3
    for patch in panels[0].patches:
        assert patch.get_data().values.sum() == pytest.approx(1)
    assert {patch.get_label() for patch in panels[0].patches} == {"ID", "OOD as they are", "OOD, linf ‡"}


def test_a_curve_goes_over_the_radii_in_their_order(board):
    (axes,) = plots.eps(board, "linf", "auroc").axes
    line = axes.lines[0]
    assert list(line.get_xdata()) == [0, 8, 16]
    assert list(line.get_ydata()) == [mean(board, "able", task) for task in ("linf-eps0", "linf", "linf-eps16")]


def captions(figure):
    return [] if figure._supxlabel is None else [" ".join(figure._supxlabel.get_text().split())]


def test_flagged_figures_are_signed_in_every_legend_and_the_signs_explained(board):
    sign = {row.detector: row.mark("linf", ALL) for row in board.rows}
    assert sign["able"] == "‡"
    explained = "‡ flagged, and off by more than one point or by nobody knows how much"
    for kind in ("roc", "hist", "eps", "bars"):
        figure = plots.KINDS[kind](board, "linf", "auroc")
        (caption,) = captions(figure)
        assert explained in caption
        assert ("hatched: not to be believed" in caption) == (kind == "bars")
        legends = [axes.get_legend().get_texts() for axes in figure.axes]
        texts = [text.get_text() for legend in legends for text in legend if "‡" in text.get_text()]
        assert texts, kind
    assert captions(plots.roc(board, "clean", "auroc")) == []
    (axes,) = plots.bars(board, "", "auroc").axes
    signed = sorted(text.get_text() for text in axes.texts)
    assert signed == sorted(mark for row in board.rows for each in board.tasks if (mark := row.mark(each.name, ALL)))


def test_a_task_within_several_radii_is_no_point_of_its_curve_and_is_named(made, data):
    able, baker = (made(name, tasks=CURVE, keep=False) for name in ("able", "baker"))
    with h5py.File(baker.path, "r+") as file:
        for group in file["linf"].values():
            group.attrs["constants"] = json.dumps({**json.loads(group.attrs["constants"]), "epsilon": 4})
    (board,) = boards([able, baker], data)
    assert undrawn_lines(board, "eps", "linf", "auroc") == [
        "linf: it was measured within several radii under this one name, so it is no point (4 of 255 levels: baker; "
        "8 of 255 levels: able)"
    ]
    (axes,) = plots.eps(board, "linf", "auroc").axes
    assert {tuple(line.get_xdata()) for line in axes.lines} == {(0, 16)}


def test_rows_that_lack_what_a_figure_draws_are_named(made, data):
    cells = [made("able", tasks=CURVE, keep=False), made("baker", tasks=CURVE, sets=("cats",), keep=False)]
    (board,) = boards([*cells, made("charlie", tasks=("clean",), keep=False)], data)
    lacks = "no scores of dogs, noise"
    assert undrawn_lines(board, "bars", "clean", "auroc") == [
        f"baker under clean, linf, linf-eps0, linf-eps16: {lacks}, so it has no mean over all sets",
        "charlie under linf, linf-eps0, linf-eps16: no scores, so it has no mean over all sets",
    ]
    assert undrawn_lines(board, "roc", "clean", "auroc") == undrawn_lines(board, "hist", "clean", "auroc")
    assert undrawn_lines(board, "roc", "clean", "auroc") == [f"baker under clean: {lacks}"]
    assert undrawn_lines(board, "eps", "linf", "auroc") == [
        f"baker under linf-eps0, linf, linf-eps16: {lacks}, so it has no mean over all sets",
        "charlie under linf-eps0, linf, linf-eps16: no scores, so it has no mean over all sets",
    ]
    for kind in ("bars", "eps"):
        (axes,) = plots.KINDS[kind](board, "linf", "auroc").axes
        named = {text.get_text().split()[0] for text in axes.get_legend().get_texts()}
        assert named == ({"able", "charlie"} if kind == "bars" else {"able"})


def test_the_command_names_what_is_not_drawn(oodbench, stored, tmp_path):
    means = '{"all": ["letters", "noise"]}'
    both = [("letters", (0.0, 1.0)), ("noise", (0.0, 1.0))]
    stored(tmp_path / "results", task="clean", ood=both, means=means)
    stored(tmp_path / "results", "energy", task="clean", means=means)
    stored(tmp_path / "results", "odin", task="clean", ood=(), failed="too few images", means=means)
    stored(tmp_path / "results", "vim", task="clean", ood=(), means=means)
    stored(tmp_path / "results", "knn", task="clean", ood=both, means=means, suite_fingerprint="e" * 64)
    code, _, err = oodbench("plot", tmp_path / "results", "-o", tmp_path / "a.svg")
    assert code == 0, err
    assert err.splitlines() == [
        "WARNING: not drawn: version 2, fingerprint ffffffff",
        "WARNING: not drawn: odin (seed 1): failed: too few images",
        "WARNING: not drawn: vim: no OOD image has a score yet",
    ]
    for kind in ("bars", "roc"):
        chosen = ("--detector", "msp", "--detector", "energy", "--kind", kind)
        code, _, err = oodbench("plot", tmp_path / "results", *chosen, "-o", tmp_path / "a.svg")
        assert (code, err.count("\n")) == (0, 1)
        assert "WARNING: not drawn: energy under clean: no scores of noise" in err


def test_the_run_that_a_curve_needs_names_the_file_of_ones_own_suite(made, data):
    (board,) = boards([made("able", keep=False)], data)
    with pytest.raises(OodbenchError, match="oodbench run --suite toys.toml --detector msp --task linf --eps"):
        plots.eps(board, "linf", "auroc")


def test_detectors_stand_in_the_order_that_was_asked_for(board):
    assert [row.detector for row in plots.select_rows(board, ["baker", "able"]).rows] == ["baker", "able"]
    assert plots.select_rows(board, []) is board


def test_what_cannot_be_drawn_is_said(board):
    with pytest.raises(OodbenchError, match="no curve of 'clean' over radii: run it at several"):
        plots.eps(board, "clean", "auroc")
    with pytest.raises(OodbenchError, match="linf-eps0"):
        plots.roc(board, "linf-eps", "auroc")


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_file_is_the_same_bytes_each_time(board, form, begins):
    written = [plots.figure_bytes(plots.roc(board, "clean", "auroc"), form) for _ in range(2)]
    assert written[0].startswith(begins)
    assert written[0] == written[1]


def test_the_command_draws_and_asks_where_there_is_a_choice(oodbench, stored, tmp_path):
    for detector in ("msp", "atom"):
        stored(tmp_path / "results", detector=detector, task="clean", ood=[("letters", (0.0, 1.0, 2.5, 9.5))])
    code, _, err = oodbench("plot", tmp_path / "results", "--detector", "atom", "-o", tmp_path / "a.svg")
    assert code == 0, err
    assert ">atom<" in (tmp_path / "a.svg").read_text()
    assert ">msp<" not in (tmp_path / "a.svg").read_text()
    for arguments, said in (
        (("--detector", "atmo"), "atom"),
        (("-o", tmp_path / "a.gif"), "a figure is .svg, .pdf, .png"),
        (("--suite", "other"), "other"),
    ):
        code, _, err = oodbench("plot", tmp_path / "results", *arguments)
        assert code == 2
        assert said in err


def test_the_results_that_know_the_task_are_drawn_and_others_are_a_choice(oodbench, stored, tmp_path):
    stored(tmp_path / "results", task="clean")
    stored(tmp_path / "results", task="linf", images=4, key="cd")
    figure = tmp_path / "a.svg"
    code, out, err = oodbench("plot", tmp_path / "results", "--kind", "roc", "--task", "linf", "-o", figure)
    assert code == 0, err
    assert "4 images of each OOD set" in out
    code, _, err = oodbench("plot", tmp_path / "results", "-o", figure)
    assert code == 0
    assert "not drawn: version 2, 4 images of each OOD set (--images N chooses)" in err
    assert ">clean<" in figure.read_text()
    code, out, err = oodbench("plot", tmp_path / "results", "--images", 4, "-o", figure)
    assert (code, err) == (0, "")
    assert ">linf<" in figure.read_text()
    code, _, err = oodbench("plot", tmp_path / "results", "--images", 5, "-o", figure)
    assert code == 2
    assert "no result is on 5 images of each OOD set: choose 0, 4" in err


def test_rows_that_stand_apart_are_called_so(made, data):
    """A figure drew what former code left of a detector beside the others, as one of them."""
    cells = [made(seed=1, code="old", tasks=CURVE), made(seed=2, code="new", tasks=CURVE)]
    (board,) = boards(cells, data)
    for kind in ("roc", "eps", "bars"):
        texts = plots.KINDS[kind](board, "linf", "auroc").axes[0].get_legend().get_texts()
        assert ["other code" in text.get_text() for text in texts] == [True, False], kind
    titles = [axes.get_title() for axes in plots.hist(board, "linf", "auroc").axes]
    assert sum("other code" in title for title in titles) == len(titles) // 2
