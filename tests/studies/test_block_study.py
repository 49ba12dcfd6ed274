"""The claim on P_mSC_n U-Nets is held against the comparison that the report wrote."""

import json
from pathlib import Path

import pytest

from sepvox.errors import ConfigError, StoreError
from sepvox.studies.blocks import compare_blocks, read_study

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


def compare(folder: Path, title: str, rows: dict[str, tuple[int, str, str]], task: str) -> tuple[str, dict]:
    chosen = study(folder, task)
    path = chosen.layout(folder / "results").comparison()
    path.parent.mkdir(parents=True)
    lines = [f"{name},{size},1,2,60,2,1000,{mean},{sd},9,9" for name, (size, mean, sd) in rows.items()]
    path.write_text("\n".join([f"{HEADER}{title} mean,{title} sd,other mean,other sd", *lines]) + "\n")
    text = compare_blocks(chosen, folder / "results")
    assert path.with_name("findings.txt").read_text() == text
    return text, json.loads(path.with_name("findings.json").read_text())


def test_less_variation_of_information_is_better(tmp_path):
    rows = {"dense": (1000, "1.0", "0.1"), "p2": (500, "0.8", "0.05"), "tt": (600, "1.1", "0.05")}
    text, found = compare(tmp_path, "VI sum", rows, "neurons")
    p2, tt = found["others"]
    assert (p2["better"], p2["smaller"], p2["decided"]) == (pytest.approx(0.2), pytest.approx(0.5), True)
    assert (tt["better"], tt["decided"]) == (pytest.approx(-0.1), False)
    assert p2["network"]["seconds_per_million"] == pytest.approx(2000)
    assert "of 1 P_mSC_n networks: better by as much p2; worse none" in text
    assert "Smaller by as much: p2." in text


def test_more_dice_is_better(tmp_path):
    rows = {"dense": (1000, "0.8", "0.01"), "p2": (700, "0.76", "0.01"), "tt": (600, "0.88", "0.01")}
    text, found = compare(tmp_path, "Dice", rows, "classes")
    assert [one["better"] for one in found["others"]] == [pytest.approx(-0.05), pytest.approx(0.1)]
    # What is said of the claim is on separable networks; 3DTT is none.
    assert "better by as much none; worse p2;" in text
    assert "Smaller by as much: none." in text


def test_one_seed_decides_nothing(tmp_path):
    rows = {"dense": (1000, "0.4", ""), "p2": (500, "0.9", ""), "tt": (600, "0.1", "")}
    text, found = compare(tmp_path, "Dice", rows, "classes")
    assert not any(one["decided"] for one in found["others"])
    assert text.count("not decided") == 2
    assert "better by as much none; worse none; not to be told from the dense network p2" in text


def test_a_study_that_did_not_run_or_was_not_scored_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"comparison\.csv: missing; run the experiment first"):
        compare_blocks(study(tmp_path), tmp_path / "results")
    rows = {"dense": (1000, "", ""), "p2": (700, "0.84", ""), "tt": (600, "0.7", "")}
    with pytest.raises(StoreError, match="dense has no Dice"):
        compare(tmp_path, "Dice", rows, "classes")


@pytest.mark.parametrize("models", ["{p1: {network: {m: 1}}, p2: {}}", "{dense: {network: {block: dense}}}", "{}"])
def test_a_study_compares_a_dense_network_with_others(tmp_path, models):
    with pytest.raises(ConfigError, match="needs a network with `block: dense` and one with another"):
        study(tmp_path, models=models)
