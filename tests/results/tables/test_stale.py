"""Scores that no longer go together are left out by name: images or network changed, and one task was run again."""

from pathlib import Path

import numpy as np

import oodbench
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.networks import build, checkpoints
from oodbench.results.store import Scores
from oodbench.results.tables.stale import ANOTHER_NETWORK, OTHER_ID, OTHER_OOD, stale_groups, stale_text


def group(task, image_set, role="ood", day=1, fingerprint="a", id_fingerprint="i", network_digest="n"):
    numbers = np.arange(2)
    about = {"fingerprint": fingerprint, "id_fingerprint": id_fingerprint, "network_digest": network_digest}
    about |= {"date": f"2026-01-0{day}T00:00:00+00:00"}
    about = {name: value for name, value in about.items() if value}
    return Scores(task, image_set, role, numbers.astype(float), numbers, numbers, numbers, attributes=about)


def of_id(fingerprint="i", day=1, **more):
    return group("id", "mine", "id", day, fingerprint, fingerprint, **more)


FRESH = [of_id(), group("clean", "rooms"), group("linf", "rooms"), group("linf", "boats", fingerprint="b")]


def test_what_was_measured_together_goes_together():
    assert stale_groups(FRESH) == {}
    assert stale_groups(FRESH[1:]) == {}


def test_other_id_images():
    groups = [of_id("j", day=2), group("clean", "rooms", day=2, id_fingerprint="j"), *FRESH[2:]]
    assert stale_groups(groups) == {("linf", "rooms"): OTHER_ID, ("linf", "boats"): OTHER_ID}
    assert stale_text(stale_groups(groups)) == f"linf: rooms, boats ({OTHER_ID})"


def test_another_network():
    groups = [of_id(day=2, network_digest="m"), group("clean", "rooms", day=2, network_digest="m"), *FRESH[2:]]
    assert stale_groups(groups) == {("linf", "rooms"): ANOTHER_NETWORK, ("linf", "boats"): ANOTHER_NETWORK}


def test_other_ood_images_in_the_newest_scores_of_their_set():
    groups = [*FRESH, group("corruption", "rooms", day=2, fingerprint="c")]
    assert stale_groups(groups) == {("clean", "rooms"): OTHER_OOD, ("linf", "rooms"): OTHER_OOD}


def test_attacked_id_images_take_their_task_with_them():
    attacked = [group("linf", "mine", "id", fingerprint="i"), *FRESH[1:]]
    groups = [of_id("j", day=2), *(attacked[:1]), *(group("linf", name, id_fingerprint="") for name in ("x", "y"))]
    assert set(stale_groups(groups)) == {("linf", "mine"), ("linf", "x"), ("linf", "y")}


def test_what_an_older_file_does_not_say_counts_as_equal():
    old = [of_id(network_digest=""), group("linf", "rooms", id_fingerprint="", network_digest="", fingerprint="")]
    assert stale_groups(old) == {}


SUITE = """
version = 1
id = {test = "mine", classes = 2}
ood = [{set = "others", distance = "far"}]
network = {name = "small-cnn"}
[tasks.clean]
[tasks.linf]
epsilon = 8
steps = 1
"""


def packed(name, seed, darker=1):
    images = np.random.default_rng(seed).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8) // darker
    write_pack(Path("data") / f"{name}.h5", ImageSet(name, images, np.arange(24) % 2, "drawn"))


def test_a_pack_changed_in_place_and_one_task_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SUITE)
    packed("mine", 1)
    packed("others", 2)
    network = build("small-cnn", 2, seed=0)
    checkpoints.save(network, Path("net.safetensors"), {})

    def run(*tasks):
        frame = oodbench.run("mine.toml", "msp", tasks=tasks, checkpoint="net.safetensors", say=lambda _: None)
        return frame, frame[frame.metric == "auroc"].set_index("task").value.to_dict()

    _, before = run()
    assert set(before) == {"clean", "linf"}
    packed("mine", 1, darker=16)  # the attacked scores of others stand, and must not be held against these
    frame, alone = run("clean")
    assert set(alone) == {"clean"}
    assert alone["clean"] != before["clean"]
    assert set(frame["stale"]) == {f"linf: others ({OTHER_ID})"}
    frame = oodbench.load_results()
    assert set(frame.task) == {"id", "clean"}
    frame, after = run()
    assert set(after) == {"clean", "linf"}
    assert set(frame["stale"]) == {""}
    packed("others", 2, darker=16)  # and the clean scores of these
    frame, alone = run("linf")
    assert (set(alone), set(frame["stale"])) == ({"linf"}, {f"clean: others ({OTHER_OOD})"})


def test_a_table_and_a_report_name_what_they_leave_out(oodbench, tmp_path, stored):
    cell = stored(tmp_path / "results", task="clean")
    about = {"date": "2026-01-02", "fingerprint": "j", "id_fingerprint": "i", "constants": '{"kind": "clean"}'}
    groups = {(one.task, one.role): one for one in cell.read()}
    attributes = cell.attributes()
    for (task, role), one in groups.items():
        changed = Scores(
            task,
            one.image_set,
            role,
            one.scores,
            one.predictions,
            one.labels,
            one.indices,
            attributes={**one.attributes, **about, **({"id_fingerprint": "j"} if role == "id" else {})},
        )
        cell.add(changed, attributes)
        if role == "ood":
            fresh = {**changed.attributes, "id_fingerprint": "j"}
            linf = Scores("linf", *list(vars(changed).values())[1:7], attributes=fresh)
            cell.add(linf, attributes)
    code, out, err = oodbench("table", "results", "--long")
    assert code == 0, err
    assert "Stale and left out: msp (seed 1), clean: letters (the ID images are others now); run it again." in out
    assert not [line for line in out.splitlines() if line.startswith("| msp") and "clean" in line]
    code, _, err = oodbench("report", "results", "-o", "page.html")
    assert code == 0, err
    assert "stale and left out: clean: letters (the ID images are others now)" in Path("page.html").read_text()
