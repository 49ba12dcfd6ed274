"""The command line: one verb per step, and a few that belong to no step.

Packages that a verb needs are imported inside it, so that the others start at once. A fault that the user can mend is one
line on standard error and exit status 2.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click
import typer

from sepvox import __version__
from sepvox.blocks import Part
from sepvox.config import Experiment, load
from sepvox.errors import ConfigError, SepvoxError, StoreError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw 3D volumes to scored segmentations with parallel separable 3D networks.",
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment, a YAML file.")]
Results = Annotated[Path, typer.Option(help="Folder of all results.")]
Volume = Annotated[str, typer.Option(help="Volume, a key of `volumes`.")]
Model = Annotated[str, typer.Option(help="Model.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Move results of other settings to NAME.stale and start afresh.")
]
PartOption = Annotated[
    str | None,
    typer.Option("--part", metavar="create|I/N|finish", help="Only one part of the work; all of it by default."),
]
RESULTS = Path("results")


@app.command()
def prepare(config: Config, volume: Volume, results: Results = RESULTS, restart: Restart = False) -> None:
    """Bring a volume and its labels to OME-Zarr."""
    experiment = _experiment(config, volume)
    from sepvox.prepare.prepare import prepare as run

    run(experiment, volume, results, restart)


@app.command()
def train(config: Config, model: Model = "main", results: Results = RESULTS, restart: Restart = False) -> None:
    """Train a model, or go on with an interrupted training."""
    experiment = load(config)
    from sepvox.train.train import train as run

    run(experiment, model, results, restart)


@app.command()
def predict(
    config: Config,
    volume: Volume,
    model: Model = "main",
    part: PartOption = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Predict affinities, tile by tile."""
    experiment = _experiment(config, volume)
    parts = _parts(part)
    from sepvox.predict import job

    if parts.create:
        job.create(experiment, model, volume, results, restart)
    if parts.slice is not None:
        from sepvox.predict.predict import predict_slice

        predict_slice(experiment, model, volume, results, parts.slice)
    if parts.finish:
        job.finish(experiment, model, volume, results)


@app.command()
def fragments(
    config: Config,
    volume: Volume,
    model: Model = "main",
    part: PartOption = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Cut a volume into fragments by watershed."""
    experiment = _experiment(config, volume)
    parts = _parts(part)
    from sepvox.segment import fragments as step

    if parts.create:
        step.create(experiment, model, volume, results, restart)
    if parts.slice is not None:
        step.fragments_slice(experiment, model, volume, results, parts.slice)
    if parts.finish:
        step.finish(experiment, model, volume, results)


@app.command("region-graph")
def region_graph(
    config: Config, volume: Volume, model: Model = "main", part: PartOption = None, results: Results = RESULTS
) -> None:
    """Compute the merge scores of neighbouring fragments."""
    experiment = _experiment(config, volume)
    from sepvox.segment.region_graph import region_graph_slice

    region_graph_slice(experiment, model, volume, results, Part.parse(part or "0/1"))


@app.command()
def agglomerate(config: Config, volume: Volume, model: Model = "main", results: Results = RESULTS) -> None:
    """Make one lookup table from fragments to segments per threshold."""
    experiment = _experiment(config, volume)
    from sepvox.segment.agglomerate import agglomerate as run

    run(experiment, model, volume, results)


@app.command()
def score(
    config: Config,
    volume: Volume,
    model: Model = "main",
    sweep: Annotated[bool, typer.Option("--sweep", help="Score every threshold, before one is chosen.")] = False,
    results: Results = RESULTS,
) -> None:
    """Compare a segmentation with the ground truth."""
    experiment = _experiment(config, volume)
    from sepvox.score.score import score_chosen, score_sweep

    (score_sweep if sweep else score_chosen)(experiment, model, volume, results)


@app.command()
def choose(config: Config, model: Model = "main", results: Results = RESULTS) -> None:
    """Choose the merge threshold on the validation volumes."""
    experiment = load(config)
    from sepvox.score.choose import choose as run

    run(experiment, model, results)


@app.command()
def relabel(
    config: Config,
    volume: Volume,
    model: Model = "main",
    threshold: Annotated[
        float | None, typer.Option(help="Another threshold of the sweep; writes segmentation-THRESHOLD.zarr.")
    ] = None,
    part: PartOption = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Write the segmentation at the chosen threshold, or at another one."""
    experiment = _experiment(config, volume)
    parts = _parts(part)
    from sepvox.segment import relabel as step

    if parts.create:
        step.create(experiment, model, volume, results, restart, threshold)
    if parts.slice is not None:
        step.relabel_slice(experiment, model, volume, results, parts.slice, threshold)
    if parts.finish:
        step.finish(experiment, model, volume, results, threshold)


@app.command()
def report(config: Config, results: Results = RESULTS) -> None:
    """Write the report page."""
    experiment = load(config)
    from sepvox.report.report import report as run

    run(experiment, config, results)


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(metavar="results/EXPERIMENT", help="Results of one experiment.")],
    volume: Annotated[str | None, typer.Option(help="Volume; the first segmented one by default.")] = None,
    model: Model = "main",
    screenshot: Annotated[Path | None, typer.Option(help="Save a PNG of the window and quit.")] = None,
) -> None:
    """Open a volume's image, affinities, fragments, segmentation and truth in napari."""
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
        str, typer.Argument(metavar="NAME_OR_CONFIG", help="A network's name, or an experiment's YAML file.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a network's parameters, cost, receptive field and levels."""
    import json
    from typing import get_args

    from pydantic import TypeAdapter

    from sepvox.nets.settings import NetworkName, NetworkSettings

    if name in get_args(NetworkName):
        settings = NetworkSettings(name=TypeAdapter(NetworkName).validate_python(name))
    elif Path(name).exists():
        settings = load(name).network
    else:
        raise ConfigError(f"model {name}: neither a file nor one of {', '.join(get_args(NetworkName))}")
    from sepvox.nets.describe import describe, render
    from sepvox.nets.model_config import resolved

    description = describe(resolved(settings))
    typer.echo(json.dumps(description.as_json(), indent=1) if as_json else render(description))


def _experiment(config: Path, volume: str) -> Experiment:
    experiment = load(config)
    if volume not in experiment.volumes:
        raise ConfigError(f"--volume {volume}: not in {config}, which has {', '.join(experiment.volumes)}")
    return experiment


@dataclass(frozen=True)
class _Parts:
    """Which parts of a blockwise step to do."""

    create: bool
    slice: Part | None
    finish: bool


def _parts(text: str | None) -> _Parts:
    if text is None:
        return _Parts(True, Part(0, 1), True)
    if text in ("create", "finish"):
        return _Parts(text == "create", None, text == "finish")
    return _Parts(False, Part.parse(text), False)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of `sepvox`."""
    try:
        app()
    except SepvoxError as error:
        _fail(str(error))
    except OSError as error:
        # A full or read-only disk can show up in any write.
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        mend = (
            "run the step that makes it" if isinstance(error, FileNotFoundError) else "free space or check permissions"
        )
        _fail(str(StoreError(f"{where}{error.strerror}; {mend}, then run the same command again")))


def _fail(message: str) -> None:
    click.echo(f"sepvox: {' '.join(message.split())}", err=True)
    sys.exit(2)
