"""The command line from end to end, on a few digits: what people type, and what they are told."""

import csv
import io
import json
import textwrap

import h5py
import numpy as np
import pandas as pd
import pytest
from contents import arrays
from quickrun import run

from oodbench.basics import files
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.metrics import METRICS
from oodbench.results.store import cells

pytestmark = pytest.mark.usefixtures("briefly_continued")


def test_a_run_ends_with_the_table_and_where_it_is(oodbench, tmp_path):
    out, err = run(oodbench, "--detector", "msp", "--detector", "atom")
    assert "forward" in err
    assert "backward passes" in err
    for part in (
        "seed 1, epochs=2, linf.steps=3, 60 images of each set\n",
        "  clean  ",
        "  linf",
        "\nmsp  ",
        "\natom  ",
    ):
        assert part in out
    for part in ("msp (seed 1, epochs=2 linf.steps=3, 60 images of each set)", "| clean", "| linf", "3 steps of 2/255"):
        assert part in oodbench("table", "--long")[1]
    assert str(tmp_path / "results") in out
    assert set(oodbench("table", "results/")[1].splitlines()) <= set(out.splitlines())


def test_the_csv_is_tidy(oodbench):
    run(oodbench, "--detector", "msp")
    _, out, _ = oodbench("table", "results", "--format", "csv")
    frame = pd.read_csv(io.StringIO(out), keep_default_na=False)
    assert list(frame.columns[:9]) == ["suite", "detector", "seed", "task", "ood", "metric", "value", "n_id", "n_ood"]
    scored = frame[frame.metric != "accuracy"]
    assert len(scored) == 2 * 4 * len(METRICS)
    assert set(scored.task) == {"clean", "linf"}
    assert not scored.duplicated(["task", "ood", "metric"]).any()
    assert scored.value.between(0, 1).all()
    assert set(scored.n_ood) == {60}
    assert set(frame.limit) == {60}
    assert set(frame.settings) == {"epochs=2 linf.steps=3"}
    assert set(frame.means.map(lambda text: str(json.loads(text)["near"]))) == {"['letters']"}


