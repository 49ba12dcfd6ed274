"""Verbs that only the task classes has."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from sepvox.config import load_classes
from sepvox.errors import ConfigError
from sepvox.verbs.arguments import RESULTS, Config, Model, Restart, Results, SliceOption, slice_of

app = typer.Typer()


@app.command()
def classify(
    config: Config,
    model: Model = "main",
    part: SliceOption = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Decide the classes and write them in the space of each subject's scan."""
    experiment = load_classes(config, "classify")
    from sepvox.segment.classify import classify_subjects

    classify_subjects(experiment, model, results, slice_of(part), restart)


@app.command()
def inspect(config: Config, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show shapes, spacings, orientations and labels of a data set, and what is odd about it; exit 1 where prepare would refuse a file."""
    experiment = load_classes(config, "inspect")
    from sepvox.inspect import table
    from sepvox.inspect.fingerprint import inspect_subjects

    found = inspect_subjects(experiment)
    typer.echo(json.dumps(table.as_json(found), indent=1) if as_json else table.render(found))
    if any(oddity.severity == "error" for oddity in found.oddities):
        raise typer.Exit(1)


@app.command()
def apply(
    weights: Annotated[
        list[Path], typer.Option(help="best.safetensors, its config.json beside it; several are an ensemble.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the results, NAME_seg.nii.gz.")],
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="INPUT...", help="Scans, or folders of scans.")] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Instead of INPUT: one scan of a subject with several modalities."),
    ] = None,
    tile: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="Z Y X", help="Voxels that are predicted at once; as in training by default."),
    ] = None,
    augment: Annotated[Literal["none", "mirror"], typer.Option(help="Test-time augmentation.")] = "none",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Device.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
) -> None:
    """Segment scans with trained weights, without an experiment."""
    from sepvox.apply import apply as run
    from sepvox.predict.settings import ClassPredictSettings

    if tile is not None and min(tile) < 1:
        raise ConfigError(f"--tile {' '.join(map(str, tile))}: expected three numbers above 0")
    settings = ClassPredictSettings(augment=augment, device=device, tile=tile)
    run(weights, output, inputs or (), _modalities(modality or []), overwrite, settings)


def _modalities(given: list[str]) -> dict[str, Path] | None:
    """Scans by modality, from NAME=FILE."""
    found = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"--modality {text}: expected NAME=FILE, such as T1w=scan.nii.gz")
        if name in found:
            raise ConfigError(f"--modality {text}: {name} is given twice; give each modality once")
        found[name] = Path(file)
    return found or None
