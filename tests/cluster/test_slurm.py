"""Slurm gives what one machine gives, whatever is cancelled or goes down, and says in one line what it cannot run.

The cluster is a real one, of one node, and runs on this machine for as long as these tests do. It believes that the node
has the memory, the CPUs and the GPU that profiles/slurm asks for.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.cluster.conftest import (
    CELLS,
    CELLS_DONE,
    FRAGMENTS,
    LOOKUP_TABLES,
    REPOSITORY,
    SCORES,
    SEGMENTATION,
    SEGMENTED,
    contents,
    copied,
    finished_blocks,
    until,
)
from tests.end_to_end.conftest import whole

from sepvox.config import load
from sepvox.segment import fragments

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.usefixtures("cluster")]

SLURM_CONF, GRES_CONF = Path("/etc/slurm/slurm.conf"), Path("/etc/slurm/gres.conf")
NODE = socket.gethostname().partition(".")[0]
WRITTEN_HERE = "# Written by a test of sepvox; removed when it ends.\n"


def why_not() -> str | None:
    """What keeps this machine from running a Slurm of its own."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}: needs Slurm (apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return f"needs root, to write {SLURM_CONF} and to run Slurm's daemons"
    if " is UP" in answer("scontrol", "ping"):
        return "this machine belongs to a Slurm already"
    return None


def settings(folder: Path) -> str:
    return WRITTEN_HERE + "\n".join(
        [
            "ClusterName=test",
            f"SlurmctldHost={NODE}(127.0.0.1)",
            "SlurmctldPort=26817",
            "SlurmdPort=26818",
            "SlurmUser=root",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool",
            f"SlurmctldPidFile={folder}/slurmctld.pid",
            f"SlurmdPidFile={folder}/slurmd.pid",
            "AuthType=auth/munge",
            "MinJobAge=3600",
            # A requeued job waits for as long as credentials are valid.
            f"AuthInfo=socket={folder}/munge/socket,cred_expire=10",
            "AccountingStorageType=accounting_storage/none",
            "JobAcctGatherType=jobacct_gather/none",
            "MpiDefault=none",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            # What is set down stays down until it is resumed.
            "ReturnToService=1",
            "SlurmdParameters=config_overrides",
            "GresTypes=gpu",
            f"NodeName={NODE} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000 Gres=gpu:1",
            f"PartitionName=main Nodes={NODE} Default=YES",
            "",
        ]
    )


def output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout


def answer(*command: str) -> str:
    """What a command prints, which may fail."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    """A file that holds `text` for a while."""
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    try:
        yield
    finally:
        if before is None or before.startswith(WRITTEN_HERE):
            path.unlink()
        else:
            path.write_text(before)


@contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    """A daemon in the foreground."""
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as daemon:
        try:
            yield
        finally:
            daemon.terminate()
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                daemon.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm with one node and the partition `main`."""
    reason = why_not()
    if reason is not None:
        # Where everything was installed for the tests, nothing may be left out.
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    own = {"key-file": key, **{f"{name}-file": folder / "munge" / name for name in ("pid", "log", "seed")}}
    munge = [f"--{option}={path}" for option, path in {**own, "socket": folder / "munge" / "socket"}.items()]
    with ExitStack() as stack:
        stack.enter_context(written(SLURM_CONF, settings(folder)))
        stack.enter_context(written(GRES_CONF, WRITTEN_HERE + "Name=gpu File=/dev/null\n"))
        stack.enter_context(running("munged", "--foreground", "--force", *munge, log=folder / "munged.txt"))
        until((folder / "munge" / "socket").exists, "munged listens", 120)
        stack.enter_context(running("slurmctld", "-D", log=folder / "slurmctld.txt"))
        stack.enter_context(running("slurmd", "-D", log=folder / "slurmd.txt"))
        until(lambda: "idle" in answer("sinfo", "--noheader", "--format=%T"), "the node is idle", 120, every=0.5)
        try:
            yield
        finally:
            subprocess.run(["scancel", "--quiet", "--partition=main"], check=True)
            until(lambda: not output("squeue", "--noheader"), "no job is left", 120, every=0.5)


def profile(folder: Path, *switched_on: str, partition: str = "main") -> Path:
    """profiles/slurm as a user of this cluster edits it: blocks of settings switched on, no account, another partition."""
    text = (REPOSITORY / "profiles" / "slurm" / "profile.yaml").read_text()
    for key in ("default-resources", "slurm-status-command", *switched_on):
        block = re.compile(rf"^#{key}:.*(?:\n#  .*)*", re.MULTILINE)
        text, count = block.subn(lambda found: re.sub("^#", "", found[0], flags=re.MULTILINE), text)
        assert count == 1, f"profiles/slurm has no setting {key} to switch on"
    text = re.sub(r"^  slurm_account: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^  slurm_partition: .*", f"  slurm_partition: {partition}", text, flags=re.MULTILINE)
    (folder / "profile").mkdir()
    (folder / "profile" / "profile.yaml").write_text(text)
    return folder / "profile"


