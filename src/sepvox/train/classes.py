"""The training of networks for classes: class-balanced random patches, Dice and cross-entropy, Dice of validation subjects."""

from math import ceil
from pathlib import Path
from typing import Any

import torch

from sepvox import markers
from sepvox.errors import ConfigError, InputError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NetworkSettings
from sepvox.predict.class_model import SEEN, check_trained_for, read_class_model
from sepvox.prepare.settings import Role
from sepvox.prepare.subject import PreparedSubject, open_prepared
from sepvox.train.class_patches import ClassPatches
from sepvox.train.class_settings import ClassTrainSettings
from sepvox.train.class_validation import ClassValidation
from sepvox.train.dice import DiceCrossEntropy
from sepvox.train.plan import plan
from sepvox.train.task import Batch, Task
from sepvox.train.train import train

_FIGURES = {"loss": "loss", "dice": "dice_error"}


class ClassLoss:
    """Weighted sum of Dice loss and cross-entropy; under deep supervision of every level, as `DiceCrossEntropy` weighs them.

    Dice sums run over the batch, so that a class that one small patch has not is judged by the others.
    """

    def __init__(self, settings: ClassTrainSettings) -> None:
        self._loss = DiceCrossEntropy(batch=True, weights=(settings.dice_weight, settings.cross_entropy_weight))
        self.iteration = 0

    def __call__(self, logits: Any, batch: Batch) -> torch.Tensor:
        loss: torch.Tensor = self._loss(logits, batch["classes"])
        return loss


def train_classes(experiment: ClassesExperiment, model: str, results: Path, restart: bool = False) -> None:
    """Train one model of an experiment, or go on with a training that was interrupted.

    Raises
    ------
    ConfigError, InputError, StoreError
        As `class_task`, and if the experiment trains nothing.
    StaleError
        As `sepvox.train.train.train`.
    """
    layout = experiment.layout(results)
    train(class_task(experiment.variant(model), model, layout), layout, model, restart)


def class_task(experiment: ClassesExperiment, model: str, layout: Layout) -> Task:
    """The training of one model, whose `network` and `train` the experiment has (`Experiment.variant`).

    Patch, pooling and batch that are not given are planned from the training subjects (`sepvox.train.plan`).

    Raises
    ------
    ConfigError
        If the network does not take the patch, nothing fits the memory, or the weights to start from were trained for other
        classes, modalities or preparation.
    InputError
        If a subject has no labels, no training subject has a voxel of any class, or the weights to start from are not
        whole.
    StoreError
        If a subject was not prepared.
    StaleError
        If a subject was prepared from other files or with other settings.
    """
    settings = experiment.train
    if settings is None:
        raise ConfigError(
            "train: the experiment has no `train` section; add one, or apply network.weights with `predict`"
        )
    open_network = _network(experiment)
    roles = {name: role for name, role in experiment.roles(model).items() if role in ("train", "validate")}
    subjects = {name: _open_labelled(experiment, layout, name, role) for name, role in roles.items()}
    learned = [name for name, role in roles.items() if role == "train"]
    planned = plan(
        [subjects[name].shape for name in learned],
        [subjects[name].grid.spacing for name in learned],
        open_network,
        int(settings.memory * 2**30),
        patch=settings.patch,
        batch=settings.batch,
        # What `auto` means depends on the machine, and the plan must not.
        value_bytes=2 if settings.precision == "bfloat16" else 4,
    )
    network = planned.network(open_network)
    patch, batch = planned.patch, planned.batch
    output = geometry(network).output_shape(patch)
    numbers = [f"class{number}" for number in range(1, len(experiment.classes) + 1)]
    voxels = [
        list(markers.read_arrays(layout.class_voxels(name), "`sepvox prepare`", *numbers).values()) for name in learned
    ]
    loss = ClassLoss(settings)
    iterations = settings.iterations if settings.epochs is None else ceil(settings.epochs * len(learned) / batch)
    checked = [subjects[name] for name, role in roles.items() if role == "validate"]
    start = None if experiment.network.weights is None else Path(experiment.network.weights)
    return Task(
        settings=settings,
        network=network,
        patch=patch,
        batch=batch,
        iterations=iterations,
        select=_FIGURES[settings.select],
        patches=ClassPatches([subjects[name] for name in learned], voxels, settings, patch, output),
        loss=loss,
        validation=ClassValidation(checked, patch, output, loss),
        fingerprint=markers.fingerprint(
            # Memory counts through the plan that it led to.
            settings.model_dump(mode="json", exclude=settings.free | {"memory"}),
            network.model_dump(mode="json"),
            None if start is None else markers.file_fingerprint(start),
            (patch, batch),
            list(experiment.classes),
            experiment.modalities,
            [(name, role, subjects[name].fingerprint) for name, role in roles.items()],
        ),
        record={
            "classes": experiment.classes,
            "modalities": list(experiment.modalities),
            "prepare": experiment.prepare.model_dump(mode="json", include=set(SEEN)),
            "patch": list(patch),
            "mirror": list(settings.augment.mirror),
            "training": {
                "experiment": experiment.experiment,
                "model": model,
                "subjects": roles,
                "batch": batch,
                "iterations": iterations,
                "settings": settings.model_dump(mode="json"),
            },
        },
        initial=start,
        notes=planned.reasons,
    )


def _open_labelled(experiment: ClassesExperiment, layout: Layout, name: str, role: Role) -> PreparedSubject:
    subject = open_prepared(experiment, layout, name)
    if subject.labels is None:
        raise InputError(
            f"subject {name}: has no labels, but its role is {role}; give its label map, or put it into the split `apply`"
        )
    return subject


def _network(experiment: ClassesExperiment) -> NetworkSettings:
    """The architecture with its channels, or that of the weights to start from; pooling may be open."""
    given = experiment.network
    if given.weights is not None:
        trained = read_class_model(Path(given.weights))
        check_trained_for(trained, experiment.classes, experiment.modalities, experiment.prepare)
        return trained.network
    return given.with_channels(len(experiment.modalities), len(experiment.classes))
