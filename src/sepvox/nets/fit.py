"""The streams of a kernel fitted together, for fewer terms than an exact decomposition has.

Words are those of `sepvox.nets.decompose`. The terms of a split are orthogonal, which makes their error plain but their
number large. Streams that may overlap need fewer: every stream in turn becomes the nearest to what the others leave of the
kernel, and no such step can raise the error. A *sweep* is one turn of all streams.
"""

from collections.abc import Sequence

import numpy as np

from sepvox.nets.decompose import AXES, EXACT, Decomposition, Kernel, Stream, decompose, stream_of

SWEEPS = 50
STILL = 1e-3
"""Sweeps end when one lowers the error by less than this part of it."""


def approximate(kernel: Kernel, terms: int | None = None, axes: Sequence[int] = AXES) -> Decomposition:
    """The streams of `terms` terms at most that come nearest to a kernel, as far as is known how to find them.

    For one axis they are the nearest there are. For several it is the better of two: the best split (`decompose`), which is
    exact where the budget allows it, and the streams of equal widths that `fit` ends at.

    Parameters
    ----------
    kernel : float64 array (C_out, C_in, z, y, x)
    terms : int, optional
        Budget; all terms by default.
    axes : sequence of int
        Orientations of streams, of 0, 1, 2 for z, y, x.

    Raises
    ------
    ValueError
        If the budget is less than one term.
    """
    split = decompose(kernel, terms, axes)
    if terms is None or len(axes) == 1 or split.error <= EXACT:
        return split
    fitted = fit(kernel, {axis: (terms + len(axes) - 1 - place) // len(axes) for place, axis in enumerate(axes)})
    return min(split, fitted, key=lambda found: found.error)


def fit(kernel: Kernel, widths: dict[int, int]) -> Decomposition:
    """Fit streams of given widths together, from none on.

    Parameters
    ----------
    kernel : float64 array (C_out, C_in, z, y, x)
    widths : dict
        Terms by axis, of 0, 1, 2 for z, y, x.
    """
    norm = float(np.linalg.norm(kernel)) or 1.0
    streams: dict[int, Stream] = {}
    left, error = kernel, 1.0
    for _ in range(SWEEPS):
        for axis, width in sorted(widths.items()):
            if width:
                target = left + streams[axis].kernel() if axis in streams else left
                streams[axis] = stream_of(target, axis, width)
                left = target - streams[axis].kernel()
        before, error = error, float(np.linalg.norm(left)) / norm
        if error >= (1 - STILL) * before:
            break
    return Decomposition(tuple(streams[axis] for axis in sorted(streams)), error)
