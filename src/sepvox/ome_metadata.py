"""OME-Zarr 0.5 metadata of a group, the value of its key `ome`: what is written about a store, and read back.

`multiscales` gives the arrays "0", "1", … of a pyramid, the finest first, their axes, z y x or c z y x, and for each array
a scale and the translation that follows it, in world units. `image-label` says that the voxels are labels. `omero` says how
viewers show the channels: each with a colour and a *window*, the values shown black and white and the range to choose from.
"""

from collections.abc import Sequence
from typing import Any

from sepvox.world import Geometry

Window = tuple[float, float, float, float]


def described(
    name: str, geometries: Sequence[Geometry], channels: Sequence[str], labels: bool, windows: Sequence[Window]
) -> dict[str, Any]:
    """The metadata of a pyramid.

    Parameters
    ----------
    geometries
        Of each level, the finest first.
    channels
        Their names; none for arrays without an axis of channels.
    labels : bool
        Whether the voxels are labels, downsampled by the commonest one, rather than by the mean.
    windows : sequence of (lowest, black, white, highest)
        How viewers show the channels, each in grey; none for channels that are affinities or probabilities, the first
        three of which are red, green and blue.
    """
    unit = geometries[0].unit
    axes = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": n, "type": "space"} | ({"unit": unit} if unit else {}) for n in "zyx"]
    datasets = []
    for level, geometry in enumerate(geometries):
        scale = [1.0] * bool(channels) + list(geometry.voxel_size)
        translation = [0.0] * bool(channels) + list(geometry.offset)
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets, "type": "mode" if labels else "mean"}],
    }
    if labels:
        ome["image-label"] = {"version": "0.5"}
    if channels:
        channel = _grey if windows else _coloured
        shown = windows or [(0.0, 0.0, 255.0, 255.0)] * len(channels)
        ome["omero"] = {
            "channels": [channel(n, i, _window(w)) for i, (n, w) in enumerate(zip(channels, shown, strict=True))]
        }
    return ome


def geometry(ome: dict[str, Any]) -> Geometry:
    """Geometry of level 0 of the pyramid that `ome` is about.

    Raises
    ------
    AttributeError, IndexError, KeyError, TypeError, ValueError
        If it is not as `described` writes it.
    """
    multiscale = ome["multiscales"][0]
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    unit = multiscale["axes"][-1].get("unit")
    z, y, x = scale["scale"][-3:]
    oz, oy, ox = translation["translation"][-3:]
    return Geometry((z, y, x), (oz, oy, ox), unit)


def _window(window: Window) -> dict[str, float]:
    return dict(zip(("min", "start", "end", "max"), window, strict=True))


def _grey(name: str, index: int, window: dict[str, float]) -> dict[str, Any]:
    return {"label": name, "color": "FFFFFF", "window": window, "active": index == 0}


def _coloured(name: str, index: int, window: dict[str, float]) -> dict[str, Any]:
    colors = ("FF0000", "00FF00", "0000FF")
    return {"label": name, "color": colors[index] if index < 3 else "FFFFFF", "window": window, "active": index < 3}
