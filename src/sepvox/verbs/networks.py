"""Verbs that make networks of networks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepvox.config import load
from sepvox.errors import ConfigError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.verbs.arguments import RESULTS

if TYPE_CHECKING:
    from sepvox.train.task import Task

app = typer.Typer()


@app.command()
def compress(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG_OR_WEIGHTS", help="Experiment, a YAML file, or best.safetensors, its config.json beside it."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for best.safetensors, config.json and compression.json.")],
    share: Annotated[
        float | None,
        typer.Option(help="Weights that a convolution may keep, as a share; 0.5 by default, 2 keeps all terms."),
    ] = None,
    terms: Annotated[int | None, typer.Option(help="Instead of --share: terms that a convolution may have.")] = None,
    streams: Annotated[int, typer.Option(min=1, max=3, help="Streams: across z, then y, then x.")] = 3,
    model: Annotated[str | None, typer.Option(help="Model of the experiment; its first by default.")] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1, help="Train on for so many, on the experiment's data; weights go to OUTPUT/models/fine-tuned."
        ),
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of all results.")] = RESULTS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a trained dense network into a parallel separable one, and train that further."""
    if iterations is not None and source.suffix == ".safetensors":
        raise ConfigError(f"--iterations {iterations}: {source} has no data to train on; give its experiment instead")
    from sepvox.compress import compress as run
    from sepvox.compress import find_weights, is_compressed, render
    from sepvox.nets.compress import Budget

    budget = Budget(terms, 0.5 if share is None and terms is None else share)
    weights = find_weights(source, model, results)
    further = None if iterations is None else _Further(source, model, results, output, iterations)
    # A training that was interrupted goes on, from the same weights.
    if further is None or not is_compressed(weights, output, budget, streams):
        found = run(weights, output, budget, streams, overwrite)
        typer.echo(json.dumps(found.as_json(), indent=1) if as_json else render(found))
    if further is not None:
        further.train()


class _Further:
    """The training of compressed weights; that its data and settings will do is seen before anything is written."""

    def __init__(self, config: Path, model: str | None, results: Path, output: Path, iterations: int) -> None:
        from sepvox.compress import WEIGHTS, trained_further

        experiment = load(config)
        self.model, self.output = model or next(iter(experiment.runs())), output
        self.layout, variant = experiment.layout(results), experiment.variant(self.model)
        self.experiment = trained_further(variant, (output / WEIGHTS).resolve(), iterations)
        self._task(variant)

    def train(self) -> None:
        from sepvox.train.train import train

        # A state that is there may be of weights that were replaced.
        train(self._task(self.experiment), Layout(self.output), "fine-tuned", restart=True)

    def _task(self, experiment: NeuronsExperiment | ClassesExperiment) -> "Task":
        from sepvox.train.classes import class_task
        from sepvox.train.neurons import neurons_task

        if isinstance(experiment, ClassesExperiment):
            return class_task(experiment, self.model, self.layout)
        return neurons_task(experiment, self.layout)
