"""Random changes of a training patch: geometry of image and labels, then grey values of the image.

The *source* is what is read from the volume; the *patch*, at its centre, is what the network sees. The source is larger by
the *reach* of the changes that displace voxels, so that nothing at the border of the patch is invented. All randomness
comes from the generator that is handed in.

The order is that of the microscope, last to first undone: tissue is deformed, sections are displaced, grey values change,
sections are lost; the symmetry comes last and leaves no direction special that the voxels do not make so.
"""

from typing import Any, Final

import numpy as np
from monai.transforms import (
    RandGaussianNoise,
    RandGaussianSmooth,
)
from numpy.typing import NDArray
from scipy import ndimage

from sepvox.symmetries import apply, symmetries
from sepvox.train.augment_em import MISALIGNMENT_REACH, blank_sections, misalign
from sepvox.train.settings import AugmentSettings

# Voxels: the largest displacement, and the distance of the control points. At these values a displacement changes by less
# than a voxel per voxel, so that the deformation folds nowhere.
ELASTIC_REACH: Final = 5
ELASTIC_SPACING: Final = 24
# Largest relative change of the contrast about middle grey and shift of the brightness, range of the exponent of the
# gamma curve; grey values are between 0 and 1.
CONTRAST: Final = 0.3
BRIGHTNESS: Final = 0.15
GAMMA: Final = (0.7, 1.4)
NOISE: Final = 0.1
# Standard deviation in voxels.
BLUR: Final = (0.3, 1.2)


def source_shape(patch: tuple[int, int, int], settings: AugmentSettings, anisotropic: bool) -> tuple[int, int, int]:
    """Return the shape (z, y, x) in voxels that must be read, centred on a patch of shape `patch`, to augment it."""
    displaced = MISALIGNMENT_REACH if settings.misaligned_sections > 0 else 0
    elastic = _elastic_reach(anisotropic) if settings.elastic > 0 else (0, 0, 0)
    z, y, x = (size + 2 * reach for size, reach in zip(patch, elastic, strict=True))
    return z, y + 2 * displaced, x + 2 * displaced


def augment(
    image: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    settings: AugmentSettings,
    rng: np.random.Generator,
    anisotropic: bool,
) -> tuple[NDArray[np.float32], NDArray[np.integer[Any]]]:
    """Draw and apply the changes of one patch.

    Parameters
    ----------
    image
        Shape (z, y, x) as `source_shape` gives it, float32 between 0 and 1; not changed.
    labels
        Same shape, any integer dtype; not changed.
    settings
        Probability of each change.
    rng
        The only source of randomness: equal generators give equal bytes.
    anisotropic
        Whether z is unlike y and x. Then z keeps its place in the symmetries, deformation and blur stay in the section.

    Returns
    -------
    image, labels
        Contiguous arrays of the patch's shape, image float32 between 0 and 1, labels of the same dtype with ids of the
        source only. Symmetries that would change the patch's shape are not drawn.

    Raises
    ------
    ValueError
        If image and labels differ in shape, or the source leaves no patch.
    """
    if image.shape != labels.shape:
        raise ValueError(f"image has shape {image.shape}, labels have {labels.shape}; expected the same")
    if any(size <= 0 for size in _patch_shape(image.shape, settings, anisotropic)):
        raise ValueError(
            f"source has shape {image.shape}, expected at least {source_shape((1, 1, 1), settings, anisotropic)}"
        )
    displace = rng.random() < settings.misaligned_sections
    if settings.misaligned_sections > 0 and not displace:
        margin = (0, MISALIGNMENT_REACH, MISALIGNMENT_REACH)
        image, labels = _without_margin(image, margin), _without_margin(labels, margin)
    if settings.elastic > 0:
        reach = _elastic_reach(anisotropic)
        if rng.random() < settings.elastic:
            image, labels = deform(image, labels, reach, rng)
        else:
            image, labels = _without_margin(image, reach), _without_margin(labels, reach)
    if displace:
        image, labels = misalign(image, labels, rng)
    if rng.random() < settings.blur:
        image = blur(image, rng, anisotropic)
    if rng.random() < settings.noise:
        image = add_noise(image, rng)
    if rng.random() < settings.intensity:
        image = change_intensity(image, rng)
    if rng.random() < settings.missing_sections:
        image = blank_sections(image, rng)
    if settings.symmetries:
        fitting = [
            symmetry
            for symmetry in symmetries(anisotropic)
            if tuple(image.shape[axis] for axis in symmetry.permutation) == image.shape
        ]
        symmetry = fitting[int(rng.integers(len(fitting)))]
        image, labels = apply(symmetry, image), apply(symmetry, labels)
    return np.ascontiguousarray(image.clip(0, 1), np.float32), np.ascontiguousarray(labels)


