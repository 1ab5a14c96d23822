"""Pages of the site that are written by what they are about."""

import csv
import re
import statistics

import pytest

from docs._pages import choosing, defects, detectors, figures, images, papers, real_photographs, suites, tasks
from docs._pages.page import attributes, linked, table
from oodbench.cli.work.describing import needs
from oodbench.images import builtin
from oodbench.registry import discover
from oodbench.results import reference
from oodbench.sources.catalogue import SOURCES
from oodbench.statistics import honesty
from oodbench.suitefiles import suitefile
from tests.prose import GUIDES, README, ROOT

REGISTRY = discover()


@pytest.fixture(scope="module")
def written():
    """Every page's Markdown by its address."""
    every = [
        *detectors.pages(REGISTRY),
        *suites.pages(),
        *tasks.pages(),
        *choosing.pages(REGISTRY),
        *defects.pages(REGISTRY),
    ]
    return {page.path: page.content.replace("\N{NO-BREAK SPACE}", " ") for page in every if page.title}


@pytest.mark.parametrize("name", REGISTRY.names())
def test_a_detectors_page_has_its_formula_paper_and_parameters(name, written):
    page = written[detectors.address(name)]
    assert page.count("$$") == 2, "a docstring has one formula, between two $$"
    assert REGISTRY[name].paper.split(",")[0] in page
    for parameter, value in vars(REGISTRY[name]().parameters).items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}.{parameter}`"))
        _, default, about = (cell.strip() for cell in row.strip("|").split("|"))
        assert default == f"`{value}`"
        assert about, f"the docstring of its Parameters says nothing of {parameter}"


@pytest.mark.parametrize("name", REGISTRY.names())
def test_a_page_offers_the_command_where_the_built_in_networks_will_do(name, written):
    command = f"oodbench run --suite digits-adv --detector {name} --pretrained"
    assert (command in written[detectors.address(name)]) != REGISTRY[name].only_by_name


def table_of_photographs():
    page = real_photographs.PAGE.read_text(encoding="utf-8")
    return page.split(real_photographs.BEGIN)[1].split(real_photographs.END)[0]


def test_measured_figures_are_those_of_the_committed_page():
    (row,) = [line for line in table_of_photographs().splitlines() if line.startswith("| atom ")]
    found = figures.measured("cifar10-small-adv", "atom")
    cells = [f"{found[task][0]:.2f} / {found[task][1]:.2f}" for task in real_photographs.TASKS]
    assert [cell.strip().rstrip("‡") for cell in row.strip("| ").split("|")][2:] == cells
    assert found["clean"][2] == "all"
    assert found["linf-adaptive"][2] == "1,000 of each set"


def test_the_readmes_advice_rests_on_the_committed_page():
    advice = README.split("## Which detector?")[1].split("\n## ")[0]
    cells = {line.split("|")[1].strip(): line for line in table_of_photographs().splitlines() if line.startswith("| ")}
    compared = 0
    for line in advice.splitlines():
        if found := re.findall(r"\d+\.\d\d / \d+\.\d\d", line):
            named = re.findall(r"`([\w-]+)`", line)
            assert len(named) == len(found)
            compared += sum(figure in cells[name] for name, figure in zip(named, found, strict=True))
    assert compared == 9
    (both,) = re.findall(r"neither holds: AUROC (\d+\.\d\d) and (\d+\.\d\d) \|", advice)
    page = real_photographs.PAGE.read_text(encoding="utf-8")
    for name, figure in zip(("kplus1-at", "atom"), both, strict=True):
        assert re.search(rf"\| {name} \| \S+ / \S+ \| \S+ / {figure} \|", page)


def test_what_the_readme_says_of_plain_classifiers_under_attack_holds():
    said = re.search(
        r"every detector over a plain classifier is left below (\d+) AUROC, but for (\w+) \(([\d.]+)\) and (\w+) "
        r"\(([\d.]+)\), whose figures are flagged",
        README,
    )
    at = 2 + list(real_photographs.TASKS).index("linf-adaptive")
    held, above = 0, {}
    for line in table_of_photographs().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        name = cells[0].rstrip("*")
        if len(cells) > at and name in REGISTRY.names() and needs(REGISTRY[name]).startswith("a plainly trained"):
            left = re.search(r"/ ([\d.]+)(.*)", cells[at])
            if left is not None and float(left.group(1)) >= int(said.group(1)):
                above[name.capitalize()] = left.group(1)
                assert set("†‡") & set(left.group(2)), line
            held += left is not None
    assert held > 15
    assert above == {said.group(2): said.group(3), said.group(4): said.group(5)}


def test_no_published_row_is_lost():
    rows = reference.shipped_reference("published")
    for name in ("msp", "atom"):
        own = rows[(rows["detector"] == name) & rows["metric"].isin(figures.METRICS)]
        shown = re.findall(r"\d+\.\d\d(?=\s/)|(?<=/\s)\d+\.\d\d", figures.published_table(name))
        assert sorted(shown) == sorted(f"{100 * value:.2f}" for value in own["value"])


def test_who_is_best_under_attack_stands_first(written):
    attacked = written["choosing.md"].split("get past you")[1]
    first = next(line for line in attacked.splitlines() if line.startswith("| ["))
    best = max(
        (name for name in REGISTRY.names() if "linf-adaptive" in figures.measured(choosing.SUITE, name)),
        key=lambda name: figures.measured(choosing.SUITE, name)["linf-adaptive"][1],
    )
    assert first.startswith(f"| [{best}](")


def test_every_figure_of_the_advice_is_one_that_was_measured(written):
    """Computed again here, from the lines of the file."""
    sums, images = {}, {}
    with (ROOT / "results/reference/measured.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if row["suite"] == choosing.SUITE and row["convention"] == "default"
        ]
    rows = [row for row in rows if not row["settings"] and row["limit"] == "0" and not row["ood"].startswith("mean:")]
    for row in rows:
        images.setdefault((row["detector"], row["task"]), set()).add(int(row["images"]))
    for row in rows:
        asked = images[row["detector"], row["task"]]
        if int(row["images"]) == (0 if 0 in asked else max(asked)):
            sums.setdefault((row["detector"], row["task"], row["metric"]), []).append(float(row["value"]))
    compared = 0
    for name, *cells in re.findall(
        r"^\| \[(\S+)\]\(\S+\) +\| (\S+ / \S+|–) +\| (\S+ / \S+|–) ", written["choosing.md"], re.M
    ):
        for task, cell in zip(("clean", "linf-adaptive"), cells, strict=True):
            if cell == "–":
                assert (name, task, "auroc") not in sums
                continue
            both = [100 * statistics.fmean(sums[name, task, metric]) for metric in ("fpr95", "auroc")]
            assert cell.rstrip("‡") == " / ".join(f"{value:.2f}" for value in both), (name, task)
            compared += 1
    assert compared > 30


def test_figures_that_are_not_to_be_believed_are_marked_and_never_lead(written):
    attacked = written["choosing.md"].split("get past you")[1]
    marks = ["‡" in line.split("|")[3] for line in attacked.splitlines() if line.startswith("| [")]
    assert not marks[0] and marks == sorted(marks)
    for line in table_of_photographs().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) > 2 and f"| [{cells[0]}](" in written["choosing.md"]:
            shown = re.search(rf"^\| \[{re.escape(cells[0])}\].*", written["choosing.md"], re.M).group()
            assert all(f" {cell} " in f"{shown} " for cell in (cells[2], cells[6])), line


def test_what_an_image_costs_stands_beside_the_figures(written):
    costs = dict(re.findall(r"^\| \[(\S+)\].*\| (\d+ forward [^|]*)\|", written["choosing.md"], re.M))
    assert len(costs) > 15
    for name, said in costs.items():
        own = REGISTRY[name]().own_passes()
        counted = [1 + own.forward, own.backward] if own.backward else [1 + own.forward]
        assert [int(number) for number in re.findall(r"\d+", said)] == counted


def test_every_suite_and_task_has_its_place(written):
    for name in suitefile.names():
        page = written[f"suites/{name}.md"]
        for ood in suitefile.load(name).ood:
            assert f"`{ood.set}`" in page
        for kind in re.findall(r"tasks/([\w-]+)\.md", page):
            assert f"# {kind}\n" in written[f"tasks/{kind}.md"]
            assert f"[{name}](../suites/{name}.md)" in written[f"tasks/{kind}.md"]


def test_every_image_set_has_a_page_and_those_that_oodbench_draws_a_picture():
    every = {page.path: page.content for page in images.pages()}
    for name in builtin.BUILTINS:
        assert every[f"images/{name}.png"].startswith(b"\x89PNG")
        assert f"({name}.png)" in every[f"images/{name}.md"]
    for name, source in SOURCES.items():
        page = every[f"images/{name}.md"]
        assert source.terms in page and source.title in page and source.note in page
        assert ".png" not in page, "the terms may not allow to show it"


def test_a_suite_says_of_each_set_what_it_is_on_which_terms_and_what_to_know(written):
    page = written["suites/cifar10-adv.md"]
    (row,) = [line for line in page.splitlines() if "[`lsun-resize`](../images/lsun-resize.md)" in line]
    assert "OOD, far" in row and "no licence" in row and "artefacts alone tell these images" in row
    assert "![images of letters](../images/letters.png)" in written["suites/digits-adv.md"]


def test_the_guide_explains_every_flag():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", GUIDES["attacks"].split("## What a flag says")[1], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(honesty.FLAGS)


def test_an_attribute_is_said_by_the_class_that_has_it_last():
    class Base:
        """One.

        Attributes:
            weight: of the outliers,
                as the paper has it.
            steps: how many.
        """

    class Derived(Base):
        """Two.

        Attributes:
            steps: fewer.
        """

    assert attributes(Derived) == {"weight": "of the outliers, as the paper has it.", "steps": "fewer."}


def test_papers_are_linked_and_bars_do_not_end_cells():
    assert linked("A 2020, arXiv:2010.03759") == "A 2020, [arXiv:2010.03759](https://arxiv.org/abs/2010.03759)"
    assert table([("P(x|y)",)], ["a"]).splitlines()[-1] == "| P(x\\|y) |"


def test_columns_in_which_nothing_stands_are_left_out():
    assert "two" not in table([("a", ""), ("b", "")], ["one", "two"])


def test_every_paper_is_cited_by_the_entry_that_it_is():
    for name in REGISTRY.names():
        paper = REGISTRY[name].paper
        bibtex = papers.cited(paper)
        if not bibtex:
            assert detectors.page(REGISTRY[name]).count(linked(paper)) == 2  # above, and under "Cite" as text
            continue
        (entry,) = (one for one in papers.bibliography() if one.bibtex == bibtex)
        assert paper.startswith(entry.surname) and entry.fields["year"] in paper, (paper, bibtex)


def test_the_bibliography_is_bibtex():
    entries = papers.bibliography()
    assert len({entry.bibtex.split(",")[0] for entry in entries}) == len(entries) > 40
    for entry in entries:
        assert re.match(r"@(inproceedings|misc)\{\w+,\n", entry.bibtex) and entry.bibtex.endswith("\n}")
        assert {"title", "author", "year"} <= entry.fields.keys()
        assert ("booktitle" in entry.fields) == entry.bibtex.startswith("@inproceedings")
        assert entry.bibtex.count("{") == entry.bibtex.count("}")
        assert all(line.endswith("},") for line in entry.bibtex.splitlines()[1:-2]), entry.bibtex


def test_defects_stand_on_the_pages_of_those_that_they_are_about(written):
    for defect in defects.known():
        for name in set(defect.detectors) & set(REGISTRY.names()):
            assert defect.title in written[detectors.address(name)]
        assert f"\n## {defect.title}\n" in written["defects.md"]
        assert defect.source in written["defects.md"]
        assert re.search(r"commit|pull request|\.py", defect.source), "says where it can be read"
    about = {name for defect in defects.known() for name in defect.detectors}
    assert about <= {*REGISTRY.names(), "atd"}


def test_a_training_under_several_scores_has_its_published_rows():
    rows = reference.shipped_reference("published")
    own = rows[rows["detector"].str.startswith("aloe+") & (rows["metric"] == "auroc")]
    shown = figures.published_table("aloe")
    assert len(own) > 3
    assert all(f"{100 * value:.2f}" in shown for value in own["value"])
    assert "| rmds " in shown
    assert "++" not in figures.published_table("mahalanobis"), "another detector"