@contextmanager
def snakemake(folder: Path, edited: Path, *targets: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The workflow on the cluster; what it prints goes to FOLDER/console.txt."""
    command = [sys.executable, "-m", "snakemake", *targets, "--directory", folder, "--workflow-profile", edited]
    command += ["--snakefile", REPOSITORY / "Snakefile", "--configfile", folder / "experiment.yaml"]
    # By default the first look at a job is after 40 seconds.
    command += ["--slurm-init-seconds-before-status-checks", "1"]
    with (
        (folder / "console.txt").open("w") as console,
        subprocess.Popen(list(map(str, command)), cwd=folder, stdout=console, stderr=subprocess.STDOUT) as run,
    ):
        try:
            yield run
        finally:
            if run.poll() is None:
                # It cancels its jobs; on SIGTERM it would wait for them.
                run.send_signal(signal.SIGINT)


def submitted(folder: Path) -> list[str]:
    """Rules and groups that were given to Slurm, in their order."""
    line = r"submitted with SLURM jobid \d+ \(log: \S+/slurm_logs/(?:rule_(\w+)|group_([a-z]+)_)"
    return [rule or group for rule, group in re.findall(line, (folder / "console.txt").read_text())]


def jobs(rule: str, states: str, asked: str) -> list[str]:
    """What `squeue` says of the jobs of a rule, where ASKED is a letter of its format."""
    lines = output("squeue", "--noheader", f"--states={states}", f"--format=%{asked} %k").splitlines()
    return [line.split()[0] for line in lines if line.split()[1].startswith(f"rule_{rule}_")]


def running_jobs(rule: str) -> list[str]:
    """Slurm's numbers of the jobs of a rule that run."""
    return jobs(rule, "running", "i")


def test_slurm_jobs_give_the_same_bytes_as_one_machine(predicted: Path, expected: Path, tmp_path: Path) -> None:
    folder = copied(predicted, tmp_path)
    with snakemake(folder, profile(folder, "groups"), SCORES, SEGMENTED) as run:
        assert run.wait(900) == 0, (folder / "console.txt").read_text()
    assert sorted(submitted(folder)) == ["choose", "relabel", "score", "segment"]
    results = (FRAGMENTS, LOOKUP_TABLES, SEGMENTATION, SCORES)
    assert contents(folder, *results) == contents(expected, *results)
    assert len(np.unique(whole(folder / SEGMENTATION))) > 5


def test_a_cancelled_job_and_a_node_that_goes_down_are_survived_by_the_run_itself(
    predicted: Path, expected: Path, tmp_path: Path
) -> None:
    folder = copied(predicted, tmp_path)
    fragments.create(load(folder / "experiment.yaml"), "main", "judge", folder / "results", restart=True)
    with snakemake(folder, profile(folder), *CELLS_DONE) as run:
        until(lambda: run.poll() is not None or finished_blocks(folder, "fragments"), "blocks of fragments", every=0.05)
        cancelled = running_jobs("fragments_slice")
        assert cancelled, (folder / "console.txt").read_text()
        output("scancel", *cancelled)
        until(lambda: not running_jobs("fragments_slice"), "the jobs are cancelled")
        in_the_middle = finished_blocks(folder, "fragments")
        until(lambda: run.poll() is not None or running_jobs("region_graph"), "jobs of region_graph")
        lost = running_jobs("region_graph")
        assert lost, (folder / "console.txt").read_text()
        output("scontrol", "update", f"nodename={NODE}", "state=down", "reason=test")
        until(lambda: not running_jobs("region_graph"), "the jobs are lost")
        output("scontrol", "update", f"nodename={NODE}", "state=resume")
        assert run.wait(900) == 0, (folder / "console.txt").read_text()
    given = submitted(folder)
    assert 0 < in_the_middle < 18, "the jobs were not cancelled in the middle: this test shows nothing"
    assert given.count("fragments_slice") == 2 + len(cancelled), "Snakemake gives what was cancelled to Slurm again"
    assert sorted(jobs("fragments_slice", "all", "m")) == 2 * ["16000M"] + len(cancelled) * ["32000M"]
    assert given.count("region_graph") == 2, "Slurm itself runs again what a node lost"
    assert all("Restarts=1" in output("scontrol", "show", "job", number) for number in lost)
    assert contents(folder, FRAGMENTS, CELLS) == contents(expected, FRAGMENTS, CELLS)


def test_a_partition_that_does_not_exist_is_one_line_before_any_work(predicted: Path, tmp_path: Path) -> None:
    folder = copied(predicted, tmp_path)
    with snakemake(folder, profile(folder, partition="absent"), SCORES) as run:
        assert run.wait(300) != 0
    console = (folder / "console.txt").read_text()
    assert console.splitlines()[-1].startswith("error: slurm_partition: absent: no such partition, Slurm has main; ")
    assert "Traceback" not in console
    assert not submitted(folder)
