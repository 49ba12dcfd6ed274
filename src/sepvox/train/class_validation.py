"""Validation for classes: loss and Dice error of validation subjects, predicted tile by tile as the predict step does.

The *Dice error* of a subject is 1 minus the mean Dice coefficient (Dice 1945) over the classes that it has or is predicted
to have; it is 0 where there are none. It stands in metrics.jsonl as `validation_dice_error`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from sepvox.blocks import Box, Triple, triple
from sepvox.predict.class_tiles import Volume, predict_box
from sepvox.prepare.subject import PreparedSubject
from sepvox.train.task import Loss

# What validation may cost: so many subjects, evenly spread over all, and of each the centre region.
MOST_SUBJECTS: Final = 16
LARGEST_REGION: Final[Triple] = (160, 160, 160)
OVERLAP: Final = 0.25
# Tiles that are certain and wrong must not make the loss infinite.
_LEAST_PROBABILITY: Final = 1e-12


@dataclass(frozen=True)
class Region:
    """A box of a subject that is validated on; the image around it is read as far as tiles reach."""

    subject: PreparedSubject
    box: Box


class ClassValidation:
    """Loss and Dice error of the centre regions of some subjects.

    Parameters
    ----------
    subjects : sequence of PreparedSubject
        Validation subjects with labels; at most `MOST_SUBJECTS` of them are used.
    patch : (int, int, int)
        Network input in voxels, z y x.
    output : (int, int, int)
        What the network returns for `patch`.
    loss : Loss
        The loss of training; here of the logarithms of the assembled probabilities.
    """

    def __init__(self, subjects: Sequence[PreparedSubject], patch: Triple, output: Triple, loss: Loss) -> None:
        self.items = [Region(subject, _centre(subject.shape)) for subject in _spread(subjects)]
        self._tile = output
        self._margin = triple([(p - o) // 2 for p, o in zip(patch, output, strict=True)])
        self._loss = loss

    def figures(self, network: nn.Module, item: Region, device: torch.device) -> dict[str, float]:
        """`loss` and `dice_error` of one region; memory is that of the region, 4 bytes per voxel and class."""

        def forward(images: Volume) -> Volume:
            tensor = torch.from_numpy(images).to(device, memory_format=torch.channels_last_3d)
            probabilities: Volume = torch.softmax(network(tensor).float(), dim=1).cpu().numpy()
            return probabilities

        subject, box = item.subject, item.box
        found = predict_box(subject.image_box, box, subject.shape, self._tile, OVERLAP, forward, margin=self._margin)
        probabilities = torch.from_numpy(found)
        truth = torch.from_numpy(subject.classes_box(box))
        logits = probabilities.clamp(min=_LEAST_PROBABILITY).log()[None]
        loss = float(self._loss(logits, {"classes": truth[None]}))
        return {"loss": loss, "dice_error": dice_error(probabilities.argmax(dim=0), truth, len(probabilities))}


def dice_error(predicted: torch.Tensor, truth: torch.Tensor, count: int) -> float:
    """1 minus the mean Dice coefficient over the classes that are in either map.

    Parameters
    ----------
    predicted, truth : int64 (z, y, x)
        Class numbers; truth is -1 where unknown, which is left out.
    count : int
        Classes, background included, which is not averaged over.
    """
    known = truth >= 0
    joint = torch.bincount(truth[known] * count + predicted[known], minlength=count * count).reshape(count, count)
    sizes = (joint.sum(0) + joint.sum(1))[1:]
    dice = 2 * joint.diagonal()[1:] / sizes
    return 1 - float(dice[sizes > 0].mean()) if sizes.any() else 0.0


def _spread(subjects: Sequence[PreparedSubject]) -> list[PreparedSubject]:
    if len(subjects) <= MOST_SUBJECTS:
        return list(subjects)
    return [subjects[index] for index in np.linspace(0, len(subjects) - 1, MOST_SUBJECTS).round().astype(int)]


def _centre(shape: Triple) -> Box:
    size = [min(most, n) for most, n in zip(LARGEST_REGION, shape, strict=True)]
    begin = triple([(n - s) // 2 for n, s in zip(shape, size, strict=True)])
    return Box(begin, triple([b + s for b, s in zip(begin, size, strict=True)]))
