"""Verbs of studies: the papers' experiments, `sepvox study NAME`."""

from typing import Annotated

import typer

from sepvox.errors import ConfigError
from sepvox.verbs import video_mnist
from sepvox.verbs.arguments import RESULTS, Config, Restart, Results

app = typer.Typer()
study = typer.Typer(no_args_is_help=True, help="Run one of the papers' experiments.")
app.add_typer(study, name="study")
study.add_typer(video_mnist.app, name="video-mnist")


@study.command("toy")
def toy(
    config: Config,
    student: Annotated[str | None, typer.Option(help="Train only this student, and report nothing.")] = None,
    seed: Annotated[int | None, typer.Option(help="Train only with this seed, and report nothing.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Only report, on students that are trained.")] = False,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Toy approximation: train the students of a fixed dense network, and say which comes nearest."""
    from sepvox.studies.toy_approximation.settings import read_study

    chosen = read_study(config)
    some = student is not None or seed is not None
    if report and some:
        raise ConfigError("--report: is on all students and seeds; leave out --student and --seed")
    if not report:
        from sepvox.studies.toy_approximation.run import train_toy

        train_toy(chosen, results, student, seed, restart)
    if not some:
        from sepvox.studies.toy_approximation.report import report_toy

        typer.echo(report_toy(chosen, results))


@study.command("blocks")
def blocks(config: Config, results: Results = RESULTS) -> None:
    """Blocks in one U-Net: hold the paper's claim against an experiment that compared them and that ran."""
    from sepvox.studies.blocks.settings import read_study

    chosen = read_study(config)
    from sepvox.studies.blocks.speed import seconds_of_networks
    from sepvox.studies.blocks.study import compare_blocks

    typer.echo(compare_blocks(chosen, results, seconds_of_networks), nl=False)


@study.command("compression")
def compression(
    config: Config,
    table: Annotated[bool, typer.Option("--table", help="Tabulate what was run, instead of preparing it.")] = False,
    results: Results = RESULTS,
) -> None:
    """Compression: make the experiments on a compressed dense network, or, once they ran, their table."""
    from sepvox.studies.compression.settings import read_study, stage_config

    chosen = read_study(config)
    from sepvox.studies.compression.study import STAGES, prepare_stages, tabulate

    if table:
        typer.echo(tabulate(chosen, results), nl=False)
        return
    prepare_stages(chosen, results)
    for stage in STAGES:
        typer.echo(stage_config(chosen, results, stage))


@study.command("video")
def video(
    config: Config,
    part: Annotated[
        str | None,
        typer.Option(metavar="videos|UNIT|tables", help="Only one part; all that is missing by default."),
    ] = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Video classification: train and test 3D ResNets and DenseNets with dense, separable or 3DTT convolutions."""
    from sepvox.studies.video_classification.settings import read_study

    chosen = read_study(config)
    from sepvox.studies.video_classification.study import run

    run(chosen, results, part, restart)
