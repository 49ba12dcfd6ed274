"""The claim on P_mSC_n U-Nets is held against the comparison that the report wrote."""

import json
import os
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from sepvox import markers
from sepvox.errors import ConfigError, StaleError, StoreError
from sepvox.nets.settings import NetworkSettings
from sepvox.report.comparison import comparison_fingerprint
from sepvox.studies.blocks import speed
from sepvox.studies.blocks.settings import read_study
from sepvox.studies.blocks.study import compare_blocks

HEADER = "network,parameters,macs_per_voxel,models,training_seconds,prediction_seconds,voxels,"
MODELS = "{dense: {network: {block: dense}}, p2: {}, tt: {network: {block: tt}}}"
DATA = {
    "neurons": (
        "volumes:\n"
        "  learn: {role: train, phantom: {shape: [64, 64, 64]}}\n"
        "  choose: {role: validate, phantom: {shape: [64, 64, 64]}}\n"
    ),
    "classes": "subjects: {phantom: {subjects: 4}}\nclasses: {grey: 1}\n",
}


def study(folder: Path, task: str = "neurons", models: str = MODELS):
    path = folder / "study.yaml"
    head = f"experiment: study\ntask: {task}\nseeds: [0, 1]\nmodels: {models}\ntrain: {{}}\n"
    path.write_text(head + "network: {block: pmsc, m: 2, n: 2}\n" + DATA[task])
    return read_study(path)


def timed(*_) -> dict[str, float]:
    return {"dense": 0.0, "p2": 2.0, "tt": 4.0}


def compare(
    folder: Path, title: str, rows: dict[str, tuple[int, str, str]], task: str, models: int = 2
) -> tuple[str, dict]:
    chosen = study(folder, task)
    path = chosen.layout(folder / "results").comparison()
    path.parent.mkdir(parents=True)
    lines = [f"{name},{size},1,{models},60,2,1000,{mean},{sd},9,9" for name, (size, mean, sd) in rows.items()]
    path.write_text("\n".join([f"{HEADER}{title} mean,{title} sd,other mean,other sd", *lines]) + "\n")
    markers.mark(path.with_suffix(".json"), comparison_fingerprint(chosen))
    text = compare_blocks(chosen, folder / "results", timed)
    assert path.with_name("findings.txt").read_text() == text
    return text, json.loads(path.with_name("findings.json").read_text())


def test_less_variation_of_information_is_better(tmp_path):
    rows = {"dense": (1000, "1.0", "0.01"), "p2": (500, "0.8", "0.01"), "tt": (600, "1.1", "0.2")}
    text, found = compare(tmp_path, "VI sum", rows, "neurons")
    p2, tt = found["others"]
    assert (p2["better"], p2["smaller"], p2["decided"]) == (pytest.approx(0.2), pytest.approx(0.5), True)
    # Means 0.2 apart, standard deviations of 0.01, two seeds each: t = 20, two degrees of freedom.
    assert p2["p"] == pytest.approx(0.00249, rel=0.01)
    # The lower of two.
    assert p2["corrected"] == pytest.approx(2 * p2["p"])
    assert (tt["better"], tt["decided"]) == (pytest.approx(-0.1), False)
    assert [one["network"]["seconds_per_million"] for one in found["others"]] == [2.0, 4.0]
    assert "p2: 50% smaller, and 20.0% better." in text
    assert "tt: 40% smaller, and not to be told from the dense network." in text
    assert text.endswith("of which both holds: p2.\n")


def test_more_dice_is_better(tmp_path):
    rows = {"dense": (1000, "0.8", "0.001"), "p2": (700, "0.76", "0.001"), "tt": (1100, "0.96", "0.001")}
    text, found = compare(tmp_path, "Dice", rows, "classes")
    assert [one["better"] for one in found["others"]] == [pytest.approx(-0.05), pytest.approx(0.2)]
    assert "p2: 30% smaller, and 5.0% worse." in text
    assert "tt: 10% larger, and 20.0% better." in text
    assert text.endswith("of which both holds: none.\n")


