"""The report page of class maps, made from a small phantom whose predictions are its truth with known errors."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Part
from sepvox.config import load
from sepvox.errors import ConfigError, StoreError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.nets.model_config import write_model_config
from sepvox.nets.settings import NetworkSettings
from sepvox.ome_zarr import Spec
from sepvox.prepare.subject import open_subject
from sepvox.prepare.subjects import prepare_subjects
from sepvox.report.class_report import class_report
from sepvox.report.classes_overlay import read_views
from sepvox.report.classes_scores import best_median_worst, read_pools, second_look
from sepvox.score.class_metrics import class_scores
from sepvox.spread import spread
from sepvox.world import Geometry

CLASSES = {"csf": 1, "grey": 2, "white": 3}
MISSED = "head-03"


def write_map(path: Path, labels: np.ndarray, geometry: Geometry) -> None:
    spec = Spec(labels.shape, "uint8", geometry, (16, 16, 16), (32, 32, 32), labels=True)
    ome_zarr.create(path, spec)
    ome_zarr.write(ome_zarr.open_level(path, writable=True), Box.of(spec.shape), labels)
    ome_zarr.finish(path, spec, {"fingerprint": "made by a test"})


def eroded(truth: np.ndarray, seed: int, share: float) -> np.ndarray:
    """The truth without a random share of the voxels at the surface of each class."""
    found, rng = truth.copy(), np.random.default_rng(seed)
    for value in CLASSES.values():
        mask = truth == value
        found[mask & ~ndimage.binary_erosion(mask) & (rng.random(truth.shape) < share)] = 0
    return found


def predict(experiment: ClassesExperiment, layout: Layout, model: str, subject: str, share: float) -> None:
    """What predict, classify and score leave behind for one subject."""
    prepared = open_subject(layout, subject, CLASSES)
    z, y, x = prepared.grid.spacing
    whole = Box.of(prepared.shape)
    source = ome_zarr.open_level(layout.labels(subject)) if prepared.labels is not None else None
    truth = ome_zarr.read(source, whole) if source is not None else (prepared.image_box(whole)[0] > 0).astype(np.uint8)
    labels = eroded(truth, len(model + subject), share)
    if subject == MISSED:
        labels[labels == CLASSES["white"]] = 0
    write_map(layout.segmentation(model, subject), labels, Geometry((z, y, x), unit="millimeter"))
    if source is not None:
        record = {"subject": subject, "model": model, "role": experiment.roles(model)[subject]}
        markers.write_json(layout.scores(model, subject), record | class_scores(labels, truth, CLASSES, (z, y, x)))


def decide(layout: Layout, model: str, classes: list[str]) -> None:
    dice = {"without": dict.fromkeys(CLASSES, 0.81234), "with": dict.fromkeys(CLASSES, 0.84321)}
    content = {"setting": "auto", "foreground": False, "classes": classes, "chosen_on": ["head-01"]}
    markers.write_json(layout.clean_up(model), content | {"reason": "it raises the Dice", "dice": dice})


def metrics(layout: Layout, model: str, rate: float) -> None:
    lines = []
    for step in range(20, 1001, 20):
        lines.append({"iteration": step, "loss": rate**step + 0.1, "learning_rate": 1e-3, "patches_per_second": 3})
        if step % 200 == 0:
            line = {
                "iteration": step,
                "validation_loss": rate**step + 0.2,
                "validation_dice_error": 0.6 * rate**step + 0.1,
            }
            lines.append(line | {"best": step <= 800})
    layout.metrics(model).parent.mkdir(parents=True, exist_ok=True)
    layout.metrics(model).write_text("".join(json.dumps(line) + "\n" for line in lines))


def benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmax_vms\tmean_load\tcpu_time\n{seconds}\t0:00:10\t700\t-\t-\t{seconds}\n")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory) -> tuple[ClassesExperiment, Path, Path]:
    """Two networks, two folds of four subjects, anisotropic voxels."""
    folder = tmp_path_factory.mktemp("crossed")
    config = folder / "heads.yaml"
    config.write_text(
        """
experiment: heads
task: classes
subjects: {phantom: {subjects: 4, shape: [14, 24, 20], voxel_size: [12, 8, 8]}}
classes: {csf: 1, grey: 2, white: 3}
split: {folds: 2}
train: {}
models:
  dense: {network: {block: dense, width: 4, depth: 2}}
  slim: {network: {width: 4, depth: 2}}