def deform(
    image: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    reach: tuple[int, int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.integer[Any]]]:
    """Deform image (linearly interpolated) and labels (nearest voxel) by one smooth random displacement.

    The displacement along each axis is a cubic B-spline with uniform random coefficients, scaled to a peak drawn between
    0 and `reach`. MONAI's Rand3DElastic does the same by Gaussian smoothing in ten times the time.

    Parameters
    ----------
    image, labels
        Shape (z, y, x), with `reach` voxels more than wanted on each side.
    reach
        Largest displacement along z, y, x, in voxels.
    rng
        Draws the displacement.

    Returns
    -------
    image, labels
        New arrays of the same dtypes, without the margin.
    """
    shape = _without_margin(image, reach).shape
    bases = [_spline_basis(size) for size in shape]
    coefficients = rng.uniform(-1, 1, (3, *(basis.shape[1] for basis in bases))).astype(np.float32)
    displacement = np.einsum("aijk,zi->azjk", coefficients, bases[0])
    displacement = np.einsum("azjk,yj->azyk", displacement, bases[1])
    displacement = np.einsum("azyk,xk->azyx", displacement, bases[2])
    displacement *= rng.random(dtype=np.float32) / np.abs(displacement).max()
    for axis, (size, most) in enumerate(zip(shape, reach, strict=True)):
        displacement[axis] *= most
        displacement[axis] += np.expand_dims(
            np.arange(most, most + size, dtype=np.float32), tuple(other for other in range(3) if other != axis)
        )
    deformed = ndimage.map_coordinates(image, displacement, output=np.float32, order=1, mode="nearest")
    z, y, x = np.rint(displacement).astype(np.intp)
    return deformed, labels[z, y, x]


def change_intensity(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change contrast, brightness and gamma of an image (z, y, x) between 0 and 1, and clip it to that range."""
    # MONAI's transforms for these use torch's sums and powers, whose last bits depend on the number of threads and so on
    # the number of loader processes; a patch must not.
    scale = np.float32(1 + rng.uniform(-CONTRAST, CONTRAST))
    shift = np.float32(0.5 + rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    gamma = np.float32(rng.uniform(*GAMMA))
    changed: NDArray[np.float32] = ((image - np.float32(0.5)) * scale + shift).clip(0, 1) ** gamma
    return changed


def add_noise(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add Gaussian noise, of a standard deviation drawn between 0 and `NOISE`, to an image (z, y, x)."""
    return _transformed(RandGaussianNoise(prob=1, std=NOISE), image, rng)


def blur(image: NDArray[np.float32], rng: np.random.Generator, anisotropic: bool) -> NDArray[np.float32]:
    """Smooth an image (z, y, x) by a Gaussian, of a standard deviation drawn from `BLUR` for each axis.

    Where `anisotropic`, sections are smoothed one by one.
    """
    if anisotropic:
        return _transformed(RandGaussianSmooth(BLUR, BLUR, prob=1), image, rng, sections_as_channels=True)
    return _transformed(RandGaussianSmooth(BLUR, BLUR, BLUR, prob=1), image, rng)


def _transformed(
    transform: Any, image: NDArray[np.float32], rng: np.random.Generator, sections_as_channels: bool = False
) -> NDArray[np.float32]:
    """Apply a random MONAI transform, seeded from `rng`, to an image (z, y, x)."""
    transform.set_random_state(seed=int(rng.integers(2**32)))
    if sections_as_channels:
        return np.asarray(transform(image), np.float32)
    return np.asarray(transform(image[np.newaxis])[0], np.float32)


def _elastic_reach(anisotropic: bool) -> tuple[int, int, int]:
    return (0 if anisotropic else ELASTIC_REACH, ELASTIC_REACH, ELASTIC_REACH)


def _patch_shape(source: tuple[int, ...], settings: AugmentSettings, anisotropic: bool) -> list[int]:
    return [size - margin for size, margin in zip(source, source_shape((0, 0, 0), settings, anisotropic), strict=True)]


def _without_margin(array: NDArray[Any], margin: tuple[int, int, int]) -> NDArray[Any]:
    z, y, x = (slice(width, size - width) for width, size in zip(margin, array.shape, strict=True))
    return array[z, y, x]


def _spline_basis(size: int) -> NDArray[np.float32]:
    """Return the weights (size, controls) of uniform cubic B-splines at voxels 0 to size - 1."""
    position = np.arange(size) / ELASTIC_SPACING
    cell = position.astype(np.intp)
    t = position - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    basis = np.zeros((size, int(cell[-1]) + 4), np.float32)
    for control, weight in enumerate(weights):
        basis[np.arange(size), cell + control] = weight
    return basis
