"""What a viewer shows of one volume, as data: layers, from the bottom to the top one.

Nothing is read but metadata; voxels are read chunk by chunk when the viewer asks for them. Stores that are not there, or
not finished, are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import zarr
from numpy.typing import NDArray

from sepvox import ome_zarr
from sepvox.blocks import Box, triple
from sepvox.errors import InputError
from sepvox.layout import Layout
from sepvox.storage import Place
from sepvox.world import Geometry, World

OF_NEURONS = ("image", "affinities", "fragments", "truth", "segmentation")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer, of any viewer.

    Attributes
    ----------
    kind : "image", "colours" or "labels"
    name : str
        One of `expected_names`.
    data : tuple of dask arrays
        The levels of the pyramid, the finest first; zyx, colours with a last axis red, green, blue.
    geometry : Geometry
        Of the finest level.
    visible : bool
        Whether the layer is shown at first.
    opacity : float
    window : (float, float) or None
        Intensities shown black and white; None for labels and colours.
    extremes : (float, float) or None
        Lowest and highest intensity; None for labels and colours.
    """

    kind: Literal["image", "colours", "labels"]
    name: str
    data: tuple[da.Array, ...]
    geometry: Geometry
    visible: bool
    opacity: float
    window: tuple[float, float] | None = None
    extremes: tuple[float, float] | None = None

    @property
    def centre(self) -> World:
        """Position of the middle voxel in `unit`, z y x."""
        z, y, x = self.data[0].shape[:3]
        return self.geometry.moved((z // 2, y // 2, x // 2)).offset


def layers_of(folder: Path, model: str, volume: str) -> list[Layer]:
    """The layers of one volume that are there, from the bottom to the top one.

    Parameters
    ----------
    folder : Path
        `results/{experiment}`.
    model, volume : str
        Names in the experiment.

    Raises
    ------
    InputError
        If the folder holds no results, no such volume or no such model; the message names what there is.
    StoreError
        If a finished store is damaged.
    """
    layout = Layout.noted(folder)
    _check(folder, "--volume", volume, volumes_in(folder, model))
    stores: dict[str, tuple[Place, Callable[[str, Place], Layer]]] = {
        "image": (layout.image(volume), _image),
        "affinities": (layout.affinities(model, volume), _affinities),
        "fragments": (layout.fragments(model, volume), _hidden_labels),
        "truth": (layout.labels(volume), _hidden_labels),
        "segmentation": (layout.segmentation(model, volume), _shown_labels),
        **{name: (layout.image(volume), _modality) for name in modalities_of(folder, volume)},
    }
    shown = [(name, *stores[name]) for name in expected_names(folder, volume)]
    found = [make(name, path) for name, path, make in shown if _finished(path)]
    if not found:
        raise InputError(f"{folder}: nothing of volume {volume} is finished yet; run the experiment first")
    return found


def expected_names(folder: Path, volume: str) -> tuple[str, ...]:
    """Names of the layers of a finished volume, from the bottom to the top one."""
    modalities = modalities_of(folder, volume)
    return (*modalities, "truth", "segmentation") if modalities else OF_NEURONS


def modalities_of(folder: Path, volume: str) -> tuple[str, ...]:
    """Names of a scan's channels; empty for volumes of other kinds."""
    store = Layout.noted(folder).image(volume)
    return tuple(ome_zarr.attributes(store).get("modalities", ())) if _finished(store) else ()


def first_volume(folder: Path, model: str) -> str:
    """The first volume, by name, that `model` has segmented; the first of all where it has segmented none.

    Raises
    ------
    InputError
        As for `layers_of`.
    """
    layout, names = Layout.noted(folder), volumes_in(folder, model)
    return next((name for name in names if _finished(layout.segmentation(model, name))), names[0])


def volumes_in(folder: Path, model: str) -> list[str]:
    """Names of the volumes of an experiment, sorted; `model` must be one of its models where it has any.

    Raises
    ------
    InputError
        If the folder holds no results or no such model.
    """
    outputs = Layout(folder).root / "outputs"
    models = sorted({*_folders(outputs), *_folders(Layout(folder).root / "models")})
    volumes = sorted({*_folders(folder / "volumes"), *_folders(outputs / model)})
    if not volumes:
        experiments = [str(inner) for inner in sorted(folder.glob("*")) if _folders(inner / "volumes")]
        mend = f"give {' or '.join(experiments)}" if experiments else "run the experiment, or give results/EXPERIMENT"
        what = "has no volumes" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: {what}; {mend}")
    if models:
        _check(folder, "--model", model, models)
    return volumes


def _check(folder: Path, option: str, given: str, known: list[str]) -> None:
    if given not in known:
        raise InputError(f"{option} {given}: not in {folder}, which has {', '.join(known)}")


def _folders(folder: Path) -> list[str]:
    return sorted(inner.name for inner in folder.glob("*") if inner.is_dir())


def _finished(store: Place) -> bool:
    return (store / "zarr.json").exists()


def _image(name: str, path: Place) -> Layer:
    statistics = ome_zarr.attributes(path)["statistics"]
    low, high = statistics["percentiles"]["0.5"], statistics["percentiles"]["99.5"]
    # A viewer cannot spread an empty range over its greys.
    high = high if high > low else low + 1.0
    extremes = (min(statistics["minimum"], low), max(statistics["maximum"], high))
    return Layer("image", name, _levels(path), ome_zarr.geometry(path), True, 1.0, (low, high), extremes)


def _modality(name: str, path: Place) -> Layer:
    """One channel of a scan."""
    attributes = ome_zarr.attributes(path)
    channel = attributes["modalities"].index(name)
    percentiles = attributes["normalisation"][channel]["percentiles"]
    levels = tuple(level[channel] for level in _levels(path))
    # The foreground's range leaves air black.
    window = (min(0.0, percentiles["0.5"]), max(percentiles["99.5"], percentiles["0.5"] + 1.0))
    return Layer("image", name, levels, ome_zarr.geometry(path), channel == 0, 1.0, window, window)


def _affinities(name: str, path: Place) -> Layer:
    """The three nearest affinities, along z, y and x, as red, green and blue."""
    colours = tuple(da.moveaxis(level[:3], 0, -1) for level in _levels(path))
    return Layer("colours", name, colours, ome_zarr.geometry(path), False, 1.0)


def _hidden_labels(name: str, path: Place) -> Layer:
    return Layer("labels", name, _levels(path), ome_zarr.geometry(path), False, 0.5)


def _shown_labels(name: str, path: Place) -> Layer:
    return Layer("labels", name, _levels(path), ome_zarr.geometry(path), True, 0.5)


def _levels(path: Place) -> tuple[da.Array, ...]:
    """Every level of a finished store, lazily, in its chunks."""
    return tuple(_lazy(array) for array in ome_zarr.levels(path))


def _lazy(array: "zarr.Array[Any]") -> da.Array:
    """The array as dask blocks of one chunk and all channels."""
    chunks = (*array.shape[:-3], *array.chunks[-3:])
    # Without a getter of its own dask would read the array past the checks of `ome_zarr.read`.
    return da.from_array(array, chunks=chunks, name=False, getitem=_block)


def _block(array: "zarr.Array[Any]", index: tuple[slice, ...], **_: Any) -> NDArray[Any]:
    space = index[-3:]
    return ome_zarr.read(array, Box(triple([s.start for s in space]), triple([s.stop for s in space])))
