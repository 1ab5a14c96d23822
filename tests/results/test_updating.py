"""What a reference takes of measured figures, and what it keeps."""

from threading import Thread

import pandas as pd

from oodbench.basics.files import update_alone
from oodbench.results.check import Status, check, reference_figures
from oodbench.results.reference import read, write
from oodbench.results.tables import tidy
from oodbench.results.updating import update_reference


def test_a_trained_network_gives_means_without_its_digest(tmp_path, stored):
    cell = stored(tmp_path, ood=[("a", [9.5] * 4), ("b", [0.0] * 4)])
    rows = update_reference(None, tidy([cell], {}))
    assert set(rows["ood"]) == {"", "mean:all"}
    (row,) = rows[rows["metric"] == "fpr95"].itertuples()
    assert (row.value, row.n_ood, row.network_digest) == (0.5, 8, "")
    retrained = stored(tmp_path, ood=[("a", [9.5] * 4), ("b", [0.0] * 4)], network_digest="0" * 64)
    assert {each.status for each in check([retrained], rows, {})} == {Status.PASS}


def test_a_mean_is_none_where_one_of_its_sets_has_no_figure(tmp_path, stored):
    frame = tidy([stored(tmp_path, ood=[("a", [9.5] * 4), ("b", [0.0] * 4)])], {})
    frame.loc[(frame["ood"] == "b") & (frame["metric"] == "auroc"), "value"] = float("nan")
    mean = reference_figures(frame).query("ood == 'mean:all'").set_index("metric")["value"]
    assert mean["fpr95"] == 0.5
    assert pd.isna(mean["auroc"])


def test_a_set_that_stands_aside_enters_no_mean(tmp_path, stored):
    cell = stored(tmp_path, ood=[("a", [9.5] * 4), ("b", [0.0] * 4), ("c", [9.5] * 3)], aside=["c"])
    (row,) = update_reference(None, tidy([cell], {})).query("metric == 'fpr95'").itertuples()
    assert (row.ood, row.value, row.n_ood) == ("mean:all", 0.5, 8)


def test_a_reference_of_a_mean_that_lacks_sets_names_those_it_is_over_and_is_held_against_them(tmp_path, stored):
    means = '{"all": ["a", "b", "c"]}'
    sets = [("a", [9.5] * 4), ("b", [0.0] * 4), ("c", [9.5] * 4)]
    half = stored(tmp_path / "half", ood=sets[:2], means=means)
    rows = update_reference(None, tidy([half], {}))
    assert set(rows["ood"]) == {"", "mean:a+b"}
    assert rows[rows["metric"] == "fpr95"]["value"].tolist() == [0.5]
    whole = stored(tmp_path / "whole", ood=sets, means=means)
    for cell in (half, whole):
        assert {each.status for each in check([cell], rows, {})} == {Status.PASS}


def test_updating_keeps_what_rows_tolerate_and_rows_of_others(measured, known, stored, tmp_path):
    theirs = known.assign(detector="theirs")
    loose = known.assign(tolerance=0.25, sides="", note="checked by eye")
    again = stored(tmp_path / "results", ood=[("a", [0.0, 1.0, 1.0, 9.5])], checkpoint="nets/plain.safetensors")
    before = pd.concat([loose[:2], theirs, loose[2:]], ignore_index=True)
    rows = update_reference(before, tidy([again], {}))
    assert rows[["detector", "metric"]].equals(before[["detector", "metric"]])
    mine = rows[rows["detector"] == "msp"].set_index("metric")
    assert mine.loc["fpr95", "value"] == 0.25
    assert set(mine["tolerance"]) == {0.25}
    assert set(mine["note"]) == {"checked by eye"}
    pd.testing.assert_frame_equal(
        rows[rows["detector"] == "theirs"].reset_index(drop=True), theirs.reset_index(drop=True)
    )
    (first, *_), last = dict.fromkeys(loose["metric"]), loose[1:]
    fewer = update_reference(pd.concat([last, theirs], ignore_index=True), tidy([again], {}))
    assert fewer["detector"].tolist()[: len(last)] == ["msp"] * len(last)
    assert (fewer.iloc[-1]["detector"], fewer.iloc[-1]["metric"]) == ("msp", first)


