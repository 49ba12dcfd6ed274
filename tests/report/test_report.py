"""The report page, made from a small results folder that is written directly: truth cut and joined in known places."""

import csv
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.spatial import cKDTree

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, triple
from sepvox.config import load
from sepvox.errors import ConfigError, StoreError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.volume import open_volume
from sepvox.report.colours import BACKGROUND, colours_of, match, matched_colours
from sepvox.report.errors_figure import largest_errors, read_error_views
from sepvox.report.report import report
from sepvox.report.slices import WINDOW, central_planes
from sepvox.report.timing import read_costs
from sepvox.score.contingency import contingency
from sepvox.score.metrics import per_object_errors
from sepvox.score.score import scores_at
from sepvox.world import Geometry

SHAPE = (24, 48, 56)
CUT, JOINED = 1, (2, 3)


def tissue(shape, voxel_size, seed, objects=30):
    """Cells of random points: labels from 1, and grey values that are dark where two of them meet."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(0, np.multiply(shape, voxel_size), (objects, 3))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) * voxel_size
    distance, nearest = cKDTree(points).query(grid, k=2)
    # The cell with the most voxels is 1, its neighbours come next, so that there is something to cut and to join.
    first = np.bincount(nearest[..., 0].ravel(), minlength=objects).argmax()
    order = np.argsort(np.linalg.norm(points - points[first], axis=1))
    labels = np.argsort(order)[nearest[..., 0]].astype(np.uint64) + 1
    gap = np.clip((distance[..., 1] - distance[..., 0]) / (2 * max(voxel_size)), 0, 1)
    image = np.clip(60 + 120 * gap + generator.normal(0, 14, shape), 0, 255).astype(np.uint8)
    return labels, image


def wrong(labels):
    """The truth with object `CUT` cut in the middle and the objects `JOINED` joined."""
    segments = labels + np.uint64(500)
    z, y, x = np.nonzero(labels == CUT)
    behind = x > np.median(x)
    segments[z[behind], y[behind], x[behind]] = 999
    segments[labels == JOINED[1]] = 500 + JOINED[0]
    return segments


def affinities(labels):
    found = np.zeros((3, *labels.shape), np.uint8)
    for channel, axis in enumerate(range(3)):
        here, there = np.moveaxis(labels, axis, 0), np.moveaxis(found[channel], axis, 0)
        there[1:] = 235 * (here[1:] == here[:-1]) + 10
    return found


def store(path, voxels, geometry, labels=False, **attributes):
    channels = ("z", "y", "x") if voxels.ndim == 4 else None
    spec = Spec(
        triple(voxels.shape[-3:]),
        voxels.dtype.name,
        geometry,
        (16, 16, 16),
        (32, 32, 32),
        channels,
        labels,
        2 if labels else 1,
    )
    ome_zarr.create(path, spec)
    ome_zarr.write(ome_zarr.open_level(path, writable=True), Box.of(spec.shape), voxels)
    ome_zarr.finish(path, spec, {"fingerprint": "made by a test"} | attributes)


def volume(layout, name, role, seed, truth=True, voxel_size=(1.0, 1.0, 1.0), unit=None, shape=SHAPE):
    """Everything that the steps before the report leave behind for one volume."""
    labels, image = tissue(shape, voxel_size, seed)
    geometry = Geometry(voxel_size, unit=unit)
    percentiles = {"0.5": 30.0, "99.5": 220.0}
    region = [[0, n] for n in shape]
    store(layout.image(name), image, geometry, region=region, statistics={"percentiles": percentiles})
    if truth:
        store(layout.labels(name), labels, geometry, labels=True)
    if role == "train":
        return
    segments = wrong(labels)
    z, y, x = np.indices(shape)
    store(layout.affinities("main", name), affinities(labels), geometry)
    store(
        layout.fragments("main", name),
        labels * np.uint64(8) + (z // 8 + x // 10 + y // 10).astype(np.uint64) % 8,
        geometry,
    )
    store(layout.segmentation("main", name), segments, geometry, labels=True)
    if truth:
        counted = contingency(segments, labels)
        swept = [scores_at(counted, 0.1 * step) for step in range(1, 10)]
        for step, entry in enumerate(swept):
            entry["voi_split"] += 0.02 * (9 - step) ** 2
            entry["voi_merge"] += 0.02 * step**2
            entry["voi_sum"] = entry["voi_split"] + entry["voi_merge"]
        splits, merges = per_object_errors(counted)
        content = {
            "volume": name,
            "role": role,
            "thresholds": swept,
            "chosen": scores_at(counted, 0.5) | {"chosen_on": "choose-part"},
            "errors": {"split": [vars(e) for e in splits], "merge": [vars(e) for e in merges]},
        }
        markers.write_json(layout.scores("main", name), content)


def metrics(layout, steps=60):
    lines = []
    for step in range(20, 20 * steps + 1, 20):
        lines.append(
            {
                "iteration": step,
                "loss": 0.9 * 0.997**step + 0.02,
                "learning_rate": 1e-3 * (1 - step / (20 * steps)),
                "patches_per_second": 3,
            }
        )
        if step % 300 == 0:
            lines.append(
                {
                    "iteration": step,
                    "validation_loss": 0.5 * 0.998**step + 0.05,
                    "validation_voi": 3 * 0.999**step,
                    "best": True,
                }
            )
    layout.metrics("main").parent.mkdir(parents=True, exist_ok=True)
    markers.write_json(layout.metrics("main").with_name("config.json"), {"training": {"settings": {"batch": 1}}})
    layout.metrics("main").write_text("".join(json.dumps(line) + "\n" for line in lines))


def benchmark(path, seconds, memory):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmax_vms\tmean_load\tcpu_time\n{seconds}\t0:00:10\t{memory}\t-\t-\t{seconds}\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[NeuronsExperiment, Path, Path]:
    """A trained experiment with a volume of each role, anisotropic voxels, and benchmark files."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "cells.yaml"
    config.write_text(
        """
experiment: cells
volumes:
  train-part: {role: train, image: train.npy, labels: train-labels.npy}
  choose-part: {role: validate, image: choose.npy, labels: choose-labels.npy}
  test-part: {role: test, image: test.npy, labels: test-labels.npy}
  other: {role: apply, image: other.npy}
network: {width: 4, depth: 2}
train: {patch: [16, 32, 32]}
"""
    )
    results = folder / "results"
    layout = Layout(results / "cells")
    flat = {"voxel_size": (40.0, 8.0, 8.0), "unit": "nanometer"}
    volume(layout, "train-part", "train", 1, **flat)
    volume(layout, "choose-part", "validate", 2, **flat)
    volume(layout, "test-part", "test", 3, **flat)
    volume(layout, "other", "apply", 4, truth=False)
    markers.write_json(layout.threshold("main"), {"threshold": 0.5, "scoring": "mean", "chosen_on": "choose-part"})
    metrics(layout)
    benchmark(layout.benchmark("predict", "main", "test-part", "create"), 1.5, "-")
    benchmark(layout.benchmark("predict", "main", "test-part", "0-2"), 50.25, 700.5)
    benchmark(layout.benchmark("predict", "main", "test-part", "1-2"), 70.25, 1900.5)
    benchmark(layout.benchmark("prepare", "test-part"), 3.0, 300)
    benchmark(layout.benchmark("report", "report"), 9.0, 300)
    experiment = load(config)
    report(experiment, config, results)
    return experiment, config, results


