"""Studies that are experiments themselves run beside any experiment, as workflows of their own."""

import shutil
from pathlib import Path

import pytest
from tests.workflow.runs import REPOSITORY, planned, snakemake
from tests.workflow.test_workflow import experiment, write

CONFIGS = REPOSITORY / "configs" / "studies"


@pytest.mark.parametrize("study", ["blocks", "compression"])
def test_a_study_of_experiments_is_one_job(tmp_path: Path, study: str) -> None:
    write(tmp_path, experiment())
    assert planned(tmp_path, f"study_{study}") == {f"study_{study}": 1}


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
