"""What the streams of a first layer see: its activations for one clip, after the supplement's Figure 2 of Gonda et al. 2018.

Above are frames of the clip; below, for each stream, the channels that vary most over the clip, at the same times, from
black for 0 to white for the channel's largest activation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.report import figures

COLUMNS = 8
CHANNELS = 3
PICTURE = 84
GAP = 4
LEFT = 190
TOP = 40
# In the order of P_mSC_n; another layer has one stream.
STREAMS = ("plane y x, line t", "plane t x, line y", "plane t y, line x")
WHOLE = ("kernel t y x",)


def draw_streams(
    clip: NDArray[np.float32], activations: Mapping[str, NDArray[np.float32]], name: str, behaviour: str
) -> Any:
    """A plate with the frames of a clip and the activations of each stream.

    Parameters
    ----------
    clip : float32 (channel, t, y, x)
        One or three channels, 0 to 1.
    activations : mapping of float32 (channel, t', y', x')
        By stream, not negative.
    name, behaviour : str
        Of the network, and of the clip's class.
    """
    rows: list[tuple[str, NDArray[np.float32]]] = [("frames", np.moveaxis(clip, 0, -1))]
    for stream, found in activations.items():
        for channel in np.argsort(-found.std(axis=(1, 2, 3)), kind="stable")[:CHANNELS].tolist():
            rows.append((f"{stream}\nchannel {channel}", _stretched(found[channel])[..., None]))
    pitch = PICTURE + GAP
    figure = figures.plate(LEFT + COLUMNS * pitch + GAP, TOP + len(rows) * pitch + GAP)
    figures.write(figure, 12, 12, f"{name}: first layer, a clip of class “{behaviour}”", fontsize=12)
    for row, (words, pictures) in enumerate(rows):
        top = TOP + row * pitch
        figures.write(figure, 12, top + 8, words, fontsize=10, color=figures.PLATE_FAINT, linespacing=1.4)
        times = np.linspace(0, len(pictures) - 1, COLUMNS).round().astype(int)
        for column, time in enumerate(times.tolist()):
            axes = figures.place(figure, LEFT + column * pitch, top, PICTURE, PICTURE)
            picture = pictures[time]
            # As colours, which are drawn as they are; grey levels would go through a colour map.
            axes.imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)), interpolation="nearest")
    return figure


def _stretched(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """To 0 to 1."""
    stretched: NDArray[np.float32] = activation / max(float(activation.max()), 1e-6)
    return stretched
