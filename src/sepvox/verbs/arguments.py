"""Arguments that several verbs share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sepvox.blocks import Part
from sepvox.config import load_neurons
from sepvox.errors import ConfigError
from sepvox.experiments.neurons import NeuronsExperiment

RESULTS = Path("results")
WHOLE = Part(0, 1)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment, a YAML file.")]
Results = Annotated[Path, typer.Option(help="Folder of all results.")]
Volume = Annotated[str, typer.Option(help="Volume, a key of `volumes`.")]
VolumeOfNeurons = Annotated[str | None, typer.Option(help="Task neurons: the volume, a key of `volumes`.")]
Model = Annotated[str, typer.Option(help="Model.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Move results of other settings to NAME.stale and start afresh.")
]
PartOption = Annotated[
    str | None,
    typer.Option("--part", metavar="create|I/N|finish", help="Only one part of the work; all of it by default."),
]
SliceOption = Annotated[
    str | None, typer.Option("--part", metavar="I/N", help="Only one of N slices; all of the work by default.")
]


@dataclass(frozen=True)
class Parts:
    """Which parts of a step to do."""

    create: bool
    slice: Part | None
    finish: bool

    @classmethod
    def parse(cls, text: str | None) -> "Parts":
        """All parts for None, one for `create`, `finish`, or a slice such as 3/16."""
        if text is None:
            return cls(True, WHOLE, True)
        if text in ("create", "finish"):
            return cls(text == "create", None, text == "finish")
        try:
            return cls(False, Part.parse(text), False)
        except ConfigError as error:
            raise ConfigError(f"{error}, or `create` or `finish`") from None


def slice_of(text: str | None) -> Part:
    """The slice that `--part` names; all of the work for None."""
    return WHOLE if text is None else Part.parse(text)


def neurons_with_volume(config: Path, volume: str | None, model: str, verb: str) -> NeuronsExperiment:
    """The experiment as a model sees it, once `--volume` is known to be one of its volumes."""
    return variant(volume_of(load_neurons(config, verb), config, volume), model)


def volume_of(experiment: NeuronsExperiment, config: Path, volume: str | None) -> NeuronsExperiment:
    """Refuse a volume that the experiment does not have."""
    if volume not in experiment.volumes:
        given = "is missing" if volume is None else f"{volume}: not in {config}"
        raise ConfigError(f"--volume {given}; the experiment has {', '.join(experiment.volumes)}")
    return experiment


def variant(experiment: NeuronsExperiment, model: str) -> NeuronsExperiment:
    return experiment.variant(model)
