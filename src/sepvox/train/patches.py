"""Training patches: patch number i of a run is a pure function of the seed, i, and the prepared volumes.

So the order of work does not depend on the number of loader processes, and a resumed run continues at patch i. Only the
voxels of a patch are read. A volume is chosen in proportion to its labelled voxels; a position in it is drawn uniformly
and kept with the probability of its labelled fraction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sepvox.blocks import Box, Lattice, Triple, triple
from sepvox.errors import InputError
from sepvox.prepare.volume import PreparedVolume
from sepvox.settings import Offset
from sepvox.train.augment import augment, source_shape
from sepvox.train.settings import TrainSettings
from sepvox.train.targets import BOUNDARY, affinities, erode

# A volume with hardly any labels must not make the search for a patch endless.
ATTEMPTS = 20


@dataclass(frozen=True)
class Sample:
    """One patch as torch tensors.

    image float32 (1, z, y, x) in [-1, 1]; targets uint8 and mask bool (c, z, y, x); labels int64 (z, y, x). Targets, mask
    and labels have the network's output shape.
    """

    image: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor


class Patches(Dataset[dict[str, torch.Tensor]]):
    """Random access to the endless list of patches of a run.

    Parameters
    ----------
    volumes : sequence of PreparedVolume
        Training volumes with labels.
    settings : TrainSettings
    output_shape : (int, int, int)
        What the network returns for `settings.patch`; smaller for valid padding.
    offsets : sequence of offsets
        Affinities to make.
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        settings: TrainSettings,
        output_shape: Triple,
        offsets: Sequence[Offset],
    ) -> None:
        self._volumes = list(volumes)
        self._settings = settings
        self._output_shape = output_shape
        self._offsets = tuple(offsets)
        labelled = np.array([_labelled_voxels(volume) for volume in self._volumes], dtype=np.float64)
        if labelled.sum() == 0:
            raise InputError("the training volumes have no labelled voxel; labels that are not 0 are needed")
        self._chances = labelled / labelled.sum()

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return vars(self.sample(number))

    def sample(self, number: int) -> Sample:
        """Patch `number` of the run."""
        rng = np.random.default_rng([self._settings.seed, number])
        volume = self._volumes[int(rng.choice(len(self._volumes), p=self._chances))]
        anisotropic = volume.geometry.anisotropic
        shape = source_shape(self._settings.patch, self._settings.augment, anisotropic)
        box, drawn = self._draw(volume, shape, rng)
        image, labels = augment(volume.image_box(box), drawn, self._settings.augment, rng, anisotropic)
        if self._settings.erode_labels:
            labels = erode(labels, self._settings.erode_labels)
        targets, mask = affinities(labels, self._offsets)
        crop = _centre(labels.shape, self._output_shape)
        return Sample(
            image=torch.from_numpy(image[None] * 2 - 1),
            targets=torch.from_numpy(np.ascontiguousarray(targets[:, *crop])),
            mask=torch.from_numpy(np.ascontiguousarray(mask[:, *crop])),
            labels=torch.from_numpy(np.ascontiguousarray(labels[crop])),
        )

    def _draw(self, volume: PreparedVolume, shape: Triple, rng: np.random.Generator) -> tuple[Box, NDArray[np.int64]]:
        """A box of `shape` whose central patch lies in the region, and its labels."""
        patch = self._settings.patch
        margin = [(s - p) // 2 for s, p in zip(shape, patch, strict=True)]
        inner = tuple(slice(m, m + p) for m, p in zip(margin, patch, strict=True))
        for _ in range(ATTEMPTS):
            begin = [int(rng.integers(0, n - p + 1)) for n, p in zip(volume.shape, patch, strict=True)]
            outer = triple([b - m for b, m in zip(begin, margin, strict=True)])
            box = Box(outer, triple([b + s for b, s in zip(outer, shape, strict=True)]))
            labels = training_labels(volume, box, self._settings.background)
            if rng.random() < float(np.mean(labels[inner] != 0)):
                break
        return box, labels


def training_labels(volume: PreparedVolume, box: Box, background: Literal["unknown", "boundary"]) -> NDArray[np.int64]:
    """Labels of a box; 0 inside the region becomes `BOUNDARY` where background is boundary, and is unknown elsewhere."""
    labels = volume.labels_box(box).astype(np.int64)
    if background == "boundary":
        inside = labels[box.clip(Box.of(volume.shape)).inside(box).slices]
        inside[inside == 0] = BOUNDARY
    return labels


def check_patch_fits(name: str, volume: PreparedVolume, patch: Triple) -> None:
    """Raise InputError if the patch is larger than the volume."""
    for axis, size, extent in zip("zyx", volume.shape, patch, strict=True):
        if extent > size:
            raise InputError(
                f"train.patch: axis {axis} is {extent}, larger than the {size} voxels of volume {name}; use a smaller patch"
            )


def _labelled_voxels(volume: PreparedVolume) -> int:
    boxes = Lattice(volume.shape, (128, 128, 128))
    return sum(int(np.count_nonzero(volume.labels_box(box))) for box in boxes)


def _centre(shape: Sequence[int], size: Sequence[int]) -> tuple[slice, slice, slice]:
    z, y, x = (slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(shape, size, strict=True))
    return z, y, x
