"""The table of Video-MNIST: its arithmetic against numbers worked out by hand, and what it shows beside the published."""

import csv
import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepvox import markers
from sepvox.errors import StaleError, StoreError
from sepvox.layout import Layout
from sepvox.studies.significance import holm, significant
from sepvox.studies.video_mnist import records, render
from sepvox.studies.video_mnist.comparison import compare, mean_of
from sepvox.studies.video_mnist.make import split_jobs
from sepvox.studies.video_mnist.published import TABLE_2
from sepvox.studies.video_mnist.settings import JudgeSettings, VideoMnistStudy
from sepvox.studies.video_mnist.table import at_the_edge, write_table
from sepvox.studies.video_mnist.units import Unit, reported_units

# Accuracies by row and network, run by run. Row 10: 3DTT better in each run, by 0.1, 0.2 and 0.
ACCURACIES = {
    10: {"dense": [0.5, 0.6, 0.7], "tt": [0.6, 0.8, 0.7]},
    20: {"dense": [0.8, 0.9, 0.7], "tt": [0.7, 0.8, 0.6]},
}


def study() -> VideoMnistStudy:
    table = {
        "rows": [20, 10],
        "runs": 3,
        "train": {"learning_rates": {"dense": [0.1], "tt": [0.001]}, "validation_videos": 20},
        "test": {"videos": 20, "whole_runs": 1},
    }
    videos = {"train": 100, "validation": 50, "test": 50}
    return VideoMnistStudy.model_validate({"experiment": "by-hand", "videos": videos, "table": table})


def write_stores(layout: Layout) -> None:
    for job in split_jobs(study().videos, layout, "videos"):
        attributes = {"sepvox": {"fingerprint": job.step.fingerprint}}
        markers.write_json(job.store.path / "zarr.json", {"attributes": attributes})


def write_unit(layout: Layout, unit: Unit) -> None:
    """What a finished training leaves, with accuracies given by hand."""
    kept = records.Records(study(), layout)
    net = unit.classifier(kept.table)
    accuracy = ACCURACIES[unit.videos][unit.network][unit.run]
    markers.mark(
        layout.model_config(unit.name),
        kept.trained(unit),
        network=net.name,
        parameters=1234,
        learning_rate=kept.rate(unit),
        validation={"videos": 20, "accuracy": accuracy},
        diverged=unit.run == 2,
    )
    whole = {"videos": 50, "accuracy": accuracy + 0.01} if unit.run == 0 else None
    subset = {"videos": 20, "accuracy": accuracy}
    markers.mark(layout.accuracy(unit.name), kept.tested(unit), subset=subset, whole=whole)


@pytest.fixture
def results(tmp_path):
    layout = Layout(tmp_path / "by-hand")
    write_stores(layout)
    for unit in reported_units(study().with_table()):
        write_unit(layout, unit)
    return tmp_path


def lines(results: Path) -> list[dict[str, str]]:
    with Layout(results / "by-hand").study("table.csv").open() as file:
        return list(csv.DictReader(file))


def test_means_errors_and_the_paired_test_are_those_worked_out_by_hand():
    found = compare(ACCURACIES[10]["dense"], ACCURACIES[10]["tt"])
    assert found.runs == 3
    assert found.dense.mean == pytest.approx(0.6)
    # Deviations of 0.1: sample standard deviation 0.1, over the root of 3.
    assert found.dense.error == pytest.approx(0.1 / sqrt(3))
    assert found.tt.mean == pytest.approx(0.7)
    # Differences 0.1, 0.2, 0: mean 0.1, standard deviation 0.1, so t is the root of 3.
    assert found.difference.mean == pytest.approx(0.1)
    assert found.difference.error == pytest.approx(0.1 / sqrt(3))
    assert found.t == pytest.approx(sqrt(3))
    # With two degrees of freedom p is 1 - t / sqrt(t² + 2).
    assert found.p == pytest.approx(1 - sqrt(3) / sqrt(5))
    assert found.sign == 1


def test_a_small_difference_in_every_run_is_significant_though_the_runs_vary_more():
    dense = [0.2, 0.4, 0.6, 0.8]
    found = compare(dense, [0.251, 0.449, 0.651, 0.849])
    assert significant(found.p)
    assert not significant(compare(dense[::-1], [0.251, 0.449, 0.651, 0.849]).p)
    assert compare([0.251, 0.449, 0.651, 0.849], dense).sign == -1


def test_nothing_is_tested_where_differences_do_not_vary():
    assert mean_of([0.5]).error is None
    for dense, tt, sign in [([0.5], [0.6], 1), ([0.8, 0.9, 0.7], [0.7, 0.8, 0.6], -1), ([0.5, 0.6], [0.5, 0.6], 0)]:
        found = compare(dense, tt)
        assert (found.t, found.p, found.sign) == (None, None, sign)
    assert not significant(None)


def test_several_tests_are_corrected_as_worked_out_by_hand():
    # Lowest first: 3 × 0.01, 2 × 0.02, 1 × 0.03, none below the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None, 0.02, 0.03, None]) == pytest.approx([None, 0.04, 0.04, None])
    assert holm([]) == []


def test_the_verdict_is_on_the_rows_in_which_3dtt_was_published_as_better():
    runs = np.arange(10) / 100
    better, level = compare(runs, runs + 0.1 + runs**2), compare(runs, runs + np.where(runs > 0.05, 0.01, -0.02))
    found = render.verdict(render.Tested(100, {10: better, 20: level, 100: better}))
    assert found.startswith("Of the 2 rows in which 3DTT was published as better (10, 20 videos), ")
    assert (
        "3DTT is better here too in 1, significantly so: 10; dense is better here in 1, significantly so: none" in found
    )
    assert render.verdict(render.Tested(100, {100: better})).startswith("No row of the table")


