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


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid(path, monkeypatch):
    monkeypatch.setenv("SEPVOX_DATA", "/data")
    monkeypatch.setenv("SNEMI3D", "/data/snemi3d")
    monkeypatch.setenv("CREMI", "/data/cremi")
    monkeypatch.setenv("SEPVOX_IMAGE", "/data/raw.tif")
    load(path)
