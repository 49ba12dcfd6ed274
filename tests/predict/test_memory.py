"""When memory runs out the tile is halved, said aloud, and the result stays the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.end_to_end.conftest import predict, whole, write

from sepvox.config import load
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings
from sepvox.predict import predict as module

NETWORK = NetworkSettings(width=2, depth=1)


def experiment_in(folder: Path):
    rng = np.random.default_rng(0)
    np.save(folder / "image.npy", rng.integers(0, 255, (32, 32, 32), dtype=np.uint8))
    torch.manual_seed(0)
    weights.save(folder / "best.safetensors", build(NETWORK).state_dict(), {})
    write_model_config(folder / "config.json", NETWORK, {})
    document = {
        "experiment": "memory",
        "volumes": {"v": {"role": "apply", "image": "image.npy"}},
        "prepare": {"chunk": [16, 16, 16], "shard": [32, 32, 32]},
        "network": {"weights": "best.safetensors"},
    }
    experiment = load(write(folder, document))
    from sepvox.prepare.prepare import prepare

    prepare(experiment, "v", folder / "results")
    return experiment, folder / "results"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 7 bytes")],
    ids=repr,
)
def test_out_of_memory_halves_the_tile_and_gives_the_same_affinities(tmp_path, monkeypatch, capsys, error):
    experiment, results = experiment_in(tmp_path)
    predict(experiment, results, "v")
    store = Layout(results / "memory").affinities("main", "v")
    expected = whole(store)
    forward_of = module._forward
    shapes = []

    def scarce(job, device):
        forward = forward_of(job, device)

        def limited(image):
            shapes.append(image.shape)
            if image.size > 40_000:
                raise error
            return forward(image)

        return limited

    monkeypatch.setattr(module, "_forward", scarce)
    store.rename(tmp_path / "first.zarr")
    predict(experiment, results, "v")
    assert max(np.prod(shape) for shape in shapes) > 40_000
    assert np.abs(whole(store).astype(int) - expected).max() <= 1
    assert "out of memory with tile [32, 32, 32]; going on with [16, 32, 32]" in capsys.readouterr().out


def test_other_errors_of_the_network_are_not_hidden(tmp_path, monkeypatch):
    experiment, results = experiment_in(tmp_path)

    def fail(_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(module, "_forward", lambda *_: fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        predict(experiment, results, "v")
