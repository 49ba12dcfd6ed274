"""Class probabilities do not depend on blocks or slices, and weights of another task are refused in one line."""

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from sepvox import ome_zarr
from sepvox.blocks import Box, Lattice, Part
from sepvox.config import parse
from sepvox.errors import ConfigError, InputError, StaleError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.settings import NetworkSettings
from sepvox.predict import class_networks
from sepvox.predict.class_networks import block_of, load_forward
from sepvox.predict.class_tiles import IMAGES, mirrors_along, passes_of, predict_box, tile_starts
from sepvox.predict.classes import method_of_experiment, predict_subjects
from sepvox.prepare.subject import open_subject
from sepvox.prepare.subjects import prepare_subjects

CLASSES = {"csf": 1, "grey": 2, "white": 3}
SHAPE = (19, 26, 15)
TILE = (8, 12, 16)
PREPARE = {"spacing": None, "crop": True, "normalisation": "zscore", "foreground": "otsu"}
ALL = Part(0, 1)


def clipped_reader(image, asked=None):
    """Boxes of an image (c, z, y, x), whose border voxels go on beyond it."""

    def read(box):
        if asked is not None:
            asked.append(box)
        indices = [
            np.clip(np.arange(b, e), 0, n - 1) for b, e, n in zip(box.begin, box.end, image.shape[1:], strict=True)
        ]
        return image[np.ix_(range(len(image)), *indices)]

    return read


def noise(shape=SHAPE, channels=2):
    return np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)


