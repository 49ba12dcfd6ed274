"""Trainings of Video-MNIST: what they learn from, that they go on to the same bytes, how rates are chosen, what is refused."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sepvox.cli import main
from sepvox.errors import InputError, StaleError
from sepvox.layout import Layout
from sepvox.nets.describe_classifier import describe_classifier
from sepvox.studies.video_mnist.choose import best_rate, choose_rates, mean_accuracies
from sepvox.studies.video_mnist.cost import cost
from sepvox.studies.video_mnist.make import make_videos
from sepvox.studies.video_mnist.settings import VideoMnistStudy, read_study
from sepvox.studies.video_mnist.store import read_labels
from sepvox.studies.video_mnist.train import train_unit
from sepvox.studies.video_mnist.units import Unit, candidate_units, chosen_at, reported_units
from sepvox.train import checkpoint

CONFIGS = Path(__file__).parents[2] / "configs" / "studies"
VIDEOS = {"train": 300, "validation": 60, "test": 60, "shard": 100}
TRAIN = {
    "epochs": 6,
    "learning_rates": {"dense": [0.05], "tt": [0.0001]},
    "validation_videos": 20,
    "validate_every": 2,
    "checkpoint_every": 1,
}
WIDTHS = {"dense": [3, 4], "tt": [3, 4]}


def study(**changes) -> VideoMnistStudy:
    """A study of tiny networks; changes are keys of `train`, of `test`, or of `table`."""
    table = {"rows": [20], "runs": 2, "widths": WIDTHS, "test": {"videos": 20, "whole_runs": 1}}
    train = TRAIN | {key: value for key, value in changes.items() if key not in ("rows", "runs", "test", "widths")}
    table |= {"train": train} | {key: value for key, value in changes.items() if key not in train}
    return VideoMnistStudy.model_validate({"experiment": "tiny", "videos": VIDEOS, "table": table})


def train(chosen: VideoMnistStudy, unit: Unit, results: Path, **options) -> None:
    torch.set_num_threads(1)
    train_unit(chosen, unit, results, **options)


def record(results: Path, unit: Unit) -> dict:
    return json.loads(Layout(results / "tiny").model_config(unit.name).read_text())


def judged(results: Path, unit: Unit) -> dict:
    return json.loads(Layout(results / "tiny").accuracy(unit.name).read_text())


def metrics(results: Path, unit: Unit) -> list[dict]:
    return [json.loads(line) for line in Layout(results / "tiny").metrics(unit.name).read_text().splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of which only the videos are made."""
    results = tmp_path_factory.mktemp("made")
    make_videos(study().videos, Layout(results / study().experiment))
    return results


