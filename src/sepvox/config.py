"""One experiment is one YAML file, read here for the workflow and the command line alike.

Relative paths in the file are relative to the file; environment variables are expanded. Mistakes are refused with the path
of the key (`volumes.test-part.region`) and the mend.
"""

import difflib
import glob
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from sepvox.errors import ConfigError
from sepvox.layout import Layout
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NetworkSettings
from sepvox.predict.settings import PredictSettings
from sepvox.prepare.settings import PrepareSettings, Role, VolumeSettings
from sepvox.score.settings import ScoreSettings
from sepvox.segment.settings import SegmentSettings
from sepvox.settings import Settings
from sepvox.train.settings import TrainSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Experiment(Settings):
    """Everything that one run of the workflow does."""

    experiment: Name = Field(description="Name; results go to results/NAME.")
    task: Literal["neurons"] = Field("neurons", description="neurons: affinities to instances.")
    volumes: dict[Name, VolumeSettings] = Field(min_length=1, description="Volumes by name.")
    prepare: PrepareSettings = Field(PrepareSettings(), description="Layout of stores.")
    network: NetworkSettings = Field(NetworkSettings(), description="Network.")
    train: TrainSettings | None = Field(None, description="Training; leave out to apply network.weights.")
    predict: PredictSettings = Field(PredictSettings(), description="Prediction.")
    segment: SegmentSettings = Field(SegmentSettings(), description="Segmentation.")
    score: ScoreSettings = Field(ScoreSettings(), description="Scoring.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.train is None and self.network.weights is None:
            raise ValueError(
                "nothing to predict with: add a `train` section, or `network: {weights: FILE}` to apply trained weights"
            )
        if self.train is not None and not self.named("train"):
            raise ValueError("a `train` section needs at least one volume of `role: train`")
        if self.train is not None and not self.named("validate"):
            raise ValueError(
                "a `train` section needs at least one volume of `role: validate`, on which the best checkpoint and the threshold are chosen"
            )
        self._check_network()
        blocks = {"predict.block": self.predict.block, "segment.block": self.segment.block}
        for key, block in blocks.items():
            for axis, size, shard in zip("zyx", block or (), self.prepare.shard, strict=False):
                if size % shard:
                    raise ValueError(f"{key}: axis {axis} is {size}, not a multiple of prepare.shard's {shard}")
        for name, volume in self.volumes.items():
            shape: Sequence[int] | None = volume.phantom.shape if volume.phantom else None
            if volume.region:
                shape = [end - begin for begin, end in volume.region]
            if volume.role == "train" and self.train is not None and shape is not None:
                for axis, size, patch in zip("zyx", shape, self.train.patch, strict=True):
                    if patch > size:
                        raise ValueError(
                            f"train.patch: axis {axis} is {patch}, larger than the {size} voxels of volume {name}; use a smaller patch"
                        )
        return self

    def _check_network(self) -> None:
        """What tiling and patches ask of the network; of given weights only prediction knows the architecture."""
        if self.network.weights is not None:
            return
        net = geometry(self.network)
        if self.predict.mode == "exact" and not net.exact_ok:
            raise ValueError(
                f"predict.mode: exact is not possible: {net.reason}; use `mode: blend`, or norm none or batch"
            )
        cut = any(volume.region for volume in self.volumes.values())
        if self.predict.mode == "exact" and cut and self.prepare.context < max(net.halo):
            raise ValueError(
                f"prepare.context: {self.prepare.context} is less than the network's halo of {max(net.halo)}; raise it to {max(net.halo)}"
            )
        if self.train is not None and net.admissible(self.train.patch) != self.train.patch:
            larger = list(net.admissible(self.train.patch))
            raise ValueError(
                f"train.patch: the network does not take {list(self.train.patch)}; the next larger patch that it takes is {larger}"
            )

    def named(self, *roles: Role) -> list[str]:
        """Names of the volumes of these roles, in the file's order."""
        return [name for name, volume in self.volumes.items() if volume.role in roles]

    def predicted(self) -> list[str]:
        """Names of the volumes that are predicted and segmented."""
        return self.named("validate", "test", "apply")

    def labelled(self) -> list[str]:
        """Names of the predicted volumes that have ground truth and are scored."""
        return [name for name in self.predicted() if self.has_truth(name)]

    def has_truth(self, volume: str) -> bool:
        settings = self.volumes[volume]
        return settings.labels is not None or settings.phantom is not None

    def source_files(self, volume: str) -> list[Path]:
        """Local files whose change makes the volume be prepared again."""
        settings = self.volumes[volume]
        files: list[Path] = []
        for path in (settings.image, settings.labels, settings.mask):
            if path is None:
                continue
            pattern = not Path(path).exists() and glob.has_magic(path)
            # Path.glob takes no absolute pattern.
            found = [Path(p) for p in sorted(glob.glob(path, recursive=True))] if pattern else [Path(path)]  # noqa: PTH207
            for file in found:
                metadata = [
                    file / name for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs") if (file / name).exists()
                ]
                files.extend(metadata or [file])
        return list(dict.fromkeys(files))

    def model_directory(self, results: Path, model: str) -> Path:
        """Where best.safetensors and config.json of a model are: trained here, or given."""
        if self.train is None:
            assert self.network.weights is not None
            return Path(self.network.weights).parent
        return Layout(results / self.experiment).model(model)

    def model_weights(self, results: Path, model: str) -> Path:
        """The weights that prediction uses."""
        if self.train is None:
            assert self.network.weights is not None
            return Path(self.network.weights)
        return Layout(results / self.experiment).weights(model)


def load(path: str | Path) -> Experiment:
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


def parse(document: dict[str, Any], path: Path) -> Experiment:
    """Validate a document; relative paths in it are relative to the folder of `path`."""
    try:
        return Experiment.model_validate(_with_absolute_paths(document, path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every default filled in."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, width=120, default_flow_style=None)


def schema() -> str:
    """JSON schema of the configuration."""
    return json.dumps(Experiment.model_json_schema(), indent=2) + "\n"


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
    network = document.get("network")
    if isinstance(network, dict) and "weights" in network:
        resolved["network"] = network | {"weights": _absolute(network["weights"], path, "network.weights")}
    return resolved


def _absolute(value: Any, config: Path, key: str) -> Any:
    if not isinstance(value, str):
        return value
    expanded = os.path.expanduser(os.path.expandvars(value))
    unknown = re.search(r"\$\{?(\w+)", expanded)
    if unknown:
        raise ConfigError(
            f"{config}: {key}: environment variable {unknown[1]} is not set; export {unknown[1]}=FOLDER first"
        )
    if "://" in expanded:
        return expanded
    return os.path.abspath(config.parent / expanded)  # noqa: PTH100


def _explain(error: ValidationError) -> str:
    """The first mistake in one line, with the path of its key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
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


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    node: Any = Experiment.model_json_schema()
    definitions = node["$defs"]
    for part in location:
        patterns = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        node = node.get("properties", {}).get(part) or next((found for found in patterns if found), {})
        for choice in node.get("anyOf", [node]):
            if "$ref" in choice:
                node = definitions[choice["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))
