"""Verbs that look at results, experiments and networks."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sepvox.config import load
from sepvox.errors import ConfigError
from sepvox.verbs.arguments import RESULTS, Model

app = typer.Typer()


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(metavar="results/EXPERIMENT", help="Results of one experiment.")],
    volume: Annotated[str | None, typer.Option(help="Volume; the first segmented one by default.")] = None,
    model: Model = "main",
    screenshot: Annotated[Path | None, typer.Option(help="Save a PNG of the window and quit.")] = None,
) -> None:
    """Open what there is of a volume, or of a subject, in napari: image, results and truth."""
    from sepvox.view.view import view as run

    run(folder, model, volume, screenshot)


@app.command("config")
def show_config(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="Experiment, a YAML file.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema instead.")] = False,
) -> None:
    """Print an experiment with every default filled in."""
    from sepvox import config as module

    if schema:
        typer.echo(module.schema(), nl=False)
    elif config is None:
        raise ConfigError("config: give a CONFIG file, or --schema")
    else:
        typer.echo(module.dump(load(config)), nl=False)


@app.command("model")
def show_model(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_CONFIG", help="A network's name, an experiment's YAML file, or trained weights."
        ),
    ],
    model: Annotated[str | None, typer.Option(help="Model of the experiment; its first by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a network's parameters, cost, receptive field and levels, or a classifier's layers."""
    from sepvox.inspect.network import network_of, notes
    from sepvox.nets.classifiers import classifier
    from sepvox.nets.clip_networks import clip_network

    found = classifier(name) or clip_network(name)
    if found is not None:
        if model is not None:
            raise ConfigError(f"--model {model}: {name} is one network and no experiment; leave it out")
        from sepvox.nets.describe_classifier import describe_classifier, render_classifier

        clips = describe_classifier(found)
        typer.echo(json.dumps(clips.as_json(), indent=1) if as_json else render_classifier(clips))
        return
    known = network_of(name, model, RESULTS)
    from sepvox.nets.describe import describe, render

    description = describe(known.network)
    if as_json:
        typer.echo(json.dumps(description.as_json() | known.as_json(), indent=1))
    else:
        typer.echo("\n\n".join([render(description), *notes(known)]))
