"""The claim on P_mSC_n U-Nets is held against the comparison that the report wrote."""

import json
from pathlib import Path

import pytest

from sepvox.config import load
from sepvox.errors import ConfigError, StoreError
from sepvox.studies.blocks import compare_blocks

HEADER = "network,parameters,macs_per_voxel,models,training_seconds,prediction_seconds,voxels,"


def experiment(
    folder: Path,
    task: str = "neurons",
    models: str = "{dense: {network: {block: dense}}, p2: {}, tt: {network: {block: tt}}}",
):
    data = (
        "volumes: {learn: {role: train, phantom: {}}, choose: {role: validate, phantom: {}}}\ntrain: {}\n"
        if task == "neurons"
        else "task: classes\nsubjects: {phantom: {subjects: 4}}\nclasses: {grey: 1}\ntrain: {}\n"
    )
    path = folder / "study.yaml"
    path.write_text(f"experiment: study\nseeds: [0, 1]\nnetwork: {{block: pmsc, m: 2, n: 2}}\nmodels: {models}\n{data}")
    return load(path)


def compare(folder: Path, title: str, rows: dict[str, tuple[int, str, str]], **changes: str) -> tuple[str, dict]:
    found = experiment(folder, **changes)
    path = found.layout(folder / "results").comparison()
    path.parent.mkdir(parents=True)
    lines = [f"{name},{size},1,2,60,2,1000,{mean},{sd},9,9" for name, (size, mean, sd) in rows.items()]
    path.write_text("\n".join([f"{HEADER}{title} mean,{title} sd,other mean,other sd", *lines]) + "\n")
    text = compare_blocks(found, folder / "results")
    assert path.with_name("findings.txt").read_text() == text
    return text, json.loads(path.with_name("findings.json").read_text())


def test_less_variation_of_information_is_better(tmp_path):
    rows = {"dense": (1000, "1.0", "0.1"), "p2": (500, "0.8", "0.05"), "tt": (600, "1.1", "0.05")}
    text, found = compare(tmp_path, "VI sum", rows)
    p2, tt = found["others"]
    assert (p2["better"], p2["smaller"], p2["beyond_spread"]) == (pytest.approx(0.2), pytest.approx(0.5), True)
    assert (tt["better"], tt["beyond_spread"]) == (pytest.approx(-0.1), False)
    assert "mean over 1 P_mSC_n networks: +20.0% better, 50.0% smaller" in text
    assert "Better by as much: holds. Smaller by as much: holds." in text


def test_more_dice_is_better(tmp_path):
    rows = {"dense": (1000, "0.8", "0.01"), "p2": (700, "0.84", "0.01"), "tt": (600, "0.7", "0.01")}
    text, found = compare(tmp_path, "Dice", rows, task="classes")
    assert [one["better"] for one in found["others"]] == [pytest.approx(0.05), pytest.approx(-0.125)]
    assert "Better by as much: does not hold. Smaller by as much: does not hold." in text


def test_of_one_seed_no_spread_is_known(tmp_path):
    rows = {"dense": (1000, "0.8", ""), "p2": (700, "0.84", ""), "tt": (600, "0.7", "")}
    text, found = compare(tmp_path, "Dice", rows, task="classes")
    assert {one["beyond_spread"] for one in found["others"]} == {None}
    assert text.count("one seed") == 2


def test_a_study_without_a_dense_network_or_without_scores_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"comparison\.csv: missing; run the experiment first"):
        compare_blocks(experiment(tmp_path), tmp_path / "results")
    rows = {"p1": (700, "0.84", "0.1"), "p2": (700, "0.84", "0.1")}
    with pytest.raises(ConfigError, match="block: dense"):
        compare(tmp_path, "Dice", rows, task="classes", models="{p1: {network: {m: 1}}, p2: {}}")
    (tmp_path / "more").mkdir()
    rows = {"dense": (1000, "", ""), "p2": (700, "0.84", ""), "tt": (600, "0.7", "")}
    with pytest.raises(StoreError, match="dense has no Dice"):
        compare(tmp_path / "more", "Dice", rows, task="classes")