def save_model(folder, seed=0, **changes):
    """Random weights of a small network with their config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    network = NetworkSettings(
        width=4,
        depth=1,
        norm="instance",
        in_channels=changes.pop("in_channels", 1),
        out_channels=changes.pop("out_channels", 4),
    )
    torch.manual_seed(seed)
    weights.save(folder / "best.safetensors", build(network).state_dict(), {})
    config = {
        "network": network.model_dump(mode="json", exclude={"weights"}),
        "classes": CLASSES,
        "modalities": ["T1w"],
        "prepare": PREPARE,
        "patch": [8, 8, 8],
        "mirror": [False, False, True],
        "training": {},
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder / "best.safetensors"


def experiment_of(folder, name="heads", **changes):
    document = {
        "experiment": name,
        "task": "classes",
        "subjects": {"phantom": {"subjects": 3, "shape": [16, 18, 14], "voxel_size": [10, 10, 10]}},
        "classes": CLASSES,
        "prepare": {"chunk": [4, 4, 4], "shard": [8, 8, 8]},
        "network": {"weights": str(folder / "model" / "best.safetensors")},
        "predict": {"device": "cpu"},
    }
    return parse(document | changes, folder / "experiment.yaml")


def whole(path):
    array = ome_zarr.open_level(path)
    return ome_zarr.read(array, Box.of(array.shape[-3:]))


@pytest.fixture
def tiny():
    """A forward pass of random weights for two channels and three classes, in tiles of `TILE`."""
    settings = NetworkSettings(width=4, depth=1, norm="instance", in_channels=2, out_channels=3)
    torch.manual_seed(1)
    network = build(settings).eval()

    def forward(images):
        assert images.shape == (IMAGES, 2, *TILE)
        with torch.inference_mode():
            return torch.softmax(network(torch.from_numpy(images)), dim=1).numpy()

    return forward


def one(forward, image):
    """Prediction of one image."""
    return forward(np.stack([image] * IMAGES))[0]


@pytest.mark.parametrize("extent", [1, 5, 8, 9, 12, 13, 31])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_tiles_cover_an_axis_with_the_overlap_asked_for_and_stay_inside_where_they_can(extent, overlap):
    starts = tile_starts(extent, 8, overlap)
    covered = set().union(*(range(start, start + 8) for start in starts))
    assert set(range(extent)) <= covered
    assert all(0 < b - a <= 8 * (1 - overlap) for a, b in pairwise(starts))
    if extent >= 8:
        assert (starts[0], starts[-1]) == (0, extent - 8)


@pytest.mark.parametrize("block", [(5, 7, 4), (19, 6, 15), (1, 26, 15)])
def test_probabilities_do_not_depend_on_the_box(tiny, block):
    read = clipped_reader(noise())
    reference = predict_box(read, Box.of(SHAPE), SHAPE, TILE, 0.5, tiny, mirrors_along((True, False, False)))
    np.testing.assert_allclose(reference.sum(axis=0), 1, atol=1e-5)
    assert np.ptp(reference) > 0.05
    for box in list(Lattice(SHAPE, block))[::3]:
        part = predict_box(read, box, SHAPE, TILE, 0.5, tiny, mirrors_along((True, False, False)))
        np.testing.assert_array_equal(part, reference[:, *box.slices])


def test_only_tiles_that_meet_the_box_are_visited_and_only_their_voxels_are_read():
    asked, calls = [], []

    def forward(images):
        calls.append(images.shape)
        return np.full((IMAGES, 2, 4, 4, 4), 0.5, np.float32)

    shape = (40, 40, 40)
    read = clipped_reader(noise(shape, 1), asked)
    box = Box((8, 8, 8), (12, 12, 12))
    predict_box(read, box, shape, (4, 4, 4), 0.5, forward, margin=(1, 1, 1))
    assert calls == [(IMAGES, 1, 6, 6, 6)] * passes_of(box, shape, (4, 4, 4), 0.5)
    assert len(calls) == 14
    assert asked == [Box((5, 5, 5), (15, 15, 15))]


def test_a_volume_smaller_than_the_tile_is_predicted_from_one_tile_in_its_middle(tiny):
    image = noise((3, 5, 16))
    predicted = predict_box(clipped_reader(image), Box.of((3, 5, 16)), (3, 5, 16), TILE, 0.5, tiny)
    padded = np.pad(image, [(0, 0), (2, 3), (3, 4), (0, 0)], mode="edge")
    np.testing.assert_allclose(predicted, one(tiny, padded)[:, 2:5, 3:8], atol=1e-6)


def test_mirrored_augmentation_is_the_mean_over_flips_along_the_trained_axes_only(tiny):
    image = noise(TILE)
    box = Box.of(TILE)
    predicted = predict_box(clipped_reader(image), box, TILE, TILE, 0.5, tiny, mirrors_along((True, False, True)))
    flips = [(), (1,), (3,), (1, 3)]
    each = [np.flip(one(tiny, np.flip(image, flip)), flip) for flip in flips]
    np.testing.assert_allclose(predicted, np.mean(each, axis=0), atol=1e-6)
    assert not np.allclose(predicted, each[0], atol=1e-3)


def test_networks_of_valid_padding_are_read_with_their_margin():
    image = noise((9, 9, 9), 1)

    def forward(cuts):
        inner = cuts[..., 1:-1, 2:-2, 3:-3]
        return np.concatenate([inner, 1 - inner], axis=1)

    read = clipped_reader(image)
    predicted = predict_box(read, Box.of((9, 9, 9)), (9, 9, 9), (4, 4, 4), 0.5, forward, margin=(1, 2, 3))
    np.testing.assert_allclose(predicted[0], image[0], atol=1e-5)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folder with weights and three prepared heads."""
    folder = tmp_path_factory.mktemp("heads")
    save_model(folder / "model")
    prepare_subjects(experiment_of(folder), folder / "results", ALL)
    return folder


