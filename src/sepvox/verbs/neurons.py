"""Verbs of steps that only the task neurons has."""

from typing import Annotated

import typer

from sepvox.verbs.arguments import (
    RESULTS,
    Config,
    Model,
    PartOption,
    Parts,
    Restart,
    Results,
    SliceOption,
    Volume,
    neurons_with_volume,
    slice_of,
)

app = typer.Typer()


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
    experiment = neurons_with_volume(config, volume, model, "fragments")
    parts = Parts.parse(part)
    from sepvox.segment import fragments as step

    if parts.create:
        step.create(experiment, model, volume, results, restart)
    if parts.slice is not None:
        step.fragments_slice(experiment, model, volume, results, parts.slice)
    if parts.finish:
        step.finish(experiment, model, volume, results)


@app.command("region-graph")
def region_graph(
    config: Config, volume: Volume, model: Model = "main", part: SliceOption = None, results: Results = RESULTS
) -> None:
    """Compute the merge scores of neighbouring fragments."""
    experiment = neurons_with_volume(config, volume, model, "region-graph")
    from sepvox.segment.region_graph import region_graph_slice

    region_graph_slice(experiment, model, volume, results, slice_of(part))


@app.command()
def agglomerate(config: Config, volume: Volume, model: Model = "main", results: Results = RESULTS) -> None:
    """Make one lookup table from fragments to segments per threshold."""
    experiment = neurons_with_volume(config, volume, model, "agglomerate")
    from sepvox.segment.agglomerate import agglomerate as run

    run(experiment, model, volume, results)


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
    experiment = neurons_with_volume(config, volume, model, "relabel")
    parts = Parts.parse(part)
    from sepvox.segment import relabel as step

    if parts.create:
        step.create(experiment, model, volume, results, restart, threshold)
    if parts.slice is not None:
        step.relabel_slice(experiment, model, volume, results, parts.slice, threshold)
    if parts.finish:
        step.finish(experiment, model, volume, results, threshold)
