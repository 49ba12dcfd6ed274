"""One experiment is one YAML file, read here for the workflow and the command line alike.

Relative paths in the file are relative to the file; environment variables are expanded. Mistakes are refused with the path
of the key (`volumes.test-part.region`) and the mend.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from sepvox.errors import ConfigError
from sepvox.experiments.base import Experiment
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.mistakes import explain
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.paths import expanded
from sepvox.settings import Settings

S = TypeVar("S", bound=Settings)

EXPERIMENTS: dict[str, type[NeuronsExperiment] | type[ClassesExperiment]] = {
    "neurons": NeuronsExperiment,
    "classes": ClassesExperiment,
}


def load(path: str | Path) -> NeuronsExperiment | ClassesExperiment:
    """Read an experiment.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
    """
    path = Path(path)
    return parse(_document(path), path)


def load_study(path: str | Path, model: type[S], files: Sequence[str] = ()) -> S:
    """Read the configuration of a study.

    Parameters
    ----------
    model : type
        Settings of the study.
    files : sequence of str
        Dotted keys that hold paths, which are relative to the folder of the YAML file.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
    """
    path = Path(path)
    document = _document(path)
    for key in files:
        *sections, last = key.split(".")
        section: Any = document
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and last in section:
            section[last] = _absolute(section[last], path, key)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, model)}") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(), Loader=_NoDuplicates)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; give a YAML file") from None
    # ValueError: text that is no UTF-8, and a date that does not exist. RecursionError: lists in lists without end.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected keys such as `experiment` and `volumes`, got {type(document).__name__}")
    return document


def load_neurons(path: str | Path, verb: str) -> NeuronsExperiment:
    """Read an experiment for a verb that knows the task `neurons` only."""
    experiment = load(path)
    if not isinstance(experiment, NeuronsExperiment):
        raise ConfigError(f"{path}: task is {experiment.task}, but `sepvox {verb}` belongs to the task neurons")
    return experiment


def load_classes(path: str | Path, verb: str) -> ClassesExperiment:
    """Read an experiment for a verb that knows the task `classes` only."""
    experiment = load(path)
    if not isinstance(experiment, ClassesExperiment):
        raise ConfigError(f"{path}: task is {experiment.task}, but `sepvox {verb}` belongs to the task classes")
    return experiment


def parse(document: dict[str, Any], path: Path) -> NeuronsExperiment | ClassesExperiment:
    """Validate a document; relative paths in it are relative to the folder of `path`."""
    task = document.get("task", "neurons")
    if not isinstance(task, str) or task not in EXPERIMENTS:
        raise ConfigError(f"{path}: task: expected one of {', '.join(EXPERIMENTS)}, got {task!r}")
    model = EXPERIMENTS[task]
    try:
        return model.model_validate(_with_absolute_paths(document, path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, model)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every default filled in."""
    chosen = experiment.model_dump(mode="json", exclude={"network": set(experiment.network.refused)})
    return yaml.safe_dump(chosen, sort_keys=False, width=120, default_flow_style=None)


def schema() -> str:
    """JSON schema of the configuration."""
    union: TypeAdapter[Any] = TypeAdapter(NeuronsExperiment | ClassesExperiment)
    return json.dumps(union.json_schema(), indent=2) + "\n"


class _NoDuplicates(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one silently; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=deep) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _with_absolute_paths(document: dict[str, Any], path: Path) -> dict[str, Any]:
    resolved = dict(document)
    volumes = document.get("volumes")
    if isinstance(volumes, dict):
        resolved["volumes"] = {
            name: {
                key: _absolute(value, path, f"volumes.{name}.{key}") if key in ("image", "labels", "mask") else value
                for key, value in volume.items()
            }
            if isinstance(volume, dict)
            else volume
            for name, volume in volumes.items()
        }
    if "stores" in document:
        resolved["stores"] = _absolute(document["stores"], path, "stores")
    subjects = document.get("subjects")
    if isinstance(subjects, dict):
        found = {key: _absolute(value, path, f"subjects.{key}") for key, value in subjects.items()}
        if isinstance(subjects.get("images"), dict):
            found["images"] = {
                modality: _absolute(pattern, path, f"subjects.images.{modality}")
                for modality, pattern in subjects["images"].items()
            }
        resolved["subjects"] = found
    if "network" in document:
        resolved["network"] = _with_absolute_weights(document["network"], path, "network")
    models = document.get("models")
    if isinstance(models, dict):
        resolved["models"] = {
            name: own | {"network": _with_absolute_weights(own["network"], path, f"models.{name}.network")}
            if isinstance(own, dict) and "network" in own
            else own
            for name, own in models.items()
        }
    return resolved


def _with_absolute_weights(network: Any, config: Path, key: str) -> Any:
    if not isinstance(network, dict) or "weights" not in network:
        return network
    return network | {"weights": _absolute(network["weights"], config, f"{key}.weights")}


def _absolute(value: Any, config: Path, key: str) -> Any:
    if not isinstance(value, str):
        return value
    found = expanded(value, key)
    if "://" in found:
        return found
    return os.path.abspath(config.parent / found)  # noqa: PTH100