def test_rates_at_the_edge_of_what_could_be_chosen_are_told_with_their_rows():
    rates = {"learning_rates": {"dense": [0.1, 0.01, 0.001], "tt": [0.1]}}
    chosen = VideoMnistStudy.model_validate(
        {"experiment": "by-hand", "videos": {}, "table": {"rows": [10, 20, 30], "train": rates}}
    )
    trained = [
        render.Trained(videos, network, "network", 1, rate, mean_of([0.5]), 0)
        for network, rates in (("dense", [0.1, 0.001, 0.1]), ("tt", [0.1] * 3))
        for videos, rate in zip((10, 20, 30), rates, strict=True)
    ]
    assert at_the_edge(chosen, trained) == [
        "Of the learning rates for 3D (0.001, 0.01, 0.1) one at the edge was chosen, 0.001 with 20 videos and 0.1 with 10, 30 videos: beyond may be a better one."
    ]
    inside = [render.Trained(10, "dense", "network", 1, 0.01, mean_of([0.5]), 0)]
    assert at_the_edge(chosen, inside) == []


def test_table_has_the_published_means_beside_ours_for_both_sets_of_test_videos(results):
    write_table(study(), results)
    found = lines(results)
    assert [(line["test_videos"], line["videos"], line["runs"]) for line in found] == [
        ("20", "10", "3"),
        ("20", "20", "3"),
        ("50", "10", "1"),
        ("50", "20", "1"),
    ]
    first = found[0]
    assert float(first["dense_mean"]) == pytest.approx(0.6)
    assert float(first["tt_mean"]) == pytest.approx(0.7)
    assert float(first["p"]) == pytest.approx(1 - sqrt(3) / sqrt(5))
    assert (first["dense_published"], first["tt_published"], first["difference_published"]) == (
        "0.374",
        "0.477",
        "0.103",
    )
    assert float(found[2]["dense_mean"]) == pytest.approx(0.51)
    assert (found[2]["dense_error"], found[2]["p"]) == ("", "")
    text = Layout(results / "by-hand").study("table.md").read_text()
    assert (
        "| 10 | 3 | 0.600 ± 0.058 | 0.374 | 0.700 ± 0.058 | 0.477 | +0.100 ± 0.058 | 0.23 | 0.23 | +0.103 | 3DTT, not significant | 3DTT |"
        in text
    )
    assert "## Accuracy on 20 test videos" in text
    assert "## Accuracy on 50 test videos" in text
    assert "| 10 | `ras2019-lenet5-3d-12-22` | 1,234 | 0.1 | 0.600 ± 0.058 | 1 |" in text
    assert "fixed balanced 20 of the 50 validation videos" in text
    assert "scikit-learn's and not MNIST" in text
    content = json.loads(Layout(results / "by-hand").study("table.json").read_text())
    assert content["test"] == "two-sided paired t-test over the runs"
    assert len(content["runs"]) == 6


def test_figure_shows_ours_and_the_published_in_both_formats_and_the_same_bytes_each_time(results):
    write_table(study(), results)
    folder = Layout(results / "by-hand").study("table.md").parent
    drawn = {kind: (folder / f"accuracy.{kind}").read_bytes() for kind in ("png", "svg")}
    pixels = np.asarray(Image.open(folder / "accuracy.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    for words in ("3D, here", "3D, published", "3DTT, here", "3DTT, published", "training videos"):
        assert words.encode() in drawn["svg"]
    write_table(study(), results)
    assert drawn == {kind: (folder / f"accuracy.{kind}").read_bytes() for kind in ("png", "svg")}


def test_a_missing_training_is_named_and_a_partial_table_has_the_complete_pairs_only(results):
    layout = Layout(results / "by-hand")
    layout.accuracy("tt-10-run2").unlink()
    with pytest.raises(
        StoreError, match="1 of 12 trainings are not finished with these settings, tt-10-run2 the first"
    ):
        write_table(study(), results)
    write_table(study(), results, partial=True)
    first = lines(results)[0]
    assert first["runs"] == "2"
    assert float(first["dense_mean"]) == pytest.approx(0.55)
    assert "Partial: 5 of 6 runs are finished." in layout.study("table.md").read_text()


def test_results_of_other_videos_are_not_taken_for_these(results):
    layout = Layout(results / "by-hand")
    markers.write_json(layout.videos("test") / "zarr.json", {"attributes": {"sepvox": {"fingerprint": "other"}}})
    with pytest.raises(
        StaleError, match=r"test\.zarr: made with other digits or another section videos; make the videos"
    ):
        write_table(study(), results)


def test_results_of_other_settings_are_not_taken_for_these(results):
    other = study()
    other = other.model_copy(update={"table": other.table.model_copy(update={"test": JudgeSettings()})})
    with pytest.raises(StoreError, match="12 of 12 trainings are not finished"):
        write_table(other, results)


def test_published_table_says_that_3dtt_is_better_up_to_fifty_videos_and_dense_from_a_hundred():
    better = {videos: row.accuracy["tt"] > row.accuracy["dense"] for videos, row in TABLE_2.items()}
    assert [videos for videos, tt in better.items() if tt] == [10, 20, 30, 40, 50]
