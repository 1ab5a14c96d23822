"""What people read: formats, the best in bold, figures beside figures, and what stands below."""

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from oodbench.detector import Detector
from oodbench.results import reference
from oodbench.results.tables import Published, View, render, tidy
from oodbench.results.tables.layout import json_text, one_line

SIX = ["lsun-crop", "lsun-resize", "isun", "textures", "places365", "svhn-test"]


@pytest.fixture
def frame(tmp_path, stored):
    cells = [
        stored(tmp_path, detector="msp", ood=[("a", [0.0, 1.0, 9.5, 9.5]), ("b", [9.5] * 4)]),
        stored(tmp_path, detector="atom", ood=[("a", [0.0, 1.0, 0.0, 0.0]), ("b", [9.5] * 4)]),
    ]
    return tidy(cells, {})


def rows(text):
    return [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_the_best_of_each_task_set_and_metric_is_bold(frame):
    heading, _, *body = rows(render(frame, View(by="ood", metrics=("fpr95", "auroc"))))
    assert heading == ["detector", "task", "OOD set", "FPR@95 ↓", "AUROC ↑"]
    assert ["msp (seed 1)", "linf", "a", "50.00", "50.00"] in body
    assert ["atom (seed 1)", "linf", "a", "**0.00**", "**100.00**"] in body
    assert ["msp (seed 1)", "linf", "b", "100.00", "0.00"] in body  # where all are equal none is the best


def test_a_bar_or_a_line_break_in_a_name_or_value_ends_no_cell(tmp_path, stored):
    cells = [
        stored(tmp_path, settings="msp.a|b=1\\|2"),
        stored(tmp_path, detector="atom", parameters=json.dumps({"layers": "a|b\nc"})),
        stored(tmp_path, detector="atom", parameters=json.dumps({"layers": "d"}), key="cd"),
    ]
    failed = stored(tmp_path, detector="knn", ood=(), failed="no a|b here")
    text = render(tidy([*cells, failed], {}), View(by="ood", metrics=("auroc",)))
    table = [line for line in text.splitlines() if line.startswith("|")]
    heading, _, *body = [re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1] for line in table]
    assert {len(row) for row in body} == {len(heading)}
    assert "msp (seed 1, msp.a\\|b=1\\\\\\|2)" in text  # the backslash that was there, and the bar's
    assert "layers=a\\|b c" in text and "failed: no a\\|b here" in text
    assert "a|b" in render(tidy(cells, {}), form="plain")


def test_one_detector_is_no_contest(frame):
    assert "**" not in render(frame[frame.detector == "msp"])


def test_latex_compiles_to_booktabs_with_notes_as_comments(frame):
    text = render(frame.replace("linf", "linf_32"), View(metrics=("fpr95",)), "latex")
    lines = text.splitlines()
    assert "\\toprule" in lines
    assert "\\bottomrule" in lines
    assert any("linf\\_32" in line and "\\textbf{50.00} \\\\" in line for line in lines)
    assert "FPR@95 $\\downarrow$" in text
    end = lines.index("\\end{tabular}")
    assert all(line.startswith("% ") for line in [lines[0], *lines[end + 1 :]])
    assert not any(letter in text for letter in "↓\ue000\ue001")


def test_html_escapes_names_and_marks_the_best(frame):
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.bold = [], []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

        def handle_data(self, data):
            if self.tags[-1] == "b":
                self.bold.append(data.strip())

    hostile = frame.replace({"detector": {"msp": "<script>"}, "threat": {"attacked": "a < b & c"}})
    parsed = Tags()
    parsed.feed(render(hostile, View(metrics=("fpr95",)), "html"))
    assert "script" not in parsed.tags
    assert "50.00" in parsed.bold
    assert {"h3", "table", "ul", "li"} <= set(parsed.tags)


def test_notes_say_what_the_numbers_rest_on(tmp_path, stored):
    means = json.dumps({"all": ["a", "b"]})
    cells = [
        stored(tmp_path, ood=[("a", [0.0, 1.0]), ("b", [1.0] * 5)], means=means),
        stored(tmp_path, detector="atom", ood=[("a", [0.0])], limit=7, means=means),
        stored(tmp_path, detector="oe", ood=[], means=means),
    ]
    text = render(tidy(cells, {}), View())
    for part in (
        "version 2, fingerprint ffffffff",
        "mean over 2 OOD sets, unweighted: a (near, 1 or 2 images), b (near, 5 images); 8 ID images",
        "Only 7 images of each set, evenly over the classes (--limit)",
        "Convention 'default'",
        "Missing: atom (seed 1, 7 images of each set, 1 of 2 OOD sets), linf: b;",
        "Missing: oe (seed 1): all OOD sets;",
        "Measured on a machine, torch 2.0.",
    ):
        assert part in text