def test_what_is_there_is_not_done_again_unless_asked(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    (cell,) = cells(tmp_path / "results")
    stamp, before = cell.path.stat().st_mtime_ns, arrays(tmp_path / "results")
    _, err = run(oodbench, "--detector", "msp")
    assert "everything is there already" in err
    assert "about 0 forward and 0 backward passes" in err
    assert cell.path.stat().st_mtime_ns == stamp
    run(oodbench, "--detector", "msp", "--rerun", "all")
    assert cell.path.stat().st_mtime_ns > stamp
    assert arrays(tmp_path / "results") == before


def test_a_lost_group_alone_is_done_again(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    (cell,) = cells(tmp_path / "results")
    before = arrays(tmp_path / "results")
    content = io.BytesIO(cell.path.read_bytes())
    with h5py.File(content, "r+") as file:
        del file["linf/letters"]
    files.write_atomic(cell.path, content.getvalue())
    _, err = run(oodbench, "--detector", "msp")
    assert "score 1 image set" in err
    assert arrays(tmp_path / "results") == before


def test_a_changed_network_makes_every_score_stale(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    before = arrays(tmp_path / "results")
    (network,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    content = bytearray(network.read_bytes())
    content[-1] ^= 64
    network.write_bytes(content)
    (cell,) = cells(tmp_path / "results")
    raw = io.BytesIO(cell.path.read_bytes())
    with h5py.File(raw, "r+") as file:
        del file["linf/letters"]
    files.write_atomic(cell.path, raw.getvalue())
    run(oodbench, "--detector", "msp")
    after = arrays(tmp_path / "results")
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in after if key[3] == "scores")


def test_equal_objectives_share_one_network_and_one_pass(oodbench, tmp_path, plugin):
    _, err = run(oodbench, "--detector", "msp", "--detector", "largest", "--plugin", plugin)
    assert "largest" in err
    assert len(list((tmp_path / "results" / "networks").glob("*.safetensors"))) == 1
    assert len(cells(tmp_path / "results")) == 2


def test_clean_scores_do_not_depend_on_company(oodbench, tmp_path, plugin):
    run(oodbench, "--detector", "msp", "--out", "alone")
    run(oodbench, "--detector", "largest", "--detector", "msp", "--plugin", plugin, "--out", "together")
    alone, together = arrays(tmp_path / "alone"), arrays(tmp_path / "together")
    assert alone.items() <= together.items()


def test_seeds_and_settings_stand_side_by_side(oodbench, tmp_path):
    run(oodbench, "--detector", "ntom")
    run(oodbench, "--detector", "ntom", "--seed", 2)
    run(oodbench, "--detector", "ntom", "--set", "q=0.5")
    assert len(cells(tmp_path / "results")) == 3
    _, out, _ = oodbench("table", "results", "--long")
    assert "| ntom (2 seeds, epochs=2" in out
    assert "| ntom (seed 1, q=0.5 epochs=2" in out
    assert "| ntom (seed 2, epochs=2" in oodbench("table", "results", "--long", "--seeds", "each")[1]
    scores = [cell.read()[0].scores.tolist() for cell in cells(tmp_path / "results")]
    assert scores[0] != scores[1] != scores[2]


def test_the_adaptive_objective_is_a_setting(oodbench):
    run(oodbench, "--detector", "msp", "--set", "linf.objective=adaptive")
    assert "adaptive objective" in oodbench("table", "--long")[1]


def test_published_convention(oodbench):
    run(oodbench, "--detector", "atom")
    code, out, _ = oodbench("table", "results", "--long", "--convention", "published", "--by", "ood")
    assert code == 0
    assert "Convention 'published'" in out
    assert "smooth-noise" in out


def test_own_packs_and_a_checkpoint(oodbench, tmp_path):
    run(oodbench, "--detector", "msp")
    (network,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 32, 32, 3), dtype=np.uint8)
    for name, images in zip(("mine", "theirs"), pixels, strict=True):
        write_pack(tmp_path / "packs" / f"{name}.h5", ImageSet(name, images, np.arange(40) % 10, "drawn"))
    (tmp_path / "mine.toml").write_text(
        textwrap.dedent("""
            version = 1
            [id]
            test = "mine"
            classes = 10
            [[ood]]
            set = "theirs"
            distance = "far"
            [network]
            name = "small-cnn"
        """)
    )
    arguments = ["--suite", "mine.toml", "--detector", "msp", "--data", "packs"]
    code, out, err = oodbench("run", *arguments, "--checkpoint", network, "--out", "own")
    assert code == 0, err
    assert f"checkpoint {network.name}" in out
    code, _, err = oodbench("run", *arguments, "--out", "own")
    assert code == 2
    assert "--checkpoint" in err
    arguments[3] = "atom"
    code, _, err = oodbench("run", *arguments, "--checkpoint", network)
    assert code == 2
    assert "outputs" in err


def test_some_sets_first_and_the_others_later_make_one_row(oodbench, tmp_path):
    quick = ("run", "--suite", "digits", "--detector", "msp", "--set", "epochs=1", "--limit", "20")
    code, out, err = oodbench(*quick, "--only", "letters", "--only", "smooth-noise")
    assert code == 0, err
    assert "mean over 2 OOD sets (near letters; far smooth-noise; 20 images each)" in " ".join(out.split())
    assert "Left out of the suite's OOD sets: photo-patches, uniform-noise." in " ".join(out.split())
    shown = oodbench("table", "results")[1]
    assert shown.strip() in out
    long = oodbench("table", "results", "--long")[1]
    assert "incomplete" not in long
    assert "Left out of the suite's OOD sets: photo-patches, uniform-noise." in long
    _, rows, err = oodbench("table", "results", "--by", "task", "--format", "csv", "--metric", "auroc")
    assert "photo-patches, uniform-noise: not measured" in err
    (row,) = csv.DictReader(rows.splitlines())
    assert (row["ood"], row["missing"]) == ("mean:all", "photo-patches uniform-noise")
    assert 0 < float(row["value"]) < 1
    code, out, err = oodbench(*quick)
    assert code == 0, err
    assert "mean over 4 OOD sets" in out
    assert "issing" not in out
    assert len(list((tmp_path / "results" / "digits" / "msp").glob("*.h5"))) == 1
