"""The weights in `pretrained/` do what their model cards say."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from benchmarks.cuts import Pieces, mean_backend, waterz_itself, without_ties

from sepvox import ome_zarr
from sepvox.blocks import Box, Part, triple
from sepvox.config import load
from sepvox.layout import Layout
from sepvox.nets.build import build
from sepvox.nets.geometry import geometry
from sepvox.nets.model_config import resolved
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.weights import load_into
from sepvox.predict.tiles import Tiler, torch_forward
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.prepare.settings import EMPhantomSettings
from sepvox.symmetries import IDENTITY

ROOT = Path(__file__).parents[2]
FIB25 = ROOT / "pretrained/fib25-p2sc2"
DATA = Path(os.environ.get("SEPVOX_DATA") or "/nonexistent")
SHAPE = (12, 12, 20)


@pytest.fixture(scope="module")
def trained():
    """The trained network as a forward pass, and its geometry."""
    path = FIB25 / "best.safetensors"
    settings = resolved(NetworkSettings(weights=str(path)))
    network = build(settings).eval()
    load_into(network, path)
    forward = torch_forward(network, torch.device("cpu"), torch.autocast("cpu", enabled=False), 3)
    return geometry(settings), settings.offsets[:3], forward


@pytest.fixture(scope="module")
def padded(trained):
    """A phantom's voxels mirrored outward as exact prediction does, and its reader of boxes."""
    net, _, _ = trained
    image, _ = em_phantom(EMPhantomSettings(shape=SHAPE, seed=9), (0, 0, 0), SHAPE)
    outer = net.admissible(triple([n + 2 * h for n, h in zip(SHAPE, net.halo, strict=True)]))
    margins = [(h, o - n - h) for n, h, o in zip(SHAPE, net.halo, outer, strict=True)]
    whole = np.pad(image.astype(np.float32) / 127.5 - 1, margins, mode="symmetric")

    def read(box):
        return whole[box.shift(net.halo).slices]

    return whole, read


@pytest.fixture(scope="module")
def expected(trained, padded):
    """One forward pass over the whole padded volume, cropped."""
    net, _, forward = trained
    return forward(padded[0])[:, *(slice(h, h + n) for h, n in zip(net.halo, SHAPE, strict=True))]


@pytest.mark.slow
@pytest.mark.parametrize("tile", [(16, 16, 16), (8, 24, 16)])
def test_tiles_of_sizes_that_do_not_divide_the_volume_equal_the_whole_with_trained_weights(
    trained, padded, expected, tile
):
    net, offsets, forward = trained
    assert any(n % t for n, t in zip(SHAPE, tile, strict=True))
    tiled = Tiler(net, (IDENTITY,), offsets).exact(padded[1], Box.of(SHAPE), tile, forward)
    assert expected.max() - expected.min() > 0.5
    assert np.abs(tiled - expected).max() <= 1e-5


def test_the_card_says_what_the_files_say():
    card = (FIB25 / "README.md").read_text()
    threshold = json.loads((FIB25 / "threshold.json").read_text())
    config = json.loads((FIB25 / "config.json").read_text())
    assert (FIB25 / "best.safetensors").stat().st_size <= 10_000_000
    assert f"threshold {threshold['threshold']}" in card
    assert threshold["scoring"] in card
    assert f"{config['training']['settings']['iterations']} iterations" in card
    experiment = load_fib25()
    assert config["training"]["settings"] == experiment.train.model_dump(mode="json")
    published = resolved(NetworkSettings(weights=str(FIB25 / "best.safetensors")))
    assert published.model_dump() == experiment.network.model_dump()


def load_fib25():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPVOX_DATA", str(DATA))
        return load(ROOT / "configs/fib25.yaml")


@pytest.fixture(scope="module")
def fib25(tmp_path_factory):
    """The test part of FIB-25 from raw voxels to scores, with the published weights."""
    from sepvox.predict import job
    from sepvox.predict.predict import predict_slice
    from sepvox.prepare.prepare import prepare
    from sepvox.score.choose import choose
    from sepvox.score.score import score_chosen, score_sweep
    from sepvox.segment import fragments
    from sepvox.segment.agglomerate import agglomerate
    from sepvox.segment.region_graph import region_graph_slice

    folder = tmp_path_factory.mktemp("fib25")
    document = yaml.safe_load((ROOT / "configs/fib25.yaml").read_text())
    document["volumes"] = {"test-part": document["volumes"]["test-part"]}
    document["network"] = {"weights": str(FIB25 / "best.safetensors")}
    del document["train"]
    # Exact whatever the block; one block has the least halo to compute.
    document["predict"] = {"block": [256, 256, 128]}
    (folder / "fib25.yaml").write_text(yaml.safe_dump(document))
    experiment, results = load(folder / "fib25.yaml"), folder / "results"
    arguments = (experiment, "main", "test-part", results)
    prepare(experiment, "test-part", results)
    job.create(*arguments, restart=False)
    predict_slice(*arguments, Part(0, 1))
    job.finish(*arguments)
    fragments.create(*arguments, restart=False)
    fragments.fragments_slice(*arguments, Part(0, 1))
    fragments.finish(*arguments)
    region_graph_slice(*arguments, Part(0, 1))
    agglomerate(*arguments)
    score_sweep(*arguments)
    choose(experiment, "main", results)
    score_chosen(*arguments)
    return Layout(results / "fib25")


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="SEPVOX_DATA does not name a folder of data")
def test_fib25_weights_reach_their_score_on_the_test_part(fib25):
    chosen = json.loads(fib25.scores("main", "test-part").read_text())["chosen"]
    # Rounding of float32 differs between processors, and so may a few fragments.
    assert chosen["voi_sum"] == pytest.approx(0.947, abs=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="SEPVOX_DATA does not name a folder of data")
def test_mean_backend_is_waterz_on_the_whole_volume_of_predicted_affinities(fib25):
    array = ome_zarr.open_level(fib25.affinities("main", "test-part"))
    whole = Box.of(array.shape[1:])
    affinities = ome_zarr.read(array, whole, channels=3)
    pieces = Pieces.of(ome_zarr.read(ome_zarr.open_level(fib25.fragments("main", "test-part")), whole))
    thresholds = (0.3, 0.5, 0.7)
    floats = without_ties(affinities, 0)
    for one in mean_backend(floats, pieces, thresholds).to(waterz_itself(floats, pieces, thresholds)):
        assert one == pytest.approx((0, 0), abs=1e-12)
    reference = waterz_itself(affinities, pieces, thresholds)
    own = max(one.sum for one in mean_backend(affinities, pieces, thresholds).to(reference))
    itself = max(one.sum for one in waterz_itself(affinities, pieces, thresholds, 0).to(reference))
    assert own <= max(itself, 0.03)
