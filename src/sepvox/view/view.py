"""view: one volume of an experiment in napari.

napari is an extra of the package and needs a display; without them this verb says in one line what to do.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepvox.errors import ConfigError, InputError
from sepvox.view.layers import Layer, expected_names, first_volume, layers_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

WINDOW = (1280, 1024)
# Label colours are taken modulo their number; napari's 49 give too many neighbours the same one. 254 still fit one byte.
LABEL_COLOURS = 254


def view(folder: Path, model: str, volume: str | None, screenshot: Path | None) -> None:
    """Open a volume's layers in napari, and wait until the window is closed.

    Parameters
    ----------
    folder : Path
        `results/{experiment}`.
    model : str
    volume : str or None
        The first segmented one by default.
    screenshot : Path or None
        Save a picture of the window as this PNG and quit.

    Raises
    ------
    InputError
        If there is no such experiment, volume or model, or the PNG cannot be written.
    ConfigError
        If napari is not installed or there is no display.
    """
    if screenshot is not None:
        _check_png(screenshot)
    volume = volume or first_volume(folder, model)
    layers = layers_of(folder, model, volume)
    left_out = [name for name in expected_names(folder, volume) if name not in {layer.name for layer in layers}]
    napari = _napari()

    viewer = napari.Viewer(title=f"{folder.resolve().name} {volume}", show=True)
    viewer.window._qt_window.resize(*WINDOW)
    add_layers(viewer, layers)
    if left_out:
        print(f"view: {volume} has no {', '.join(left_out)}")
    application = napari.qt.get_qapp()
    # The canvas gets its size while events are processed, and the camera must fit that size.
    application.processEvents()
    viewer.reset_view()
    application.processEvents()
    if screenshot is None:
        napari.run()
    else:
        viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
        viewer.close()


def add_layers(viewer: "ViewerModel", layers: list[Layer]) -> None:
    """Add layers to a napari viewer, axes named and a scale bar in their unit, and go to the centre of the top one.

    `viewer` may be a `ViewerModel`, which needs no display.
    """
    for layer in layers:
        _add(viewer, layer)
    viewer.dims.axis_labels = ("z", "y", "x")
    viewer.canvas.overlays.scale_bar.visible = True
    viewer.dims.set_point(range(3), layers[-1].centre)


def _add(viewer: "ViewerModel", layer: Layer) -> None:
    from napari.utils.colormaps import label_colormap

    pyramid = len(layer.data) > 1
    common: dict[str, Any] = {
        "data": list(layer.data) if pyramid else layer.data[0],
        "multiscale": pyramid,
        "name": layer.name,
        "scale": layer.geometry.voxel_size,
        "translate": layer.geometry.offset,
        "units": (layer.geometry.unit or "pixel",) * 3,
        "axis_labels": ("z", "y", "x"),
        "visible": layer.visible,
        "opacity": layer.opacity,
    }
    if layer.kind == "labels":
        # The stores are open for reading only, so that painting must not seem to work.
        viewer.add_labels(**common, colormap=label_colormap(LABEL_COLOURS)).editable = False
    elif layer.kind == "colours":
        viewer.add_image(**common, rgb=True)
    else:
        added = viewer.add_image(**common, contrast_limits=layer.window)
        added.contrast_limits_range = layer.extremes


def _check_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"--screenshot {path}: pictures are saved as PNG; give a name that ends in .png")
    if not path.parent.is_dir():
        raise InputError(f"--screenshot {path}: the folder {path.parent} does not exist; make it first")


def _napari() -> Any:
    """napari with a window system, or one line that says what is missing."""
    if find_spec("napari") is None:
        raise ConfigError("napari is not installed; install it in the clone with `pip install -e '.[view]'`")
    # Qt ends the process where it finds no display.
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in displays):
        raise ConfigError(
            "napari needs a display and there is none; `xvfb-run -a -s '-screen 0 1280x1024x24' sepvox view … --screenshot F.png` saves a picture without one"
        )
    try:
        import napari
        import napari.qt
    except ImportError as error:
        raise ConfigError(f"napari cannot open a window ({error}); install what it names") from None
    return napari
