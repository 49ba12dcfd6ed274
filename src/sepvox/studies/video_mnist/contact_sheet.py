"""The contact sheet of Video-MNIST: one clip per class, a row each, every frame from left to right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.report import figures
from sepvox.studies.video_mnist.motions import BEHAVIOURS, FRAMES, SIDE

ZOOM = 2
FRAME = ZOOM * SIDE
GAP = 4
LEFT = 256
TOP = 30


def draw_contact_sheet(clips: Mapping[int, NDArray[np.uint8]]) -> Any:
    """A plate with one row per class.

    Parameters
    ----------
    clips : mapping
        One clip, uint8 (30, 28, 28), by class; classes without one are left out.
    """
    pitch = FRAME + GAP
    figure = figures.plate(LEFT + FRAMES * pitch + GAP, TOP + len(clips) * pitch + GAP)
    for frame in range(0, FRAMES, 5):
        figures.write(figure, LEFT + frame * pitch, 10, f"{frame}", fontsize=10, color=figures.PLATE_FAINT)
    for row, label in enumerate(sorted(clips)):
        top = TOP + row * pitch
        figures.write(figure, 12, top + 8, f"{label}", fontsize=15)
        words = _broken(BEHAVIOURS[label])
        figures.write(figure, 36, top + 8, words, fontsize=10, color=figures.PLATE_FAINT, linespacing=1.4)
        for frame, picture in enumerate(clips[label]):
            # As colours, which are drawn as they are; grey levels would go through a colour map.
            pixels = np.kron(picture[:, :, None], np.ones((ZOOM, ZOOM, 3), np.uint8))
            figure.figimage(pixels, xo=LEFT + frame * pitch, yo=round(figure.bbox.height) - top - FRAME, origin="upper")
    return figure


def _broken(words: str) -> str:
    """In two lines where there is a comma."""
    return words.replace(", ", ",\n")