def test_updating_replaces_no_published_figure_and_no_other_networks(measured, known, stored, tmp_path):
    published = known.assign(source="published", note="other lab", value=0.5)
    other = known.assign(network="another", value=0.25)
    before = pd.concat([published, known, other], ignore_index=True).assign(owner="me")
    again = stored(tmp_path / "results", ood=[("a", [0.0, 1.0, 1.0, 9.5])], checkpoint="nets/plain.safetensors")
    rows = update_reference(before, tidy([again], {}))
    assert len(rows) == len(before)
    for name, unchanged in (("note", published), ("network", other)):
        kept = rows[rows[name] == unchanged[name].iloc[0]].drop(columns="owner").reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, unchanged.reset_index(drop=True))
    mine = rows[(rows["network"] == known["network"].iloc[0]) & (rows["source"] == "measured")].set_index("metric")
    assert mine.loc["fpr95", "value"] == 0.25
    write(rows, tmp_path / "mine.csv")
    assert set(read(tmp_path / "mine.csv")["owner"]) == {"me"}
    alone = update_reference(published, tidy([again], {}))
    assert list(alone["source"]) == ["published"] * len(known) + ["measured"] * len(known)
    # Another network in place of the one that stood alone is what an update is for.
    assert len(update_reference(other, tidy([again], {}))) == len(other)


def test_networks_of_one_file_name_have_rows_of_their_own(oodbench, tmp_path, stored):
    def cell(folder, scores, network, out="results", key="ab", **about):
        given = {"checkpoint": f"{folder}/best.safetensors", "network_digest": network * 64, "key": key, **about}
        return stored(tmp_path / out, ood=[("a", scores)], **given)

    a, b = cell("a", [0.0] * 4, "1"), cell("b", [9.5] * 4, "2", key="cd")
    both = update_reference(None, tidy([a, b], {})).reset_index(drop=True)
    assert both[both["metric"] == "fpr95"]["value"].tolist() == [0.0, 1.0]
    write(both, tmp_path / "both.csv")
    for cells in ([a, b], [a], [b]):
        assert Status.FAIL not in {each.status for each in check(cells, read(tmp_path / "both.csv"), {})}
        pd.testing.assert_frame_equal(update_reference(both, tidy(cells, {})), both)
    assert {each.status for each in check([a, b], both, {})} == {Status.PASS}
    # The same file, written anew: its figures take the place of the former ones, and it is said.
    retrained = cell("a", [0.0, 9.5] * 2, "3", out="later")
    only_a = update_reference(None, tidy([a], {}))
    again = update_reference(only_a, tidy([retrained], {}))
    assert len(again) == len(only_a) and set(again["network_digest"]) == {"3" * 64}
    write(only_a, tmp_path / "a.csv")
    code, _, err = oodbench("check", "later", "--reference", "a.csv", "--update")
    assert code == 0 and "a.csv had figures of another network that is called best.safetensors" in err
    code, _, err = oodbench("check", "later", "--reference", "a.csv", "--update")
    assert code == 0 and "another network" not in err


def test_of_a_file_of_weights_that_was_written_anew_the_newest_figures_count(tmp_path, stored):
    given = {"checkpoint": "best.safetensors", "ood": [("a", [0.0] * 4)]}
    old = stored(tmp_path, network_digest="1" * 64, **given)
    new = stored(tmp_path, network_digest="2" * 64, key="cd", **given)
    frame = tidy([old, new], {})
    frame.loc[frame["network_digest"] == "2" * 64, "date"] = "2026-02-01T00:00:00+00:00"
    assert set(update_reference(None, frame)["network_digest"]) == {"2" * 64}


def test_two_updates_of_one_file_wait_for_each_other(oodbench, tmp_path, stored):
    stored(tmp_path / "results", ood=[("a", [0.0] * 4)])
    first = update_reference(None, tidy([stored(tmp_path / "other", detector="energy", ood=[("a", [0.0] * 4)])], {}))
    second = Thread(target=oodbench, args=("check", "--reference", "mine.csv", "--update"))
    with update_alone(tmp_path / "mine.csv"):
        second.start()
        second.join(1.0)
        write(first, tmp_path / "mine.csv")
    second.join()
    assert set(read(tmp_path / "mine.csv")["detector"]) == {"msp", "energy"}


def test_an_update_says_what_it_lacks(oodbench, tmp_path, stored):
    stored(tmp_path / "results", detector="msp", ood=[("a", [0.0] * 4)])
    stored(tmp_path / "results", detector="theirs", ood=[("a", [0.0] * 4)], code="1").note({"failed": "bad luck"}, {})
    code, out, err = oodbench("check", "--reference", "mine.csv", "--update")
    assert code == 0
    assert "8 figures, 8 of them new" in out
    assert "left out: what theirs" in err and "has not got to, for it failed: bad luck" in err
    assert "no detector is called theirs here" in err and "--plugin" in err
    assert "msp" not in err
