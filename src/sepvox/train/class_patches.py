"""Training patches for classes: patch number i of a run is a pure function of the seed, i, and the prepared subjects.

So the order of work does not depend on the number of loader processes, and a resumed run continues at patch i. A subject is
drawn uniformly. A *foreground* patch holds, in its inner half along each axis, a voxel of a class that is drawn uniformly
among those of the subject, so that small classes are seen as often as large ones; the others lie anywhere. Patches begin
and end inside the subject along every axis that is long enough, and cover the whole subject along the others; beyond it the
image repeats its last voxel, and classes are unknown.

Reading: where all subjects together take no more than `KEPT_BYTES`, each loader process keeps what it has read, decoded.
Else only the chunks are read that a patch touches.
"""

from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sepvox.blocks import Box, Triple, triple
from sepvox.errors import InputError
from sepvox.prepare.subject import UNKNOWN, PreparedSubject
from sepvox.train.augment_mri import augment_scan, draw_deformation
from sepvox.train.class_settings import ClassTrainSettings
from sepvox.train.task import Batch

KEPT_BYTES: Final = 512 * 2**20
_IMAGE_BYTES, _CLASS_BYTES = 4, 2


class ClassPatches(Dataset[Batch]):
    """Random access to the endless list of patches of a run.

    A patch is ``image`` float32 (c, z, y, x) of shape `patch`, normalised intensities, and ``classes`` int64 (z, y, x) of
    shape `output`, class numbers or -1 where unknown.

    Parameters
    ----------
    subjects : sequence of PreparedSubject
        Training subjects with labels.
    voxels : sequence of sequences of int32 (n, 3)
        For each subject and class some of its voxels, z y x; empty where the subject has not the class.
    settings : ClassTrainSettings
        Seed, foreground and augmentation are used.
    patch : (int, int, int)
        Network input in voxels.
    output : (int, int, int)
        What the network returns for `patch`, at its centre; smaller for valid padding.

    Raises
    ------
    InputError
        If no subject has a voxel of any class.
    """

    def __init__(
        self,
        subjects: Sequence[PreparedSubject],
        voxels: Sequence[Sequence[NDArray[np.int32]]],
        settings: ClassTrainSettings,
        patch: Triple,
        output: Triple,
    ) -> None:
        self._subjects = list(subjects)
        self._voxels = [[found for found in of_subject if len(found)] for of_subject in voxels]
        self._settings = settings
        self._patch, self._output = patch, output
        if not any(self._voxels):
            raise InputError(
                "the training subjects have no voxel of any class; labels that are not 0 are needed: check `classes` and the label maps"
            )
        needed = sum(prod(s.shape) * (s.image.shape[0] * _IMAGE_BYTES + _CLASS_BYTES) for s in self._subjects)
        self._kept: dict[int, tuple[NDArray[np.float32], NDArray[np.int16]]] | None = (
            {} if needed <= KEPT_BYTES else None
        )

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([self._settings.seed, number])
        index = int(rng.integers(len(self._subjects)))
        subject = self._subjects[index]
        spacing, augment = subject.grid.spacing, self._settings.augment
        deformation = draw_deformation(self._patch, augment, spacing, rng)
        begin = self._draw(index, rng)
        margin = [(s - p) // 2 for s, p in zip(deformation.source, self._patch, strict=True)]
        box = Box(begin, triple([b + p for b, p in zip(begin, self._patch, strict=True)])).grow(margin)
        image, classes = self._read(index, box)
        image, classes = augment_scan(image, classes, deformation, augment, rng, spacing, zeros_of(subject))
        z, y, x = (slice((p - o) // 2, (p - o) // 2 + o) for p, o in zip(self._patch, self._output, strict=True))
        return {
            "image": torch.from_numpy(image),
            "classes": torch.from_numpy(np.ascontiguousarray(classes[z, y, x])),
        }

    def _draw(self, index: int, rng: np.random.Generator) -> Triple:
        """First voxel of a patch of a subject."""
        patch, voxels = self._patch, self._voxels[index]
        spare = [n - p for n, p in zip(self._subjects[index].shape, patch, strict=True)]
        low, high = np.minimum(spare, 0), np.maximum(spare, 0)
        if rng.random() >= self._settings.foreground or not voxels:
            return triple(rng.integers(low, high, endpoint=True).tolist())
        of_class = voxels[int(rng.integers(len(voxels)))]
        quarter = np.asarray(patch) // 4
        shift = rng.integers(-quarter, quarter, endpoint=True) - np.asarray(patch) // 2
        return triple(np.clip(of_class[int(rng.integers(len(of_class)))] + shift, low, high).tolist())

    def _read(self, index: int, box: Box) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Image and classes of a box, which may reach beyond the subject; at most 12 bytes per voxel and channel."""
        subject = self._subjects[index]
        if self._kept is None:
            return subject.image_box(box), subject.classes_box(box)
        if index not in self._kept:
            whole = Box.of(subject.shape)
            self._kept[index] = subject.image_box(whole), subject.classes_box(whole).astype(np.int16)
        kept_image, kept_classes = self._kept[index]
        inside = box.clip(Box.of(subject.shape))
        beyond = [(i - b, e - j) for b, i, j, e in zip(box.begin, inside.begin, inside.end, box.end, strict=True)]
        image = np.pad(kept_image[:, *inside.slices], [(0, 0), *beyond], mode="edge")
        classes = np.full(box.shape, UNKNOWN, np.int64)
        classes[inside.inside(box).slices] = kept_classes[inside.slices]
        return image, classes


def zeros_of(subject: PreparedSubject) -> list[float]:
    """What an intensity of 0 has become by normalisation, for each channel."""
    return [
        float(np.clip(-shift * factor, lowest, highest))
        for (shift, factor), (lowest, highest) in zip(subject.scales, subject.limits, strict=True)
    ]