@pytest.fixture
def results(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """Results with all four trainings of the tiny study."""
    results = tmp_path_factory.mktemp("finished") / "results"
    shutil.copytree(made, results)
    for unit in reported_units(study().with_table()):
        train(study(), unit, results)
    return results


@pytest.mark.parametrize(
    ("network", "totals"),
    [
        ("dense", {10: 375_668, 20: 496_430, 100: 496_430, 5000: 496_430}),
        ("tt", {10: 444_966, 20: 348_612, 40: 348_612, 50: 444_966, 500: 222_940, 1000: 254_058, 5000: 222_940}),
    ],
)
def test_each_row_has_the_network_of_the_published_total(network, totals):
    table = VideoMnistStudy.model_validate({"experiment": "p", "videos": {}, "table": {}}).with_table()
    assert table.rows == (10, 20, 30, 40, 50, 100, 500, 1000, 2000, 5000)
    for videos, total in totals.items():
        assert describe_classifier(Unit(network, videos, 0).classifier(table)).parameters == total


def test_both_networks_of_a_run_learn_from_the_same_balanced_videos_and_each_run_from_others(finished):
    shown = {unit: record(finished, unit)["video_indices"] for unit in reported_units(study().with_table())}
    labels = read_labels(Layout(finished / "tiny").videos("train"))
    for unit, indices in shown.items():
        assert np.bincount(labels[indices]).tolist() == [2] * 10
        assert indices == shown[Unit("dense", 20, unit.run)]
    assert shown[Unit("dense", 20, 0)] != shown[Unit("dense", 20, 1)]


def test_candidates_for_a_rate_share_no_seed_with_a_reported_run():
    table = study(learning_rates={"dense": [0.01, 0.1], "tt": [0.001]}, choose={"videos": [20], "runs": 2}).with_table()
    candidates = candidate_units(table)
    assert {unit.name for unit in candidates} == {
        f"dense-20-rate{rate}-run{run}" for rate in (0.01, 0.1) for run in (0, 1)
    }
    reported = {unit.seed(table) for unit in reported_units(table)}
    assert not reported & {unit.seed(table) for unit in candidates}


@pytest.mark.parametrize(("network", "rate"), [("dense", 0.03), ("tt", 0.0003)])
def test_a_few_videos_teach_a_network_more_than_chance(results, network, rate):
    chosen = study(
        rows=[50],
        runs=1,
        epochs=15,
        widths={"dense": [6, 8], "tt": [6, 8]},
        learning_rates={network: [rate]},
        test={},
    )
    unit = Unit(network, 50, 0)
    train(chosen, unit, results)
    history = metrics(results, unit)
    assert history[-1]["loss"] < history[1]["loss"]
    # 60 videos: 17 right by chance has a probability below 0.0001.
    assert judged(results, unit)["whole"]["accuracy"] > 17 / 60


def test_the_weights_of_the_best_validation_are_kept_and_tested_on_the_same_videos_in_every_run(finished):
    for unit in reported_units(study().with_table()):
        history, kept = metrics(finished, unit), record(finished, unit)
        assert [line["epoch"] for line in history] == [0, 2, 4, 6]
        best = max(line["validation_accuracy"] for line in history)
        first = next(line["epoch"] for line in history if line["validation_accuracy"] == best)
        assert (kept["validation"]["accuracy"], kept["epoch"]) == (best, first)
        tested = judged(finished, unit)
        assert tested["subset"]["videos"] == 20
        assert (tested["whole"] is not None) == (unit.run == 0)
        if tested["whole"] is not None:
            assert tested["whole"]["videos"] == 60


def _train_until_killed(unit: Unit, results: Path, checkpoints: int) -> None:
    save = checkpoint.save

    def killing(path: Path, state: dict) -> None:
        nonlocal checkpoints
        checkpoints -= 1
        if checkpoints < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        save(path, state)

    checkpoint.save = killing
    train(study(), unit, results)


@pytest.mark.parametrize("network", ["dense", "tt"])
def test_a_killed_training_goes_on_to_the_same_bytes(finished, results, network):
    unit = Unit(network, 20, 0)
    # Killed in the fourth epoch, after a validation that the checkpoint has and before one that it has not.
    run = multiprocessing.get_context("spawn").Process(target=_train_until_killed, args=(unit, results, 3))
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    layout, whole = Layout(results / "tiny"), Layout(finished / "tiny")
    assert checkpoint.load(layout.state(unit.name) / "checkpoint.pt", {"epoch"})["epoch"] == 3
    train(study(), unit, results)
    assert tree(layout.model(unit.name)) == tree(whole.model(unit.name))
    assert layout.accuracy(unit.name).read_bytes() == whole.accuracy(unit.name).read_bytes()
    assert set(tree(layout.model(unit.name))) == {"best.safetensors", "config.json", "metrics.jsonl"}


def test_the_rate_is_lowered_where_validation_does_not_rise(results):
    # So small a rate changes no answer.
    chosen = study(epochs=5, validate_every=1, patience=2, factor=0.5, learning_rates={"dense": [1e-12]})
    unit = Unit("dense", 20, 0)
    train(chosen, unit, results)
    rates = [line["learning_rate"] for line in metrics(results, unit)]
    assert rates == [1e-12, 1e-12, 1e-12, 0.5e-12, 0.5e-12, 0.25e-12]


@pytest.mark.parametrize(("every", "after", "epochs"), [(1, 2, [0, 1, 2]), (3, 1, [0, 3]), (2, 3, [0, 2, 4])])
def test_a_training_may_end_where_validation_no_longer_rises(results, every, after, epochs):
    chosen = study(validate_every=every, stop_after=after, learning_rates={"dense": [1e-12]})
    unit = Unit("dense", 20, 0)
    train(chosen, unit, results)
    assert [line["epoch"] for line in metrics(results, unit)] == epochs


def test_what_was_best_before_a_training_diverged_stands_and_is_said(results):
    chosen, unit = study(learning_rates={"dense": [1e30]}, validate_every=6), Unit("dense", 20, 0)
    train(chosen, unit, results)
    kept = record(results, unit)
    assert kept["diverged"]
    assert kept["epoch"] == 0
    assert kept["validation"]["accuracy"] == metrics(results, unit)[0]["validation_accuracy"]


def test_other_test_videos_test_again_and_train_nothing(finished, tmp_path):
    results, unit = Path(shutil.copytree(finished, tmp_path / "copied")), Unit("tt", 20, 1)
    weights = Layout(results / "tiny").weights(unit.name)
    before = weights.stat().st_mtime_ns
    train(study(test={}), unit, results)
    assert weights.stat().st_mtime_ns == before
    tested = judged(results, unit)
    assert tested["subset"] is None
    assert tested["whole"]["videos"] == 60


def test_a_training_of_other_settings_is_refused_or_moved_aside(finished, tmp_path):
    results, unit = Path(shutil.copytree(finished, tmp_path / "copied")), Unit("dense", 20, 0)
    with pytest.raises(StaleError, match="--restart"):
        train(study(momentum=0.5), unit, results)
    train(study(momentum=0.5), unit, results, restart=True)
    assert (Layout(results / "tiny").model(unit.name + ".stale") / "best.safetensors").exists()
    assert record(results, unit)["fingerprint"] != record(finished, unit)["fingerprint"]


def test_the_rate_of_the_best_mean_validation_is_chosen_of_equals_the_smaller():
    runs = {
        Unit("tt", 20, run, rate): {"diverged": diverged, "validation": {"accuracy": accuracy}}
        for rate, run, accuracy, diverged in [
            (0.1, 0, 0.9, True),
            (0.1, 1, 0.9, False),
            (0.01, 0, 0.4, False),
            (0.01, 1, 0.6, False),
            (0.001, 0, 0.7, False),
            (0.001, 1, 0.3, False),
        ]
    }
    means = mean_accuracies(runs)
    assert means == {0.001: 0.5, 0.01: 0.5, 0.1: None}
    assert best_rate("tt", 20, means) == 0.001
    assert best_rate("tt", 20, means | {0.01: 0.51}) == 0.01
    with pytest.raises(InputError, match=r"learning_rates\.tt: with 20 videos the loss stopped being a number"):
        best_rate("tt", 20, {0.1: None})


def test_rates_are_chosen_at_the_nearest_number_of_videos_with_the_filters_of_the_row():
    same = study(choose={"videos": [10, 40], "runs": 1}).with_table()
    assert [chosen_at(same, "tt", videos) for videos in (10, 20, 30, 50, 5000)] == [10, 10, 40, 40, 40]
    published = same.model_copy(update={"widths": None})
    # 3D: 12, 22 filters with 10 videos, 18, 28 from 20 on.
    assert [chosen_at(published, "dense", videos) for videos in (10, 20, 50)] == [10, 40, 40]
    # 3DTT: 18, 28 filters with 10, 30 and 50 videos, 12, 22 with 20, 40 and 100, 4, 14 with 5000.
    assert [chosen_at(published, "tt", videos) for videos in (10, 30, 50, 20, 100, 5000)] == [10, 10, 10, 40, 40, 40]


def test_a_row_takes_the_rate_that_was_chosen_for_it(results):
    chosen = study(
        rows=[10],
        runs=1,
        epochs=1,
        learning_rates={"dense": [1e-9, 0.05], "tt": [1e-4]},
        choose={"videos": [20], "runs": 1},
    )
    for unit in candidate_units(chosen.with_table()):
        train(chosen, unit, results)
    choose_rates(chosen, results)
    found = json.loads(Layout(results / "tiny").learning_rates().read_text())
    assert found["rates"].keys() == {"dense"}
    assert [line["rate"] for line in found["candidates"]] == [1e-9, 0.05]
    train(chosen, Unit("dense", 10, 0), results)
    assert record(results, Unit("dense", 10, 0))["learning_rate"] == found["rates"]["dense"]["20"]
    again = study(
        rows=[10], runs=1, epochs=2, learning_rates={"dense": [1e-9, 0.05]}, choose={"videos": [20], "runs": 1}
    )
    with pytest.raises(StaleError, match="run `sepvox study video-mnist choose` again"):
        train(again, Unit("dense", 10, 0), results)


def test_cost_counts_training_three_times_and_every_validation():
    chosen = study(epochs=7, validate_every=3)
    # Validated at 0, 3, 6 and 7.
    found = cost(chosen, Unit("tt", 20, 0), 100)
    assert (found.train, found.validation, found.test) == (3 * 7 * 20 * 100, 4 * 20 * 100, 60 * 100)
    assert cost(chosen, Unit("tt", 20, 1), 100).test == 20 * 100
    assert cost(chosen, Unit("tt", 20, 0, 0.1), 100).test == 0


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("video-mnist*.yaml")), ids=lambda path: path.stem)
def test_configurations_are_sound_and_named_as_the_workflow_finds_them(path, monkeypatch):
    monkeypatch.setenv("SEPVOX_DATA", "/data")
    chosen = read_study(path)
    assert chosen.experiment == path.stem
    assert reported_units(chosen.with_table())