def test_mixed_fingerprints_never_meet(tmp_path, stored):
    cells = [stored(tmp_path), stored(tmp_path, detector="atom", suite_fingerprint="e" * 64)]
    text = render(tidy(cells, {}))
    assert text.count("### digits (version 2") == 2
    assert "**" not in text


def test_seeds_are_apart_from_intervals(tmp_path, stored):
    cells = [stored(tmp_path, seed=seed, ood=[("a", [0.0, x, 9.5, 9.5])]) for seed, x in ((1, 0.0), (2, 9.5))]
    text = render(tidy(cells, {}, intervals=True), View(metrics=("fpr95",)))
    heading, _, row = rows(text)
    assert heading[2:] == ["FPR@95 ↓", "FPR@95, 95 % interval"]
    assert row[:3] == ["msp (2 seeds)", "linf", "62.50 ± 17.68"]
    low, high = (float(part) for part in row[3].split(" to "))
    assert low < 62.5 < high
    assert "standard deviation over training seeds" in text


def test_seeds_of_one_network_deviate_by_no_training(tmp_path, stored):
    about = {"checkpoint": "nets/plain.safetensors", "network_digest": "d" * 64}
    cells = [stored(tmp_path, seed=seed, ood=[("a", [0.0, x, 9.5, 9.5])], **about) for seed, x in ((1, 0.0), (2, 9.5))]
    assert "msp (2 seeds, checkpoint plain.safetensors): all seeds are of one and the same network" in render(
        tidy(cells, {})
    )
    trained = [
        stored(tmp_path / "b", seed=seed, ood=[("a", [0.0] * 4)], network_digest=f"{seed}" * 64) for seed in (1, 2)
    ]
    assert "one and the same network" not in render(tidy(trained, {}))


class Rounded(Detector):
    """A method whose paper prints what is stored."""

    def score_representation(self, representation):
        raise NotImplementedError

    @classmethod
    def as_published(cls, scores):
        return scores


def cifar(tmp_path, stored, **about):
    means = json.dumps({"all": SIX, "far": SIX, "paper": SIX})
    sets = [(name, [0.0, 1.0, 9.5, 9.5]) for name in SIX]
    about = {"suite": "cifar10-adv", "network": "densenet-bc-100-12", "means": means, "task": "clean", **about}
    cell = stored(tmp_path, ood=sets, **about)
    frame = tidy([cell], {"msp": type("D", (Rounded,), {"operating_point": None})}, "published")
    return frame.assign(id_set="cifar10-test")


def test_the_papers_figure_stands_beside_the_measured_one(tmp_path, stored):
    frame = cifar(tmp_path, stored)
    text = render(
        frame, View(metrics=("fpr95", "auroc")), published=Published(reference.shipped_reference("published"))
    )
    heading, _, row = rows(text)
    assert heading[2:] == ["FPR@95 ↓", "FPR@95 published", "AUROC ↑", "AUROC published"]
    assert (row[3], row[5]) == ("50.54", "91.79")
    assert "published: Chen et al. 2021, arXiv:2006.15207, Table 2; trained with 80 Million Tiny Images" in text


def test_openoods_figures_stand_beside_its_splits(tmp_path, stored):
    near, far = "openood-cifar10-cifar100", "openood-mnist"
    means = json.dumps({"all": [near, far], "near": [near], "far": [far]})
    ood = [(name, [0.0, 1.0, 9.5, 9.5]) for name in (near, far)]
    cell = stored(tmp_path, ood=ood, suite="cifar10-openood", network="resnet18-32x32", means=means, task="clean")
    frame = tidy([cell], {}, "openood").assign(id_set="openood-cifar10-id")
    text = render(
        frame, View("mean", metrics=("fpr95_oodpos",)), published=Published(reference.shipped_reference("published"))
    )
    assert [row[-2:] for row in rows(text)[2:]] == [["100.00", ""], ["100.00", "48.17"], ["100.00", "31.71"]]


def test_figures_in_a_convention_that_is_not_ours_are_named(tmp_path, stored):
    frame = cifar(tmp_path, stored, network="wideresnet-40-2")
    text = render(frame, published=Published(reference.shipped_reference("published")))
    assert "Published figures in convention 'energy-ood' are not shown: oodbench does not compute as they do." in text
    assert "no figure is known" not in text


