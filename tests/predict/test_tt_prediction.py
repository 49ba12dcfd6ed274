"""Networks of 3DTT blocks predict in both tasks, with kernels that are made once and not in every pass."""

import numpy as np
import pytest
import torch

from sepvox.config import load
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.tt import TTConv3d
from sepvox.predict import predict
from sepvox.predict.class_model import read_class_model
from sepvox.predict.class_networks import load_forward
from sepvox.predict.job import predict_job
from sepvox.predict.settings import ClassPredictSettings
from sepvox.prepare.prepare import prepare

TT = {"block": "tt", "width": 3, "depth": 1, "temporal_axis": "y"}
CLASSES = {
    "classes": {"grey": 1},
    "modalities": ["T1w"],
    "prepare": {"spacing": None, "crop": True, "normalisation": "zscore", "foreground": "otsu"},
    "patch": [8, 8, 8],
    "mirror": [False, False, False],
    "training": {},
}


def _saved(folder, settings, record):
    """A network whose transformations are no longer identity, and its files."""
    torch.manual_seed(0)
    network = build(settings).eval()
    for name, parameter in network.named_parameters():
        if "transformations" in name:
            with torch.no_grad():
                parameter.add_(0.2 * torch.randn_like(parameter))
    weights.save(folder / "best.safetensors", network.state_dict(), {})
    write_model_config(folder / "config.json", settings, record)
    return network


@pytest.fixture
def kernels(monkeypatch):
    """How many kernels have been made so far."""
    made = []
    kernel = TTConv3d.kernel
    monkeypatch.setattr(TTConv3d, "kernel", lambda layer: made.append(layer) or kernel(layer))
    return made


def test_affinities(tmp_path, kernels):
    settings = NetworkSettings(**TT)
    network = _saved(tmp_path, settings, {})
    rng = np.random.default_rng(0)
    np.save(tmp_path / "image.npy", rng.integers(0, 255, (16, 16, 16), dtype=np.uint8))
    (tmp_path / "experiment.yaml").write_text(
        "experiment: tt\nvolumes: {v: {role: apply, image: image.npy}}\nnetwork: {weights: best.safetensors}\n"
        "prepare: {chunk: [16, 16, 16], shard: [16, 16, 16]}\n"
    )
    experiment = load(tmp_path / "experiment.yaml")
    prepare(experiment, "v", tmp_path / "results")
    job = predict_job(experiment, "main", "v", tmp_path / "results")
    forward = predict._forward(job, torch.device("cpu"))
    image = rng.normal(size=(8, 12, 10)).astype(np.float32)
    found = [forward(image), forward(image)]
    assert len(kernels) == 6
    expected = network(torch.from_numpy(image)[None, None])[0].sigmoid().detach().numpy()
    np.testing.assert_allclose(found, [expected] * 2, atol=1e-6)


def test_class_probabilities(tmp_path, kernels):
    settings = NetworkSettings(**TT, norm="instance", out_channels=2)
    network = _saved(tmp_path, settings, CLASSES)
    model = read_class_model(tmp_path / "best.safetensors")
    forward = load_forward([model], ClassPredictSettings(device="cpu"))
    images = np.random.default_rng(0).normal(size=(2, 1, 8, 8, 8)).astype(np.float32)
    found = [forward(images), forward(images)]
    assert len(kernels) == 6
    expected = network(torch.from_numpy(images)).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(found, [expected] * 2, atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        "volumes: {a: {role: train, phantom: {shape: [16, 16, 16]}}, b: {role: validate, phantom: {shape: [16, 16, 16]}}}",
        "task: classes\nsubjects: {phantom: {}}\nclasses: {grey: 1}",
    ],
    ids=["neurons", "classes"],
)
def test_experiments_take_the_block_with_its_two_keys(tmp_path, data):
    path = tmp_path / "experiment.yaml"
    network = "network: {block: tt, transformation: shared, temporal_axis: y}"
    path.write_text(f"experiment: tt\n{data}\n{network}\ntrain: {{patch: [16, 16, 16]}}\n")
    found = load(path).network
    assert (found.block, found.transformation, found.temporal_axis) == ("tt", "shared", "y")
