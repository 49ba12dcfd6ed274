"""Which experiments a study of blocks can be; the workflow reads one without loading networks."""

from pathlib import Path

from sepvox.config import load
from sepvox.errors import ConfigError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.neurons import NeuronsExperiment


def read_study(path: str | Path) -> NeuronsExperiment | ClassesExperiment:
    """Read an experiment that compares blocks.

    Raises
    ------
    ConfigError
        As `sepvox.config.load`, and if no network of the experiment is dense, none is another one, or there are several
        folds, which would count as seeds.
    """
    experiment = load(path)
    blocks = [experiment.variant(model).network for model in experiment.runs()]
    dense = [network.weights is None and network.block == "dense" for network in blocks]
    if not any(dense) or all(dense):
        raise ConfigError(
            f"{path}: models: a study of blocks needs a network with `block: dense` and one with another; add what is missing"
        )
    if len({run.fold for run in experiment.runs().values()}) > 1:
        raise ConfigError(f"{path}: split: a study of blocks compares over seeds, in one fold; give `run: [0]`")
    return experiment
