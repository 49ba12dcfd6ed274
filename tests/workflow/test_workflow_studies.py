"""Studies that are experiments themselves run beside any experiment, as workflows of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.workflow.runs import REPOSITORY, planned, snakemake
from tests.workflow.test_workflow import experiment, write

CONFIGS = REPOSITORY / "configs" / "studies"


BLOCKS: dict[str, Any] = {
    "experiment": "tiny-blocks",
    "task": "classes",
    "subjects": {"phantom": {"subjects": 4, "shape": [32, 32, 32], "voxel_size": [6, 6, 6]}},
    "classes": {"csf": 1, "grey": 2, "white": 3},
    "split": {"test": 0.25, "validation": 0.25},
    "models": {"dense": {"network": {"block": "dense"}}, "p1sc1": {"network": {"block": "pmsc", "m": 1, "n": 1}}},
    "prepare": {"chunk": [16, 16, 16], "shard": [32, 32, 32]},
    "network": {"width": 4, "depth": 1},
    "train": {
        "iterations": 2,
        "batch": 1,
        "patch": [16, 16, 16],
        "validate_every": 2,
        "workers": 0,
        "tensorboard": False,
    },
}


@pytest.mark.parametrize("study", ["blocks", "compression"])
def test_a_study_of_experiments_is_one_job(tmp_path: Path, study: str) -> None:
    write(tmp_path, experiment())
    assert planned(tmp_path, f"study_{study}") == {f"study_{study}": 1}


def test_the_study_of_compression_waits_for_the_study_of_blocks_and_else_for_the_data_of_its_dense_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, experiment())
    dense = experiment() | {"experiment": "dense", "models": BLOCKS["models"]}
    (tmp_path / "dense.yaml").write_text(yaml.safe_dump(dense, sort_keys=False))
    study = {"experiment": "smaller", "dense": str(tmp_path / "dense.yaml"), "share": 0.5, "iterations": 1}
    (tmp_path / "smaller.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.setenv("SEPVOX_STUDY_COMPRESSION", "smaller.yaml")
    status, output = snakemake(tmp_path, "--dry-run", "study_compression")
    assert status == 0, output
    assert re.search(r"^ +input: \S*new\.npy$", output, flags=re.MULTILINE)
    monkeypatch.setenv("SEPVOX_STUDY_BLOCKS", "dense.yaml")
    assert planned(tmp_path, "study_compression") == {"study_blocks": 1, "study_compression": 1}


def test_what_a_comparison_is_of_is_made_with_it(tmp_path: Path) -> None:
    write(tmp_path, experiment() | {"models": BLOCKS["models"]})
    assert planned(tmp_path, "results/small/report/comparison.json")["report"] == 1


def test_a_copy_of_a_study_needs_a_name_of_its_own(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "blocks.yaml", tmp_path / "experiment.yaml")
    status, output = snakemake(tmp_path, "--dry-run")
    assert status == 1
    assert "experiment: blocks is the name of a study; choose another" in output


def test_a_study_that_does_not_exist_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, experiment())
    monkeypatch.setenv("SEPVOX_STUDY_BLOCKS", str(tmp_path / "none.yaml"))
    status, output = snakemake(tmp_path, "--dry-run")
    assert (status, output.strip().splitlines()[-1]) == (
        1,
        f"error: {tmp_path / 'none.yaml'}: no such configuration file",
    )


@pytest.mark.slow
def test_a_study_of_blocks_runs_inside_one_job_and_is_not_run_again(tmp_path: Path) -> None:
    write(tmp_path, experiment())
    (tmp_path / "blocks.yaml").write_text(yaml.safe_dump(BLOCKS))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
    command += ["study_blocks", "--configfile", "experiment.yaml"]
    environment = {**os.environ, "SEPVOX_STUDY_BLOCKS": "blocks.yaml", "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert ended.returncode == 0, ended.stdout
    assert "Nothing to be done" in ended.stdout
    findings = (tmp_path / "results/tiny-blocks/report/findings.txt").read_text().splitlines()
    assert [line.split()[0] for line in findings[:3]] == ["network", "dense", "p1sc1"]
    assert any(re.fullmatch(r"p1sc1: .* (better|worse) in one seed\.", line) for line in findings)