def test_stored_probabilities_are_those_of_the_network_whatever_the_slices_and_blocks(prepared, tmp_path, monkeypatch):
    experiment, results = experiment_of(prepared), prepared / "results"
    layout = Layout(results / "heads")
    predict_subjects(experiment, "main", results, Part(0, 2))
    assert not layout.probabilities("main", "head-03").exists()
    predict_subjects(experiment, "main", results, Part(1, 2))
    method = method_of_experiment(experiment, "main", results)
    forward = load_forward(method.models, experiment.predict)
    for name in experiment.people:
        subject = open_subject(layout, name, CLASSES)
        expected = predict_box(subject.image_box, Box.of(subject.shape), subject.shape, (8, 8, 8), 0.5, forward)
        np.testing.assert_array_equal(
            whole(layout.probabilities("main", name)), np.rint(expected * 255).astype(np.uint8)
        )
    attributes = ome_zarr.attributes(layout.probabilities("main", "head-01"))
    assert attributes["classes"] == CLASSES
    assert len(attributes["weights"]) == 1
    assert ome_zarr.geometry(layout.probabilities("main", "head-01")) == ome_zarr.geometry(layout.image("head-01"))

    monkeypatch.setattr(class_networks, "BLOCK_BYTES", 1)
    subject = open_subject(layout, "head-02", CLASSES)
    assert block_of(subject.shape, (8, 8, 8), 4, 1) == (8, 8, 8)
    again = tmp_path / "again.zarr"
    class_networks.predict_subject(subject, method, forward, again, experiment.prepare, "x")
    np.testing.assert_array_equal(whole(again), whole(layout.probabilities("main", "head-02")))


def test_viewers_show_a_prepared_scan_in_grey_and_in_a_window_of_its_own_values(prepared):
    store = Layout(prepared / "results" / "heads").image("head-01")
    (channel,) = json.loads((store / "zarr.json").read_text())["attributes"]["ome"]["omero"]["channels"]
    image = whole(store)
    window = channel["window"]
    assert (channel["color"], channel["active"]) == ("FFFFFF", True)
    assert (window["min"], window["max"]) == (image.min(), image.max())
    assert window["min"] <= window["start"] < window["end"] <= window["max"]
    assert np.percentile(image, 90) < window["end"]


def test_a_second_run_keeps_results_and_other_weights_make_them_stale(prepared, tmp_path):
    results = prepared / "results"
    experiment = experiment_of(prepared)
    predict_subjects(experiment, "main", results, ALL)
    store = Layout(results / "heads").probabilities("main", "head-01")
    made, before = (store / "zarr.json").stat().st_mtime_ns, whole(store)
    predict_subjects(experiment, "main", results, ALL)
    assert (store / "zarr.json").stat().st_mtime_ns == made
    other = experiment_of(prepared, network={"weights": str(save_model(tmp_path / "other", seed=5))})
    with pytest.raises(StaleError, match="--restart"):
        predict_subjects(other, "main", results, ALL)
    predict_subjects(other, "main", results, ALL, restart=True)
    assert not np.array_equal(whole(store), before)
    np.testing.assert_array_equal(whole(store.with_name(store.name + ".stale")), before)


