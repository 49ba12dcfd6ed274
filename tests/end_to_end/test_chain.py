"""The chain from phantom to scores: what it writes is whole, valid, and independent of how it was cut."""

import json
import shutil

import numpy as np
import ome_zarr_models
import pytest
import torch
import yaml
import zarr
from skimage.metrics import variation_of_information
from tests.end_to_end.conftest import EXPERIMENT, predict, relabel, segment, sepvox, whole, write

from sepvox.blocks import Box
from sepvox.config import load
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.geometry import geometry
from sepvox.prepare.volume import open_volume
from sepvox.score.choose import choose


def test_every_store_validates_as_ome_zarr_with_one_geometry(small):
    _, _, layout = small
    found = sorted(layout.root.rglob("*.zarr"))
    assert {path.name for path in found} == {
        "image.zarr",
        "labels.zarr",
        "affinities.zarr",
        "fragments.zarr",
        "segmentation.zarr",
    }
    for path in found:
        ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"))


def test_scores_are_those_of_the_written_segmentation(small):
    _, _, layout = small
    scores = json.loads(layout.scores("main", "judge").read_text())
    truth, segmentation = whole(layout.labels("judge")), whole(layout.segmentation("main", "judge"))
    # scikit-image returns H(second | first) and then H(first | second).
    kept = truth != 0
    split, merge = variation_of_information(truth[kept], segmentation[kept])
    assert scores["chosen"]["voi_split"] == pytest.approx(split, abs=1e-6)
    assert scores["chosen"]["voi_merge"] == pytest.approx(merge, abs=1e-6)
    assert scores["chosen"]["chosen_on"] == "choose"


def test_threshold_is_the_best_of_the_validation_volume(small):
    _, _, layout = small
    sweep = json.loads(layout.sweep("main", "choose").read_text())["thresholds"]
    chosen = json.loads(layout.threshold("main").read_text())
    assert chosen["threshold"] == min(sweep, key=lambda entry: entry["voi_sum"])["threshold"]


def test_stored_affinities_equal_one_pass_of_the_trained_network(small):
    _, config, layout = small
    settings = load(config).network
    volume, net = open_volume(layout, "judge"), geometry(settings)
    network = build(settings).eval()
    weights.load_into(network, layout.weights("main"))
    outer = Box.of(volume.shape).grow(net.halo)
    outer = Box(outer.begin, tuple(b + n for b, n in zip(outer.begin, net.admissible(outer.shape), strict=True)))
    with torch.inference_mode():
        probabilities = torch.sigmoid(network(torch.from_numpy(volume.image_box(outer) * 2 - 1)[None, None]))[0].numpy()
    inside = probabilities[:3, *(slice(h, h + n) for h, n in zip(net.halo, volume.shape, strict=True))]
    stored = whole(layout.affinities("main", "judge"))
    assert np.abs(stored - inside * 255).max() <= 0.5 + 255e-5


@pytest.mark.parametrize(
    "changes", [{"block": [32, 32, 32]}, {"block": [32, 48, 16]}, {"block": [64, 96, 64], "processes": 2}], ids=str
)
def test_fragments_and_segmentation_are_byte_identical_for_every_block(small, tmp_path, changes):
    folder, _, layout = small
    shutil.copytree(folder / "results", tmp_path / "results")
    config = write(tmp_path, EXPERIMENT | {"segment": EXPERIMENT["segment"] | changes})
    experiment, results = load(config), tmp_path / "results"
    shutil.rmtree(Layout(results / "small").region_graph("main", "judge"))
    segment(experiment, results, "judge")
    relabel(experiment, results, "judge")
    for of in (Layout.fragments, Layout.segmentation):
        files = sorted(path.relative_to(layout.root) for path in of(layout, "main", "judge").glob("0/c/*/*/*"))
        assert files
        for name in files:
            assert (layout.root / name).read_bytes() == (results / "small" / name).read_bytes(), name
    expected, found = (np.load(root.lookup_tables("main", "judge")) for root in (layout, Layout(results / "small")))
    assert "table_0" in expected.files
    assert expected.files == found.files
    for name in expected.files:
        if name != "fingerprint":
            assert np.array_equal(expected[name], found[name]), name


def every_table(layout: Layout) -> np.ndarray:
    with np.load(layout.lookup_tables("main", "judge")) as found:
        return np.stack([found[f"table_{index}"] for index in range(len(found["thresholds"]))])


