"""A synthetic EM volume of neuropil, with the exact label of every voxel.

The volume is a function of absolute position and of its settings: any box of it can be made alone, in memory and time that
depend on the box only, and boxes agree to the byte. Its shape limits what may be asked for and changes nothing else.

Order of making: *tissue* (territories, membranes, organelles), *imaging* (uneven illumination, anisotropic blur, then noise),
*sections* (each z section is shifted as a whole, image and labels alike, and some are blank in the image only).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from sepvox.errors import InputError
from sepvox.prepare.phantoms.noise import FloatArray, normal, smooth_noise, uniform
from sepvox.prepare.phantoms.skeleton import lay_out_neurites
from sepvox.prepare.phantoms.tissue import Fields, largest_label, paint_tissue
from sepvox.prepare.settings import EMPhantomSettings

Box = tuple[int, int, int]

_CELLS_PER_SPACING = 0.55
_GREY_RANGE = 130.0
_ILLUMINATION = 9.0


def _kernel(deviation: float) -> NDArray[np.float64]:
    radius = int(np.ceil(3 * deviation))
    values = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(deviation, 1e-6)) ** 2)
    total: float = values.sum()
    return np.asarray(values / total)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _expose(
    seed: int,
    begin: Box,
    clean: FloatArray,
    noise: float,
    shifts: NDArray[np.int64],
    blank: NDArray[np.bool_],
    margin: int,
    labels: NDArray[np.uint32],
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Shift the sections and add noise: the noise belongs to the image, so it does not move with the section."""
    shape = (clean.shape[0], clean.shape[1] - 2 * margin, clean.shape[2] - 2 * margin)
    image = np.zeros(shape, np.uint8)
    truth = np.empty(shape, np.uint32)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                row, column = j + margin + shifts[i, 0], k + margin + shifts[i, 1]
                truth[i, j, k] = labels[i, row, column]
                if not blank[i]:
                    value = clean[i, row, column] + noise * normal(seed, begin[0] + i, begin[1] + j, begin[2] + k)
                    image[i, j, k] = np.uint8(min(max(value, 1.0), 255.0) + 0.5)
    return image, truth


def _sections(
    settings: EMPhantomSettings, seed: int, begin: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Shift (y, x) and blankness of every section, and the largest shift there can be."""
    from_z = range(begin, end)
    margin = int(np.ceil(3 * settings.misalignment))
    shifts = np.array(
        [[round(settings.misalignment * normal(seed + 21, z, axis, 0)) for axis in (0, 1)] for z in from_z],
        np.int64,
    )
    blank = np.array([uniform(seed + 22, z, 0, 0) < settings.missing_sections for z in from_z], np.bool_)
    return np.clip(shifts, -margin, margin), blank, margin


def em_phantom(settings: EMPhantomSettings, begin: Box, end: Box) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Make the box [begin, end) of an EM phantom.

    Parameters
    ----------
    settings : EMPhantomSettings
        The phantom; `begin` and `end` lie within its shape.
    begin, end : triples of int
        Corners of the box in voxels, z y x; `end` is exclusive.

    Returns
    -------
    image : uint8 array (z, y, x)
        Grey values; membranes are dark; 0 only in missing sections.
    labels : uint32 array (z, y, x)
        Object of every voxel, from 1; there is no background.

    Raises
    ------
    InputError
        If the box is empty, leaves the volume, or lies so far out that labels exceed 32 bits (about 50,000 voxels).
    """
    for axis, b, e, n in zip("zyx", begin, end, settings.shape, strict=True):
        if not 0 <= b < e <= n:
            raise InputError(f"phantom box: axis {axis} is [{b}, {e}), expected 0 <= begin < end <= {n}: mend the box")
    seed = settings.seed * 1000
    kernels = [_kernel(deviation) for deviation in settings.blur]
    shifts, blank, shift = _sections(settings, seed, begin[0], end[0])
    margins = [k.size // 2 + s for k, s in zip(kernels, (0, shift, shift), strict=True)]
    scales = (settings.anisotropy, 1.0, 1.0)
    at_z, at_y, at_x = (
        scale * np.arange(b - m, e + m, dtype=np.float64)
        for scale, b, e, m in zip(scales, begin, end, margins, strict=True)
    )
    positions = (at_z, at_y, at_x)
    spacing = _CELLS_PER_SPACING * settings.neurite_spacing
    skeleton = lay_out_neurites(settings.seed)
    if largest_label(skeleton, max(float(axis[-1]) for axis in positions) / spacing) >= 1 << 32:
        raise InputError(f"phantom box ends at {end}: labels there exceed 32 bits; make the volume smaller")

    def field(key: int, wavelength: float) -> FloatArray:
        return smooth_noise(seed + key, wavelength, positions)

    def warp(axis: int) -> FloatArray:
        return 0.22 * field(axis + 1, 3.2 * spacing) + 0.5 * field(axis + 4, 9 * spacing)

    fields = Fields(
        (warp(0), warp(1), warp(2)), field(7, 14.0), field(8, 12.0), field(9, 26.0), field(10, 8.0), field(11, 2.5)
    )
    grey, labels = paint_tissue(
        skeleton,
        fields,
        positions,
        seed=seed,
        spacing=spacing,
        membrane_width=settings.membrane_width,
        organelles=settings.organelles,
    )
    grey += np.float32(_ILLUMINATION) * field(12, 48.0)
    for dimension, kernel in enumerate(kernels):
        if kernel.size > 1:
            grey = correlate1d(grey, kernel, axis=dimension, mode="nearest")
    inner = tuple(slice(k.size // 2, n - k.size // 2) for k, n in zip(kernels, labels.shape, strict=True))
    return _expose(  # type: ignore[no-any-return]
        seed + 20, begin, grey[inner], settings.noise * _GREY_RANGE, shifts, blank, shift, labels[inner]
    )
