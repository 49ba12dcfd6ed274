"""Verbs of studies: the papers' experiments, `sepvox study NAME`."""

import typer

from sepvox.verbs import video_mnist

app = typer.Typer()
study = typer.Typer(no_args_is_help=True, help="Run one of the papers' experiments.")
app.add_typer(study, name="study")
study.add_typer(video_mnist.app, name="video-mnist")
