"""What the workflow promises: which rules run, which run again after a change, and what a user is told."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.workflow.runs import REPOSITORY, planned, setting, snakemake, take_for_done

PARTS = ("create", "slice", "finish")
PREDICT = {f"predict_{part}": 3 for part in PARTS}
FRAGMENTS = {f"fragments_{part}": 3 for part in PARTS}
REGION_GRAPH = {"region_graph": 3}
AGGLOMERATE = {"agglomerate": 3}
SWEEP = {"sweep": 2}
CHOOSE = {"choose": 1}
SCORE = {"score": 2}
RELABEL = {f"relabel_{part}": 3 for part in PARTS}
REPORT = {"report": 1, "all": 1}

FROM_CHOOSE = CHOOSE | SCORE | RELABEL | REPORT
FROM_SWEEP = SWEEP | FROM_CHOOSE
FROM_AGGLOMERATE = AGGLOMERATE | FROM_SWEEP
FROM_REGION_GRAPH = REGION_GRAPH | FROM_AGGLOMERATE
FROM_FRAGMENTS = FRAGMENTS | FROM_REGION_GRAPH
FROM_PREDICT = PREDICT | FROM_FRAGMENTS
FROM_TRAIN = {"train": 1} | FROM_PREDICT
EVERYTHING = {"prepare": 4} | FROM_TRAIN
ONE_TEST_VOLUME = {rule: 1 for rule in EVERYTHING if rule not in ("train", "choose")}


def experiment() -> dict[str, Any]:
    return {
        "experiment": "small",
        "volumes": {
            "part": {"role": "train", "phantom": {"shape": [32, 32, 32], "seed": 1}},
            "choose": {"role": "validate", "phantom": {"shape": [32, 32, 32], "seed": 2}},
            "test": {"role": "test", "phantom": {"shape": [32, 32, 32], "seed": 3}},
            "new": {"role": "apply", "image": "new.npy"},
        },
        "train": {"patch": [32, 32, 32]},
        "predict": {},
        "segment": {"fragments": {}, "agglomerate": {}},
        "score": {},
    }


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    if not (folder / "new.npy").exists():
        np.save(folder / "new.npy", np.arange(16**3, dtype=np.uint16).reshape(16, 16, 16))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Snakemake takes every job for done: declared outputs are there, parameters are recorded."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder, experiment())
    take_for_done(folder)
    return folder


@pytest.fixture
def again(finished: Path) -> Iterator[Path]:
    """`finished`, put back after the test; a copy at another place would have other source files."""
    image = finished / "new.npy"
    before, times = image.read_bytes(), image.stat()
    yield finished
    write(finished, experiment())
    image.write_bytes(before)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    for mark in (finished / ".snakemake" / "incomplete").glob("*"):
        mark.unlink()


def test_a_new_experiment_runs_each_step_on_each_volume_that_needs_it(tmp_path: Path) -> None:
    write(tmp_path, experiment())
    assert planned(tmp_path) == EVERYTHING


def test_an_experiment_with_given_weights_neither_trains_nor_chooses_on_volumes(tmp_path: Path) -> None:
    for name in ("best.safetensors", "config.json", "threshold.json"):
        (tmp_path / name).write_text("{}")
    write(
        tmp_path,
        {
            "experiment": "apply",
            "volumes": {"new": {"role": "apply", "image": "new.npy"}},
            "network": {"weights": "best.safetensors"},
        },
    )
    assert planned(tmp_path) == dict.fromkeys(EVERYTHING.keys() - {"train", "sweep", "score"}, 1)


def test_a_finished_experiment_runs_nothing(finished: Path) -> None:
    assert planned(finished) == {}


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        pytest.param(setting("prepare", to={"chunk": [16, 16, 16]}), EVERYTHING, id="prepare.chunk"),
        pytest.param(setting("volumes", "test", "phantom", "seed", to=4), ONE_TEST_VOLUME, id="seed of a test volume"),
        pytest.param(setting("network", to={"width": 6}), FROM_TRAIN, id="network.width"),
        pytest.param(setting("train", "learning_rate", to=1e-4), FROM_TRAIN, id="train.learning_rate"),
        pytest.param(setting("train", "workers", to=0), REPORT, id="train.workers"),
        pytest.param(setting("predict", "device", to="cpu"), REPORT, id="predict.device"),
        pytest.param(setting("predict", "tile", to=[64, 64, 64]), REPORT, id="predict.tile in exact mode"),
        pytest.param(setting("predict", to={"mode": "blend", "tile": [64, 64, 64]}), FROM_PREDICT, id="predict.mode"),
        pytest.param(setting("predict", "augment", to="mirror"), FROM_PREDICT, id="predict.augment"),
        pytest.param(setting("segment", "fragments", "seed_distance", to=3), FROM_FRAGMENTS, id="seed_distance"),
        pytest.param(setting("segment", "agglomerate", "scoring", to="mean"), FROM_REGION_GRAPH, id="scoring"),
        pytest.param(setting("segment", "agglomerate", "thresholds", to=[0.4]), FROM_AGGLOMERATE, id="thresholds"),
        pytest.param(setting("segment", "minimum_size", to=50), FROM_AGGLOMERATE, id="segment.minimum_size"),
        pytest.param(setting("segment", "processes", to=2), REPORT, id="segment.processes"),
        pytest.param(setting("score", "ignore_border", to=1), FROM_SWEEP, id="score.ignore_border"),
        pytest.param(
            setting("segment", "block", to=[128, 128, 128]),
            FROM_FRAGMENTS,
            id="segment.block",
        ),
        pytest.param(
            setting("predict", "slices", to=2),
            FROM_FRAGMENTS | {"predict_slice": 6, "predict_finish": 3},
            id="predict.slices",
        ),
    ],
)
def test_a_changed_parameter_reruns_exactly_what_depends_on_it(
    again: Path, change: Callable[[dict[str, Any]], None], rules: dict[str, int]
) -> None:
    document = experiment()
    change(document)
    write(again, document)
    assert planned(again) == rules


def test_changed_data_under_the_same_name_is_prepared_again(again: Path) -> None:
    np.save(again / "new.npy", np.zeros((16, 16, 16), np.uint8))
    assert planned(again) == dict.fromkeys(ONE_TEST_VOLUME.keys() - {"sweep", "score"}, 1)


def test_the_default_profile_is_in_effect_without_being_named(again: Path) -> None:
    # Snakemake's own note of a job that was interrupted: without the profile's `rerun-incomplete` it stops here.
    incomplete = again / ".snakemake" / "incomplete" / base64.b64encode(b"results/small/report/index.html").decode()
    incomplete.write_text('{"external_jobid": null}')
    assert planned(again) == REPORT
    status, output = snakemake(again, "--dry-run", "--workflow-profile", "none")
    assert status != 0
    assert "IncompleteFilesException" in output


def test_data_written_anew_is_taken_for_changed_whatever_its_content(tmp_path: Path) -> None:
    # A store behind an identical marker may have changed, so times decide: `max-checksum-file-size: 0` in the profile.
    write(tmp_path, experiment())
    prepared = "results/small/done/prepare/new.json"
    status, output = snakemake(tmp_path, "--workflow-profile", "none", prepared)
    assert status == 0, output
    (tmp_path / "new.npy").touch()
    status, output = snakemake(tmp_path, "--dry-run", "--workflow-profile", "none", prepared)
    assert "Nothing to be done" in output, "the profile makes no difference here: this test shows nothing"
    assert planned(tmp_path, prepared) == {"prepare": 1}


def test_the_last_line_of_a_failed_run_says_what_was_wrong(tmp_path: Path) -> None:
    np.save(tmp_path / "new.npy", np.zeros((16, 16), np.uint8))
    write(tmp_path, experiment())
    status, output = snakemake(tmp_path, "results/small/done/prepare/new.json")
    assert status != 0
    assert "make resume" in output.splitlines()[-2]
    assert "volumes.new.image" in output.splitlines()[-1]
    assert "2D image" in output.splitlines()[-1]


def test_the_slurm_profile_repeats_the_default_one() -> None:
    default, slurm = (
        yaml.safe_load((REPOSITORY / "profiles" / name / "profile.yaml").read_text()) for name in ("default", "slurm")
    )
    assert default["max-checksum-file-size"] == 0
    assert default["rerun-incomplete"] is True
    assert default.items() <= slurm.items()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--config", "experiment=other"], r"error: --config experiment: not supported, .*"),
        (["--configfile", "experiment.yaml", "experiment.yaml"], r"error: --configfile: got 2 files, expected one; .*"),
    ],
)
def test_an_experiment_is_one_file_and_nothing_overrides_it(tmp_path: Path, arguments: list[str], line: str) -> None:
    write(tmp_path, experiment())
    status, output = snakemake(tmp_path, "--dry-run", *arguments)
    assert status != 0
    assert re.fullmatch(line, output.splitlines()[-1]), output


def test_a_mistake_in_the_configuration_is_one_last_line(tmp_path: Path) -> None:
    document = experiment()
    document["segment"]["treshold"] = 0.3
    write(tmp_path, document)
    status, output = snakemake(tmp_path, "--dry-run")
    assert status != 0
    assert output.splitlines()[-1] == (
        f"error: {tmp_path / 'experiment.yaml'}: segment.treshold: unknown key; did you mean `threshold`?"
    )
    assert "Traceback" not in output


def test_a_missing_file_is_named_before_any_work_starts(tmp_path: Path) -> None:
    document = experiment()
    document["volumes"]["new"]["image"] = "absent.h5"
    write(tmp_path, document)
    status, output = snakemake(tmp_path, "--dry-run")
    assert status != 0
    assert output.splitlines()[-1] == (
        f"error: {tmp_path / 'experiment.yaml'}: volumes.new: {tmp_path / 'absent.h5'}: no such file or folder; "
        "correct the path"
    )


def test_the_last_lines_say_where_the_results_are(again: Path) -> None:
    status, output = snakemake(again, "--touch", "--forceall")
    assert status == 0, output
    last = output.splitlines()[-6:]
    assert last[0].split()[:2] == ["Report:", "results/small/report/index.html"]
    assert [line.split()[-1] for line in last[1:4]] == [
        f"results/small/outputs/main/{volume}/segmentation.zarr" for volume in ("choose", "test", "new")
    ]
    assert "sepvox view results/small" in last[4]
    assert "napari" in last[5]


def test_lint_is_clean_and_finds_what_is_not(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])}

    def lint(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [REPOSITORY / "workflow" / "lint"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )

    clean = lint(REPOSITORY)
    assert clean.returncode == 0, clean.stderr
    (tmp_path / "Snakefile").write_text('rule all:\n    output:\n        "a"\n    shell:\n        "touch {output}"\n')
    without_log = lint(tmp_path)
    assert without_log.returncode != 0
    assert "No log directive" in without_log.stderr
    (tmp_path / "Snakefile").write_text("rule all\n")
    broken = lint(tmp_path)
    assert broken.returncode != 0


def test_planning_is_quick_because_it_loads_no_networks_and_no_figures(tmp_path: Path) -> None:
    write(tmp_path, experiment())
    program = (
        "import sys; from snakemake.cli import main\n"
        f"try: main(['--snakefile', {str(REPOSITORY / 'Snakefile')!r}, '--configfile', 'experiment.yaml', '--dry-run'])\n"
        "except SystemExit as ended: code = ended.code\n"
        "print([code, *({'torch', 'monai', 'matplotlib', 'zarr', 'dask'} & set(sys.modules))])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0]", done.stderr