"""
    )
    experiment = load(config)
    assert isinstance(experiment, ClassesExperiment)
    results = folder / "results"
    prepare_subjects(experiment, results, Part(0, 1))
    layout = Layout(results / "heads")
    for number, (model, run) in enumerate(experiment.runs().items()):
        for subject in experiment.predicted(model):
            predict(experiment, layout, model, subject, 0.15 if run.entry == "dense" else 0.4)
        block = "dense" if run.entry == "dense" else "pmsc"
        network = NetworkSettings(block=block, width=4, depth=2, norm="instance", out_channels=4)
        write_model_config(layout.model_config(model), network, {"training": {"batch": 2}})
        decide(layout, model, ["grey"] if number == 0 else [])
        metrics(layout, model, 0.995 + 0.001 * number)
        if run.entry == "dense":
            benchmark(layout.benchmark("train", model), 100.0 + 50 * number)
        benchmark(layout.benchmark("predict", model, "0-1"), 6.0)
    class_report(experiment, config, results)
    return experiment, config, results


class Page(HTMLParser):
    """What a page would fetch, its tags, and its tables as lists of rows by the title above them."""

    def __init__(self, text: str):
        super().__init__()
        self.fetched, self.tags, self.tables, self.title = [], [], {}, ""
        self.cell = self.heading = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "srcset", "href", "data", "action")]
        if tag == "table":
            self.tables.setdefault(self.title, [])
        elif tag == "tr":
            self.tables[self.title].append([])
        elif tag in ("td", "th"):
            self.cell = ""
        elif tag == "h2":
            self.heading = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[self.title][-1].append(self.cell)
            self.cell = None
        elif tag == "h2":
            self.title, self.heading = self.heading, None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data
        if self.heading is not None:
            self.heading += data


def parsed(results: Path, experiment: str) -> tuple[str, Page]:
    text = (results / experiment / "report" / "index.html").read_text()
    return text, Page(text)


def test_the_page_needs_nothing_from_outside_and_its_links_lead_somewhere(crossed):
    text, found = parsed(crossed[2], "heads")
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in found.fetched)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert "http" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    wanted = {link[1:] for link in found.fetched if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(ids)


def test_every_part_is_there_with_its_figure(crossed):
    text, _ = parsed(crossed[2], "heads")
    titles = re.findall(r"<h2>([^<]+)</h2>", text)
    assert titles == [
        "Pictures",
        "Scores",
        "Comparison",
        "Folds",
        "Worth a second look",
        "Training",
        "Clean-up",
        "Network",
        "Time and memory",
        "Configuration and versions",
    ]
    folder = crossed[2] / "heads" / "report" / "figures"
    assert {path.stem for path in folder.iterdir()} == {"overlays", "scores", "comparison", "training"}
    for path in folder.iterdir():
        picture = imread(path)
        assert min(picture.shape[:2]) > 150
        assert len(np.unique(picture[::5, ::5, :3].reshape(-1, 3), axis=0)) > 50


def test_every_subject_is_tested_once_and_the_figures_are_those_of_the_scores(crossed):
    experiment, _, results = crossed
    layout = Layout(results / "heads")
    pools = read_pools(experiment, layout)
    assert [(pool.name, pool.role, len(pool.models)) for pool in pools] == [("dense", "test", 2), ("slim", "test", 2)]
    assert sorted(record["subject"] for record in pools[0].records) == sorted(experiment.people)
    dice = [record["mean"]["dice"] for record in pools[0].records]
    text, found = parsed(results, "heads")
    assert f"{np.mean(dice):.3f} ± {np.std(dice, ddof=1):.3f}" in text
    lead = found.tables[""]
    assert [row[2] for row in lead[1:]] == [*CLASSES, "all classes"] * 2
    white = [record["classes"]["white"] for record in pools[0].records]
    distances = [scores["hd95_mm"] for scores in white if scores["hd95_mm"] is not None]
    assert len(distances) == 3
    row = lead[3]
    assert (
        row[3]
        == f"{np.mean([scores['dice'] for scores in white]):.3f} ± {np.std([s['dice'] for s in white], ddof=1):.3f}"
    )
    assert row[4].startswith(f"{np.mean(distances):.2f}")
    assert row[6:] == ["1", "0"]


def test_folds_count_their_subjects(crossed):
    experiment, _, results = crossed
    rows = parsed(results, "heads")[1].tables["Folds"]
    by_model = {row[0]: row for row in rows}
    for model in experiment.runs():
        roles = list(experiment.roles(model).values())
        assert by_model[model][1:4] == [str(roles.count(role)) for role in ("train", "validate", "test")]
    assert by_model["all"][3] == "4"


def test_networks_are_compared_by_size_cost_and_scores(crossed):
    experiment, _, results = crossed
    _, found = parsed(results, "heads")
    _, dense, slim, *of_classes = found.tables["Comparison"]
    with Layout(results / "heads").comparison().open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["dense", "slim"]
    assert f"{int(rows[0]['parameters']):,}" == dense[1]
    assert f"{float(rows[0]['Dice mean']):.3f} ± {float(rows[0]['Dice sd']):.3f}" == dense[7]
    assert dense[0] == "dense"
    assert int(dense[1].replace(",", "")) != int(slim[1].replace(",", ""))
    # By metrics.jsonl: 1000 iterations of 2 patches at 3 per second.
    assert dense[3:6] == ["2", "11 min 07 s", "6.0 s"]
    pool = read_pools(experiment, Layout(results / "heads"))[0]
    means = [
        np.mean([record["mean"]["dice"] for record in pool.records if record["model"] == model])
        for model in pool.models
    ]
    # 6 s over what one model predicts.
    voxels = [
        open_subject(Layout(results / "heads"), name, experiment.classes).shape
        for name in experiment.predicted(pool.models[0])
    ]
    assert dense[6] == f"{6e6 / sum(map(np.prod, voxels)):.2f}"
    assert dense[7] == f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"
    classes = list(experiment.classes)
    assert [row[:2] for row in of_classes[1:]] == [
        [n if c == classes[0] else "", c] for n in ("dense", "slim") for c in classes
    ]
    for row, name in zip(of_classes[1:], classes, strict=False):
        means = [
            np.mean([record["classes"][name]["dice"] for record in pool.records if record["model"] == model])
            for model in pool.models
        ]
        assert row[2] == f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"


def test_scores_over_all_folds_are_files_too(crossed):
    experiment, _, results = crossed
    layout = Layout(results / "heads")
    with layout.pooled("csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["subjects"], row["class"]) for row in rows] == [
        (model, "4", name) for model in ("dense", "slim") for name in (*experiment.classes, "all classes")
    ]
    pool = read_pools(experiment, layout)[0]
    dice = {record["subject"]: record["mean"]["dice"] for record in pool.records}
    whole = json.loads(layout.pooled("json").read_text())[3]
    assert whole["dice_mean"] == pytest.approx(np.mean(list(dice.values())))
    assert whole["dice_sd"] == pytest.approx(np.std(list(dice.values()), ddof=1))
    assert whole["worst_subject"] == min(dice, key=dice.__getitem__)


def test_subjects_without_a_defined_dice_are_shown_and_the_figures_that_the_workflow_expects_are_drawn(
    crossed, tmp_path
):
    experiment, config, results = crossed
    shutil.copytree(results, tmp_path / "results", ignore=shutil.ignore_patterns("report"))
    layout = Layout(tmp_path / "results" / "heads")
    for file in layout.root.glob("outputs/*/*/scores.json"):
        record = json.loads(file.read_text())
        for scores in (record["mean"], *record["classes"].values()):
            scores["dice"] = None
        file.write_text(json.dumps(record))
    class_report(experiment, config, tmp_path / "results")
    assert {path.stem for path in layout.figures().iterdir()} == {"overlays", "scores", "comparison", "training"}
    assert "no Dice is defined for any" in layout.report().read_text()


def test_a_missed_class_is_worth_a_second_look(crossed):
    experiment, _, results = crossed
    pool = read_pools(experiment, Layout(results / "heads"))[0]
    looks = second_look(pool.records)
    assert (looks[0].record["subject"], looks[0].reasons[0]) == (MISSED, "white missed")
    assert best_median_worst(pool.records)["worst"]["subject"] == MISSED
    rows = parsed(results, "heads")[1].tables["Worth a second look"]
    assert rows[1][0] == MISSED
    assert "lowest Dice" in rows[1][-1]


def record_of(name: str, percent: float, dice: float = 0.9, hd95: float = 1.0) -> dict:
    scores = {
        "dice": dice,
        "hd95_mm": hd95,
        "volume_mm3": 1.0,
        "true_volume_mm3": 1.0,
        "volume_difference_percent": percent,
    }
    return {"subject": name, "model": "main", "role": "test", "classes": {"one": scores}, "mean": scores}


def test_a_volume_unlike_the_truth_is_worth_a_second_look():
    records = [record_of(f"s{n}", 2.0 + 0.5 * n, 0.8 + 0.01 * n) for n in range(8)] + [record_of("odd", 60.0, 0.95)]
    looks = {look.record["subject"]: look.reasons for look in second_look(records)}
    assert looks["odd"] == ("volume of one is +60 % off, +4 % is usual",)
    assert "s7" not in looks


def test_a_distance_unlike_the_others_is_worth_a_second_look():
    records = [record_of(f"s{n}", 2.0, 0.9 + 0.01 * n, 1.0 + 0.01 * n) for n in range(8)]
    records.append(record_of("far", 2.0, 0.99, 9.0))
    looks = {look.record["subject"]: look.reasons for look in second_look(records)}
    assert looks["far"] == ("HD95 of one is 9 mm, 1.04 mm is usual",)
    assert set(looks) == {"s0", "s1", "s2", "far"}


def test_figures_leave_out_what_is_not_defined():
    assert spread([1.0, None, 3.0]).mean == 2.0
    assert spread([1.0, None, 3.0]).number == 2
    assert spread([None]).mean is None
    assert spread([1.0]).sd is None


def test_the_decision_on_clean_up_is_told(crossed):
    rows = {row[0]: row for row in parsed(crossed[2], "heads")[1].tables["Clean-up"]}
    assert rows["dense-fold0"][1:5] == ["grey", "it raises the Dice", "1", "0.8123 → 0.8432"]
    assert rows["slim-fold1"][1] == "nothing"


def test_pictures_have_the_proportions_of_millimetres_and_run_through_the_labels(crossed):
    experiment, _, results = crossed
    layout = Layout(results / "heads")
    subject = open_subject(layout, "head-01", CLASSES)
    spacing = subject.grid.spacing
    truth = ome_zarr.read(subject.labels, Box.of(subject.shape))
    model = next(model for model in experiment.runs() if "head-01" in experiment.predicted(model))
    for view in read_views(layout, model, "head-01", subject):
        down, right = (axis for axis in range(3) if axis != view.normal)
        assert view.size == pytest.approx((view.image.shape[0] * spacing[down], view.image.shape[1] * spacing[right]))
        assert (view.truth != 0).sum() == (np.take(truth, view.index, axis=view.normal) != 0).sum() > 0
        assert set(np.unique(view.predicted)) <= {0, *CLASSES.values()}
        assert (view.image.min(), view.image.max()) == (0, 1)


def test_the_same_results_make_the_same_bytes(crossed):
    experiment, config, results = crossed
    folder = results / "heads" / "report"
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    class_report(experiment, config, results)
    assert before == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_subject_that_was_not_scored_is_named(crossed):
    experiment, config, results = crossed
    model, subject = "dense-fold0", experiment.predicted("dense-fold0")[0]
    path = Layout(results / "heads").scores(model, subject)
    path.rename(path.with_suffix(".gone"))
    with pytest.raises(StoreError, match=rf"{model}/{subject}/scores\.json: missing; run the step"):
        class_report(experiment, config, results)
    path.with_suffix(".gone").rename(path)


@pytest.fixture
def applied(crossed, tmp_path) -> tuple[ClassesExperiment, Path, Path]:
    """Given weights applied to the phantom's scans without their label maps; no training, no benchmark files."""
    network = NetworkSettings(width=4, depth=2, out_channels=4)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "best.safetensors").write_bytes(b"not read by the report")
    write_model_config(tmp_path / "weights" / "config.json", network, {})
    config = tmp_path / "apply.yaml"
    volumes = crossed[2] / "heads" / "volumes"
    config.write_text(
        f"experiment: new\ntask: classes\nsubjects: {{images: {{T1w: '{volumes}/*/T1w.nii.gz'}}}}\n"
        "classes: {csf: 1, grey: 2, white: 3}\nnetwork: {weights: weights/best.safetensors}\n"
    )
    experiment = load(config)
    assert isinstance(experiment, ClassesExperiment)
    prepare_subjects(experiment, tmp_path / "results", Part(0, 2))
    layout = Layout(tmp_path / "results" / "new")
    for name in experiment.people:
        if layout.image(name).exists():
            predict(experiment, layout, "main", name, 0.0)
    decide(layout, "main", [])
    return experiment, config, tmp_path / "results"


def test_applied_weights_without_truth_are_reported(applied, monkeypatch):
    experiment, config, results = applied
    monkeypatch.setattr("sepvox.report.class_report.SHOWN", 2)
    class_report(experiment, config, results)
    text, _ = parsed(results, "new")
    assert [path.name for path in (results / "new" / "report" / "figures").iterdir()] == ["overlays.png"]
    assert "Not measured" in text
    assert "Dice" not in text.split("Clean-up</h2>")[0]
    assert "none of those that were predicted has a label map" in text


def test_an_experiment_that_predicts_nothing_is_refused(crossed):
    experiment, config, results = crossed
    only_train = experiment.model_copy(
        update={
            "models": {},
            "split": experiment.split.model_copy(update={"folds": None, "test": 0.0, "validation": 0.0}),
        }
    )
    with pytest.raises(ConfigError, match="nothing to report"):
        class_report(only_train, config, results)
