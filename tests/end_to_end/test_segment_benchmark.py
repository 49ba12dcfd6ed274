"""The comparison with peers runs, and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.segment", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_all_ways_segment_the_same_affinities(tmp_path):
    small = ("--shape", "40", "48", "56", "--processes", "1", "--repeat", "1")
    done = run(*small, "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    ways = {way["way"]: way for way in found["ways"]}
    assert list(ways) == [
        "sepvox, backend mean",
        "sepvox, backend waterz",
        "waterz, whole volume",
        "waterz, whole volume, own watershed",
    ]
    for way in ways.values():
        assert all(
            step["seconds"] > 0 and step["memory"] > 1e7 for run in way["runs"] for step in run["steps"].values()
        )
        assert f"| {way['way']} | 1 | {way['threshold']:g} |" in done.stdout
    # The volume is one cell, and waterz alone is the whole volume of the waterz backend.
    assert ways["sepvox, backend waterz"]["runs"][0]["to_waterz"] == {"split": 0, "merge": 0}
    assert ways["waterz, whole volume"]["runs"][0]["to_waterz"] == {"split": 0, "merge": 0}
    truth = ways["sepvox, backend mean"]["runs"][0]["to_truth"]
    assert 0 < truth["split"] + truth["merge"] < 1.5


def test_what_cannot_be_compared_is_one_line(tmp_path):
    for arguments, says in (
        (("--labels", "labels.zarr"), "belong to no affinities"),
        (("--processes", "1000"), "give no more"),
        (("--peer-python", str(tmp_path / "none")), "give a Python"),
        ((str(tmp_path / "none.zarr"),), "none.zarr"),
    ):
        done = run(*arguments, "--shape", "8", "8", "8")
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert says in done.stderr
