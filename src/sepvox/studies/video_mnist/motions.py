"""The ten behaviours of Video-MNIST: how a digit moves, by its class, as numbers per frame.

frame   one of the 30 pictures of a clip, 28 x 28 pixels.
angle   by how many degrees the digit is turned counter-clockwise about the frame's centre.
side    edge of the square that the digit's 28 x 28 picture is scaled to, in pixels.
shift   by how many pixels (down, right) the scaled picture is moved from the frame's centre.

Source: Ras et al. (2019), Temporal Factorization of 3D Convolutional Kernels, Table 1 and the code published with it. The
table names the behaviours, the code has the numbers, which are taken here. Three things follow the code where the words
alone would suggest another reading:

- class 5 goes on by 12 radians per frame, which is 32.5 degrees, and not by 12 degrees;
- class 8 stands upright at frames 0 and 15 and ends one step of 24 degrees before it is upright again;
- the random walk of class 9 has no border.

One thing does not: the code puts the growing frames of class 2 one frame early, so that its last frame is empty, and cuts
two pixels off the largest. Here it shrinks for 15 frames and grows for 15, and scaled pictures are cut at the frame only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

FRAMES = 30
SIDE = 28
STEP = 360 // FRAMES
RADIANS = 12.0
# How far a digit goes on a canvas of twice its width, which has the frame at its centre.
REACH = SIDE // 2 - 1

BEHAVIOURS = (
    "moves horizontally",
    "moves vertically",
    "shrinks, then grows",
    "rotates clockwise",
    "rotates counter-clockwise",
    "moves on a circle",
    "grows, rotating clockwise",
    "moves horizontally, rotating counter-clockwise",
    "rotates clockwise, then back",
    "moves and rotates at random",
)


@dataclass(frozen=True)
class Motion:
    """What is done to a digit in each frame: it is turned, then scaled, then shifted.

    Attributes
    ----------
    angle : int (30,)
        Degrees counter-clockwise, in [0, 360).
    side : int (30,)
        Pixels, at least 1.
    shift : int (30, 2)
        Pixels down and to the right.
    """

    angle: Ints
    side: Ints
    shift: Ints


def motion(label: int, rng: np.random.Generator) -> Motion:
    """One motion of class `label`, 0 to 9; what its behaviour leaves open is drawn from `rng`."""
    return _MOTIONS[label](rng)


def _motion(
    angle: Ints | None = None, side: Ints | None = None, down: Ints | None = None, right: Ints | None = None
) -> Motion:
    """A motion; what is not given stays as it is in the digit's picture."""
    still = np.zeros(FRAMES, np.int64)
    return Motion(
        angle=still if angle is None else angle % 360,
        side=still + SIDE if side is None else side,
        shift=np.stack([still if along is None else along for along in (down, right)], axis=1),
    )


def _to_and_fro(rng: np.random.Generator) -> Ints:
    """Shifts along one axis from 0, first either way at 1 or 2 pixels per frame.

    A step that would go beyond `REACH` is taken the other way instead, and from then on each is a pixel longer.
    """
    velocity = int(rng.choice((-1, 1))) * int(rng.integers(1, 3))
    shifts = [0]
    while len(shifts) < FRAMES:
        if abs(shifts[-1] + velocity) > REACH:
            velocity = -velocity - int(np.sign(velocity))
        shifts.append(shifts[-1] + velocity)
    return np.array(shifts, np.int64)


def _shrink_and_grow(_: np.random.Generator) -> Ints:
    half = np.arange(FRAMES // 2)
    return np.concatenate([np.maximum(SIDE - 2 * half, 1), 2 * half + 2])


def _circle(rng: np.random.Generator) -> Motion:
    radius = int(rng.integers(4, SIDE // 2 - 1))
    angles = RADIANS * np.arange(FRAMES)[:: int(rng.choice((-1, 1)))]
    down, right = (np.round(radius * along(angles)).astype(np.int64) for along in (np.sin, np.cos))
    return _motion(down=down, right=right)


def _random(rng: np.random.Generator) -> Motion:
    steps = np.zeros((FRAMES, 3), np.int64)
    steps[1:] = rng.integers(-1, 2, (FRAMES - 1, 3))
    turns, down, right = np.cumsum(steps, axis=0).T
    return _motion(STEP * turns, down=down, right=right)


_FORTH = np.arange(FRAMES, dtype=np.int64)
_FORTH_AND_BACK = FRAMES // 2 - np.abs(_FORTH - FRAMES // 2)

_MOTIONS: tuple[Callable[[np.random.Generator], Motion], ...] = (
    lambda rng: _motion(right=_to_and_fro(rng)),
    lambda rng: _motion(down=_to_and_fro(rng)),
    lambda rng: _motion(side=_shrink_and_grow(rng)),
    lambda _: _motion(-STEP * _FORTH),
    lambda _: _motion(STEP * _FORTH),
    _circle,
    lambda _: _motion(-STEP * _FORTH, side=np.maximum(2 * _FORTH, 1)),
    lambda rng: _motion(STEP * _FORTH, right=_to_and_fro(rng)),
    lambda _: _motion(-2 * STEP * _FORTH_AND_BACK),
    _random,
)