@pytest.mark.parametrize(
    ("size", "mean", "confirmed"), [(600, "0.864", True), (606, "0.864", False), (600, "0.866", False)]
)
def test_the_claim_is_on_both_at_once_in_percents(tmp_path, size, mean, confirmed):
    rows = {"dense": (1000, "1.0", "0.001"), "p2": (size, mean, "0.001"), "tt": (600, "1.1", "0.2")}
    _, found = compare(tmp_path, "VI sum", rows, "neurons")
    assert found["others"][0]["confirms"] is confirmed


def test_one_seed_decides_nothing(tmp_path):
    rows = {"dense": (1000, "0.4", ""), "p2": (500, "0.9", ""), "tt": (600, "0.1", "")}
    text, found = compare(tmp_path, "Dice", rows, "classes", models=1)
    assert not any(one["decided"] or one["confirms"] for one in found["others"])
    assert "Scores are of one seed, from which nothing is decided." in text
    assert "p2: 50% smaller, and 125.0% better in one seed." in text
    assert "tt: 40% smaller, and 75.0% worse in one seed." in text


def test_seeds_that_do_not_differ_decide_nothing(tmp_path):
    rows = {"dense": (1000, "1.0", "0.0"), "p2": (500, "0.8", "0.0"), "tt": (600, "1.1", "0.2")}
    text, found = compare(tmp_path, "VI sum", rows, "neurons")
    assert [one["decided"] for one in found["others"]] == [False, False]
    assert found["others"][0]["p"] is None
    assert "p2: 50% smaller, and 20.0% better in seeds that do not differ." in text


def test_a_comparison_of_other_settings_is_refused(tmp_path):
    compare(
        tmp_path,
        "VI sum",
        {"dense": (1000, "1.0", "0.01"), "p2": (500, "0.8", "0.01"), "tt": (600, "1.1", "0.2")},
        "neurons",
    )
    longer = study(tmp_path).model_copy(update={"seeds": (0, 1, 2)})
    with pytest.raises(
        StaleError, match=r"comparison\.csv: is of other settings than the experiment has; run it again"
    ):
        compare_blocks(longer, tmp_path / "results", timed)


def test_a_pass_is_timed_by_the_voxels_that_it_yields(monkeypatch):
    # A clock that is a second later whenever it is read.
    monkeypatch.setattr(speed, "time", SimpleNamespace(monotonic=count().__next__))
    networks = {name: NetworkSettings(width=4, depth=1, block=name) for name in ("dense", "tt")}
    found = speed.seconds_per_million(networks, edge=16, repeats=1)
    assert found == pytest.approx(dict.fromkeys(networks, 1e6 / 16**3))


def test_a_study_that_did_not_run_or_was_not_scored_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"comparison\.csv: missing; run the experiment first"):
        compare_blocks(study(tmp_path), tmp_path / "results", timed)
    rows = {"dense": (1000, "", ""), "p2": (700, "0.84", ""), "tt": (600, "0.7", "")}
    with pytest.raises(StoreError, match="dense has no Dice"):
        compare(tmp_path, "Dice", rows, "classes")


@pytest.mark.parametrize("models", ["{p1: {network: {m: 1}}, p2: {}}", "{dense: {network: {block: dense}}}", "{}"])
def test_a_study_compares_a_dense_network_with_others(tmp_path, models):
    with pytest.raises(ConfigError, match="needs a network with `block: dense` and one with another"):
        study(tmp_path, models=models)


@pytest.mark.parametrize("name", ["blocks", "fib25-blocks", "hippocampus-blocks"])
def test_studies_of_the_repository_compare_the_same_five_blocks(name, monkeypatch):
    monkeypatch.setenv("SEPVOX_DATA", os.environ.get("SEPVOX_DATA", "nowhere"))
    chosen = read_study(Path(__file__).parents[2] / f"configs/studies/{name}.yaml")
    blocks = {str(run.entry) for run in chosen.runs().values()}
    assert blocks == {"dense", "p1sc1", "p2sc2", "p3sc2", "tt"}
    assert len(chosen.seeds or [0]) == (1 if name == "blocks" else 2)
