"""The largest split and merge errors of one volume, each in a crop where it can be seen.

split error   one truth object, the *focus*, that lies in several segments, its *parts*.
merge error   one segment, the focus, that covers several truth objects, its parts.

An error is looked for on a coarse level of the label pyramids: in the plane where the two largest parts are both well seen,
at the place where they are nearest to each other. Only the crop is read at full resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from sepvox import ome_zarr
from sepvox.blocks import Box, Lattice, triple
from sepvox.layout import Layout
from sepvox.prepare.volume import PreparedVolume
from sepvox.report import figures
from sepvox.report.colours import borders, colours_of
from sepvox.report.overview import draw_scale_bar
from sepvox.report.slices import Plane, plane_at, sampled
from sepvox.storage import Place

Mask = NDArray[np.bool_]

SEARCHED = 8_000_000
BLOCK = (128, 128, 128)
SMALLEST, LARGEST = 64, 160
PANEL, GAP, TEXT = 250, 8, 54
FOCUS = (0.98, 0.82, 0.25)
PARTS = ((0.25, 0.62, 0.95), (0.95, 0.42, 0.35), (0.40, 0.80, 0.45))


@dataclass(frozen=True)
class Error:
    """One entry of `errors` in scores.json; `parts` are (id, voxels), largest first."""

    kind: Literal["split", "merge"]
    rank: int
    focus: int
    voxels: int
    bits: float
    parts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ErrorViews:
    """An error's crop: raw in [0, 1], truth and segmentation, rows x columns."""

    error: Error
    plane: Plane
    raw: NDArray[np.float32]
    truth: NDArray[np.uint64]
    segmentation: NDArray[np.uint64]


def largest_errors(scores: dict[str, Any], count: int) -> list[Error]:
    """The `count` largest errors of each kind in scores.json, splits first."""
    return [
        Error(
            kind,
            rank + 1,
            int(e["id"]),
            int(e["voxels"]),
            float(e["bits"]),
            tuple((int(i), int(n)) for i, n in e["parts"]),
        )
        for kind in ("split", "merge")
        for rank, e in enumerate(scores.get("errors", {}).get(kind, [])[:count])
    ]


def read_error_views(
    errors: Sequence[Error], layout: Layout, model: str, name: str, volume: PreparedVolume
) -> list[ErrorViews]:
    """Find the errors and read a crop around each.

    Raises
    ------
    StoreError
        If a store is missing or damaged.
    """
    segmentation = layout.segmentation(model, name)
    full = ome_zarr.open_level(segmentation)
    found = []
    for error, plane in zip(errors, _locate(errors, layout.labels(name), segmentation, volume), strict=True):
        if plane is not None:
            raw, truth = volume.image_box(plane.box), volume.labels_box(plane.box)
            segments = ome_zarr.read(full, plane.box)
            found.append(ErrorViews(error, plane, *(plane.flat(voxels) for voxels in (raw, truth, segments))))
    return found


def _locate(errors: Sequence[Error], truth: Place, segmentation: Place, volume: PreparedVolume) -> list[Plane | None]:
    """The plane that shows each error best; None where it is too small for the searched level."""
    truths, segments = _searched_level(truth, segmentation)
    shape = triple(truths.shape)
    profiles = [[np.zeros((2, n), np.int64) for n in shape] for _ in errors]
    for box in Lattice(shape, BLOCK) if errors else ():
        blocks = ome_zarr.read(truths, box), ome_zarr.read(segments, box)
        for error, profile in zip(errors, profiles, strict=True):
            for row, mask in enumerate(_two_parts(error, *blocks)):
                for axis, part in enumerate(box.slices):
                    profile[axis][row, part] += mask.sum(axis=tuple({0, 1, 2} - {axis}))
    planes: list[Plane | None] = []
    for error, profile in zip(errors, profiles, strict=True):
        ranked = [(tuple(sorted(p[:, i])), axis, i) for axis, p in enumerate(profile) for i in [_clearest(p)]]
        counts, normal, index = max(ranked)
        planes.append(_around(error, truths, segments, normal, index, volume) if counts[1] else None)
    return planes


def _searched_level(truth: Place, segmentation: Place) -> tuple[Any, Any]:
    """The finest level of both pyramids that is small enough to be searched, or the coarsest that both have."""
    level = 0
    while True:
        truths, segments = (ome_zarr.open_level(path, level) for path in (truth, segmentation))
        deeper = all((path / str(level + 1)).exists() for path in (truth, segmentation))
        if truths.size <= SEARCHED or not deeper:
            return truths, segments
        level += 1


def _two_parts(error: Error, truth: NDArray[np.uint64], segments: NDArray[np.uint64]) -> tuple[Mask, Mask]:
    """Where the two largest parts of the focus are."""
    focus, other = (truth, segments) if error.kind == "split" else (segments, truth)
    inside = focus == error.focus
    first = inside & (other == error.parts[0][0])
    second = inside & (other == error.parts[1][0]) if len(error.parts) > 1 else inside & ~first
    return first, second


def _clearest(profile: NDArray[np.int64]) -> int:
    """The layer in which the smaller of the two parts is largest."""
    return int(np.lexsort((profile.sum(axis=0), profile.min(axis=0)))[-1])


