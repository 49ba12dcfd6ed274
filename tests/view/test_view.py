"""What a viewer shows of an experiment, and that napari shows it so."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.io
from numpy.typing import NDArray

from sepvox import ome_zarr
from sepvox.blocks import Box, triple
from sepvox.errors import ConfigError, InputError, StoreError
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.view.layers import OF_NEURONS, Layer, first_volume, layers_of
from sepvox.view.view import add_layers, view
from sepvox.world import Geometry

SHAPE = (20, 120, 160)
MARGIN = (0, 8, 16)
"""Voxels of image around the region, on both sides."""
REGION = (20, 104, 128)
OUTER = Geometry((40.0, 8.0, 8.0), (0.0, 400.0, 80.0), "nanometer")
INNER = Geometry((40.0, 8.0, 8.0), (0.0, 464.0, 208.0), "nanometer")
HUGE = 2**60
STATISTICS = {"minimum": 3.0, "maximum": 250.0, "percentiles": {"0.5": 10.0, "99.5": 240.0}}
WITHOUT_NAPARI = "needs napari: pip install -e '.[view]'"


def write(path: Path, data: NDArray[Any], geometry: Geometry, levels: int = 1, **attributes: Any) -> None:
    shape = triple(data.shape[-3:])
    channels = tuple(f"affinity {axis}" for axis in "zyx") if data.ndim == 4 else None
    spec = Spec(shape, data.dtype.name, geometry, (8, 32, 32), (16, 64, 64), channels, data.dtype == np.uint64, levels)
    ome_zarr.create(path, spec)
    ome_zarr.write(ome_zarr.open_level(path, writable=True), Box.of(shape), data)
    ome_zarr.finish(path, spec, {"fingerprint": "x", **attributes})


def boxes(shape: Sequence[int], edge: int) -> NDArray[np.uint64]:
    """Cubes whose ids are as large as positions in a huge volume."""
    z, y, x = np.indices(shape) // edge
    return (HUGE + 1 + (z * 100 + y) * 100 + x).astype(np.uint64)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volume `b`, prepared and segmented, and `a`, only prepared."""
    folder = tmp_path_factory.mktemp("results") / "experiment"
    layout = Layout(folder)
    z, y, x = np.indices(SHAPE)
    image = (125 + 50 * np.sin(x / 7) + 50 * np.cos(y / 5 + z)).astype(np.uint8)
    for volume in "ab":
        write(layout.image(volume), image, OUTER, levels=2, statistics=STATISTICS)
    affinities = np.random.default_rng(1).integers(0, 256, (3, *REGION)).astype(np.uint8)
    write(layout.affinities("main", "b"), affinities, INNER)
    write(layout.fragments("main", "b"), boxes(REGION, 8), INNER)
    write(layout.labels("b"), boxes(REGION, 24), INNER, levels=2)
    write(layout.segmentation("main", "b"), boxes(REGION, 16), INNER, levels=2)
    return folder


@pytest.fixture
def experiment(finished: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(finished, tmp_path / "results" / "experiment"))


def layer(name: str, layers: list[Layer]) -> Layer:
    return next(one for one in layers if one.name == name)


def test_a_scan_has_one_layer_per_modality(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "experiment")
    scan = np.random.default_rng(1).normal(100, 20, (3, 20, 24, 16)).astype(np.float32)
    percentiles = {"percentiles": {"0.5": 40.0, "99.5": 160.0}}
    write(layout.image("head"), scan, OUTER, modalities=["image", "T2w", "FLAIR"], normalisation=[percentiles] * 3)
    write(layout.labels("head"), boxes(scan.shape[1:], 8), OUTER)
    layers = layers_of(layout.root, "main", "head")
    assert [one.name for one in layers] == ["image", "T2w", "FLAIR", "truth"]
    assert [one.kind for one in layers] == ["image", "image", "image", "labels"]
    assert [one.visible for one in layers] == [True, False, False, False]
    assert np.array_equal(layer("FLAIR", layers).data[0].compute(), scan[2])
    assert layer("T2w", layers).window == (0.0, 160.0)


def test_layers_from_bottom_to_top_are_what_they_show(finished: Path) -> None:
    layers = layers_of(finished, "main", "b")
    assert [one.name for one in layers] == list(OF_NEURONS)
    assert [one.kind for one in layers] == ["image", "colours", "labels", "labels", "labels"]
    assert [one.name for one in layers if one.visible] == ["image", "segmentation"]
    assert [len(one.data) for one in layers] == [2, 1, 1, 2, 2]
    assert [one.geometry for one in layers] == [OUTER, INNER, INNER, INNER, INNER]
    assert (layers[0].window, layers[0].extremes) == ((10.0, 240.0), (3.0, 250.0))


def test_voxels_of_layers_are_those_of_the_stores(finished: Path) -> None:
    layers = layers_of(finished, "main", "b")
    np.testing.assert_array_equal(layer("segmentation", layers).data[0], boxes(REGION, 16))
    stored = ome_zarr.open_level(Layout(finished).affinities("main", "b"))[:, 5]
    np.testing.assert_array_equal(layer("affinities", layers).data[0][5], np.moveaxis(stored, 0, -1))


def test_a_missing_shard_is_an_error_not_background(experiment: Path) -> None:
    shutil.rmtree(Layout(experiment).fragments("main", "b") / "0" / "c" / "0")
    fragments = layer("fragments", layers_of(experiment, "main", "b"))
    with pytest.raises(StoreError, match=r"fragments\.zarr.* shard c/0/\d/\d is missing"):
        fragments.data[0][3].compute()


