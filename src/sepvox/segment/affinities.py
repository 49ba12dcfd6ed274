"""Affinities as the steps of segmentation take them: of each voxel to its neighbours at -1 along z, y and x."""

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError

Affinities = NDArray[np.uint8] | NDArray[np.float32]


def nearest(affinities: Affinities, shape: tuple[int, ...]) -> Affinities:
    """Give the three nearest affinities, as they are stored.

    Parameters
    ----------
    affinities : uint8 or float32 (c, z, y, x), c >= 3
        Affinities at -1 along z, y and x, then any others; uint8 stands for 0 to 1 in steps of 1/255.
    shape : (z, y, x)
        Shape of the fragments or of the box that they belong to, in voxels.

    Raises
    ------
    InputError
        If there are fewer than three channels, the shape is another, or the type is neither uint8 nor float32.
    """
    if affinities.ndim != 4 or len(affinities) < 3 or affinities.shape[1:] != shape:
        raise InputError(
            f"affinities: shape {affinities.shape} where (3 or more, {', '.join(map(str, shape))}) was due"
        )
    if affinities.dtype != np.uint8 and affinities.dtype != np.float32:
        raise InputError(f"affinities: type {affinities.dtype} where uint8 or float32 was expected; run predict again")
    return affinities[:3]


def nearest_as_float(affinities: Affinities, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Give the three nearest affinities as waterz takes them: float32 (3, z, y, x), contiguous, 0 to 1.

    Affinities that are so already are returned as they are, not copied. Parameters and errors are those of `nearest`.
    """
    found = nearest(affinities, shape)
    if found.dtype == np.uint8:
        return np.multiply(found, np.float32(1 / 255), dtype=np.float32)
    return np.ascontiguousarray(found, np.float32)
