"""Outlines of truth and prediction on the image of a subject, in three planes.

The planes run through the centroid of the labels, of the truth where there is one; where an axis's plane through it has no
label (the middle of two halves), the plane with the most is taken. Axes are shown as in an atlas: upwards and to the front
are up, the subject's left is left. Planes have the proportions of millimetres, and are cut to the surroundings of the labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sepvox import ome_zarr
from sepvox.blocks import Box, Triple, triple
from sepvox.layout import Layout
from sepvox.prepare.subject import PreparedSubject
from sepvox.report import figures
from sepvox.report.slices import WINDOW, scale_bar, window
from sepvox.world import Geometry

WIDTH = 1080
LEFT = 132
TOP = 62
GAP = 8
TALLEST = 330
COLOURS = ("#ffb000", "#35b7ff", "#ff5d8f", "#69d25a", "#c78bff", "#ff8a4c", "#3fe0c5", "#f2e34c")
NAMES = ("axial", "coronal", "sagittal")
# Part of the window that the labels take, and the smallest window in voxels.
_SHARE = 0.62
_SMALLEST = 40
_FINER = 4


@dataclass(frozen=True)
class View:
    """One plane; arrays are rows x columns, the first row is the lowest or hindmost.

    Attributes
    ----------
    normal, index : int
        Axis (0, 1, 2 for z, y, x) that the plane is perpendicular to, and where it lies on it.
    size : (float, float)
        Height and width in millimetres.
    image : float, in [0, 1]
    predicted, truth : class values; `truth` is None where there is no label map.
    """

    normal: int
    index: int
    size: tuple[float, float]
    image: NDArray[Any]
    predicted: NDArray[Any]
    truth: NDArray[Any] | None


@dataclass(frozen=True)
class Row:
    """A subject's planes, and what is written beside them."""

    lines: tuple[str, ...]
    views: tuple[View, ...]


def read_views(layout: Layout, model: str, name: str, subject: PreparedSubject) -> tuple[View, ...]:
    """Read the three planes of a subject; the image is that of the first modality.

    Raises
    ------
    StoreError
        If a store is missing or damaged.
    """
    whole = Box.of(subject.shape)
    predicted = ome_zarr.read(ome_zarr.open_level(layout.segmentation(model, name)), whole)
    truth = None if subject.labels is None else ome_zarr.read(subject.labels, whole)
    geometry = Geometry(subject.grid.spacing, unit="millimeter")
    box, planes = _where(predicted, truth, geometry)
    image = subject.image_box(box)[0]
    low, high = (float(value) for value in np.percentile(image, (1, 99.5)))
    image = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    views = []
    for normal, index in enumerate(planes):
        down, right = (axis for axis in range(3) if axis != normal)
        size = box.shape[down] * geometry.voxel_size[down], box.shape[right] * geometry.voxel_size[right]
        at = index - box.begin[normal]
        shown = [
            None if voxels is None else np.take(voxels, at, axis=normal)
            for voxels in (image, predicted[box.slices], None if truth is None else truth[box.slices])
        ]
        assert shown[0] is not None
        assert shown[1] is not None
        views.append(View(normal, index, size, shown[0], shown[1], shown[2]))
    return tuple(views)


