"""The class map of one subject: decided from its probabilities, cleaned, and written in both spaces.

A voxel's *class number* is the channel with the largest probability, of equals the first. Without clean-up everything is
decided piece by piece, and memory does not depend on the volume. Clean-up needs the class map of the subject as a whole:
about 8 bytes per prepared voxel. In both spaces a voxel that clean-up removed is decided background with certainty before
anything is interpolated: between two voxels of background there is then only background, so no rim of what was removed
is left in a scan of finer voxels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from sepvox import ome_zarr, storage
from sepvox.blocks import Box, Lattice, Triple, triple
from sepvox.ome_zarr import Spec
from sepvox.prepare.grid import Grid
from sepvox.prepare.labels import label_dtype
from sepvox.prepare.native import SLAB, native_labels, write_native
from sepvox.prepare.settings import StoreSettings
from sepvox.segment.clean_up import CleanUp
from sepvox.storage import Place
from sepvox.world import Geometry

_BLOCK = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class Decision:
    """The class decision of one subject.

    Attributes
    ----------
    probabilities : zarr array, uint8 (class, z, y, x)
        As predicted.
    removed : bool (z, y, x) or None
        What clean-up removed; None where there was nothing to clean.
    """

    probabilities: "zarr.Array[Any]"
    removed: NDArray[np.bool_] | None

    @property
    def shape(self) -> Triple:
        return triple(self.probabilities.shape[-3:])

    def probabilities_box(self, box: Box) -> NDArray[np.uint8]:
        """Probabilities (class, z, y, x) after clean-up."""
        found = ome_zarr.read(self.probabilities, box)
        if self.removed is not None:
            removed = self.removed[box.slices]
            found[:, removed] = 0
            found[0, removed] = 255
        return found

    def numbers(self, box: Box) -> NDArray[np.uint8]:
        """Class numbers (z, y, x)."""
        best: NDArray[np.intp] = self.probabilities_box(box).argmax(axis=0)
        return best.astype(np.uint8)


def decide(probabilities: "zarr.Array[Any]", clean_up: CleanUp) -> Decision:
    """The decision for one subject; with a clean-up the whole class map is held in memory for a while."""
    plain = Decision(probabilities, None)
    if not clean_up:
        return plain
    labels = whole_map(plain)
    removed = labels != clean_up.apply(labels)
    return Decision(probabilities, removed) if removed.any() else plain


def whole_map(decision: Decision) -> NDArray[np.uint8]:
    """Class numbers (z, y, x) of all prepared voxels, read block by block."""
    labels = np.empty(decision.shape, np.uint8)
    for box in Lattice(decision.shape, _BLOCK):
        labels[box.slices] = decision.numbers(box)
    return labels


def write_prepared(
    path: Place,
    decision: Decision,
    classes: Mapping[str, int],
    geometry: Geometry,
    layout: StoreSettings,
    attributes: dict[str, Any],
) -> None:
    """Write segmentation.zarr: label values on the prepared grid; what was there is replaced."""
    values = values_of(classes)
    spec = Spec(
        decision.shape, values.dtype.name, geometry, layout.chunk, layout.shard, labels=True, levels=layout.levels
    )
    storage.remove(path)
    ome_zarr.create(path, spec)
    array = ome_zarr.open_level(path, writable=True)
    for box in Lattice(decision.shape, layout.shard):
        ome_zarr.write(array, box, values[decision.numbers(box)])
    ome_zarr.finish(path, spec, attributes)


def write_scan(
    path: Path,
    decision: Decision,
    classes: Mapping[str, int],
    grid: Grid,
    header: Mapping[str, Any],
    slab: int = SLAB,
) -> None:
    """Write label values in the space of the scan that `header` is of; the file does not depend on `slab`."""
    values = values_of(classes)
    i, j, k = header["shape"][:3]

    def native(k_begin: int, k_end: int) -> NDArray[Any]:
        return values[native_labels(grid, (i, j, k), decision.probabilities_box, k_begin, k_end)]

    write_native(path, header, native, values.dtype, slab)


def values_of(classes: Mapping[str, int]) -> NDArray[Any]:
    """Label value by class number."""
    return np.asarray([0, *classes.values()], label_dtype(list(classes.values())))
