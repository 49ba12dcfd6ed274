"""`sepvox model` shows the network that will be trained, and says what of it is not settled before the data are seen."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sepvox.cli import app
from sepvox.errors import ConfigError, InputError
from sepvox.inspect.network import network_of, notes
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings

CLASSES = {
    "experiment": "heads",
    "task": "classes",
    "subjects": {"images": {"T1w": "none/*_T1w.nii", "FLAIR": "none/*_FLAIR.nii"}, "labels": "none/*_seg.nii"},
    "classes": {"grey": 1, "white": 2},
    "train": {},
}
RESULTS = Path("results")


def write(folder: Path, **changes) -> str:
    path = folder / "heads.yaml"
    path.write_text(yaml.safe_dump(CLASSES | changes))
    return str(path)


def test_channels_follow_from_modalities_and_classes_without_any_scan(tmp_path):
    known = network_of(write(tmp_path), None, RESULTS)
    assert (known.network.in_channels, known.network.out_channels) == (2, 3)
    assert (known.model, known.planned) == ("main", ("pooling", "depth"))
    assert known.planned_network == Path("results/heads/models/main/config.json")
    (note,) = notes(known)
    assert "\n" not in note
    assert "Not settled: pooling and depth" in note
    assert f"`sepvox inspect {tmp_path / 'heads.yaml'}`" in note
    assert str(known.planned_network) in note


@pytest.mark.parametrize(
    "network", [{"pooling": [[2, 2, 2], [1, 2, 2]], "depth": 2}, {"name": "gonda2018-p2sc2"}], ids=str
)
def test_nothing_is_open_where_the_pooling_is_given(tmp_path, network):
    subjects = {"images": {"T1w": "none/*.nii"}}
    known = network_of(write(tmp_path, network=network, subjects=subjects), None, RESULTS)
    assert (known.planned, known.planned_network, notes(known)) == ((), None, [])


def test_a_model_of_several_is_shown_as_it_differs(tmp_path):
    path = write(tmp_path, models={"dense": {"network": {"block": "dense"}}, "sum": {"network": {"merge": "sum"}}})
    first, other = network_of(path, None, RESULTS), network_of(path, "sum", RESULTS)
    assert (first.model, first.network.block) == ("dense", "dense")
    assert (other.model, other.network.merge) == ("sum", "sum")
    assert notes(first)[0] == "This is dense, one of 2 models; --model NAME shows another."
    with pytest.raises(ConfigError, match="--model three: the experiment has dense, sum"):
        network_of(path, "three", RESULTS)


def test_config_json_of_trained_weights_is_shown_as_it_is(tmp_path):
    trained = NetworkSettings(pooling=((1, 2, 2),), depth=1, in_channels=2, out_channels=3)
    write_model_config(tmp_path / "config.json", trained, {})
    (tmp_path / "best.safetensors").touch()
    for name in ("config.json", "best.safetensors"):
        known = network_of(str(tmp_path / name), None, RESULTS)
        assert (known.network, known.planned) == (trained, ())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"^model: .*config\.json describes no U-Net of sepvox"):
        network_of(str(tmp_path / "config.json"), None, RESULTS)


def test_names_have_no_models():
    assert network_of("gonda2018-3d", None, RESULTS).network == NetworkSettings(name="gonda2018-3d")
    with pytest.raises(ConfigError, match="--model main: unet is one network"):
        network_of("unet", "main", RESULTS)
    with pytest.raises(ConfigError, match=r"model nowhere.yaml: neither a file nor one of unet, gonda2018-3d"):
        network_of("nowhere.yaml", None, RESULTS)


def test_the_verb_says_so_in_text_and_in_json(tmp_path):
    path = write(tmp_path)
    text = CliRunner().invoke(app, ["model", path]).output
    assert "16 > 3" in text
    assert text.splitlines()[-1].startswith("Not settled: pooling and depth")
    found = json.loads(CliRunner().invoke(app, ["model", path, "--json"]).output)
    assert found["planned"] == ["pooling", "depth"]
    assert found["planned_network"] == "results/heads/models/main/config.json"
    assert found["levels"][0]["channels_in"] == 2
    settled = json.loads(CliRunner().invoke(app, ["model", "unet", "--json"]).output)
    assert (settled["model"], settled["planned"], settled["planned_network"]) == (None, [], None)
