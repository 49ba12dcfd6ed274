"""What is installed: the lock pins every dependency, for every machine, from public sources only."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sepvox

REPOSITORY = Path(__file__).parents[1]
LOCK = (REPOSITORY / "requirements.lock").read_text().splitlines()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(text) for text in (*PROJECT["dependencies"], *EXTRAS["dev"], *EXTRAS["remote"])]


def test_lock_holds_nothing_of_one_machine() -> None:
    for line in LOCK:
        assert not re.search(r"\+\w|file:|://|@|^--|^-e", line), f"{line}: only found on one machine"
        assert not re.match(r"nvidia-|cuda-|triton", line), f"{line}: comes with torch where it is wanted"


def test_lock_pins_every_line_exactly() -> None:
    for line in LOCK:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*( ; .+)?", line), line


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_lock_pins_every_dependency_within_its_range(requirement: Requirement, python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    pins = [
        pin
        for pin in map(Requirement, LOCK)
        if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        and (pin.marker is None or pin.marker.evaluate(environment))
    ]
    assert len(pins) == 1, f"{requirement.name} has {len(pins)} pins on Python {python}; run `make lock`"
    (version,) = pins[0].specifier
    assert requirement.specifier.contains(version.version), f"{version} is not within {requirement}; run `make lock`"


def test_conda_environment_installs_the_lock_and_the_package() -> None:
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert f"python {PROJECT['requires-python']}" in conda
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_citation_names_both_papers() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert [reference["authors"][0]["family-names"] for reference in citation["references"]] == ["Gonda", "Ras"]
    assert citation["license"] == PROJECT["license"]


def test_citation_is_of_this_version_and_dated() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == sepvox.__version__
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", citation["date-released"])
    # Only what the package itself names; it has no public home that could be cited.
    assert ("repository-code" in citation) == ("urls" in PROJECT)
