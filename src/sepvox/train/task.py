"""What a training is about, beside the loop that runs it: patches, loss, validation.

There is one *task* per kind of network: affinities of neurons (`sepvox.train.neurons`) and classes
(`sepvox.train.classes`). The loop in `sepvox.train.train` knows nothing of either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import Dataset

from sepvox.blocks import Triple
from sepvox.nets.settings import NetworkSettings
from sepvox.train.settings import BaseTrainSettings

Batch = dict[str, torch.Tensor]


class Loss(Protocol):
    """The loss of a batch; `iteration`, counted from 1, is set before each call.

    `logits` is what the network returned: one tensor, or under deep supervision a list, the finest first.
    """

    iteration: int

    def __call__(self, logits: Any, batch: Batch) -> torch.Tensor: ...


class Validation(Protocol):
    """Figures of the published network on the validation data."""

    @property
    def items(self) -> Sequence[Any]:
        """What is visited one by one; the figures are averaged over them. Empty where nothing is validated on."""

    def figures(self, network: nn.Module, item: Any, device: torch.device) -> dict[str, float]:
        """Figures of one item, `loss` among them; smaller is better for each. The network is in evaluation mode."""


@dataclass(frozen=True)
class Task:
    """One training.

    Attributes
    ----------
    settings : BaseTrainSettings
        Loop, optimiser and schedule.
    network : NetworkSettings
        The architecture, complete.
    patch : (int, int, int)
        Network input in voxels, z y x.
    batch : int
        Patches per step.
    iterations : int
        Optimiser steps of the whole run.
    select : str
        Which figure of validation chooses the best checkpoint.
    patches : Dataset
        Random access to the endless list of training patches: `image` (c, z, y, x) and what the loss needs.
    loss : Loss
    validation : Validation
    fingerprint : str
        Of everything that the weights depend on, beside the version of the train step.
    record : dict
        What config.json beside the weights says about them.
    initial : Path or None
        Weights to start from.
    notes : tuple of str
        Lines printed before the training begins, such as reasons for what was chosen.
    """

    settings: BaseTrainSettings
    network: NetworkSettings
    patch: Triple
    batch: int
    iterations: int
    select: str
    patches: Dataset[Batch]
    loss: Loss
    validation: Validation
    fingerprint: str
    record: dict[str, Any]
    initial: Path | None = None
    notes: tuple[str, ...] = ()