class Links(HTMLParser):
    """Everything that a page would fetch, and its text."""

    def __init__(self):
        super().__init__()
        self.fetched, self.text, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [
            value for name, value in attrs if name in ("src", "srcset", "href", "xlink:href", "data", "action")
        ]

    def handle_data(self, data):
        self.text.append(data)


def parsed(results, experiment="cells"):
    text = (results / experiment / "report" / "index.html").read_text()
    links = Links()
    links.feed(text)
    return text, links


def test_the_page_needs_nothing_from_outside(trained):
    text, links = parsed(trained[2])
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links.fetched)
    assert sum(link.startswith("data:") for link in links.fetched) >= 5
    assert not {"script", "link", "iframe", "object"} & set(links.tags)
    style = "".join(re.findall(r"<style[^>]*>(.*?)</style>", text, flags=re.DOTALL))
    assert "http" not in text
    assert "@import" not in style
    assert "@font-face" not in style


def test_every_link_inside_the_page_leads_somewhere_and_ids_are_unique(trained):
    text, links = parsed(trained[2])
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    wanted = {link[1:] for link in links.fetched if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(ids)


def test_the_page_has_light_and_dark(trained):
    text, _ = parsed(trained[2])
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text


def test_tables_show_the_scores_of_every_labelled_volume(trained):
    experiment, _, results = trained
    text, _ = parsed(results)
    for name in ("choose-part", "test-part"):
        chosen = markers.read_json(Layout(results / experiment.experiment).scores("main", name))["chosen"]
        row = re.search(rf"<tr[^>]*><td>{name}</td>.*?</tr>", text)[0]
        for key in ("voi_split", "voi_merge", "voi_sum", "arand", "cremi"):
            assert f">{chosen[key]:.3f}<" in row
        assert "24 × 48 × 56" in row
        assert "40 × 8 × 8 nm" in row
        assert ">0.5<" in row
    assert "–" in re.search(r"<tr[^>]*><td>other</td>.*?</tr>", text)[0]


def test_the_page_shows_network_configuration_and_versions(trained):
    _, links = parsed(trained[2])
    shown = " ".join(links.text)
    for word in (
        "Parameters",
        "Receptive field",
        "python",
        "torch",
        "waterz",
        "snakemake",
        "learning_rate",
        "histogram-quantile50",
        "processor",
    ):
        assert word in shown


def test_figures_are_pictures_and_not_blank(trained):
    figures = trained[2] / "cells" / "report" / "figures"
    assert sorted(path.name for path in figures.iterdir()) == ["errors.png", "overview.png", "training.png", "voi.png"]
    least = {"overview": 2000, "errors": 500, "voi": 50, "training": 50}
    for name, colours in least.items():
        picture = (255 * imread(figures / f"{name}.png")[..., :3]).astype(np.int64)
        assert len(np.unique(picture @ [1, 256, 65536])) > colours
        assert picture.shape[1] <= 2400


def test_anisotropic_planes_keep_their_physical_proportions():
    """z has 24 voxels of 40 nm and x 56 of 8 nm: a plane through z is taller than wide, and is laid on its side."""
    section, side, _ = central_planes(SHAPE, Geometry((40.0, 8.0, 8.0)))
    assert section.size == (48 * 8, 56 * 8)
    assert side.size == (56 * 8, 24 * 40)
    assert side.flat(np.zeros(side.box.shape)).shape == (56, 24)


def test_pictures_of_a_huge_volume_read_one_bounded_layer():
    for plane in central_planes((4000, 20000, 30000), Geometry((40.0, 4.0, 4.0))):
        assert min(plane.box.shape) == 1
        assert plane.box.size <= WINDOW**2


def test_a_segment_has_the_colour_of_its_object_and_its_smaller_parts_another():
    truth = np.repeat(np.array([[1, 2, 3]], np.uint64), 4, axis=0)
    segments = np.array([[10, 20, 20], [10, 20, 20], [10, 20, 20], [11, 20, 0]], np.uint64)
    matched = match([segments], [truth])
    ids = np.array([0, 10, 11, 20, 77], np.uint64)
    background, largest, part, merged, unmatched = matched_colours(ids, matched)
    first, second = colours_of(np.array([1, 2], np.uint64))
    assert background.tolist() == list(BACKGROUND)
    assert largest.tolist() == first.tolist()
    assert part.tolist() != first.tolist()
    assert merged.tolist() == second.tolist()
    assert len(set(unmatched)) == 1


def test_the_crop_of_an_error_shows_both_of_its_parts(trained):
    experiment, _, results = trained
    layout = Layout(results / experiment.experiment)
    errors = largest_errors(markers.read_json(layout.scores("main", "test-part")), 3)
    views = read_error_views(errors, layout, "main", "test-part", open_volume(layout, "test-part"))
    found = {(view.error.kind, view.error.focus): view for view in views}
    split, merge = found["split", CUT], found["merge", 500 + JOINED[0]]
    assert {501, 999} <= set(np.unique(split.segmentation[split.truth == CUT]).tolist())
    assert set(JOINED) <= set(np.unique(merge.truth[merge.segmentation == 500 + JOINED[0]]).tolist())


def test_time_adds_up_over_the_jobs_of_a_step_and_memory_is_the_largest(trained):
    costs = read_costs(trained[2] / "cells" / "benchmarks")
    assert [(cost.step, cost.subject, cost.jobs) for cost in costs] == [
        ("prepare", "test-part", 1),
        ("predict", "main, test-part", 3),
    ]
    assert costs[1].seconds == pytest.approx(122.0)
    assert costs[1].peak_megabytes == 1900.5
    text, _ = parsed(trained[2])
    assert "2 min 02 s" in text
    assert "1.9 GB" in text


def test_slices_of_an_earlier_number_of_parts_are_not_added(tmp_path):
    for number, (part, seconds) in enumerate({"0-1": 9.0, "create": 1.0, "0-2": 4.0, "1-2": 5.0}.items()):
        file = tmp_path / "predict" / "main" / f"{part}.tsv"
        benchmark(file, seconds, 100)
        os.utime(file, (1000 + number, 1000 + number))
    (cost,) = read_costs(tmp_path)
    assert (cost.subject, cost.jobs, cost.seconds) == ("main", 3, 10.0)


def test_the_same_results_make_the_same_bytes_and_leave_nothing_else(trained):
    experiment, config, results = trained
    folder = results / "cells" / "report"
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report(experiment, config, results)
    after = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before == after


def test_the_page_shows_every_model_of_an_experiment_that_has_several(trained, tmp_path):
    _, config, results = trained
    layout = Layout(tmp_path / "results" / "cells")
    shutil.copytree(results / "cells", layout.root, ignore=shutil.ignore_patterns("report"))
    for name in ("models", "outputs"):
        shutil.copytree(layout.root / name / "main", layout.root / name / "wide")
        (layout.root / name / "main").rename(layout.root / name / "narrow")
    study = tmp_path / "cells.yaml"
    study.write_text(config.read_text() + "models: {narrow: {}, wide: {network: {width: 6}}}\n")
    report(load(study), study, tmp_path / "results")
    text, _ = parsed(tmp_path / "results")
    for model in ("narrow", "wide"):
        assert text.count(f"<h3>{model}</h3>") == len(["headline", "threshold", "training", "network"])
        assert text.count(f"<h3>{model}: test-part (test)</h3>") == len(["pictures", "largest errors"])
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {path.stem for path in layout.figures().iterdir()} == {"overview", "voi", "errors", "training", "comparison"}


def test_networks_are_compared_over_their_seeds(trained, tmp_path):
    _, config, results = trained
    layout = Layout(tmp_path / "results" / "cells")
    shutil.copytree(results / "cells", layout.root, ignore=shutil.ignore_patterns("report", "benchmarks"))
    sums = {"narrow-seed0": 1.0, "narrow-seed1": 1.5, "wide-seed0": 0.75, "wide-seed1": 0.75}
    for model, voi_sum in sums.items():
        for name in ("models", "outputs"):
            shutil.copytree(layout.root / name / "main", layout.root / name / model)
        scores = json.loads(layout.scores(model, "test-part").read_text())
        scores["chosen"]["voi_sum"] = voi_sum
        layout.scores(model, "test-part").write_text(json.dumps(scores))
        benchmark(layout.benchmark("predict", model, "test-part", "0-2"), 3.0, 100)
        benchmark(layout.benchmark("predict", model, "test-part", "1-2"), 5.0, 100)
    study = tmp_path / "cells.yaml"
    study.write_text(config.read_text() + "models: {narrow: {}, wide: {network: {width: 6}}}\nseeds: [0, 1]\n")
    report(load(study), study, tmp_path / "results")
    with layout.comparison().open(newline="") as file:
        narrow, wide = csv.DictReader(file)
    assert (narrow["network"], narrow["models"], narrow["prediction_seconds"]) == ("narrow", "2", "8.0")
    assert float(narrow["training_seconds"]) == pytest.approx(400)
    assert float(narrow["VI sum, bits mean"]) == 1.25
    assert float(narrow["VI sum, bits sd"]) == pytest.approx(np.std([1.0, 1.5], ddof=1))
    assert (float(wide["VI sum, bits mean"]), float(wide["VI sum, bits sd"])) == (0.75, 0.0)
    assert int(wide["parameters"]) > int(narrow["parameters"])
    text, _ = parsed(tmp_path / "results")
    assert "1.250 ± 0.354" in text


@pytest.fixture
def applied(tmp_path):
    """Given weights applied to one volume without truth; no training, no benchmark files."""
    from sepvox.nets.model_config import write_model_config
    from sepvox.nets.settings import NetworkSettings

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "best.safetensors").write_bytes(b"not read by the report")
    write_model_config(tmp_path / "weights" / "config.json", NetworkSettings(width=4, depth=2), {})
    config = tmp_path / "apply.yaml"
    config.write_text(
        "experiment: cells\nvolumes: {new: {role: apply, image: new.npy}}\nnetwork: {weights: weights/best.safetensors}\n"
    )
    layout = Layout(tmp_path / "results" / "cells")
    volume(layout, "new", "apply", 5, truth=False)
    markers.write_json(layout.threshold("main"), {"threshold": 0.4, "scoring": "mean", "chosen_on": "somewhere"})
    return load(config), config, tmp_path / "results"


