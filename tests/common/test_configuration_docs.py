"""What the documents say of the configuration and of commands holds for the package."""

import contextlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from pydantic import ValidationError
from typer.main import get_command

from sepvox.cli import app
from sepvox.config import EXPERIMENTS, load
from sepvox.prepare.readers.source import open_source

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def make_configuration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_configuration", ROOT / "docs/make_configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_configuration_page_is_current(make_configuration):
    assert make_configuration.PAGE.read_text() == make_configuration.render(), "run python docs/make_configuration.py"


def test_configuration_page_has_every_section(make_configuration):
    titles = set(re.findall(r"^### `(.*)`$", make_configuration.render(), flags=re.MULTILINE))
    assert {"volumes.NAME", "volumes.NAME.phantom", "train.augment", "segment.agglomerate", "score"} <= titles


NETWORK_KEYS = {
    "name": "gonda2018-3d",
    "block": "dense",
    "m": 3,
    "n": 1,
    "merge": "sum",
    "transformation": "affine",
    "temporal_axis": "y",
    "linear_streams": True,
    "stream_widths": [[3, 4]] * 7,
    "norm": "batch",
    "width": 7,
    "growth": 1.5,
    "depth": 2,
    "pooling": [[1, 2, 2], [2, 2, 2], [2, 2, 2]],
    "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-3, 0, 0]],
    "in_channels": 2,
    "out_channels": 5,
    "deep_supervision": True,
    "weights": "best.safetensors",
}


@pytest.mark.parametrize("task", EXPERIMENTS)
def test_configuration_page_lists_the_network_keys_that_an_experiment_takes_and_no_others(make_configuration, task):
    part = make_configuration.render().partition(f"## Task {task}")[2].partition("## Task")[0]
    section = part.partition("### `network`")[2].partition("### ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    network = EXPERIMENTS[task].model_fields["network"].annotation
    taken = []
    for key, value in NETWORK_KEYS.items():
        with contextlib.suppress(ValidationError):
            network.model_validate({key: value})
            taken.append(key)
    assert listed == taken
    assert set(NETWORK_KEYS) == set(network.model_fields)


@pytest.mark.parametrize("example", blocks(ROOT / "README.md", "yaml"))
def test_examples_of_the_readme_load(example, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(example)
    load(path)


def test_every_rule_of_em_stands_in_the_table_of_steps():
    section = (ROOT / "docs/methods.md").read_text().partition("## Steps")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    listed = [rule for row in rows[2:] for rule in row[3].split(", ")]
    studies = ("toy", "video_mnist", "video", "blocks", "compression")
    files = [path for path in (ROOT / "workflow/rules").glob("*.smk") if path.stem not in studies]
    parts = [path.read_text().partition("\nelse:")[0] for path in files]
    calls = dict(re.findall(r"^ *rule (\w+):.*?\"sepvox ([a-z-]+) ", "\n".join(parts), flags=re.MULTILINE | re.DOTALL))
    assert sorted(listed) == sorted(calls)
    verbs = {rule: row[0].split()[0] for row in rows[2:] for rule in row[3].split(", ")}
    assert verbs == calls


def test_lines_that_make_the_fib25_file_make_what_its_configuration_reads(tmp_path, monkeypatch):
    (lines,) = blocks(ROOT / "docs/methods.md", "python")
    shape, rng = (200, 5, 6), np.random.default_rng(0)
    pieces = rng.choice(np.array([0, 3, 7, 40], np.uint64), shape)
    raw = rng.integers(0, 256, shape, np.uint8)
    monkeypatch.chdir(tmp_path)
    with h5py.File("grayscale_maps.h5", "w") as file:
        file["raw"] = np.concatenate([raw] * 30, axis=2).repeat(25, axis=1)
    with h5py.File("groundtruth.h5", "w") as file:
        file["stack"] = np.concatenate([pieces] * 30, axis=2).repeat(25, axis=1)
        file["transforms"] = np.array([[0, 0], [7, 90000], [3, 90000], [40, 5]], np.uint64)
    exec(lines, {})
    (tmp_path / "em").mkdir()
    (tmp_path / "fib25.h5").rename(tmp_path / "em/fib25.h5")
    monkeypatch.setenv("SEPVOX_DATA", str(tmp_path))
    part = load(ROOT / "configs/fib25.yaml").volumes["train-part"]
    image = open_source(part.image, part.key, part.axes, "image").array
    labels = open_source(part.labels, part.labels_key, part.axes, "labels").array
    assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((180, 125, 180), "u1", (180, 125, 180), "u4")
    first = pieces[:180, 0]
    assert (labels[:, 0, :6].compute() == np.where(first == 40, 5, np.where(first == 0, 0, 90000))).all()
    assert (image[:, 0, :6].compute() == raw[:180, 0]).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    commands = "\n".join([*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", page.read_text())])
    verbs = set(re.findall(r"(?:^|&& |[|;] )sepvox ([a-z][a-z-]*)", commands, flags=re.MULTILINE))
    assert verbs <= set(get_command(app).commands)
    targets = set(re.findall(r"\bmake ([a-z]+)", commands))
    assert targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_of_the_repository_exist(page):
    named = re.findall(r"(?:benchmarks|configs|profiles|docs|workflow|src)/[\w./-]*\w", page.read_text())
    named += [
        f"src/sepvox/{name}" for name in re.findall(r"`((?!src/|docs/|benchmarks/)[\w/]+\.py)`", page.read_text())
    ]
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text())
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not [name for name in missing if "YOURS" not in name and name != "docs/pictures/overview.png"]
