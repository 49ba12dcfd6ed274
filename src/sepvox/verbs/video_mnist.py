"""Verbs of the study Video-MNIST: `sepvox study video-mnist STEP CONFIG`."""

from typing import Annotated, Literal

import typer

from sepvox.verbs.arguments import RESULTS, Config, Restart, Results

app = typer.Typer(
    no_args_is_help=True,
    help="Dense and 3DTT LeNet-5 on few videos of moving digits (Ras et al. 2019, Table 2).",
)


@app.command()
def videos(config: Config, results: Results = RESULTS, restart: Restart = False) -> None:
    """Make the videos and a contact sheet of them."""
    from sepvox.studies.video_mnist.settings import read_study

    study = read_study(config)
    from sepvox.layout import Layout
    from sepvox.studies.video_mnist.make import make_videos

    make_videos(study.videos, Layout(results / study.experiment), restart=restart)


@app.command()
def train(
    config: Config,
    videos: Annotated[int, typer.Option(help="Number of training videos: a row of the table.")],
    network: Annotated[Literal["dense", "tt"], typer.Option(help="Network.")],
    run: Annotated[int, typer.Option(help="Run, from 0.")],
    rate: Annotated[
        float | None,
        typer.Option(help="Try this candidate for the learning rate, in a run that is not reported."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to compute with; torch's choice by default.")
    ] = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Train and test one network on few videos, or go on with an interrupted training."""
    from sepvox.studies.video_mnist.settings import read_study
    from sepvox.studies.video_mnist.units import find_unit

    study = read_study(config)
    unit = find_unit(study.with_table(), network, videos, run, rate)
    import torch

    from sepvox.studies.video_mnist.train import train_unit

    if threads is not None:
        torch.set_num_threads(threads)
    train_unit(study, unit, results, restart)


@app.command()
def choose(config: Config, results: Results = RESULTS) -> None:
    """Choose the learning rates on validation, from trainings with their candidates."""
    from sepvox.studies.video_mnist.settings import read_study

    study = read_study(config)
    from sepvox.studies.video_mnist.choose import choose_rates

    choose_rates(study, results)


@app.command()
def table(
    config: Config,
    partial: Annotated[
        bool, typer.Option("--partial", help="Of the runs that are finished, where not all are.")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """Write the table and the figure, the published ones beside ours."""
    from sepvox.studies.video_mnist.settings import read_study

    study = read_study(config)
    from sepvox.studies.video_mnist.table import write_table

    write_table(study, results, partial)


@app.command()
def cost(
    config: Config,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Speed of one process in 10⁹ multiply-accumulates per second.")
    ] = 11,
) -> None:
    """Count what the trainings cost, before any is begun."""
    from sepvox.studies.video_mnist.settings import read_study

    study = read_study(config)
    from sepvox.studies.video_mnist.cost import render_costs

    typer.echo(render_costs(study, speed))
