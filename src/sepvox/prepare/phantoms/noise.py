"""Randomness that is a function of position: hashes of integer coordinates and smooth noise on a lattice.

A *key* is an integer that names one stream of randomness. A *lattice* is the set of integer multiples of a wavelength,
anchored at the volume's origin. Nothing here has state and nothing depends on the box that is asked for, so that a volume
is the same however it is cut.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_SPLINE_DEVIATION = 0.1915


@njit("uint64(int64, int64, int64, int64)", cache=True)  # type: ignore[untyped-decorator]
def hashed(key: int, a: int, b: int, c: int) -> np.uint64:
    """Return 64 random bits for a key and three integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    h ^= np.uint64(a) * np.uint64(0xD6E8FEB86659FD93)
    h ^= np.uint64(b) * np.uint64(0xA0761D6478BD642F)
    h ^= np.uint64(c) * np.uint64(0xE7037ED1A0B428DB)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit("float64(int64, int64, int64, int64)", cache=True)  # type: ignore[untyped-decorator]
def uniform(key: int, a: int, b: int, c: int) -> float:
    """Return a number in [0, 1) for a key and three integers."""
    return float(np.int64(hashed(key, a, b, c) >> np.uint64(11))) * (1.0 / 9007199254740992.0)


@njit("float64(int64, int64, int64, int64)", cache=True)  # type: ignore[untyped-decorator]
def normal(key: int, a: int, b: int, c: int) -> float:
    """Return a number of mean 0 and variance 1 for a key and three integers: the sum of four uniform ones."""
    h = hashed(key, a, b, c)
    mask = np.uint64(0xFFFF)
    total = (
        np.int64(h & mask)
        + np.int64((h >> np.uint64(16)) & mask)
        + np.int64((h >> np.uint64(32)) & mask)
        + np.int64(h >> np.uint64(48))
    )
    return (float(total) / 65536.0 - 2.0) * 1.7320508


@njit(cache=True)  # type: ignore[untyped-decorator]
def _lattice(key: int, begin: tuple[int, int, int], shape: tuple[int, int, int]) -> FloatArray:
    values = np.empty(shape, np.float32)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                values[i, j, k] = 2.0 * uniform(key, begin[0] + i, begin[1] + j, begin[2] + k) - 1.0
    return values


def _spline_taps(positions: NDArray[np.float64], wavelength: float) -> tuple[int, int, NDArray[np.int64], FloatArray]:
    scaled = positions / wavelength
    first = np.floor(scaled).astype(np.int64) - 1
    t = scaled - np.floor(scaled)
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3],
        axis=1,
    )
    begin = int(first.min())
    return begin, int(first.max()) + 4 - begin, first - begin, (weights / 6).astype(np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _interpolate_first(values: FloatArray, first: NDArray[np.int64], weights: FloatArray) -> FloatArray:
    """Interpolate the first axis of (n, rows, columns) by four taps, in an order that is the same for every box."""
    out = np.empty((first.size, values.shape[1], values.shape[2]), np.float32)
    for i in range(first.size):
        f = first[i]
        w0, w1, w2, w3 = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
        for j in range(values.shape[1]):
            for k in range(values.shape[2]):
                out[i, j, k] = (
                    w0 * values[f, j, k]
                    + w1 * values[f + 1, j, k]
                    + w2 * values[f + 2, j, k]
                    + w3 * values[f + 3, j, k]
                )
    return out


def smooth_noise(
    key: int, wavelength: float, positions: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
) -> FloatArray:
    """Smooth noise of mean 0 and variance about 1, the cubic B-spline of random values on a lattice.

    Parameters
    ----------
    key : int
        Names the noise.
    wavelength : float
        Distance of lattice points, in the unit of `positions`.
    positions : triple of float64 arrays
        Coordinates of the voxels along z, y and x.

    Returns
    -------
    float32 array (z, y, x)
        Bounded by 5.3 in absolute value.
    """
    taps = [_spline_taps(axis, wavelength) for axis in positions]
    values = _lattice(key, tuple(t[0] for t in taps), tuple(t[1] for t in taps))
    for axis in (2, 1, 0):
        _, _, first, weights = taps[axis]
        moved = np.ascontiguousarray(np.moveaxis(values, axis, 0))
        values = np.moveaxis(_interpolate_first(moved, first, weights), 0, axis)
    return np.ascontiguousarray(values) * np.float32(1 / _SPLINE_DEVIATION)
