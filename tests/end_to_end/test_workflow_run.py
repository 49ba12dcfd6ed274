"""One run of the whole workflow, killed in the middle: the same command goes on, and ends with the bytes of the verbs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.end_to_end.conftest import EXPERIMENT, write

from sepvox.layout import Layout

REPOSITORY = Path(__file__).parents[2]


def command(folder: Path, *arguments: str) -> list[str]:
    """Snakemake on one core: so many threads as the verbs of the fixture have."""
    program = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1"]
    return [*program, "--directory", str(folder), "--configfile", str(folder / "experiment.yaml"), *arguments]


@pytest.mark.slow
def test_a_run_killed_with_all_its_jobs_goes_on_and_ends_with_the_same_bytes(small, tmp_path):
    _, _, layout = small
    # Without the test volume, of which training and validation know nothing.
    volumes = {name: volume for name, volume in EXPERIMENT["volumes"].items() if name != "judge"}
    write(tmp_path, EXPERIMENT | {"volumes": volumes})
    root = Layout(tmp_path / "results/small")
    begun = root.step("fragments", "main", "choose") / "blocks"
    with subprocess.Popen(command(tmp_path), start_new_session=True, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and not [path for path in begun.glob("*.json") if path.stem.isdigit()]:
            time.sleep(0.01)
        assert run.poll() is None
        os.killpg(run.pid, signal.SIGKILL)
    assert not root.report().exists()
    weights = root.weights("main").stat().st_mtime_ns

    locked = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert locked.returncode != 0
    assert "--unlock" in locked.stderr
    subprocess.run(command(tmp_path, "--unlock"), capture_output=True, check=True)
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr

    assert root.weights("main").stat().st_mtime_ns == weights, "a finished training was done again"
    assert root.report().exists()
    assert root.weights("main").read_bytes() == layout.weights("main").read_bytes()
    for of in (Layout.affinities, Layout.fragments, Layout.segmentation):
        expected = of(layout, "main", "choose")
        for path in sorted(file for file in expected.rglob("*") if file.is_file()):
            assert (of(root, "main", "choose") / path.relative_to(expected)).read_bytes() == path.read_bytes(), path
    found, wanted = (json.loads(of.scores("main", "choose").read_text()) for of in (root, layout))
    assert found == wanted
