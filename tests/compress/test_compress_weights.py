"""`sepvox compress`: from a trained dense model to weights that predict and are trained further like any others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from sepvox.cli import app
from sepvox.compress import WEIGHTS, compress, find_weights, is_compressed
from sepvox.config import load
from sepvox.errors import ConfigError, InputError, StoreError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.compress import Budget
from sepvox.nets.describe import describe
from sepvox.nets.model_config import resolved, write_model_config
from sepvox.nets.settings import NetworkSettings
from sepvox.versions import VERSIONS

DENSE = NetworkSettings(block="dense", width=3, depth=1)
HALF = Budget(share=0.5)
TRAIN = {
    "iterations": 2,
    "patch": [16, 16, 16],
    "validate_every": 2,
    "validation_crop": [16, 16, 16],
    "workers": 0,
    "ema": 0,
    "tensorboard": False,
    "warmup": 0,
    "learning_rate": 1e-3,
}
EXPERIMENT = {
    "experiment": "small",
    "volumes": {
        "learn": {"role": "train", "phantom": {"shape": [24, 24, 24], "seed": 1}},
        "choose": {"role": "validate", "phantom": {"shape": [24, 24, 24], "seed": 2}},
    },
    "prepare": {"chunk": [8, 8, 8], "shard": [24, 24, 24]},
    "network": {"block": "dense", "width": 3, "depth": 1},
    "train": TRAIN,
}


def write_dense(folder: Path, settings: NetworkSettings = DENSE, **record) -> Path:
    torch.manual_seed(0)
    path = folder / "best.safetensors"
    weights.save(path, build(settings).state_dict(), {})
    write_model_config(folder / "config.json", settings, record)
    return path


def outputs(path: Path) -> torch.Tensor:
    settings = resolved(NetworkSettings(weights=str(path)))
    net = build(settings).eval()
    weights.load_into(net, path)
    with torch.no_grad():
        return net(torch.linspace(-1, 1, 8 * 16 * 16).sin().reshape(1, 1, 8, 16, 16))


def test_weights_with_all_terms_give_the_same_outputs_and_half_of_them_half_the_weights(tmp_path):
    source = write_dense(tmp_path)
    compress(source, tmp_path / "all", Budget(share=2))
    expected = outputs(source)
    assert (outputs(tmp_path / "all/best.safetensors") - expected).abs().max() <= 1e-4 * expected.abs().max()
    found = compress(source, tmp_path / "half", HALF, streams=2)
    half = resolved(NetworkSettings(weights=str(tmp_path / "half/best.safetensors")))
    assert (half.block, half.m, half.n, half.merge, half.linear_streams) == ("pmsc", 2, 1, "sum", True)
    assert half.stream_widths == tuple(row.terms for row in found.convolutions)
    stored = weights.load(tmp_path / "half/best.safetensors")
    assert found.parameters == (describe(DENSE).parameters, sum(tensor.numel() for tensor in stored.values()))


def test_what_was_known_of_the_dense_weights_is_kept_and_what_was_made_of_them_said(tmp_path):
    source = write_dense(tmp_path, classes={"grey": 1}, normalisation="z")
    found = compress(source, tmp_path / "out", Budget(terms=4))
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["classes"], config["normalisation"]) == ({"grey": 1}, "z")
    assert config["compressed"] | {"weights": ""} == {
        "version": VERSIONS["compression"],
        "weights": "",
        "terms": 4,
        "share": None,
        "streams": 3,
    }
    report = json.loads((tmp_path / "out/compression.json").read_text())
    assert report == json.loads(json.dumps(found.as_json()))
    assert [row["terms"] for row in report["convolutions"]] == config["network"]["stream_widths"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "best.safetensors",
        "compression.json",
        "config.json",
    ]


def test_the_verb_prints_a_line_per_convolution_or_json(tmp_path):
    source = write_dense(tmp_path)
    arguments = ["compress", str(source), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--share", "0.4"])
    report = json.loads((tmp_path / "out/compression.json").read_text())
    lines = done.output.splitlines()
    assert len(lines) == 1 + len(report["convolutions"]) + 1 + 3
    first = report["convolutions"][0]
    assert f"{first['error']:.2%}" in lines[1]
    assert f"{first['dense_weights']} > {first['weights']}" in lines[1]
    again = CliRunner().invoke(app, [*arguments, "--terms", "2", "--streams", "1", "--overwrite", "--json"])
    assert {tuple(row["terms"]) for row in json.loads(again.output)["convolutions"]} == {(2,)}


def test_a_trained_experiment_is_compressed_and_its_weights_are_trained_further(tmp_path):
    from sepvox.prepare.prepare import prepare
    from sepvox.train.neurons import train_neurons

    config, results = tmp_path / "dense.yaml", tmp_path / "results"
    config.write_text(yaml.safe_dump(EXPERIMENT))
    with pytest.raises(
        InputError, match=rf"no such weights; train the model first: sepvox train {config} --model main"
    ):
        find_weights(config, None, results)
    experiment = load(config)
    for volume in experiment.volumes:
        prepare(experiment, volume, results)
    train_neurons(experiment, "main", results)
    source = find_weights(config, "main", results)
    assert source == Layout(results / "small").weights("main")
    found = compress(source, tmp_path / "compressed", HALF)
    assert max(row.error for row in found.convolutions) < 1
    start = tmp_path / "compressed/best.safetensors"
    config.write_text(yaml.safe_dump(EXPERIMENT | {"network": {"weights": str(start)}}))
    train_neurons(load(config), "main", results, restart=True)
    assert resolved(NetworkSettings(weights=str(source))) == resolved(NetworkSettings(weights=str(start)))
    before, after = weights.load(start), weights.load(source)
    for name, tensor in before.items():
        assert not torch.equal(after[name], tensor), name
        np.testing.assert_allclose(after[name], tensor, atol=0.01)
    lines = Layout(results / "small").metrics("main").read_text().splitlines()
    losses = [json.loads(line).get("validation_loss") for line in lines]
    assert np.isfinite([loss for loss in losses if loss is not None]).all()


def test_the_verb_trains_on_what_it_compressed(tmp_path):
    from sepvox.prepare.prepare import prepare
    from sepvox.train.neurons import train_neurons

    config, results, out = tmp_path / "dense.yaml", tmp_path / "results", tmp_path / "out"
    config.write_text(yaml.safe_dump(EXPERIMENT))
    experiment = load(config)
    for volume in experiment.volumes:
        prepare(experiment, volume, results)
    train_neurons(experiment, "main", results)
    arguments = ["compress", str(config), "--output", str(out), "--results", str(results), "--iterations", "3"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    before, after = weights.load(out / WEIGHTS), weights.load(out / "models/fine-tuned" / WEIGHTS)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert not torch.equal(after[name], tensor), name
        np.testing.assert_allclose(after[name], tensor, atol=0.01)
    last = json.loads((out / "models/fine-tuned/metrics.jsonl").read_text().splitlines()[-1])
    assert last["iteration"] == 3
    assert is_compressed(find_weights(config, None, results), out, HALF, 3)
    assert not is_compressed(find_weights(config, None, results), out, HALF, 2)
    made = (out / WEIGHTS).stat().st_mtime_ns
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert (out / WEIGHTS).stat().st_mtime_ns == made, "an interrupted training goes on from the same weights"


def test_what_cannot_be_trained_further_is_told_before_anything_is_written(tmp_path):
    config, out = tmp_path / "dense.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(EXPERIMENT))
    source = Path(str(Layout(tmp_path / "results" / "small").weights("main")))
    source.parent.mkdir(parents=True)
    shutil.copy(write_dense(tmp_path), source)
    shutil.copy(tmp_path / "config.json", source.with_name("config.json"))
    arguments = ["compress", str(config), "--output", str(out), "--results", str(tmp_path / "results")]
    with pytest.raises(StoreError, match=r"image.zarr"):
        CliRunner().invoke(app, [*arguments, "--iterations", "3"], catch_exceptions=False)
    config.write_text(yaml.safe_dump(EXPERIMENT | {"train": TRAIN | {"iterations": 9, "loss": {"switch_at": 5}}}))
    with pytest.raises(ConfigError, match=r"--iterations 3: train.*switch_at"):
        CliRunner().invoke(app, [*arguments, "--iterations", "3"], catch_exceptions=False)
    assert not out.exists()


def test_weights_alone_cannot_be_trained_further(tmp_path):
    arguments = ["compress", str(write_dense(tmp_path)), "--output", str(tmp_path / "out"), "--iterations", "3"]
    with pytest.raises(ConfigError, match=r"--iterations 3: .* has no data to train on; give its experiment instead"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_compressed_is_told_in_one_line_and_nothing_is_written(tmp_path):
    for name in ("dense", "psc", "alone"):
        (tmp_path / name).mkdir()
    source = write_dense(tmp_path / "dense")
    separable = write_dense(tmp_path / "psc", NetworkSettings(width=3, depth=1))
    alone = write_dense(tmp_path / "alone")
    alone.with_name("config.json").unlink()
    out = tmp_path / "out"
    with pytest.raises(
        ConfigError, match=r"psc/best\.safetensors: the network has blocks pmsc and so no dense convolution"
    ):
        compress(separable, out, HALF)
    with pytest.raises(InputError, match=r"compress: .*alone/config.json is missing"):
        compress(alone, out, HALF)
    with pytest.raises(InputError, match=r"none.safetensors: no such weights"):
        find_weights(tmp_path / "none.safetensors", None, tmp_path)
    with pytest.raises(ConfigError, match=r"--model main: .*leave it out"):
        find_weights(source, "main", tmp_path)
    done = CliRunner().invoke(app, ["compress", str(source), "--output", str(out), "--terms", "0"])
    assert isinstance(done.exception, ConfigError)
    assert not out.exists()


def test_weights_that_are_there_are_replaced_only_where_asked_for_and_the_dense_ones_never(tmp_path):
    source = write_dense(tmp_path)
    out = tmp_path / "out"
    compress(source, out, HALF)
    with pytest.raises(ConfigError, match="exists already; give --overwrite"):
        compress(source, out, HALF)
    compress(source, out, Budget(terms=1), overwrite=True)
    with pytest.raises(ConfigError, match="holds the dense weights themselves"):
        compress(source, tmp_path, HALF, overwrite=True)
    assert outputs(source).shape[1] == 3
