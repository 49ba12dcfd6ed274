"""What a study of compression is told, and where it writes; the workflow reads it without loading networks."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepvox.config import load_neurons, load_study
from sepvox.errors import ConfigError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.settings import Name, Positive, PositiveFloat, Settings


class CompressionStudy(Settings):
    """One study of compression: a YAML file."""

    experiment: Name = Field(description="Name; results go to results/NAME, NAME-applied and NAME-trained.")
    dense: str = Field(description="Experiment of task neurons, a YAML file, whose first model is dense.")
    share: Annotated[float, Field(gt=0, le=2)] = Field(
        0.5, description="Weights that a convolution may keep, as a share."
    )
    streams: Annotated[int, Field(ge=1, le=3)] = Field(3, description="Streams: across z, then y, then x.")
    iterations: Positive = Field(description="Steps for which the compressed network is trained on.")
    learning_rate: PositiveFloat | None = Field(
        None, description="Learning rate of these steps; that of the dense network by default."
    )


def read_study(path: str | Path) -> CompressionStudy:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
        Also if its experiment trains nothing, or begins with a network that is not dense.
    """
    study = load_study(path, CompressionStudy, ("dense",))
    experiment, first = dense_experiment(study)
    network = experiment.variant(first).network
    if experiment.train is None or network.weights is not None or network.block != "dense":
        raise ConfigError(f"{path}: dense: {study.dense}: its first model is no dense network that it trains; name one")
    return study


def dense_experiment(study: CompressionStudy) -> tuple[NeuronsExperiment, str]:
    """The experiment of the dense network, and the model in it."""
    experiment = load_neurons(study.dense, "study compression")
    return experiment, next(iter(experiment.runs()))


def stage_config(study: CompressionStudy, results: Path, stage: str) -> Path:
    """Where the experiment of a stage is written."""
    return Layout(results / study.experiment).root / f"{stage}.yaml"
