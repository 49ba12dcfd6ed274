"""What the documents say of the configuration and of commands holds for the package."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from sepvox.cli import app
from sepvox.config import load

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


@pytest.mark.parametrize("example", blocks(ROOT / "README.md", "yaml"))
def test_examples_of_the_readme_load(example, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(example)
    load(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    commands = "\n".join([*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", page.read_text())])
    verbs = set(re.findall(r"\bsepvox ([a-z][a-z-]*)", commands))
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
