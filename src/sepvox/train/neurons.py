"""The training of networks for neurons: affinities of random patches, a pointwise loss and MALIS, VI of a crop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sepvox import markers
from sepvox.errors import ConfigError, InputError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.nets.geometry import geometry
from sepvox.nets.model_config import resolved
from sepvox.nets.settings import NetworkSettings
from sepvox.prepare.volume import PreparedVolume, open_prepared
from sepvox.segment.settings import SegmentSettings
from sepvox.train.losses import pointwise_loss
from sepvox.train.malis import malis_loss
from sepvox.train.patches import Patches, check_patch_fits
from sepvox.train.settings import LossSettings
from sepvox.train.task import Batch, Task
from sepvox.train.train import train
from sepvox.train.validation import Crop, crop_of, figures_of

NORMALISATION = "0.5th to 99.5th percentile of the volume to -1 to 1, clipped"


class AffinityLoss:
    """Pointwise loss, then MALIS on the three nearest affinities from `switch_at` on; the others stay pointwise."""

    def __init__(self, settings: LossSettings, network: NetworkSettings) -> None:
        self._settings = settings
        self._offsets = network.offsets
        long_range = len(network.offsets) - 3
        self._weights = torch.tensor([1.0] * 3 + [settings.auxiliary_weight] * long_range)
        self.iteration = 0

    def pointwise(self, logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The pointwise loss of every channel; also the figure of validation."""
        weights = self._weights.to(logits.device)
        return pointwise_loss(logits, targets, mask, self._settings.pointwise, self._settings.balance, weights)

    def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits = logits.float()
        if self._settings.switch_at is None or self.iteration <= self._settings.switch_at:
            return self.pointwise(logits, batch["targets"], batch["mask"])
        loss = malis_loss(logits[:, :3], batch["labels"], self._offsets[:3])
        if len(self._offsets) > 3 and self._settings.auxiliary_weight:
            kind, balance = self._settings.pointwise, self._settings.balance
            rest = pointwise_loss(logits[:, 3:], batch["targets"][:, 3:], batch["mask"][:, 3:], kind, balance)
            loss = loss + self._settings.auxiliary_weight * rest
        return loss


class CropValidation:
    """Loss and VI, in bits, of the centre crops of the validation volumes."""

    def __init__(self, crops: Sequence[Crop], loss: AffinityLoss, segment: SegmentSettings) -> None:
        self.items = crops
        self._loss, self._segment = loss, segment

    def figures(self, network: nn.Module, item: Crop, device: torch.device) -> dict[str, float]:
        return figures_of(network, item, device, self._loss.pointwise, self._segment)


def train_neurons(experiment: NeuronsExperiment, model: str, results: Path, restart: bool = False) -> None:
    """Train one model of an experiment, or go on with a training that was interrupted.

    Raises
    ------
    ConfigError, InputError
        As `neurons_task`, and if the experiment trains nothing.
    StaleError
        As `sepvox.train.train.train`.
    """
    layout = experiment.layout(results)
    train(neurons_task(experiment.variant(model), layout), layout, model, restart)


def neurons_task(experiment: NeuronsExperiment, layout: Layout) -> Task:
    """The training of one model, whose `network` and `train` the experiment has (`Experiment.variant`).

    Raises
    ------
    ConfigError
        If the network does not take the patch.
    InputError
        If the patch is larger than a training volume, or nothing is labelled where training or validation looks.
    """
    settings = experiment.train
    if settings is None:
        raise ConfigError(
            "train: the experiment has no `train` section; add one, or apply network.weights with `predict`"
        )
    network = resolved(experiment.network)
    net = geometry(network)
    if net.admissible(settings.patch) != settings.patch:
        raise ConfigError(
            f"train.patch: the network does not take {list(settings.patch)}; the next larger patch that it takes is {list(net.admissible(settings.patch))}"
        )
    volumes = {name: open_prepared(experiment, layout, name) for name in experiment.named("train", "validate")}
    learned = [volumes[name] for name in experiment.named("train")]
    for name, volume in zip(experiment.named("train"), learned, strict=True):
        check_patch_fits(name, volume, settings.patch)
    loss = AffinityLoss(settings.loss, network)
    crops = [
        crop_of(
            volumes[name],
            settings.validation_crop,
            net,
            network.offsets,
            settings.background,
            settings.erode_labels,
        )
        for name in experiment.named("validate")
    ]
    for name, crop in zip(experiment.named("validate"), crops, strict=True):
        if not crop.labels.any():
            raise InputError(
                f"volumes.{name}: the centre crop of {list(crop.labels.shape)} voxels has no label but 0, so nothing can be validated; enlarge train.validation_crop, or choose another region"
            )
    return Task(
        settings=settings,
        network=network,
        patch=settings.patch,
        batch=settings.batch,
        iterations=settings.iterations,
        select=settings.select,
        patches=Patches(learned, settings, net.output_shape(settings.patch), network.offsets),
        loss=loss,
        validation=CropValidation(crops, loss, experiment.segment),
        fingerprint=_fingerprint(experiment, network, volumes),
        record={"normalisation": NORMALISATION, "training": _record(experiment, volumes)},
        initial=Path(experiment.network.weights) if experiment.network.weights else None,
    )


def _fingerprint(experiment: NeuronsExperiment, network: NetworkSettings, volumes: dict[str, PreparedVolume]) -> str:
    assert experiment.train is not None
    start = experiment.network.weights
    return markers.fingerprint(
        experiment.train.model_dump(mode="json", exclude=experiment.train.free),
        network.model_dump(mode="json"),
        markers.file_fingerprint(Path(start)) if start else None,
        [(name, experiment.volumes[name].role, volume.fingerprint) for name, volume in volumes.items()],
    )


def _record(experiment: NeuronsExperiment, volumes: dict[str, PreparedVolume]) -> dict[str, Any]:
    assert experiment.train is not None
    return {
        "experiment": experiment.experiment,
        "volumes": {name: experiment.volumes[name].role for name in volumes},
        "settings": experiment.train.model_dump(mode="json"),
    }
