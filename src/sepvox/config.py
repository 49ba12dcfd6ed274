"""One experiment is one YAML file, read here for the workflow and the command line alike.

Relative paths in the file are relative to the file; environment variables are expanded. Mistakes are refused with the path
of the key (`volumes.test-part.region`) and the mend.
"""

import difflib
import json
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from sepvox.errors import ConfigError
from sepvox.experiments.base import Experiment
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.paths import expanded

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
    try:
        document = yaml.load(path.read_text(), Loader=_NoDuplicates)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected keys such as `experiment` and `volumes`, got {type(document).__name__}")
    return parse(document, path)


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
    if task not in EXPERIMENTS:
        raise ConfigError(f"{path}: task: expected one of {', '.join(EXPERIMENTS)}, got {task!r}")
    model = EXPERIMENTS[task]
    try:
        return model.model_validate(_with_absolute_paths(document, path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error, model)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every default filled in."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, width=120, default_flow_style=None)


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
    subjects = document.get("subjects")
    if isinstance(subjects, dict):
        found = {key: _absolute(value, path, f"subjects.{key}") for key, value in subjects.items()}
        if isinstance(subjects.get("images"), dict):
            found["images"] = {
                modality: _absolute(pattern, path, f"subjects.images.{modality}")
                for modality, pattern in subjects["images"].items()
            }
        resolved["subjects"] = found
    network = document.get("network")
    if isinstance(network, dict) and "weights" in network:
        resolved["network"] = network | {"weights": _absolute(network["weights"], path, "network.weights")}
    return resolved


def _absolute(value: Any, config: Path, key: str) -> Any:
    if not isinstance(value, str):
        return value
    found = expanded(value, f"{config}: {key}")
    if "://" in found:
        return found
    return os.path.abspath(config.parent / found)  # noqa: PTH100


def _explain(error: ValidationError, model: type[Experiment]) -> str:
    """The first mistake in one line, with the path of its key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}{tail}"
    if first["type"] == "missing":
        return f"{key}: missing key; add it{tail}"
    given = first.get("input")
    shown = (
        f", got {given!r}"
        if isinstance(given, (str, int, float, bool, list)) and first["type"] != "value_error"
        else ""
    )
    return f"{key}: {message}{shown}{tail}" if key else f"{message}{tail}"


def _fields_at(model: type[Experiment], location: tuple[int | str, ...]) -> list[str]:
    node: Any = model.model_json_schema()
    definitions = node["$defs"]
    for part in location:
        patterns = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        node = node.get("properties", {}).get(part) or next((found for found in patterns if found), {})
        for choice in node.get("anyOf", [node]):
            if "$ref" in choice:
                node = definitions[choice["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))
