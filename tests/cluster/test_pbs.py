"""profiles/pbs gives jobs to a batch system with qsub, and gives again what the system kills.

The batch system is a stand-in, `fake_pbs.py`: what is shown is the profile, the status script, and Snakemake's plugin.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cluster.conftest import CELLS, CELLS_DONE, FRAGMENTS, REPOSITORY, contents, copied, finished_blocks, until

from sepvox.config import load
from sepvox.segment import fragments

STATUS = REPOSITORY / "profiles" / "pbs" / "status"


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the batch system's jobs; its commands are on the PATH."""
    folder, commands = tmp_path / "batch", tmp_path / "commands"
    for path in (folder, commands):
        path.mkdir()
    for name in ("qsub", "qstat", "qdel"):
        program = f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_pbs.py")} {folder} {name} "$@"\n'
        (commands / name).write_text(program)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return folder


def given(batch: Path, rule: str) -> dict[str, list[str]]:
    """What qsub was given for the jobs of a rule, by their number, in their order."""
    found = {path.stem: json.loads(path.read_text()) for path in batch.glob("*.given")}
    return {number: found[number] for number in sorted(found, key=int) if f".{rule}." in Path(found[number][-1]).name}


def asked(batch: Path, rule: str) -> list[str]:
    """CPUs, memory and minutes that the jobs of a rule asked for."""
    return [" ".join(word for word in each if "=" in word) for each in given(batch, rule).values()]


@pytest.mark.slow
def test_a_batch_system_gives_the_same_bytes_and_what_it_kills_is_given_again(
    predicted: Path, expected: Path, tmp_path: Path, batch: Path
) -> None:
    folder = copied(predicted, tmp_path / "run")
    (folder / "profiles").symlink_to(REPOSITORY / "profiles")
    fragments.create(load(folder / "experiment.yaml"), "main", "judge", folder / "results", restart=True)
    command = [sys.executable, "-m", "snakemake", *map(str, CELLS_DONE), "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--profile", "profiles/slurm", "--workflow-profile", "profiles/pbs", "--configfile", "experiment.yaml"]
    command += ["--seconds-between-status-checks", "1"]
    console = folder / "console.txt"
    with (
        console.open("w") as file,
        subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT) as run,
    ):
        try:
            until(lambda: run.poll() is not None or finished_blocks(folder, "fragments"), "blocks", every=0.05)
            running = [number for number in given(batch, "fragments_slice") if not (batch / f"{number}.ended").exists()]
            assert running, console.read_text()
            subprocess.run(["qdel", *(f"{number}.fake" for number in running)], check=True)
            in_the_middle = finished_blocks(folder, "fragments")
            assert run.wait(600) == 0, console.read_text()
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGINT)
    assert 0 < in_the_middle < 18, "the jobs were not killed in the middle: this test shows nothing"
    once, again = (
        "select=1:ncpus=1:mem=16000mb:ngpus=0 walltime=120:00",
        "select=1:ncpus=1:mem=32000mb:ngpus=0 walltime=240:00",
    )
    assert sorted(asked(batch, "fragments_slice")) == 2 * [once] + len(running) * [again]
    assert asked(batch, "region_graph") == 2 * [once]
    assert contents(folder, FRAGMENTS, CELLS) == contents(expected, FRAGMENTS, CELLS)


@pytest.fixture
def answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str, int], subprocess.CompletedProcess[str]]:
    """What the status script makes of what qstat says on both streams, and of its exit status."""

    def status(says: str, complains: str, code: int) -> subprocess.CompletedProcess[str]:
        (tmp_path / "says").write_text(says)
        (tmp_path / "complains").write_text(complains)
        (tmp_path / "qstat").write_text(
            f"#!/bin/sh\ncat '{tmp_path}/says'\ncat '{tmp_path}/complains' >&2\nexit {code}\n"
        )
        (tmp_path / "sleep").write_text(f"#!/bin/sh\necho >> '{tmp_path}/slept'\n")
        for name in ("qstat", "sleep"):
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return subprocess.run([STATUS, "7.a"], capture_output=True, text=True, check=False)

    return status


@pytest.mark.parametrize(
    ("says", "complains", "code", "status"),
    [
        ("Job Id: 7.a\n    Job_Name = x\n    job_state = Q\n", "", 0, "running"),
        ("Job Id: 7.a\n    job_state = R\n", "", 0, "running"),
        ("Job Id: 7.a\n    job_state = F\n    Exit_status = 0\n", "", 0, "success"),
        ("Job Id: 7.a\n    job_state = F\n    Exit_status = 271\n", "", 0, "failed"),
        ("Job Id: 7.a\n    job_state = F\n", "", 0, "failed"),
        ("", "qstat: Unknown Job Id 7.a\n", 153, "failed"),
        ("", "Connection refused\nqstat: cannot connect to server a (errno=111)\n", 111, "running"),
    ],
)
def test_the_status_of_a_job_is_read_from_qstat(answers, says, complains, code, status):
    assert answers(says, complains, code).stdout == f"{status}\n"


@pytest.mark.parametrize("complaint", ["qstat: PBS is not configured to maintain job history", "qstat: not found"])
def test_a_status_that_cannot_be_known_ends_the_run_instead_of_waiting_for_ever(answers, complaint, tmp_path):
    done = answers("", complaint, 1)
    assert len((tmp_path / "slept").read_text().splitlines()) == 4, "what passes is waited for"
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr
