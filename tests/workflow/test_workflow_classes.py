"""What the workflow promises for MRI: which rules run, which run again after a change, and what a user is told."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.workflow.runs import planned, setting, snakemake, take_for_done

from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings

# Two folds and their ensemble.
CLASSIFY = {"classify": 3}
SCORE = {"score_subjects": 3, "summarise": 3}
REPORT = {"report": 1, "all": 1}
FROM_CLASSIFY = CLASSIFY | SCORE | REPORT
FROM_CHOOSE = {"choose_clean_up": 3} | FROM_CLASSIFY
FROM_PREDICT = {"predict_subjects": 3} | FROM_CHOOSE
FROM_TRAIN = {"train": 2} | FROM_PREDICT
EVERYTHING = {"prepare_subjects": 1} | FROM_TRAIN

FREE = [f"s{number}" for number in range(8)]
COLUMNS = "subject,image_T1w,image_FLAIR,labels,split"
CLASSES = {"csf": 1, "grey": 2}


def experiment() -> dict[str, Any]:
    return {
        "experiment": "heads",
        "task": "classes",
        "subjects": {"table": "table.csv"},
        "classes": dict(CLASSES),
        "split": {"folds": 2, "validation": 0.25},
        "prepare": {},
        "network": {"width": 4},
        "train": {"patch": [16, 16, 16], "batch": 1, "iterations": 10},
        "predict": {},
        "segment": {},
        "score": {},
    }


def rows() -> list[list[str]]:
    """Free subjects, two that are held out for the test, and one that is only applied to, whose labels are known."""
    split = dict.fromkeys(FREE, "") | {"held": "test", "back": "test", "new": "apply"}
    return [
        [name, f"scans/{name}_T1w.nii.gz", f"scans/{name}_FLAIR.nii.gz", f"scans/{name}_seg.nii.gz", role]
        for name, role in split.items()
    ]


def write(folder: Path, document: dict[str, Any], table: list[list[str]]) -> None:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (folder / "table.csv").write_text("\n".join([COLUMNS, *map(",".join, table)]) + "\n")
    (folder / "scans").mkdir(exist_ok=True)
    for row in rows():
        for name in row[1:4]:
            if not (folder / name).exists():
                # Of empty files Snakemake compares the content, whatever the profile says.
                (folder / name).write_text("no scan")


def write_weights(folder: Path, **changes: Any) -> None:
    (folder / "best.safetensors").touch()
    record = {
        "classes": CLASSES,
        "modalities": ["T1w", "FLAIR"],
        "prepare": {},
        "patch": [16] * 3,
        "mirror": [False] * 3,
    }
    network = NetworkSettings(width=4, norm="instance", in_channels=2, out_channels=3)
    write_model_config(folder / "config.json", network, record | changes)


def without_weights() -> dict[str, Any]:
    kept = {key: value for key, value in experiment().items() if key not in ("train", "split")}
    return kept | {"network": {"weights": "best.safetensors"}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Snakemake takes every job for done: declared outputs are there, parameters are recorded."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder, experiment(), rows())
    take_for_done(folder)
    return folder


@pytest.fixture
def again(finished: Path) -> Iterator[Path]:
    """`finished`, put back after the test; a copy at another place would have other source files."""
    scan = finished / rows()[0][1]
    times = scan.stat()
    yield finished
    write(finished, experiment(), rows())
    os.utime(scan, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_folds_are_models_of_their_own_and_the_ensemble_predicts_who_is_in_no_fold(tmp_path: Path) -> None:
    write(tmp_path, experiment(), rows())
    assert planned(tmp_path) == EVERYTHING


def test_one_split_is_one_model(tmp_path: Path) -> None:
    write(tmp_path, experiment() | {"split": {}, "prepare": {"slices": 3}}, rows()[:8])
    assert planned(tmp_path) == dict.fromkeys(EVERYTHING, 1) | {"prepare_subjects": 3}


def test_given_weights_are_applied_without_training(tmp_path: Path) -> None:
    write_weights(tmp_path)
    write(tmp_path, without_weights(), rows())
    expected = dict.fromkeys(EVERYTHING.keys() - {"train"}, 1)
    assert planned(tmp_path) == expected
    unlabelled = [[*row[:3], "", ""] for row in rows()]
    write(tmp_path, without_weights(), unlabelled)
    assert planned(tmp_path) == {rule: 1 for rule in expected if rule not in SCORE}


def test_an_ensemble_that_is_only_applied_is_not_scored_though_labels_are_there(tmp_path: Path) -> None:
    write(tmp_path, experiment(), [row for row in rows() if row[4] != "test"])
    assert planned(tmp_path) == EVERYTHING | {"score_subjects": 2, "summarise": 2}


def test_a_finished_experiment_runs_nothing(finished: Path) -> None:
    assert planned(finished) == {}


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        pytest.param(setting("prepare", "spacing", to=[2, 2, 2]), EVERYTHING, id="prepare.spacing"),
        pytest.param(setting("classes", to={"grey": 2, "csf": 1}), EVERYTHING, id="order of classes"),
        pytest.param(setting("split", "seed", to=1), FROM_TRAIN, id="split.seed"),
        pytest.param(setting("network", "width", to=6), FROM_TRAIN, id="network.width"),
        pytest.param(setting("train", "learning_rate", to=1e-4), FROM_TRAIN, id="train.learning_rate"),
        pytest.param(setting("predict", "augment", to="mirror"), FROM_PREDICT, id="predict.augment"),
        pytest.param(setting("segment", "clean_up", to="never"), FROM_CHOOSE, id="segment.clean_up"),
        pytest.param(setting("train", "workers", to=0), REPORT, id="train.workers"),
        pytest.param(
            lambda document: document.update(
                prepare={"processes": 2}, predict={"device": "cpu"}, segment={"processes": 2}, score={"processes": 2}
            ),
            REPORT,
            id="devices and processes",
        ),
        # Whole subjects and trainings that are finished stay as they are: tests of Subjectwise and of training.
        pytest.param(setting("prepare", "slices", to=2), EVERYTHING | {"prepare_subjects": 2}, id="prepare.slices"),
        pytest.param(setting("predict", "slices", to=2), FROM_CHOOSE | {"predict_subjects": 6}, id="predict.slices"),
        pytest.param(
            setting("segment", "slices", to=2),
            FROM_CLASSIFY | {"classify": 6, "score_subjects": 6},
            id="segment.slices",
        ),
    ],
)
def test_a_changed_parameter_reruns_exactly_what_depends_on_it(
    again: Path, change: Callable[[dict[str, Any]], None], rules: dict[str, int]
) -> None:
    document = experiment()
    change(document)
    write(again, document, rows())
    assert planned(again) == rules


def test_a_changed_scan_is_prepared_again(again: Path) -> None:
    (again / rows()[0][1]).touch()
    assert planned(again) == EVERYTHING


def test_scans_that_change_their_columns_are_prepared_again(again: Path) -> None:
    table = rows()
    table[3][1:3] = table[3][2], table[3][1]
    write(again, experiment(), table)
    assert planned(again) == EVERYTHING


def test_a_subject_that_is_tested_on_no_more_leaves_the_scores(again: Path) -> None:
    table = rows()
    table[9][4] = "apply"
    write(again, experiment(), table)
    assert planned(again) == {"score_subjects": 1, "summarise": 1} | REPORT


def test_a_clean_up_beside_given_weights_is_followed_when_it_changes(tmp_path: Path) -> None:
    write_weights(tmp_path)
    write(tmp_path, without_weights(), rows()[:2])
    wanted = "results/heads/models/main/clean_up.json"
    status, output = snakemake(tmp_path, "--dry-run", wanted)
    assert status == 0, output
    (tmp_path / wanted).parent.mkdir(parents=True)
    (tmp_path / wanted).write_text("{}")
    assert snakemake(tmp_path, "--touch", "--force", wanted)[0] == 0
    assert planned(tmp_path, wanted) == {}
    (tmp_path / "clean_up.json").write_text("{}")
    assert planned(tmp_path, wanted) == {"choose_clean_up": 1}


def bad_table(folder: Path) -> str:
    write(folder, experiment(), [*rows(), rows()[0]])
    return "subject s0 stands in 2 lines; .*"


def torn_subject(folder: Path) -> str:
    write(folder, experiment(), [*rows(), [*rows()[8][:4], "train"]])
    return "subject held stands in 2 lines, in the splits test and train; .*"


def missing_scan(folder: Path) -> str:
    write(folder, experiment(), rows())
    (folder / "scans/s3_FLAIR.nii.gz").unlink()
    return r"subject s3: FLAIR: .*/scans/s3_FLAIR\.nii\.gz: no such file or folder; correct the path"


def missing_labels(folder: Path) -> str:
    write(folder, experiment(), [*rows()[1:], [*rows()[0][:3], "", ""]])
    return "subject s0: has no labels, but its role is (train|validate); give its label map, .*"


def too_many_folds(folder: Path) -> str:
    write(folder, experiment() | {"split": {"folds": 9}}, rows())
    return "split.folds: 9 folds of the 8 groups without a split of their own; ask for at most 8"


def missing_weights(folder: Path) -> str:
    write(folder, without_weights(), rows())
    return r"network.weights: .*/best\.safetensors: no such file or folder; correct the path"


def weights_of_other_classes(folder: Path) -> str:
    write_weights(folder, classes={"csf": 1, "white": 2})
    write(folder, without_weights(), rows())
    return r"classes: csf 1, grey 2, but .*/best\.safetensors was trained for csf 1, white 2; .*"


def weights_of_neurons(folder: Path) -> str:
    write_weights(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"network": config["network"]}))
    write(folder, without_weights(), rows())
    return ".*/config.json: has no `classes`, so best.safetensors is no network for classes; .*"


@pytest.mark.parametrize(
    "prepare",
    [
        bad_table,
        torn_subject,
        missing_scan,
        missing_labels,
        too_many_folds,
        missing_weights,
        weights_of_other_classes,
        weights_of_neurons,
    ],
)
def test_what_is_missing_or_wrong_is_one_last_line_before_any_work_starts(
    tmp_path: Path, prepare: Callable[[Path], str]
) -> None:
    says = prepare(tmp_path)
    status, output = snakemake(tmp_path)
    assert status != 0
    last = output.splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'experiment.yaml'}: "), output
    assert re.search(says + "$", last), last
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


def test_the_last_line_of_a_failed_run_names_the_subject(tmp_path: Path) -> None:
    # The scans of this experiment hold a word.
    write(tmp_path, experiment(), rows())
    status, output = snakemake(tmp_path, "results/heads/done/prepare/0-1.json")
    assert status != 0
    assert "make resume" in output.splitlines()[-2]
    assert re.match(r"sepvox: subject s0: T1w: .*s0_T1w\.nii\.gz: ", output.splitlines()[-1]), output
    assert not list((tmp_path / "results").rglob("*.zarr"))
    assert not list((tmp_path / "results/heads/done").rglob("*.json"))


def test_the_last_lines_say_where_the_results_are(again: Path) -> None:
    status, output = snakemake(again, "--touch", "--forceall")
    assert status == 0, output
    last = output.splitlines()[-7:]
    assert last[0].split()[:2] == ["Report:", "results/heads/report/index.html"]
    assert [line.split()[-1] for line in last[1:4]] == [
        f"results/heads/outputs/{model}/scores.csv" for model in ("fold0", "fold1", "ensemble")
    ]
    assert last[5].split()[-1] == "results/heads/outputs/ensemble/held/segmentation.nii.gz"
    assert last[6].endswith("sepvox view results/heads --model ensemble")
