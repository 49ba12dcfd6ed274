"""A run that is killed and started again ends with the bytes of one that was not."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.end_to_end.conftest import EXPERIMENT, sepvox, write

PROGRAM = str(Path(sys.executable).with_name("sepvox"))


def kill_when(appears, *arguments, cwd: Path) -> bool:
    """Start a verb and SIGKILL its whole process group once `appears()` holds; whether it was still running."""
    command = [PROGRAM, *map(str, arguments)]
    with subprocess.Popen(command, cwd=cwd, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while not appears() and process.poll() is None:
            time.sleep(0.01)
        running = process.poll() is None
        if running:
            os.killpg(process.pid, signal.SIGKILL)
    return running


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_bytes(small, tmp_path):
    # The training that it is compared with had no loader process.
    _, _, layout = small
    shutil.copytree(layout.root / "volumes", tmp_path / "results/small/volumes")
    config = write(tmp_path, EXPERIMENT | {"train": EXPERIMENT["train"] | {"workers": 4}})
    state = tmp_path / "results/small/models/main/state"
    assert kill_when((state / "checkpoint.pt").exists, "train", config, cwd=tmp_path)
    assert not (tmp_path / "results/small/models/main/best.safetensors").exists()
    sepvox("train", config, cwd=tmp_path)
    expected, found = layout.model("main"), tmp_path / "results/small/models/main"
    assert (found / "best.safetensors").read_bytes() == (expected / "best.safetensors").read_bytes()
    lines = (found / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len((expected / "metrics.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_killed_prediction_and_agglomeration_resume_to_the_same_bytes(small, tmp_path):
    _, config, layout = small
    root = tmp_path / "results/small"
    shutil.copytree(layout.root / "volumes", root / "volumes")
    shutil.copytree(layout.root / "models", root / "models")

    for verb, least in (("predict", 3), ("fragments", 2), ("region-graph", 1)):
        blocks = root / "done" / verb / "main/judge/blocks"

        def some(blocks=blocks, least=least) -> bool:
            return len([path for path in blocks.glob("*.json") if path.stem.isdigit()]) >= least

        assert kill_when(some, verb, config, "--volume", "judge", cwd=tmp_path), verb
        done = sorted(path for path in blocks.glob("*.json") if path.stem.isdigit())
        before = {path: path.stat().st_mtime_ns for path in done}
        sepvox(verb, config, "--volume", "judge", cwd=tmp_path)
        assert all(path.stat().st_mtime_ns == before[path] for path in done), "finished blocks were done again"
    sepvox("agglomerate", config, "--volume", "judge", cwd=tmp_path)
    sepvox("relabel", config, "--volume", "judge", cwd=tmp_path)
    for name in ("affinities.zarr", "fragments.zarr", "segmentation.zarr"):
        expected = layout.output("main", "judge") / name
        for path in sorted(file for file in expected.rglob("*") if file.is_file()):
            assert (
                path.read_bytes() == (root / "outputs/main/judge" / name / path.relative_to(expected)).read_bytes()
            ), path
    assert (
        layout.lookup_tables("main", "judge").read_bytes()
        == (root / "outputs/main/judge/region_graph/lookup_tables.npz").read_bytes()
    )


@pytest.mark.slow
def test_checkpoint_of_other_settings_is_refused_or_set_aside(small, tmp_path):
    _, _, layout = small
    shutil.copytree(layout.root / "volumes", tmp_path / "results/small/volumes")
    shutil.copytree(layout.root / "models", tmp_path / "results/small/models")
    config = write(tmp_path, EXPERIMENT | {"train": EXPERIMENT["train"] | {"learning_rate": 0.01, "iterations": 2}})
    refused = sepvox("train", config, cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "--restart" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    sepvox("train", config, "--restart", cwd=tmp_path)
    assert (tmp_path / "results/small/models/main/state.stale/checkpoint.pt").exists()
