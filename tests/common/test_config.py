"""One YAML file is one experiment; mistakes are refused with the key's path and the mend."""

import json
from pathlib import Path

import pytest
import yaml

from sepvox.config import dump, load, schema
from sepvox.errors import ConfigError

ROOT = Path(__file__).parents[2]
MINIMAL = {
    "experiment": "small",
    "volumes": {
        "a": {"role": "train", "phantom": {"shape": [64, 64, 64]}},
        "b": {"role": "validate", "phantom": {"shape": [64, 64, 64], "seed": 1}},
    },
    "train": {"patch": [32, 32, 32]},
}


def write(folder: Path, **changes) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | changes))
    return path


def test_defaults_are_filled_in_and_the_result_loads_again(tmp_path):
    experiment = load(write(tmp_path))
    again = tmp_path / "again.yaml"
    again.write_text(dump(experiment))
    assert load(again) == experiment
    assert "seed_distance" in again.read_text()
    assert "in_channels" not in again.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmnt": {}}, r"segmnt: unknown key; did you mean `segment`\?"),
        ({"segment": {"agglomerate": {"treshold": 1}}}, r"segment\.agglomerate\.treshold: unknown key"),
        ({"segment": {"threshold": 3}}, r"segment\.threshold: .*less than 1, got 3"),
        ({"segment": {"agglomerate": {"thresholds": [0.5, 3]}}}, r"segment\.agglomerate\.thresholds\.1: .*less than 1"),
        ({"segment": {"agglomerate": {"scoring": "median"}}}, r"'median' is not precompiled in waterz; choose mean"),
        ({"train": {"patch": [32, 32]}}, r"train\.patch\.2: missing key"),
        ({"train": {"patch": [32, 32, "wide"]}}, r"train\.patch\.2: .*integer.*'wide'"),
        ({"train": {"patch": [32, 96, 32]}}, r"train\.patch: axis y is 96, larger than the 64 voxels of volume a"),
        ({"train": None}, r"add a `train` section, or `network: \{weights: FILE\}`"),
        (
            {"network": {"offsets": [[0, 0, -1], [0, -1, 0], [-1, 0, 0]]}},
            r"network: offsets must begin with \[-1,0,0\]",
        ),
        ({"network": {"name": "gonda2018-3d", "width": 8}}, r"gonda2018-3d is fixed by its paper: remove width"),
        ({"prepare": {"chunk": [32, 32, 32], "shard": [64, 48, 64]}}, r"shard: axis y is 48, not a multiple"),
        (
            {"prepare": {"chunk": [32, 32, 32], "shard": [64, 64, 64]}, "segment": {"block": [128, 96, 128]}},
            r"segment\.block: axis y is 96, not a multiple of prepare\.shard's 64; use 128",
        ),
        (
            {"network": {"norm": "instance"}},
            r"predict\.mode: exact is not possible: instance normalisation .*`mode: blend`",
        ),
        (
            {"train": {"patch": [36, 32, 32]}},
            r"train\.patch: the network does not take \[36, 32, 32\]; .* \[40, 32, 32\]",
        ),
        (
            {"volumes": {"a": {"role": "apply", "image": "a.h5", "unit": "nanometer"}}},
            r"give voxel_size and unit together",
        ),
        ({"volumes": {"a": {"role": "train"}}}, r"volumes\.a: give exactly one of `image` and `phantom`"),
        (
            {"volumes": {"a": {"role": "test", "image": "$NOT_SET_ANYWHERE/x.h5"}}},
            r"volumes\.a\.image: environment variable NOT_SET_ANYWHERE is not set",
        ),
        ({"experiment": "../up"}, r"experiment: .*pattern"),
    ],
)
def test_mistakes_name_the_key_and_the_mend(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "experiment.yaml") in str(caught.value)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("experiment: a\nexperiment: b\n")
    with pytest.raises(ConfigError, match="'experiment' stands twice"):
        load(path)


def test_paths_are_relative_to_the_file_and_expand_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_DATA", "/data")
    volumes = MINIMAL["volumes"] | {
        "c": {"role": "apply", "image": "raw/c.tif"},
        "d": {"role": "apply", "image": "${SOME_DATA}/d.h5", "key": "raw"},
    }
    experiment = load(write(tmp_path, volumes=volumes))
    assert experiment.volumes["c"].image == str(tmp_path / "raw/c.tif")
    assert experiment.volumes["d"].image == "/data/d.h5"


