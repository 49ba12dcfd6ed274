"""Verbs of studies: the papers' experiments, `sepvox study NAME`."""

from typing import Annotated

import typer

from sepvox.config import load_study
from sepvox.verbs.arguments import RESULTS, Config, Restart, Results

app = typer.Typer()
study = typer.Typer(no_args_is_help=True, help="Run one of the papers' experiments.")
app.add_typer(study, name="study")


@study.command("video-mnist")
def video_mnist(config: Config, results: Results = RESULTS, restart: Restart = False) -> None:
    """Video-MNIST: make its videos and a contact sheet of them."""
    from sepvox.studies.video_mnist.settings import VideoMnistStudy

    chosen = load_study(config, VideoMnistStudy, ("videos.images",))
    from sepvox.studies.video_mnist.make import make_videos

    make_videos(chosen, results, restart)


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
    from sepvox.studies.video_classification.settings import FILES, VideoStudy

    chosen = load_study(config, VideoStudy, FILES)
    from sepvox.studies.video_classification.study import run

    run(chosen, results, part, restart)