def test_applied_weights_without_truth_or_benchmarks_are_reported(applied):
    report(*applied)
    text, _ = parsed(applied[2])
    assert [path.name for path in (applied[2] / "cells" / "report" / "figures").iterdir()] == ["overview.png"]
    assert "Not measured" in text
    assert "Ground truth" not in text
    assert ">0.4<" in text


def test_a_missing_step_is_named_and_no_page_is_written(applied):
    experiment, config, results = applied
    layout = Layout(results / "cells")
    layout.segmentation("main", "new").rename(layout.segmentation("main", "new").with_suffix(".gone"))
    with pytest.raises(StoreError, match=r"segmentation\.zarr.*run the step"):
        report(experiment, config, results)
    assert not layout.report().exists()


def test_scores_without_their_keys_are_refused_and_no_page_is_written(trained, tmp_path):
    experiment, config, results = trained
    layout = Layout(tmp_path / "cells")
    shutil.copytree(results / "cells", layout.root, ignore=shutil.ignore_patterns("report"))
    layout.scores("main", "test-part").write_text("{}")
    with pytest.raises(StoreError, match=r"scores\.json: has no `volume`"):
        report(experiment, config, tmp_path)
    assert not layout.report().exists()


def test_an_experiment_without_segmented_volumes_is_refused(applied):
    experiment, config, results = applied
    only_train = experiment.model_copy(
        update={"volumes": {"new": experiment.volumes["new"].model_copy(update={"role": "train"})}}
    )
    with pytest.raises(ConfigError, match="nothing to report"):
        report(only_train, config, results)