def test_preset_fills_what_is_not_given_and_survives_a_round_trip(tmp_path):
    train = {"preset": "gonda2018", "patch": [48, 48, 48], "learning_rate": 0.01, "loss": {"auxiliary_weight": 0.5}}
    experiment = load(write(tmp_path, train=train))
    assert experiment.train.learning_rate == 0.01
    assert experiment.train.betas == (0.99, 0.999)
    assert experiment.train.loss.switch_at == 50_000
    assert experiment.train.loss.auxiliary_weight == 0.5
    again = tmp_path / "again.yaml"
    again.write_text(dump(experiment))
    assert load(again) == experiment


def test_schema_in_the_workflow_is_current():
    assert json.loads((ROOT / "workflow/schemas/experiment.schema.json").read_text()) == json.loads(schema())


def test_every_field_has_a_one_line_description():
    document = json.loads(schema())
    for name, model in document["$defs"].items():
        for field, content in model["properties"].items():
            assert content.get("description"), f"{name}.{field}"
            assert "\n" not in content["description"]


def experiments() -> list[Path]:
    """The configurations that are no study's own."""
    found = sorted((ROOT / "configs").rglob("*.yaml"))
    return [path for path in found if {"volumes", "subjects"} & yaml.safe_load(path.read_text()).keys()]


@pytest.mark.parametrize("path", experiments(), ids=lambda path: path.stem)
def test_every_preset_is_valid(path, monkeypatch):
    monkeypatch.setenv("SEPVOX_DATA", "/data")
    monkeypatch.setenv("SNEMI3D", "/data/snemi3d")
    monkeypatch.setenv("CREMI", "/data/cremi")
    monkeypatch.setenv("SEPVOX_IMAGE", "/data/raw.tif")
    load(path)


CLASSES = {
    "experiment": "heads",
    "task": "classes",
    "subjects": {"phantom": {"subjects": 4}},
    "classes": {"csf": 1, "grey": 2},
    "train": {"patch": [16, 16, 16]},
}


def write_classes(folder: Path, **changes) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(CLASSES | changes, sort_keys=False))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"subjects": {"table": "some/table.tsv"}, "split": {"folds": 5, "run": [4, 0], "group": "site", "seed": 3}},
        {"subjects": {"images": {"T1w": "*/t1.nii", "FLAIR": "*/flair.nii"}, "labels": "*/seg.nii"}},
        {"train": None, "network": {"weights": "model/best.safetensors"}},
        {"train": {"preset": "gonda2018", "epochs": 7}},
        {"train": {"preset": "gonda2018", "iterations": 9, "augment": {"mirror": [True, True, False]}}},
        {"models": {"a": {"network": {"block": "dense"}}, "b": {"train": {"augment": {"noise": 0}}}}, "seeds": [1, 2]},
        {"network": {"pooling": [[1, 2, 2], [2, 2, 2]], "depth": 2}, "train": {"patch": [18, 16, 16]}},
        {"classes": {"white": 3, "csf": 1}, "prepare": {"spacing": [2, 1, 1]}, "segment": {"clean_up": "never"}},
    ],
)
def test_what_is_printed_of_an_experiment_of_classes_is_the_same_experiment(tmp_path, changes):
    experiment = load(write_classes(tmp_path, **changes))
    again = tmp_path / "elsewhere" / "again.yaml"
    again.parent.mkdir()
    again.write_text(dump(experiment))
    found = load(again)
    assert found == experiment
    assert list(found.classes.items()) == list(experiment.classes.items())
    assert [found.variant(model) for model in found.runs()] == [experiment.variant(model) for model in found.runs()]