def test_mean_backend_gives_one_segmentation_whatever_its_cells(small, tmp_path):
    folder, _, layout = small
    tables = []
    for changes in ({"cell": [16, 16, 16]}, {"cell": [48, 80, 48]}):
        results = tmp_path / f"{changes['cell'][0]}/results"
        shutil.copytree(folder / "results", results)
        root = Layout(results / "small")
        shutil.rmtree(root.region_graph("main", "judge"))
        agglomerate = EXPERIMENT["segment"]["agglomerate"] | {"backend": "mean"} | changes
        config = write(results, EXPERIMENT | {"segment": EXPERIMENT["segment"] | {"agglomerate": agglomerate}})
        segment(load(config), results, "judge")
        tables.append(every_table(root))
    np.testing.assert_array_equal(*tables)
    assert len({len(np.unique(row)) for row in tables[0]}) > 1
    assert not np.array_equal(tables[0], every_table(layout))


def test_any_threshold_of_the_sweep_can_be_written(small, tmp_path):
    folder, config, layout = small
    shutil.copytree(folder / "results", tmp_path / "results")
    for threshold in (0.3, 0.7):
        sepvox("relabel", config, "--volume", "judge", "--threshold", threshold, cwd=tmp_path)
    root = Layout(tmp_path / "results/small")
    loose, strict = (whole(root.segmentation("main", "judge", t)) for t in (0.7, 0.3))
    pairs = np.unique(np.stack([strict.ravel(), loose.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(strict)), "a lower threshold only splits"
    assert (whole(root.segmentation("main", "judge")) == whole(layout.segmentation("main", "judge"))).all()
    unknown = sepvox("relabel", config, "--volume", "judge", "--threshold", 0.42, cwd=tmp_path, check=False)
    assert unknown.returncode == 2
    assert "0.3, 0.5, 0.7" in unknown.stderr


def test_processes_that_count_change_no_score(small, tmp_path, monkeypatch):
    from sepvox.score import score as step

    # Else the volume is one block.
    monkeypatch.setattr(step, "BLOCK", (16, 24, 24))
    folder, _, layout = small
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    experiment = load(write(copied, EXPERIMENT | {"score": {"processes": 2}}))
    originals = (layout.sweep("main", "judge"), layout.sweep("main", "judge").with_name("contingency.npz"))
    copies = [copied / "results" / "small" / path.relative_to(layout.root) for path in originals]
    for path in copies:
        path.unlink()
    step.score_sweep(experiment, "main", "judge", copied / "results")
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in originals]


def test_given_weights_are_applied_without_training(small, tmp_path):
    _, _, layout = small
    document = {
        "experiment": "applied",
        "volumes": {"new": {"role": "apply", "image": str(layout.image("judge") / "0")}},
        "prepare": EXPERIMENT["prepare"],
        "network": {"weights": str(layout.weights("main"))},
        "segment": EXPERIMENT["segment"],
    }
    (tmp_path / "apply.yaml").write_text(yaml.safe_dump(document))
    experiment, results = load(tmp_path / "apply.yaml"), tmp_path / "results"
    from sepvox.prepare.prepare import prepare

    prepare(experiment, "new", results)
    predict(experiment, results, "new")
    segment(experiment, results, "new")
    choose(experiment, "main", results)
    relabel(experiment, results, "new")
    applied = Layout(results / "applied")
    assert (whole(applied.affinities("main", "new")) == whole(layout.affinities("main", "judge"))).all()
    assert (whole(applied.segmentation("main", "new")) == whole(layout.segmentation("main", "judge"))).all()


def test_masked_voxels_have_no_affinity(small, tmp_path):
    _, _, layout = small
    image = whole(layout.image("judge"))
    mask = np.zeros(image.shape, np.uint8)
    mask[:, :40] = 1
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "mask.npy", mask)
    document = EXPERIMENT | {
        "experiment": "masked",
        "train": None,
        "network": {"weights": str(layout.weights("main"))},
        "volumes": {"v": {"role": "apply", "image": "image.npy", "mask": "mask.npy"}},
    }
    experiment, results = load(write(tmp_path, document)), tmp_path / "results"
    from sepvox.prepare.prepare import prepare

    prepare(experiment, "v", results)
    predict(experiment, results, "v")
    segment(experiment, results, "v")
    masked = Layout(results / "masked")
    affinities = whole(masked.affinities("main", "v"))
    assert (affinities[:, :, 40:] == 0).all()
    assert (affinities[:, :, :40] == whole(layout.affinities("main", "judge"))[:, :, :40]).all()
    fragments = whole(masked.fragments("main", "v"))
    assert (fragments[:, 40:] == 0).all()
    assert (fragments[:, :40] != 0).any()