def test_a_constant_image_has_a_window(experiment: Path) -> None:
    path = Layout(experiment).image("c")
    constant = {"minimum": 7.0, "maximum": 7.0, "percentiles": {"0.5": 7.0, "99.5": 7.0}}
    write(path, np.full((4, 4, 4), 7, np.uint8), Geometry(), statistics=constant)
    assert layers_of(experiment, "main", "c")[0].window == (7.0, 8.0)


def test_stores_not_there_or_unfinished_are_left_out(experiment: Path) -> None:
    (Layout(experiment).segmentation("main", "b") / "zarr.json").unlink()
    assert [one.name for one in layers_of(experiment, "main", "b")] == list(OF_NEURONS[:-1])
    assert [one.name for one in layers_of(experiment, "main", "a")] == ["image"]


def test_default_volume_is_the_first_segmented_else_the_first(experiment: Path) -> None:
    assert first_volume(experiment, "main") == "b"
    shutil.rmtree(experiment / "outputs")
    assert first_volume(experiment, "main") == "a"


def test_faults_are_one_line_that_names_what_there_is(experiment: Path, tmp_path: Path) -> None:
    results = experiment.parent
    for folder, model, volume, message in [
        (experiment, "main", "c", "--volume c: not in .*experiment, which has a, b"),
        (experiment, "fold1", "b", "--model fold1: not in .*experiment, which has main"),
        (results, "main", "b", "results: has no volumes; give .*results/experiment"),
        (tmp_path / "absent", "main", "b", "absent: no such folder; run the experiment"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            layers_of(folder, model, volume)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"--screenshot .*picture\.jpg: .*\.png"):
        view(experiment, "main", None, tmp_path / "picture.jpg")
    with pytest.raises(InputError, match=r"absent does not exist"):
        view(experiment, "main", None, tmp_path / "absent" / "picture.png")


def test_without_napari_one_line_says_how_to_install_it(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(ConfigError, match=r"install it in the clone with `pip install -e '\.\[view\]'`"):
        view(finished, "main", "b", None)


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A napari viewer without a window."""
    monkeypatch.setenv("NAPARI_CONFIG", "")
    components = pytest.importorskip("napari.components", reason=WITHOUT_NAPARI)
    return components.ViewerModel()


# napari's own imports use what pydantic deprecates.
napari_imports = pytest.mark.filterwarnings("ignore::DeprecationWarning:pydantic", "ignore::DeprecationWarning:npe2")


@napari_imports
def test_napari_has_every_layer_where_it_belongs(finished: Path, viewer: Any) -> None:
    add_layers(viewer, layers_of(finished, "main", "b"))
    kinds = [(one.name, one._type_string, one.visible) for one in viewer.layers]
    assert kinds == [
        ("image", "image", True),
        ("affinities", "image", False),
        ("fragments", "labels", False),
        ("truth", "labels", False),
        ("segmentation", "labels", True),
    ]
    for one, multiscale, geometry in zip(
        viewer.layers, [True, False, False, True, True], [OUTER] + [INNER] * 4, strict=True
    ):
        assert one.multiscale == multiscale
        assert tuple(one.scale) == geometry.voxel_size
        assert tuple(one.translate) == geometry.offset
        assert [str(unit) for unit in one.units] == ["nanometer"] * 3
        assert one.axis_labels == ("z", "y", "x")
    image = viewer.layers["image"]
    assert (list(image.contrast_limits), list(image.contrast_limits_range)) == ([10, 240], [3, 250])
    assert viewer.layers["affinities"].rgb
    assert viewer.layers["segmentation"].opacity == 0.5
    assert viewer.dims.axis_labels == ("z", "y", "x")
    assert viewer.dims.current_step[0] == SHAPE[0] // 2
    assert viewer.canvas.overlays.scale_bar.visible


@napari_imports
def test_napari_tells_huge_ids_apart(finished: Path, viewer: Any) -> None:
    add_layers(viewer, layers_of(finished, "main", "b"))
    shown = viewer.layers["fragments"]
    shown.visible = True
    stored = boxes(REGION, 8)
    for voxel in [(0, 0, 0), (0, 0, 8), (10, 50, 100)]:
        position = INNER.moved(voxel).offset
        viewer.dims.set_point(range(3), position)
        assert shown.get_value(position, world=True) == stored[voxel]
    colours = shown.colormap.map(np.arange(HUGE + 1, HUGE + 101, dtype=np.uint64))
    assert len(np.unique(colours, axis=0)) == 100
    assert shown.colormap.map(np.zeros(1, np.uint64))[0, 3] == 0
    assert not shown.editable


@napari_imports
def test_napari_shows_a_volume_without_unit_in_voxels(experiment: Path, viewer: Any) -> None:
    write(Layout(experiment).image("c"), np.zeros((4, 5, 6), np.float32), Geometry(), statistics=STATISTICS)
    add_layers(viewer, layers_of(experiment, "main", "c"))
    assert [str(unit) for unit in viewer.layers[0].units] == ["pixel"] * 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb-run: apt-get install xvfb xauth")
def test_screenshot_shows_the_segmentation_over_the_image(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("napari", reason=WITHOUT_NAPARI)
    picture = tmp_path / "view.png"
    verb = [sys.executable, "-c", "from sepvox.cli import main; main()", "view", str(finished), "--screenshot", picture]
    environment = os.environ | {"QT_QPA_PLATFORM": "xcb", "HOME": str(tmp_path), "NAPARI_CONFIG": ""}
    run = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24", *verb], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    window = skimage.io.imread(picture)[..., :3].astype(int)
    assert window.shape == (1024, 1280, 3)
    canvas = window[40:960, 380:1270]
    assert len(np.unique(canvas.reshape(-1, 3), axis=0)) > 500
    # A black canvas would show nothing, a grey one no segmentation.
    assert (canvas.max(axis=-1) > 20).mean() > 0.6
    assert (np.ptp(canvas, axis=-1) > 20).mean() > 0.25