def _around(error: Error, truths: Any, segments: Any, normal: int, index: int, volume: PreparedVolume) -> Plane:
    """The crop about the place in layer `index` of the searched level where the two parts are nearest to each other."""
    coarse = triple(truths.shape)
    factors = [-(-n // c) for n, c in zip(volume.shape, coarse, strict=True)]
    begin, end = [0, 0, 0], list(coarse)
    begin[normal], end[normal] = index, index + 1
    layer = Box(triple(begin), triple(end))
    first, second = _two_parts(error, ome_zarr.read(truths, layer), ome_zarr.read(segments, layer))
    voxel = [s * f for s, f in zip(volume.geometry.voxel_size, factors, strict=True)]
    place = _meeting(first, second, voxel)
    place[normal] = index
    centre = [min(p * f + f // 2, n - 1) for p, f, n in zip(place, factors, volume.shape, strict=True)]
    extent = max((int(np.ptp(at)) + 1) * size for at, size in zip(np.nonzero(first | second), voxel, strict=True))
    finest = min(volume.geometry.voxel_size)
    side = min(max(1.3 * extent, SMALLEST * finest), LARGEST * finest)
    return plane_at(volume.shape, volume.geometry, normal, centre, side)


def _meeting(first: Mask, second: Mask, voxel: Sequence[float]) -> list[int]:
    """The voxel of one part that is nearest to the other, in the middle of those that are about as near."""
    if not (first.any() and second.any()):
        near = first | second
    else:
        distance = np.where(first, distance_transform_edt(~second, sampling=voxel), np.inf)
        near = distance <= distance.min() + max(voxel)
    places = np.argwhere(near)
    away = np.square((places - places.mean(axis=0)) * voxel).sum(axis=1)
    return [int(p) for p in places[away.argmin()]]


def draw_errors(views: Sequence[ErrorViews]) -> Any:
    """Split errors on the left, merge errors on the right; each as raw, truth and segmentation.

    The focus is outlined in white and coloured where it is labelled; the parts are coloured in the other picture, other
    labels there that meet the focus in pale tones.
    """
    kinds = [[view for view in views if view.error.kind == kind] for kind in ("split", "merge")]
    shown = [kind for kind in kinds if kind]
    cell = 3 * (PANEL + GAP) + GAP
    if not shown:
        figure = figures.plate(cell, 60)
        figures.write(figure, 16, 22, "No split or merge error.", fontsize=10)
        return figure
    rows = max(len(kind) for kind in shown)
    tall = [max(_height(kind[row].plane) for kind in shown if row < len(kind)) for row in range(rows)]
    figure = figures.plate(GAP + cell * len(shown), sum(tall) + TEXT * rows + GAP)
    for column, kind in enumerate(shown):
        top = 0.0
        for row, view in enumerate(kind):
            _draw(figure, view, GAP + column * cell, top)
            top += tall[row] + TEXT
    return figure


def _height(plane: Plane) -> float:
    return PANEL * plane.size[0] / plane.size[1]


def _draw(figure: Any, view: ErrorViews, left: float, top: float) -> None:
    error = view.error
    thing, others = ("object", "segments") if error.kind == "split" else ("segment", "objects")
    shares = ", ".join(f"{100 * n / error.voxels:.0f} %" for _, n in error.parts)
    place = view.plane.name().split("\n")[0]
    figures.write(
        figure,
        left,
        top + 9,
        f"{error.kind.capitalize()} {error.rank}: {thing} {error.focus}, {error.bits:.3f} bits",
        fontsize=11,
    )
    figures.write(
        figure,
        left,
        top + 30,
        f"{error.voxels:,} voxels, largest {others} {shares}; shown at {place}",
        fontsize=9.5,
        color=figures.PLATE_FAINT,
    )
    raw, truth, segmentation = (
        sampled(voxels, _height(view.plane), PANEL) for voxels in (view.raw, view.truth, view.segmentation)
    )
    grey = np.repeat(raw[..., None].astype(np.float64), 3, axis=-1)
    pictures = [grey, *_coloured(error, grey, truth, segmentation)]
    for index, (picture, title) in enumerate(zip(pictures, ("raw", "truth", "segmentation"), strict=True)):
        axes = figures.place(figure, left + index * (PANEL + GAP), top + TEXT, PANEL, _height(view.plane))
        axes.imshow(picture, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.text(
            0.98,
            0.02,
            title,
            color="white",
            fontsize=9,
            ha="right",
            va="bottom",
            transform=axes.transAxes,
            bbox={"facecolor": "#000000aa", "linewidth": 0, "pad": 2},
        )
        if index == 0:
            draw_scale_bar(axes, view.plane, PANEL)


def _coloured(
    error: Error, grey: NDArray[np.float64], truth: NDArray[np.uint64], segmentation: NDArray[np.uint64]
) -> list[NDArray[np.float64]]:
    """Truth and segmentation in colour over the raw picture."""
    focused = truth if error.kind == "split" else segmentation
    inside = focused == error.focus
    outline = inside & ~binary_erosion(inside, iterations=2, border_value=1)
    found = []
    for labels in (truth, segmentation):
        picture = 0.75 * grey
        if labels is focused:
            picture[inside] = 0.5 * grey[inside] + 0.5 * np.array(FOCUS)
        else:
            colours = dict(zip((part for part, _ in error.parts), PARTS, strict=False))
            for label in np.unique(labels[inside]):
                here = labels == label if label else inside & (labels == 0)
                colour = colours.get(int(label)) or 0.5 + 0.5 * colours_of(np.array([label], np.uint64))[0]
                picture[here] = 0.45 * grey[here] + 0.55 * np.array(colour)
            picture[borders(labels) & ~outline] *= 0.6
        picture[outline] = 1.0
        found.append(picture)
    return found
