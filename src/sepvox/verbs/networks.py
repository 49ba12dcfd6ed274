"""Verbs that make networks of networks."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sepvox.config import load
from sepvox.errors import ConfigError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.verbs.arguments import RESULTS

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
    from sepvox.compress import find_weights, render
    from sepvox.nets.compress import Budget

    budget = Budget(terms, 0.5 if share is None and terms is None else share)
    found = run(find_weights(source, model, results), output, budget, streams, overwrite)
    typer.echo(json.dumps(found.as_json(), indent=1) if as_json else render(found))
    if iterations is not None:
        _train_further(source, model, results, output, iterations)


def _train_further(config: Path, model: str | None, results: Path, output: Path, iterations: int) -> None:
    from sepvox.compress import WEIGHTS, trained_further
    from sepvox.train.classes import class_task
    from sepvox.train.neurons import neurons_task
    from sepvox.train.train import train

    experiment = load(config)
    chosen, layout = model or next(iter(experiment.runs())), experiment.layout(results)
    start = (output / WEIGHTS).resolve()
    if isinstance(experiment, ClassesExperiment):
        task = class_task(trained_further(experiment.variant(chosen), start, iterations), chosen, layout)
    else:
        task = neurons_task(trained_further(experiment.variant(chosen), start, iterations), layout)
    # A state that is there is of weights that were replaced.
    train(task, Layout(output), "fine-tuned", restart=True)