def test_no_figure_beside_other_sets_networks_radii_or_conventions(tmp_path, stored):
    def shown(frame, view=None):
        return render(frame, view or View(), published=Published(reference.shipped_reference("published")))

    frame = cifar(tmp_path, stored)
    assert "50.54" in shown(frame)
    assert "50.54" not in shown(frame, View(sets=("textures", "isun")))
    assert "50.54" not in shown(frame.assign(network="resnet18"))
    assert "50.54" not in shown(frame.assign(epsilon=8))
    other = shown(frame.assign(convention="default"))
    assert "50.54" not in other
    assert "Published figures in convention 'published' are not shown: say --convention published." in other


def test_intervals_stand_where_a_metric_of_attacked_id_images_is_there(oodbench, tmp_path, stored):
    stored(tmp_path / "results", task="linf", attacked_id=np.arange(2.0, 10.0) - 1)
    stored(tmp_path / "results", detector="energy", task="clean")
    code, out, err = oodbench("table", "--metric", "fpr95_clean", "--metric", "auroc", "--intervals")
    assert code == 0, err
    assert "energy" in out and "msp" in out


def test_csv_and_json_are_rows_or_means(oodbench, tmp_path, stored):
    stored(tmp_path / "results", ood=[("a", [0.0, 1.0, 9.5, 9.5]), ("b", [9.5] * 4)])
    tidy_rows = pd.read_csv(io.StringIO(oodbench("table", "--format", "csv", "--metric", "fpr95", "--sets", "a")[1]))
    assert list(tidy_rows["value"]) == [0.5]
    averaged = json.loads(oodbench("table", "--format", "json", "--by", "task", "--metric", "fpr95")[1])
    assert [(row["ood"], row["value"], row["n_seeds"], row["convention"]) for row in averaged] == [
        ("mean:all", 0.75, 1, "default")
    ]
    code, _, err = oodbench("table", "--format", "csv", "--compare", "published")
    assert code == 2
    assert "--compare is for tables" in err


def test_the_command_prints_every_format_and_names_mistakes(oodbench, tmp_path, stored):
    stored(tmp_path / "results")
    for form in ("github", "plain", "latex", "html"):
        code, out, _ = oodbench("table", "--format", form, "--convention", "openood", "--compare", "published")
        assert code == 0
        assert "no figure is known" in out
    for arguments, told in (
        (["--metric", "auroch"], "did you mean 'auroc'"),
        (["--sets", "lettters"], "did you mean 'letters'"),
        (["--compare", "nothing.csv"], "cannot read the reference"),
    ):
        code, out, err = oodbench("table", *arguments)
        assert (code, out) == (2, "")
        assert told in err


def test_scores_of_the_wrong_sign_are_flagged(tmp_path, stored):
    below, above = list(range(-12, 0)), list(range(10, 22))
    said = render(tidy([stored(tmp_path, task="clean", ood=[("a", above), ("b", above)])], {}))
    assert "FLAG msp (seed 1): the AUROC is far below 50 % on every OOD set without any attack" in said
    for task, ood in (("clean", [("a", above), ("b", below)]), ("linf", [("a", above)])):
        said = render(tidy([stored(tmp_path / task / ood[-1][0], task=task, ood=ood)], {}))
        assert "far below 50 %" not in said


def test_a_row_of_attacked_id_images_says_what_holds_at_the_clean_threshold(oodbench, tmp_path, stored):
    """ID images of 2 to 9 fall by 5: at the threshold of the attacked, -3, all pass; at that of the clean, 2, half."""
    ood = [("a", [-2.5, 1.25, 2.6, 2.6])]
    stored(tmp_path / "results", task="linf-both", ood=ood, attacked_id=[float(score) for score in range(-3, 5)])
    stored(tmp_path / "results", detector="atom", ood=ood)
    code, out, _ = oodbench("table", "--long")
    heading, _, *body = rows(out)
    assert code == 0
    found = {row[1]: dict(zip(heading, row, strict=True)) for row in body}
    attacked = found["linf-both"]
    assert attacked["FPR@95 ↓"] == "100.00"
    assert attacked["FPR@95, clean threshold ↓"] == "50.00"
    assert attacked["ID rejected, clean threshold ↓"] == "62.50"  # -3 to 1 of -3 to 4
    assert found["linf"]["FPR@95, clean threshold ↓"] == found["linf"]["ID rejected, clean threshold ↓"] == ""
    assert "linf-both: ID images are attacked, and OOD images are held against the attacked ID scores." in out
    assert oodbench("table", "--sort", "fnr_clean")[0] == 0
    only = oodbench("table", "--metric", "fnr_clean", "--sort", "fnr_clean", "--format", "csv")[1]
    assert list(pd.read_csv(io.StringIO(only))["value"]) == [0.625]
    plain = oodbench("table", "--compare", "published", "--format", "html")
    assert plain[0] == 0
    assert "nan" not in plain[1].lower().replace("nano", "")