def test_paths_of_subjects_and_weights_are_relative_to_the_file_and_expand_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_DATA", "/data")
    images = {"T1w": "raw/*_t1.nii", "FLAIR": "$SOME_DATA/*_flair.nii"}
    experiment = load(
        write_classes(
            tmp_path,
            subjects={"images": images, "labels": "../*_seg.nii"},
            models={"a": {"network": {"weights": "a/best.safetensors"}}, "b": {}},
        )
    )
    assert experiment.subjects.images == {"T1w": f"{tmp_path}/raw/*_t1.nii", "FLAIR": "/data/*_flair.nii"}
    assert experiment.subjects.labels == f"{tmp_path.parent}/*_seg.nii"
    assert experiment.variant("a").network.weights == str(tmp_path / "a/best.safetensors")
    assert experiment.variant("b").network.weights is None
    assert load(write_classes(tmp_path, subjects={"table": "t.csv"})).subjects.table == str(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "classses"}, r"task: expected one of neurons, classes, got 'classses'"),
        ({"volumes": {}}, r"volumes: unknown key; known keys here: "),
        ({"split": {"fold": 5}}, r"split\.fold: unknown key; did you mean `folds`\?"),
        ({"split": {"folds": 1}}, r"split\.folds: .*greater than or equal to 2, got 1"),
        ({"split": {"folds": 3, "run": [0, 3]}}, r"split\.run: there is no fold 3; folds are numbered from 0 to"),
        ({"split": {"run": [0]}}, r"split\.run: there is no fold 0"),
        ({"split": {"test": 1}}, r"split\.test: .*less than 1, got 1"),
        ({"split": {"group": "site"}}, r"split\.group: is a column of subjects\.table, which is not given; remove it"),
        ({"subjects": {"tabel": "a.csv"}}, r"subjects\.tabel: unknown key; did you mean `table`\?"),
        ({"subjects": {}}, r"subjects: give exactly one of `table`, `images` and `phantom`"),
        ({"subjects": {"images": {}}}, r"subjects: `images` names no modality; give a pattern for each"),
        ({"subjects": {"images": {"T1w": "one.nii"}}}, r"subjects: .*one\.nii: has no \* that stands for"),
        ({"subjects": {"images": "*.nii"}}, r"subjects\.images: .*dictionary, got "),
        ({"subjects": {"table": "$NOT_SET_ANYWHERE/t.csv"}}, r"subjects\.table: environment variable NOT_SET_ANYWHERE"),
        (
            {"subjects": {"images": {"T1w": "${NOT_SET_ANYWHERE}/*"}}},
            r"subjects\.images\.T1w: environment variable NOT_SET_ANYWHERE is not set; export NOT_SET_ANYWHERE=",
        ),
        (
            {"subjects": {"phantom": {"contrasts": ["T1w", "T1"]}}},
            r"subjects\.phantom\.contrasts\.1: .*'T1w'.*got 'T1'",
        ),
        ({"classes": {}}, r"classes: .*at least 1"),
        ({"classes": ["csf"]}, r"classes: .*dictionary"),
        ({"classes": {"background": 0}}, r"classes\.background: .*greater than 0, got 0"),
        ({"classes": {"a": 2, "b": 2}}, r"classes: two names have the same value; give each class a value of its own"),
        ({"classes": {"grey matter": 2}}, r"classes\.grey matter.*pattern"),
        ({"prepare": {"spacing": [1, 1]}}, r"prepare\.spacing\.2: missing key; add it"),
        ({"prepare": {"normalisation": "z"}}, r"prepare\.normalisation: .*'zscore' or 'percentiles', got 'z'"),
        ({"network": {"in_channels": 2}}, r"network: in_channels follows from modalities and classes; remove it"),
        ({"network": {"offsets": [[0, 0, -1]]}}, r"network: offsets "),
        ({"network": {"weights": "w", "width": 8}}, r"network: weights bring their architecture: remove width"),
        (
            {"network": {"pooling": [[2, 2, 2]], "depth": 1}, "train": {"patch": [15, 16, 16]}},
            r"train\.patch: the network does not take \[15, 16, 16\]; .* \[16, 16, 16\]",
        ),
        (
            {"models": {"a": {"network": {"pooling": [[2, 2, 2]], "depth": 1}, "train": {"patch": [15, 16, 16]}}}},
            r"train\.patch: the network does not take \[15, 16, 16\]",
        ),
        ({"train": {"dice_weight": 0, "cross_entropy_weight": 0}}, r"train: .* are both 0; give one of them a weight"),
        ({"train": {"augment": {"mirrors": True}}}, r"train\.augment\.mirrors: unknown key; did you mean `mirror`\?"),
        ({"train": {"memory": 0}}, r"train\.memory: .*greater than 0, got 0"),
        ({"predict": {"mode": "exact"}}, r"predict\.mode: unknown key"),
        ({"segment": {"clean_up": "sometimes"}}, r"segment\.clean_up: .*'auto', 'always' or 'never', got 'sometimes'"),
        ({"train": None}, r"add a `train` section, or `network: \{weights: FILE\}`"),
        ({"train": None, "network": {"weights": "w"}, "seeds": [1]}, r"seeds: nothing is trained without"),
    ],
)
def test_mistakes_in_an_experiment_of_classes_name_the_key_and_the_mend(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(write_classes(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "experiment.yaml") in str(caught.value)