def refused(document: dict, folder: Path, monkeypatch, capsys, *arguments: str) -> str:
    """The one line with which the command line refuses."""
    config = folder / "study.yaml"
    config.write_text(yaml.safe_dump(document))
    step, *options = arguments
    command = ["sepvox", "study", "video-mnist", step, str(config), "--results", str(folder / "results"), *options]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


UNIT = ("train", "--videos", "20", "--network", "tt", "--run", "0")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"rows": [15], "widths": WIDTHS}, "rows: 15 is not a multiple of the 10 classes"),
        ({"rows": [20, 20]}, "rows: [20, 20] has a number twice"),
        ({"rows": [60]}, "rows: 60 is no row of the published table"),
        ({"rows": [500]}, "table.rows: 500 videos are asked for, but videos.train is 300"),
        ({"rows": [20], "train": {"validation_videos": 70}}, "videos.validation is 60; make it larger"),
        ({"rows": [20], "train": {"validation_videos": 25}}, "validation_videos: 25 is not a multiple"),
        ({"rows": [20], "test": {"videos": 100}}, "table.test.videos: 100 videos are asked for, but videos.test is 60"),
        ({"rows": [20], "runs": 2, "test": {"videos": 20, "whole_runs": 3}}, "whole_runs: 3 is more than the 2 runs"),
        ({"rows": [20], "train": {"learning_rates": {"tt": []}}}, "table.train.learning_rates.tt"),
        ({"rows": [20], "train": {"epoch": 5}}, "table.train.epoch: unknown key; did you mean `epochs`?"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_tables_are_refused_in_one_line(tmp_path, monkeypatch, capsys, table, says):
    document = {"experiment": "tiny", "videos": VIDEOS, "table": {"train": {"validation_videos": 20}} | table}
    assert says in refused(document, tmp_path, monkeypatch, capsys, *UNIT)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "--videos", "30", "--network", "tt", "--run", "0"), "--videos 30: not in the study, which has 20"),
        (
            ("train", "--videos", "20", "--network", "tt", "--run", "2"),
            "--run 2: not in the study, which has runs 0 to 1",
        ),
        (
            ("train", "--videos", "20", "--network", "tt", "--run", "0", "--rate", "0.5"),
            "no candidate of the tt network",
        ),
        (UNIT, "train.zarr: missing, unfinished or damaged"),
        (("table",), "train.zarr: missing, unfinished or damaged"),
    ],
    ids=str,
)
def test_what_the_study_does_not_have_is_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    assert says in refused(study().model_dump(mode="json"), tmp_path, monkeypatch, capsys, *arguments)


