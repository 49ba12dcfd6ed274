"""The overview of one segmented volume: what went in, what came out and what is true, in three planes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sepvox import ome_zarr
from sepvox.layout import Layout
from sepvox.prepare.volume import PreparedVolume
from sepvox.report import figures
from sepvox.report.colours import match, paint
from sepvox.report.slices import Plane, central_planes, sampled, scale_bar
from sepvox.storage import Place

PANEL = 320
GAP = 8
LEFT = 84
TOP = 36


@dataclass(frozen=True)
class Views:
    """What one plane shows; pictures are rows x columns, colours last and in [0, 1]."""

    plane: Plane
    raw: NDArray[Any]
    affinities: NDArray[Any]
    fragments: NDArray[np.uint64]
    segmentation: NDArray[np.uint64]
    truth: NDArray[np.uint64] | None


def read_views(layout: Layout, model: str, name: str, volume: PreparedVolume) -> list[Views]:
    """Read the three central planes of a volume.

    Raises
    ------
    StoreError
        If a store is missing or damaged.
    """
    return [
        Views(
            plane=plane,
            raw=plane.flat(volume.image_box(plane.box)),
            affinities=plane.flat(_read(layout.affinities(model, name), plane, channels=3)) / 255,
            fragments=plane.flat(_read(layout.fragments(model, name), plane)),
            segmentation=plane.flat(_read(layout.segmentation(model, name), plane)),
            truth=None if volume.labels is None else plane.flat(volume.labels_box(plane.box)),
        )
        for plane in central_planes(volume.shape, volume.geometry)
    ]


def _read(store: Place, plane: Plane, channels: int | None = None) -> NDArray[Any]:
    return ome_zarr.read(ome_zarr.open_level(store), plane.box, channels)


def draw_overview(views: list[Views]) -> Any:
    """One row per plane; the columns are raw, affinities, fragments, segmentation and, where there is one, truth.

    Red, green and blue are the affinities along z, y and x. Segments take the colour of the object that they overlap most
    on these planes. All planes have one scale.
    """
    truths = [view.truth for view in views if view.truth is not None]
    matched = match([view.segmentation for view in views], truths) if truths else None
    titles = ["Raw", "Affinities z y x", "Fragments", "Segmentation", *(["Ground truth"] if truths else [])]
    scale = PANEL / max(view.plane.size[1] for view in views)
    heights = [view.plane.size[0] * scale for view in views]
    width = LEFT + len(titles) * (PANEL + GAP)
    figure = figures.plate(width, TOP + sum(heights) + GAP * len(views))
    for column, title in enumerate(titles):
        figures.write(figure, LEFT + column * (PANEL + GAP), 10, title, fontsize=12)
    top: float = TOP
    for view, height in zip(views, heights, strict=True):
        figures.write(figure, 10, top + 4, view.plane.name(), fontsize=10, color=figures.PLATE_FAINT, linespacing=1.5)
        panel = view.plane.size[1] * scale
        # Labels are painted pixel by pixel, so that borders are thin lines on coarse and anisotropic voxels too.
        labels = [sampled(voxels, height, panel) for voxels in (view.fragments, view.segmentation)]
        pictures = [view.raw, view.affinities, paint(labels[0]), paint(labels[1], matched)]
        if view.truth is not None:
            pictures.append(paint(sampled(view.truth, height, panel)))
        for column, picture in enumerate(pictures):
            axes = figures.place(figure, LEFT + column * (PANEL + GAP), top, panel, height)
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="auto")
            if column == 0 and view is views[0]:
                draw_scale_bar(axes, view.plane, panel)
        top += height + GAP
    return figure


def draw_scale_bar(axes: Any, plane: Plane, pixels: float) -> None:
    """A scale bar in the lower left corner of a picture that is `pixels` wide."""
    length, text = scale_bar(plane.size[1], plane.geometry)
    share, pixel = length / plane.size[1], 1 / pixels
    tall = plane.size[1] / plane.size[0]
    ground = {"transform": axes.transAxes, "linewidth": 0}
    wide = max(share, 7.6 * len(text) * pixel)
    axes.add_patch(
        Rectangle((4 * pixel, 4 * pixel * tall), wide + 10 * pixel, 28 * pixel * tall, color="#000000aa", **ground)
    )
    axes.add_patch(Rectangle((9 * pixel, 9 * pixel * tall), share, 3 * pixel * tall, color="white", **ground))
    axes.text(9 * pixel, 15 * pixel * tall, text, color="white", fontsize=9, va="bottom", transform=axes.transAxes)
