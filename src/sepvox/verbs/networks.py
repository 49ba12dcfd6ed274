"""Verbs that make networks of networks."""

import json
from pathlib import Path
from typing import Annotated

import typer

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
    results: Annotated[Path, typer.Option(help="Folder of all results.")] = RESULTS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a trained dense network into a parallel separable one, to be trained further."""
    from sepvox.compress import compress as run
    from sepvox.compress import find_weights, render
    from sepvox.nets.compress import Budget

    budget = Budget(terms, 0.5 if share is None and terms is None else share)
    found = run(find_weights(source, model, results), output, budget, streams, overwrite)
    typer.echo(json.dumps(found.as_json(), indent=1) if as_json else render(found))
