"""Images of a synthetic head: what a scanner makes of its tissue in each contrast.

A voxel holds *fractions* of tissues, of which the points drawn inside it are the sample. Order of imaging: brightness of the
tissues (which differs a little between subjects and drifts within a tissue), blur, bias field, Rician noise, integers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sepvox.prepare.phantoms.head_anatomy import Tissue
from sepvox.prepare.phantoms.head_settings import Contrast
from sepvox.prepare.phantoms.noise import FloatArray, smooth_noise

Axes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

CLASS_OF_TISSUE = np.array([{Tissue.CSF: 1, Tissue.GREY: 2, Tissue.WHITE: 3}.get(t, 0) for t in Tissue], np.uint8)
"""Class of each tissue: 0 background, 1 CSF, 2 grey matter, 3 white matter."""

# Brightness as a fraction of the white matter's in T1w, in the order of Tissue: air, fat, muscle, bone, marrow, dura, eye,
# CSF, grey, white. The order of tissues within a contrast is that of clinical images at 1.5 to 3 T.
_BRIGHTNESS: dict[Contrast, tuple[float, ...]] = {
    "T1w": (0.0, 1.05, 0.62, 0.10, 0.90, 0.60, 0.28, 0.26, 0.68, 1.0),
    "T2w": (0.0, 0.85, 0.45, 0.10, 0.75, 0.45, 1.25, 1.20, 0.82, 0.62),
    "FLAIR": (0.0, 0.95, 0.60, 0.10, 0.75, 0.65, 0.25, 0.22, 1.00, 0.80),
}
_UNITS = 600.0
_BLUR = 0.4
_SUPERSAMPLING = 2


def tissue_fractions(tissue: NDArray[np.uint8]) -> FloatArray:
    """Fraction of every tissue in every voxel.

    Parameters
    ----------
    tissue : uint8 array (2 z, 2 y, 2 x)
        Tissue at the points of a grid twice as fine as the voxels.

    Returns
    -------
    float32 array (tissue, z, y, x)
        Sums to 1 over the tissues.
    """
    n = _SUPERSAMPLING
    z, y, x = (length // n for length in tissue.shape)
    blocks = tissue.reshape(z, n, y, n, x, n)
    return np.stack([(blocks == t).mean(axis=(1, 3, 5), dtype=np.float32) for t in Tissue])


def majority_class(fractions: FloatArray) -> NDArray[np.uint8]:
    """The class, uint8 (z, y, x), that fills most of each voxel; of equals the lower one."""
    classes = [fractions[c == CLASS_OF_TISSUE].sum(axis=0) for c in range(4)]
    return np.asarray(np.argmax(classes, axis=0), np.uint8)


def scan(
    rng: np.random.Generator, fractions: FloatArray, axes: Axes, contrast: Contrast, *, bias: float, noise: float
) -> NDArray[np.int16]:
    """Image the fractions in one contrast.

    Parameters
    ----------
    rng : numpy Generator
        This contrast's own randomness.
    fractions : float32 array (tissue, z, y, x)
        Sums to 1 over the tissues.
    axes : triple of float64 arrays
        Coordinates of the voxels along z, y, x in a field of view of `FIELD_OF_VIEW`.
    contrast : str
        T1w, T2w or FLAIR.
    bias : float
        Standard deviation of the logarithm of the bias field.
    noise : float
        Standard deviation of the noise in either channel (Gudbjartsson and Patz 1995, Eq. 1), relative to white matter.

    Returns
    -------
    int16 array (z, y, x)
        White matter in T1w is near 600 times the subject's gain, which lies between 0.6 and 1.6.
    """
    keys = rng.integers(1 << 40, size=3).tolist()
    brightness = np.array(_BRIGHTNESS[contrast], np.float32)
    brightness *= rng.normal(1, 0.04, brightness.size).clip(0.9, 1.1).astype(np.float32)
    clean = np.tensordot(brightness, fractions, 1)
    clean *= 1 + np.float32(0.05) * smooth_noise(keys[0], 26.0, axes)
    clean = gaussian_filter(clean, _BLUR)
    clean *= np.exp(np.float32(bias) * smooth_noise(keys[1], 95.0, axes))
    sigma = noise * _BRIGHTNESS[contrast][Tissue.WHITE]
    real, imaginary = rng.normal(0, sigma, (2, *clean.shape)).astype(np.float32)
    gain = _UNITS * rng.uniform(0.6, 1.6)
    image = np.rint(gain * np.hypot(clean + real, imaginary)).clip(0, np.iinfo(np.int16).max)
    return np.asarray(image, np.int16)