def test_metrics_of_attacked_id_images_are_shown_where_they_are(oodbench, tmp_path, stored):
    stored(tmp_path / "results")
    assert "clean threshold" not in oodbench("table", "--long")[1].lower()
    code, _, err = oodbench("table", "--metric", "fnr_clean")
    assert code == 2
    assert "none were: `oodbench run` with --threat both does that" in err


def test_a_detectors_rows_stand_together_the_whole_run_first(tmp_path, stored):
    """Files are named by keys: which of a detector's comes first there means nothing."""
    cells = [
        stored(tmp_path, key="aa", images=2, settings="linf.level=quick"),
        stored(tmp_path, detector="atom"),
        stored(tmp_path, key="bb"),
    ]
    lines = [row[0] for row in rows(render(tidy(cells, {}), View(metrics=("auroc",))))[2:]]
    assert lines == ["msp (seed 1)", "msp (seed 1, linf.level=quick, 2 of each OOD set)", "atom (seed 1)"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [("it broke.", "it broke"), ("lower it with\n  --set a.b=...", "lower it with --set a.b=..."), ("why", "why")],
)
def test_a_reason_is_shown_in_one_line_and_keeps_what_stands_for_a_value(said, shown):
    assert one_line(said) == shown


def test_a_part_of_the_results_is_shown_by_name(oodbench, tmp_path, stored):
    folder = tmp_path / "results"
    for name in ("msp", "atom"):
        stored(folder, detector=name)
        stored(folder, detector=name, task="clean")
    stored(folder, detector="knn").note({"failed": "it ran out of luck", "failed_at": "linf/noise"}, {})
    stored(folder, suite="other")

    def shown(*words):
        code, out, err = oodbench("table", "--format", "csv", *words)
        assert code == 0, err
        return pd.read_csv(io.StringIO(out))

    assert set(shown("--suite", "digits")["suite"]) == {"digits"}
    one = shown("--suite", "digits", "--detector", "atom", "--task", "clean")
    assert set(one["detector"]) == {"atom"}
    assert set(one["task"]) == {"clean", "id"}  # ID accuracy is everybody's
    of_task = shown("--task", "clean")
    assert set(of_task.loc[of_task["metric"] == "failed", "detector"]) == {"knn"}  # is never hidden
    assert set(of_task.loc[of_task["metric"] == "accuracy", "suite"]) == {"digits"}
    less = oodbench("table", "--suite", "digits", "--detector", "atom", "--against", "msp", "--task", "linf")[1]
    assert "atom − msp" in less and "| clean" not in less


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--detector", "mps"], "unknown detector among these results 'mps': did you mean 'msp'?"),
        (["--task", "lniff"], "unknown task among these results 'lniff': did you mean 'linf'?"),
        (["--suite", "digit"], "unknown suite among these results 'digit': did you mean 'digits'?"),
        (["--detector", "msp", "--task", "clean"], "unknown task among these results 'clean': known: linf"),
    ],
    ids=" ".join,
)
def test_a_part_that_is_not_there_is_named(oodbench, tmp_path, stored, words, said):
    stored(tmp_path / "results")
    stored(tmp_path / "results", detector="atom", task="clean")
    code, out, err = oodbench("table", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_json_has_every_digit_and_null_for_what_is_no_number():
    tiny = 1.8160733879438617e-12
    frame = pd.DataFrame({"value": [tiny, np.nan, np.inf], "name": ["é/\udce9", None, "b"], "n": [1, 2, 3]})
    found = json.loads(json_text(frame))
    assert [row["value"] for row in found] == [tiny, None, None]
    assert [row["n"] for row in found] == [1, 2, 3]
    assert [row["name"] for row in found] == ["é/\\udce9", None, "b"]
    assert json.loads(json_text(frame.head(0))) == []