def test_a_study_without_a_table_trains_nothing(tmp_path, monkeypatch, capsys):
    line = refused({"experiment": "tiny", "videos": VIDEOS}, tmp_path, monkeypatch, capsys, *UNIT)
    assert "table: missing section; add it" in line


def test_rates_that_were_not_chosen_and_trainings_that_are_missing_are_told(results, monkeypatch, capsys):
    folder = results.parent
    several = study(learning_rates={"dense": [0.1, 0.2], "tt": [1e-5, 1e-4]}).model_dump(mode="json")
    assert "run `sepvox study video-mnist choose` first" in refused(several, folder, monkeypatch, capsys, *UNIT)
    line = refused(several, folder, monkeypatch, capsys, "choose")
    assert "dense-20-rate0.1-run0 is not trained with these settings" in line
    assert "--videos 20 --network dense --run 0 --rate 0.1" in line
    fixed = study().model_dump(mode="json")
    assert "4 of 4 trainings are not finished" in refused(fixed, folder, monkeypatch, capsys, "table")
    assert "no run of which both networks are finished" in refused(
        fixed, folder, monkeypatch, capsys, "table", "--partial"
    )


def test_too_few_videos_of_a_class_are_told_with_the_setting(results):
    labels = read_labels(Layout(results / "tiny").videos("validation"))
    most = 10 * int(np.bincount(labels).min())
    with pytest.raises(InputError, match=r"table\.train\.validation_videos: .*ask for at most"):
        train(study(validation_videos=most + 10), Unit("dense", 20, 0), results)
