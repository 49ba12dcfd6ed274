"""Verbs of the steps that both tasks have."""

from typing import Annotated

import typer

from sepvox.config import load
from sepvox.errors import ConfigError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.verbs.arguments import (
    RESULTS,
    Config,
    Model,
    PartOption,
    Parts,
    Restart,
    Results,
    VolumeOfNeurons,
    slice_of,
    volume_of,
)

app = typer.Typer()


@app.command()
def prepare(
    config: Config,
    volume: VolumeOfNeurons = None,
    part: Annotated[
        str | None, typer.Option("--part", metavar="I/N", help="Task classes: only one of N slices of the subjects.")
    ] = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Bring images and labels to OME-Zarr."""
    experiment = load(config)
    if isinstance(experiment, ClassesExperiment):
        _no_volume(experiment, volume)
        from sepvox.prepare.subjects import prepare_subjects

        prepare_subjects(experiment, results, slice_of(part), restart)
    else:
        if part is not None:
            raise ConfigError(f"--part {part}: a volume is prepared whole; leave it out")
        from sepvox.prepare.prepare import prepare as run

        run(volume_of(experiment, config, volume), str(volume), results, restart)


@app.command()
def train(config: Config, model: Model = "main", results: Results = RESULTS, restart: Restart = False) -> None:
    """Train a model, or go on with an interrupted training."""
    experiment = load(config)
    if isinstance(experiment, ClassesExperiment):
        from sepvox.train.classes import train_classes

        train_classes(experiment, model, results, restart)
    else:
        from sepvox.train.neurons import train_neurons

        train_neurons(experiment, model, results, restart)


@app.command()
def predict(
    config: Config,
    volume: VolumeOfNeurons = None,
    model: Model = "main",
    part: PartOption = None,
    results: Results = RESULTS,
    restart: Restart = False,
) -> None:
    """Predict affinities, or class probabilities, tile by tile."""
    experiment = load(config)
    if isinstance(experiment, ClassesExperiment):
        _no_volume(experiment, volume)
        from sepvox.predict.classes import predict_subjects

        predict_subjects(experiment, model, results, slice_of(part), restart)
        return
    neurons = volume_of(experiment, config, volume).variant(model)
    parts, name = Parts.parse(part), str(volume)
    from sepvox.predict import job

    if parts.create:
        job.create(neurons, model, name, results, restart)
    if parts.slice is not None:
        from sepvox.predict.predict import predict_slice

        predict_slice(neurons, model, name, results, parts.slice)
    if parts.finish:
        job.finish(neurons, model, name, results)


@app.command()
def choose(config: Config, model: Model = "main", results: Results = RESULTS) -> None:
    """Choose on the validation data: the merge threshold, or which classes are cleaned up."""
    experiment = load(config)
    if isinstance(experiment, ClassesExperiment):
        from sepvox.score.class_choose import choose_clean_up_of

        choose_clean_up_of(experiment, model, results)
    else:
        from sepvox.score.choose import choose as run

        run(experiment.variant(model), model, results)


@app.command()
def score(
    config: Config,
    volume: VolumeOfNeurons = None,
    model: Model = "main",
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Task neurons: score every threshold, before one is chosen.")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", metavar="I/N|finish", help="Task classes: only a slice of the subjects, or the summary."
        ),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Compare a segmentation with the ground truth."""
    experiment = load(config)
    if isinstance(experiment, ClassesExperiment):
        _no_volume(experiment, volume)
        if part == "create":
            raise ConfigError("--part create: there is nothing to create; give INDEX/COUNT, such as 0/4, or `finish`")
        parts = Parts.parse(part)
        if parts.slice is not None:
            from sepvox.score.class_score import score_subjects

            score_subjects(experiment, model, results, parts.slice)
        if parts.finish:
            from sepvox.score.class_tables import summarise

            summarise(experiment, model, results)
        return
    if part is not None:
        raise ConfigError(f"--part {part}: a volume is scored whole; leave it out")
    from sepvox.score.score import score_chosen, score_sweep

    run = score_sweep if sweep else score_chosen
    run(volume_of(experiment, config, volume).variant(model), model, str(volume), results)


@app.command()
def report(config: Config, results: Results = RESULTS) -> None:
    """Write the report page."""
    experiment = load(config)
    if isinstance(experiment, ClassesExperiment):
        from sepvox.report.class_report import class_report

        class_report(experiment, config, results)
    else:
        from sepvox.report.report import report as run

        run(experiment, config, results)


def _no_volume(experiment: ClassesExperiment, volume: str | None) -> None:
    if volume is not None:
        raise ConfigError(
            f"--volume {volume}: task is {experiment.task}, whose subjects are handled together; leave it out"
        )
