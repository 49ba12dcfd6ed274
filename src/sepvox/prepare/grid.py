"""The prepared grid: what the network sees of a scan.

native      the voxels as the file stores them, axes i j k.
canonical   the native voxels with axes permuted and flipped so that they run as nearly as possible to the right, to the
            front and upwards (RAS), then transposed: axes z y x, z upwards. No voxel changes.
crop        a box of canonical voxels; the rest is not prepared.
prepared    the crop, at a target spacing where one is asked for. Axes z y x.

Axes are never rotated, so each prepared axis belongs to one native axis: native index = start + step · prepared index.
A grid is *exact* where every step is 1 or -1 and every start whole: then its voxels are native voxels, and images and
labels pass through it bit by bit.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sepvox.blocks import Box, Triple, triple
from sepvox.prepare.scans import spacing_of

SAME_SPACING = 0.01
"""An axis whose spacing is this close to the target, in parts of the target, is not resampled."""

World = tuple[float, float, float]
# A sum of rounded voxel sizes must not add a plane of voxels.
_SLACK = 1e-3


@dataclass(frozen=True)
class Axis:
    """How a prepared axis runs through the scan: index of native axis `native` = start + step · prepared index."""

    native: int
    step: float
    start: float


@dataclass(frozen=True, eq=False)
class Grid:
    """A prepared grid.

    Attributes
    ----------
    shape : three ints
        Voxels, z y x.
    to_native : float64 (4, 4)
        From prepared indices (z, y, x, 1) to native indices (i, j, k, 1): one step per row and column.
    affine : float64 (4, 4)
        From prepared indices (z, y, x, 1) to world millimetres (right, anterior, superior, 1).
    """

    shape: Triple
    to_native: NDArray[np.float64]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> World:
        """Edges of a voxel in millimetres, z y x."""
        return spacing_of(self.affine)

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """How z, y and x run through the native axes."""
        rows = np.abs(self.to_native[:3, :3]).argmax(axis=0).tolist()
        z, y, x = (
            Axis(row, float(self.to_native[row, a]), float(self.to_native[row, 3])) for a, row in enumerate(rows)
        )
        return z, y, x

    @property
    def native_order(self) -> Triple:
        """For z, y and x the native axis: what `numpy.transpose` takes to bring native axes into the order z y x."""
        return triple([axis.native for axis in self.axes])

    @property
    def exact(self) -> bool:
        """Whether every prepared voxel is a native voxel."""
        return all(abs(axis.step) == 1 and axis.start.is_integer() for axis in self.axes)

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads; floats survive exactly."""
        return {"shape": list(self.shape), "to_native": self.to_native.tolist(), "affine": self.affine.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Grid":
        return cls(
            triple(content["shape"]),
            np.asarray(content["to_native"], dtype=np.float64),
            np.asarray(content["affine"], dtype=np.float64),
        )


def canonical_grid(
    scan_shape: Sequence[int], affine: NDArray[np.float64], spacing: World | None = None, crop: Box | None = None
) -> Grid:
    """The prepared grid of a scan.

    A resampled grid has exactly the target spacing, the centre of the crop, and as many voxels as cover it.

    Parameters
    ----------
    scan_shape : three ints
        Native shape, i j k.
    affine : float64 (4, 4)
        Of the scan, invertible.
    spacing : three floats or None
        Target edges of a voxel in millimetres, z y x. None keeps the voxels; axes within `SAME_SPACING` of it are kept.
    crop : Box or None
        In canonical voxels, those of the grid without spacing and crop.
    """
    orientation = nib.orientations.io_orientation(affine)
    canonical_xyz = nib.orientations.inv_ornt_aff(orientation, tuple(scan_shape))
    # The reversal of x y z: columns are permuted, rows are native axes.
    to_native = canonical_xyz[:, [2, 1, 0, 3]]
    extents = [int(scan_shape[i]) for i in np.abs(to_native[:3, :3]).argmax(axis=0)]
    whole = Box.of(extents)
    crop = crop or whole
    if not whole.contains(crop) or not crop.size:
        raise ValueError(f"crop {crop} is not a part of the canonical grid of shape {whole.shape}")
    stored = spacing_of(affine @ to_native)
    scaling, shape = np.eye(4), list(crop.shape)
    for axis, (begin, extent) in enumerate(zip(crop.begin, crop.shape, strict=True)):
        ratio = 1.0 if spacing is None else spacing[axis] / stored[axis]
        scaling[axis, 3] = begin
        if abs(1 - 1 / ratio) > SAME_SPACING:
            shape[axis] = max(1, math.ceil(extent / ratio - _SLACK))
            scaling[axis, axis] = ratio
            scaling[axis, 3] += ((extent - 1) - ratio * (shape[axis] - 1)) / 2
    to_native = to_native @ scaling
    return Grid(triple(shape), to_native, np.asarray(affine, dtype=np.float64) @ to_native)


def sample_image(data: NDArray[Any], grid: Grid, order: int = 3) -> NDArray[Any]:
    """An image on the prepared grid.

    Splines of `order`, mirrored at the faces and clipped to the image's range, which cubic splines overshoot. Along axes
    that become coarser by a factor k the image is smoothed first, with a Gaussian of variance (k² - 1) / (8 ln 2) native
    voxels²: it widens a point spread of one native voxel (full width at half maximum) to one prepared voxel (Cardoso et
    al. 2015, Scale factor point spread function matching).

    Parameters
    ----------
    data : array (i, j, k)
        The native image.
    grid : Grid
    order : int
        0 to 5.

    Returns
    -------
    array (z, y, x)
        Of the dtype of `data` where the grid is exact, else float32.
    """
    canonical = data.transpose(grid.native_order)
    if grid.exact:
        return np.ascontiguousarray(canonical[np.ix_(*(p.astype(np.intp) for p in _positions(grid)))])
    steps, starts = [], []
    for axis, definition in enumerate(grid.axes):
        step, start = definition.step, definition.start
        if step < 0:
            canonical = np.flip(canonical, axis)
            step, start = -step, canonical.shape[axis] - 1 - start
        steps.append(step)
        starts.append(start)
    values = canonical.astype(np.float32)
    lowest, highest = values.min(), values.max()
    sigma = [math.sqrt(max(step**2 - 1, 0) / (8 * math.log(2))) for step in steps]
    if any(sigma):
        values = ndimage.gaussian_filter(values, sigma, mode="reflect")
    if order > 1:
        values = ndimage.spline_filter(values, order, output=np.float32, mode="reflect")
    sampled: NDArray[np.float32] = ndimage.affine_transform(
        values, steps, starts, grid.shape, np.float32, order, mode="reflect", prefilter=False
    )
    return np.clip(sampled, lowest, highest, out=sampled)


def sample_labels(labels: NDArray[Any], grid: Grid, values: Collection[int]) -> NDArray[Any]:
    """A label map on the prepared grid, of the dtype of `labels`, (z, y, x).

    Where the grid is not exact each class is interpolated linearly by itself and the largest wins, as nnU-Net does
    (Isensee et al. 2021); of equals the lowest value.

    Parameters
    ----------
    labels : integer array (i, j, k)
        The native label map.
    grid : Grid
    values : collection of int
        Its classes, 0 included or not.
    """
    canonical = labels.transpose(grid.native_order)
    positions = _positions(grid)
    if grid.exact:
        return np.ascontiguousarray(canonical[np.ix_(*(p.astype(np.intp) for p in positions))])
    classes = sorted({0, *values})
    winners = largest_class(interpolate(canonical == value, positions) for value in classes)
    return np.asarray(classes, labels.dtype)[winners]


def foreground_box(images: Sequence[NDArray[Any]]) -> Box:
    """The box of the voxels that are not 0 in any of a subject's images, as nnU-Net crops (Isensee et al. 2021).

    Zero is what scanners and brain extraction write where nothing was measured. Images whose air is noise keep their
    whole extent: nothing is lost, only less is gained. Images of zeros alone keep it too.

    Parameters
    ----------
    images : arrays (z, y, x)
        The modalities, of one shape, on the canonical grid: splines of a resampled image ring around zero.
    """
    whole = Box.of(images[0].shape)
    begin, end = [], []
    for axis, extent in enumerate(whole.shape):
        others = tuple(a for a in range(3) if a != axis)
        planes = np.flatnonzero(np.logical_or.reduce([image.any(axis=others) for image in images]))
        begin.append(int(planes[0]) if planes.size else 0)
        end.append(int(planes[-1]) + 1 if planes.size else extent)
    return Box(triple(begin), triple(end))


def interpolate(values: NDArray[Any], positions: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Linear interpolation on the lattice that `positions` span; beyond the first and last voxel these are repeated.

    Parameters
    ----------
    values : array (z, y, x)
    positions : three arrays
        Indices into z, y and x, not necessarily whole.
    """
    result = values
    # The axis that shrinks most comes first, so that the others have less to do.
    for axis in sorted(range(3), key=lambda a: len(positions[a]) / values.shape[a]):
        last = values.shape[axis] - 1
        at = np.clip(positions[axis], 0, last)
        lower = at.astype(np.intp)
        weight = (at - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        below = result.take(lower, axis).astype(np.float32, copy=False)
        if weight.any():
            above = result.take(np.minimum(lower + 1, last), axis).astype(np.float32, copy=False)
            below += weight * (above - below)
        result = below
    return result


def largest_class(scores: Iterable[NDArray[Any]]) -> NDArray[np.uint16]:
    """For every voxel the number of the array in which it is largest, of equals the first; one array at a time."""
    remaining = iter(scores)
    best = next(remaining).copy()
    winner = np.zeros(best.shape, np.uint16)
    for number, score in enumerate(remaining, start=1):
        winner[score > best] = number
        np.maximum(best, score, out=best)
    return winner


def _positions(grid: Grid) -> list[NDArray[np.float64]]:
    """For z, y and x the native indices of the prepared voxels."""
    return [
        axis.start + axis.step * np.arange(extent, dtype=np.float64)
        for axis, extent in zip(grid.axes, grid.shape, strict=True)
    ]