def test_an_ensemble_averages_the_probabilities_of_its_folds(tmp_path):
    table = tmp_path / "subjects.csv"
    roles = {"head-01": "", "head-02": "", "head-03": "test"}
    results = tmp_path / "results"
    save_model(tmp_path / "model")
    prepare_subjects(experiment_of(tmp_path), results, ALL)
    source = Layout(results / "heads").source
    rows = [f"{name},{source(name, 'T1w')},{source(name, 'labels')},{role}" for name, role in roles.items()]
    table.write_text("\n".join(["subject,image_T1w,labels,split", *rows]) + "\n")
    experiment = experiment_of(
        tmp_path, "folds", subjects={"table": str(table)}, split={"folds": 2, "validation": 0}, network={}, train={}
    )
    assert experiment.ensembles() == {"ensemble": ["fold0", "fold1"]}
    prepare_subjects(experiment, results, ALL)
    layout = Layout(results / "folds")
    for number in (0, 1):
        save_model(layout.model(f"fold{number}"), seed=number, patch=[8, 8 + 4 * number, 8])
    predict_subjects(experiment, "ensemble", results, ALL)
    subject = open_subject(layout, "head-03", CLASSES)
    expected = []
    for number in (0, 1):
        method = method_of_experiment(experiment, f"fold{number}", results)
        forward = load_forward(method.models, experiment.predict)
        expected.append(predict_box(subject.image_box, Box.of(subject.shape), subject.shape, (8, 12, 8), 0.5, forward))
    found = whole(layout.probabilities("ensemble", "head-03"))
    assert np.abs(found - np.mean(expected, axis=0) * 255).max() <= 0.51
    with pytest.raises(ConfigError, match="fold7"):
        predict_subjects(experiment, "fold7", results, ALL)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"classes": {"csf": 1, "white": 3, "grey": 2}},
            "classes: csf 1, grey 2, white 3, but .* csf 1, white 3, grey 2",
        ),
        ({"modalities": ["FLAIR"]}, "T1w, but .* was trained on FLAIR"),
        ({"prepare": PREPARE | {"spacing": [2, 2, 2]}}, r"prepare.spacing: None, but .* \[2.0, 2.0, 2.0\]"),
        ({"in_channels": 2}, "in_channels is 2, expected 1"),
        ({"out_channels": 5}, "out_channels is 5, expected 4"),
        ({"classes": None}, "config.json: classes: "),
        ({"patch": [8, 8]}, "config.json: patch"),
    ],
)
def test_weights_of_another_task_are_refused_in_one_line_before_anything_is_written(
    prepared, tmp_path, changes, expected
):
    experiment = experiment_of(prepared, network={"weights": str(save_model(tmp_path / "model", **changes))})
    results = tmp_path / "results"
    with pytest.raises((ConfigError, InputError), match=expected) as caught:
        predict_subjects(experiment, "main", results, ALL)
    assert "\n" not in str(caught.value)
    assert not results.exists()


def test_weights_without_config_or_for_affinities_are_refused(prepared, tmp_path):
    path = save_model(tmp_path / "model")
    experiment = experiment_of(prepared, network={"weights": str(path)})
    predict = partial(predict_subjects, experiment, "main", tmp_path, ALL)
    content = json.loads((path.parent / "config.json").read_text())
    (path.parent / "config.json").write_text(json.dumps({"network": content["network"]}))
    with pytest.raises(InputError, match="no network for classes"):
        predict()
    (path.parent / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json: missing"):
        predict()
    path.unlink()
    with pytest.raises(InputError, match="no such weights"):
        predict()


def test_subjects_of_one_model_are_predicted_in_one_precision(prepared, tmp_path, monkeypatch):
    save_model(tmp_path / "model", seed=7)
    experiment = experiment_of(prepared, network={"weights": str(tmp_path / "model" / "best.safetensors")})
    results = tmp_path / "results"
    prepare_subjects(experiment, results, ALL)
    predict_subjects(experiment, "main", results, Part(0, 2))
    # As on a machine whose GPU has bfloat16.
    monkeypatch.setattr("sepvox.predict.classes.precision_of", lambda _: "bfloat16")
    with pytest.raises(StaleError, match=r"predicted in float32, but predict.precision: auto means bfloat16"):
        predict_subjects(experiment, "main", results, Part(1, 2))
    monkeypatch.undo()
    predict_subjects(experiment, "main", results, Part(1, 2))


def test_want_of_memory_and_diverged_weights_are_told_in_one_line(prepared, tmp_path):
    experiment, results = experiment_of(prepared), prepared / "results"
    method = method_of_experiment(experiment, "main", results)
    subject = open_subject(Layout(results / "heads"), "head-01", CLASSES)

    def exhausted(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def diverged(image):
        return np.full((4, *image.shape[1:]), np.nan, np.float32)

    for forward, error, expected in (
        (exhausted, ConfigError, r"predict.tile: out of memory with \[8, 8, 8\]"),
        (diverged, InputError, r"best.safetensors: probabilities are not numbers; the training diverged"),
    ):
        with pytest.raises(error, match=expected):
            class_networks.predict_subject(subject, method, forward, tmp_path / "p.zarr", experiment.prepare, "x")
        assert not (tmp_path / "p.zarr" / "zarr.json").exists()