def _where(predicted: NDArray[Any], truth: NDArray[Any] | None, geometry: Geometry) -> tuple[Box, Triple]:
    """The box that is shown, and the index of the plane along each axis."""
    shape = triple(predicted.shape)
    both = predicted != 0 if truth is None else (predicted != 0) | (truth != 0)
    centred = truth != 0 if truth is not None and truth.any() else predicted != 0
    if not both.any():
        middle = triple([n // 2 for n in shape])
        return window(shape, geometry, middle, WINDOW * min(geometry.voxel_size)), middle
    begin, end, planes = [], [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        counts = np.count_nonzero(centred, axis=others)
        centroid = round(float(np.average(np.arange(len(counts)), weights=counts)))
        planes.append(centroid if counts[centroid] else int(counts.argmax()))
        labelled = np.flatnonzero(both.any(axis=others))
        begin.append(int(labelled[0]))
        end.append(int(labelled[-1]) + 1)
    extent = max((e - b) * size for b, e, size in zip(begin, end, geometry.voxel_size, strict=True))
    side = min(max(extent / _SHARE, _SMALLEST * min(geometry.voxel_size)), WINDOW * min(geometry.voxel_size))
    centre = [(b + e) // 2 for b, e in zip(begin, end, strict=True)]
    box = window(shape, geometry, centre, side)
    z, y, x = (min(max(plane, b), e - 1) for plane, b, e in zip(planes, box.begin, box.end, strict=True))
    return box, (z, y, x)


def draw_overlays(rows: Sequence[Row], classes: Mapping[str, int]) -> Any:
    """One row of planes per subject; truth is a line, the prediction dashes, in the colour of the class."""
    scales = [_scale(row) for row in rows]
    heights = [scale * max(view.size[0] for view in row.views) for scale, row in zip(scales, rows, strict=True)]
    figure = figures.plate(WIDTH, TOP + sum(heights) + GAP * len(rows))
    _write_legend(figure, classes, any(view.truth is not None for row in rows for view in row.views))
    top: float = TOP
    for number, (row, scale, height) in enumerate(zip(rows, scales, heights, strict=True)):
        figures.write(figure, 10, top + 4, row.lines[0], fontsize=11)
        rest = "\n".join(row.lines[1:])
        figures.write(figure, 10, top + 24, rest, fontsize=9, color=figures.PLATE_FAINT, linespacing=1.5)
        left: float = LEFT
        for view in row.views:
            tall, wide = (scale * side for side in view.size)
            axes = figures.place(figure, left, top, wide, tall)
            _draw(axes, view, classes)
            if number == 0:
                figures.write(figure, left, TOP - 20, NAMES[view.normal], fontsize=10, color=figures.PLATE_FAINT)
            if view.normal == 0:
                _draw_bar(axes, view, scale)
            left += wide + GAP
        top += height + GAP
    return figure


def _scale(row: Row) -> float:
    """Pixels per millimetre at which the planes of a row fill its width, or its height."""
    room = WIDTH - LEFT - GAP * len(row.views)
    wide, tall = sum(view.size[1] for view in row.views), max(view.size[0] for view in row.views)
    return min(room / wide, TALLEST / tall)


def _write_legend(figure: Any, classes: Mapping[str, int], labelled: bool) -> None:
    kinds = "line: truth, dashes: prediction" if labelled else "outlines: prediction"
    figures.write(figure, 10, 12, kinds, fontsize=10)
    left = 250
    for number, name in enumerate(classes):
        figures.write(figure, left, 12, name, fontsize=10, color=COLOURS[number % len(COLOURS)])
        left += 8 * len(name) + 24


def _draw(axes: Any, view: View, classes: Mapping[str, int]) -> None:
    height, width = view.size
    axes.imshow(
        view.image, cmap="gray", vmin=0, vmax=1, origin="lower", extent=(0, width, 0, height), interpolation="bilinear"
    )
    for number, value in enumerate(classes.values()):
        shade = COLOURS[number % len(COLOURS)]
        if view.truth is not None:
            _outline(axes, view.truth == value, view.size, shade, 1.5, "solid")
        dashes = "solid" if view.truth is None else (0, (2.2, 1.6))
        _outline(axes, view.predicted == value, view.size, shade if view.truth is None else "white", 1.2, dashes)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_aspect("auto")


def _outline(
    axes: Any, mask: NDArray[np.bool_], size: tuple[float, float], shade: str, width: float, style: Any
) -> None:
    if not mask.any():
        return
    # Finer pixels let outlines follow the faces of voxels; background around the plane closes them at its edge.
    fine = np.pad(mask.repeat(_FINER, axis=0).repeat(_FINER, axis=1), 1).astype(float)
    y, x = ((np.arange(count) - 0.5) * length / (count - 2) for count, length in zip(fine.shape, size, strict=True))
    axes.contour(x, y, fine, [0.5], colors=[shade], linewidths=width, linestyles=[style])


def _draw_bar(axes: Any, view: View, scale: float) -> None:
    """A scale bar in the lower left corner."""
    length, text = scale_bar(view.size[1], Geometry(unit="millimeter"))
    pixel = 1 / scale
    axes.add_patch(Rectangle((8 * pixel, 8 * pixel), length, 3 * pixel, color="white", linewidth=0))
    axes.text(8 * pixel, 14 * pixel, text, color="white", fontsize=9, va="bottom")
