"""A digit and its class to a clip of Video-MNIST: the motion of the class, drawn frame by frame.

Every clip is a pure function of its digit, its class and its seed, so that a data set is the same however it is cut, in
whatever order and by however many processes it is made. Turning and scaling are Pillow's with its bilinear filter, as in
the code published with Ras et al. (2019); what is outside the digit's picture is black.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepvox.studies.video_mnist.motions import FRAMES, SIDE, Motion, motion

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_BILINEAR = Image.Resampling.BILINEAR


def clip(image: NDArray[np.uint8], label: int, seed: int | Sequence[int]) -> NDArray[np.uint8]:
    """One clip.

    Parameters
    ----------
    image : uint8 (28, 28)
        The digit, bright on black, y x.
    label : int
        Its class, 0 to 9.
    seed : int or sequence of int
        What the motion is drawn with; see `clip_seed`.

    Returns
    -------
    uint8 (30, 28, 28)
        Frames, t y x.
    """
    return draw(image, motion(label, np.random.default_rng(seed)))


def clip_seed(seed: int, split: Split, index: int) -> tuple[int, int, int]:
    """The seed of the clip of digit `index` of a split, in a data set that is made with `seed`."""
    # numpy takes trailing zeros for absent: with a 0 for a split, its first clip would be drawn as by the seed alone.
    return seed, SPLITS.index(split) + 1, index


def draw(image: NDArray[np.uint8], motion: Motion) -> NDArray[np.uint8]:
    """The frames, uint8 (30, 28, 28), of a digit, uint8 (28, 28), in a motion."""
    frames = np.empty((FRAMES, SIDE, SIDE), np.uint8)
    digit = Image.fromarray(image)
    for index, (angle, side, (down, right)) in enumerate(
        zip(motion.angle.tolist(), motion.side.tolist(), motion.shift.tolist(), strict=True)
    ):
        scaled = digit.rotate(angle, _BILINEAR).resize((side, side), _BILINEAR)
        frame = Image.new("L", (SIDE, SIDE))
        corner = SIDE // 2 - side // 2
        frame.paste(scaled, (corner + right, corner + down))
        frames[index] = np.asarray(frame)
    return frames
