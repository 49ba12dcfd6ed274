"""Random changes of a training patch of MRI: geometry of image and classes, then intensities of each channel.

The *deformation* says from where each voxel of the patch is taken; the *source* is the box around the patch that this
needs, so that nothing at the border of the patch is invented. Both are drawn before anything is read, and only deformed
patches read more than themselves. All randomness comes from the generator that is handed in.

The order is that of the scanner: the body differs in pose and shape, coils see its parts unequally bright, voxels are
coarser or blurred, noise comes on top, and the intensity scale is arbitrary. Rotation, scaling and deformation are in
millimetres, whatever the shape of the voxels; strengths of intensity changes are parts of the channel's standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, radians
from typing import Any, Final

import numpy as np
from monai.transforms import RandBiasField, RandGaussianNoise, RandGaussianSmooth
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from sepvox.blocks import Triple, triple
from sepvox.prepare.grid import interpolate
from sepvox.train.class_settings import ClassAugmentSettings

Spacing = tuple[float, float, float]

# Largest angle in degrees about each axis, range of the size along each axis, largest shear of one axis along another.
ROTATION: Final = 15.0
SCALING: Final = (0.85, 1.2)
SHEAR: Final = 0.05
# Axes whose voxels differ more in length are neither rotated nor sheared into each other: between thick slices there is
# nothing to interpolate from (the limit is that of Isensee et al. 2021).
COARSE: Final = 3.0
# In shortest voxel edges: bound of the displacement along an axis, and the distance of the control points. At these values
# deformations fold nowhere.
ELASTIC_REACH: Final = 8.0
ELASTIC_SPACING: Final = 24.0
# Largest coefficient of the polynomials, of third degree, of the field's logarithm.
BIAS: Final = 0.15
GAMMA: Final = (0.7, 1.5)
CONTRAST: Final = 0.25
BRIGHTNESS: Final = 0.25
NOISE: Final = 0.25
# Standard deviation in shortest voxel edges.
BLUR: Final = (0.3, 1.0)
# In shortest voxel edges: how long voxels become that are not longer yet.
COARSENING: Final = (1.5, 3.0)


@dataclass(frozen=True, eq=False)
class Deformation:
    """Where the voxels of a patch are taken from.

    With positions counted from the middle of patch and source, in voxels, a voxel at p shows what the source has at
    ``matrix @ (p + u(p))``. The displacement u is a cubic B-spline.

    Attributes
    ----------
    patch : (int, int, int)
        Shape, z y x.
    matrix : float64 (3, 3)
    coefficients : float32 (3, controls z, controls y, controls x) or None
        Of the displacement along z, y, x in voxels; None displaces nothing.
    reach : (float, float, float)
        Bound of the displacement along z, y, x in voxels.
    knots : (float, float, float)
        Distance of the control points along z, y, x in voxels.
    """

    patch: Triple
    matrix: NDArray[np.float64]
    coefficients: NDArray[np.float32] | None
    reach: Spacing
    knots: Spacing

    @property
    def source(self) -> Triple:
        """Shape (z, y, x) that must be read, around the middle of the patch.

        It is the patch's where nothing is drawn. Of a cubic patch it is at most twice as long along each axis as patch and
        displacement together, and on average two to three times as many voxels.
        """
        half = (np.asarray(self.patch) - 1) / 2
        needed = np.abs(self.matrix) @ (half + (0 if self.coefficients is None else self.reach))
        return triple([n + 2 * max(0, ceil(m)) for n, m in zip(self.patch, needed - half - 1e-9, strict=True)])

    def positions(self) -> NDArray[np.float32]:
        """For every voxel of the patch its position in the source: (3, z, y, x), counted from the source's first voxel."""
        start = np.zeros((3, *self.patch), np.float32)
        if self.coefficients is not None:
            z, y, x = map(_spline_basis, self.patch, self.knots, self.coefficients.shape[1:])
            start = np.einsum("aijk,zi->azjk", self.coefficients, z)
            start = np.einsum("azjk,yj->azyk", start, y)
            start = np.einsum("azyk,xk->azyx", start, x)
        for axis, size in enumerate(self.patch):
            along = np.arange(size, dtype=np.float32) - (size - 1) / 2
            start[axis] += along.reshape([-1 if other == axis else 1 for other in range(3)])
        found = np.empty_like(start)
        for row, weights, size in zip(found, self.matrix.astype(np.float32), self.source, strict=True):
            np.multiply(start[0], weights[0], out=row)
            row += weights[1] * start[1]
            row += weights[2] * start[2]
            row += np.float32((size - 1) / 2)
        return found


def draw_deformation(
    patch: Triple, settings: ClassAugmentSettings, spacing: Spacing, rng: np.random.Generator
) -> Deformation:
    """Draw rotation, scaling, shear and elastic displacement of a patch (z, y, x), as often as the settings say.

    `spacing` are the edges of a voxel in mm, z y x; `rng` is the only source of randomness.
    """
    edges = np.asarray(spacing, np.float64)
    matrix = np.eye(3)
    if rng.random() < settings.affine:
        matrix = _affine(edges, rng) * edges / edges[:, None]
    longer = edges / edges.min()
    reach, knots = ELASTIC_REACH / longer, ELASTIC_SPACING / longer
    coefficients = None
    if rng.random() < settings.elastic:
        reach = reach * rng.random()
        controls = [int((size - 1) / step) + 4 for size, step in zip(patch, knots, strict=True)]
        drawn = rng.uniform(-1, 1, (3, *controls)) * reach.reshape(3, 1, 1, 1)
        coefficients = drawn.astype(np.float32)
    return Deformation(patch, matrix, coefficients, _spacing(reach), _spacing(knots))


def augment_scan(
    image: NDArray[np.float32],
    classes: NDArray[np.int64],
    deformation: Deformation,
    settings: ClassAugmentSettings,
    rng: np.random.Generator,
    spacing: Spacing,
    zeros: Sequence[float],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Apply a deformation, and draw and apply the other changes of one patch.

    Parameters
    ----------
    image : float32 (c, z, y, x)
        Normalised intensities of the deformation's source; not changed.
    classes : int64 (z, y, x)
        Class numbers of the source, -1 where unknown; not changed.
    deformation
        Drawn before by `draw_deformation`.
    settings
        Probability of each change in the patch; its strength is drawn for each channel.
    rng
        The only source of randomness: equal generators give equal bytes.
    spacing
        Edges of a voxel in mm, z y x.
    zeros : c floats
        What an intensity of 0, no signal, has become by normalisation: bias fields multiply what is above.

    Returns
    -------
    image, classes
        Contiguous new arrays of the patch's shape, of the same dtypes.

    Raises
    ------
    ValueError
        If image and classes are not of the source's shape.
    """
    if image.shape[1:] != deformation.source or classes.shape != deformation.source:
        raise ValueError(
            f"image has shape {image.shape}, classes have {classes.shape}; expected the source's {deformation.source}"
        )
    image, classes = deform(image, classes, deformation)
    mirrored = tuple(axis for axis in range(3) if settings.mirror[axis] and rng.random() < 0.5)
    changed = np.array(np.flip(image, tuple(axis + 1 for axis in mirrored)), order="C")
    classes = np.array(np.flip(classes, mirrored), order="C")
    longer = _spacing(np.asarray(spacing) / min(spacing))
    if rng.random() < settings.bias_field:
        for channel, zero in zip(changed, zeros, strict=True):
            channel[...] = add_bias_field(channel - np.float32(zero), rng) + np.float32(zero)
    if rng.random() < settings.low_resolution:
        changed = lower_resolution(changed, longer, rng)
    if rng.random() < settings.blur:
        for channel in changed:
            channel[...] = blur(channel, longer, rng)
    for probability, change in (
        (settings.noise, add_noise),
        (settings.intensity, change_intensity),
        (settings.gamma, change_gamma),
    ):
        if rng.random() < probability:
            for channel in changed:
                channel[...] = change(channel, rng)
    return changed, classes


def deform(
    image: NDArray[np.float32], classes: NDArray[np.int64], deformation: Deformation
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Take a patch from its source: image (c, z, y, x) linearly interpolated, classes (z, y, x) of the nearest voxel."""
    if deformation.coefficients is None and np.array_equal(deformation.matrix, np.eye(3)):
        return image, classes
    positions = deformation.positions()
    deformed = np.stack(
        [ndimage.map_coordinates(channel, positions, np.float32, order=1, mode="nearest") for channel in image]
    )
    z, y, x = np.rint(positions).astype(np.intp)
    return deformed, classes[z, y, x]


def add_bias_field(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Multiply a channel (z, y, x), 0 where there is no signal, by a smooth field around 1."""
    return _transformed(RandBiasField(degree=3, coeff_range=(-BIAS, BIAS), prob=1), image, rng)


def lower_resolution(image: NDArray[np.float32], longer: Spacing, rng: np.random.Generator) -> NDArray[np.float32]:
    """Show an image (c, z, y, x) as if scanned with longer voxels along one to three axes, all channels alike.

    Along each of these axes the point spread is widened to the longer voxel, as when scans are resampled in prepare.
    `longer` tells how many times longer than the shortest edge a voxel is along z, y, x.
    """
    factors = np.ones(3)
    chosen = rng.permutation(3)[: int(rng.integers(1, 4))]
    factors[chosen] = np.maximum(1, rng.uniform(*COARSENING, len(chosen)) / np.asarray(longer)[chosen])
    coarse, fine = [], []
    for size, factor in zip(image.shape[1:], factors, strict=True):
        number = max(1, round(size / factor))
        coarse.append((np.arange(number) + 0.5) * size / number - 0.5)
        fine.append((np.arange(size) + 0.5) * number / size - 0.5)
    sigma = np.sqrt((factors**2 - 1) / (8 * log(2)))
    return np.stack(
        [interpolate(interpolate(ndimage.gaussian_filter(channel, sigma), coarse), fine) for channel in image]
    )


def blur(image: NDArray[np.float32], longer: Spacing, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth a channel (z, y, x) by a Gaussian, of a width drawn for each axis; `longer` as in `lower_resolution`."""
    z, y, x = ((BLUR[0] / length, BLUR[1] / length) for length in longer)
    return _transformed(RandGaussianSmooth(z, y, x, prob=1), image, rng)


def add_noise(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add Gaussian noise to a channel (z, y, x)."""
    return _transformed(RandGaussianNoise(prob=1, std=NOISE * float(image.std())), image, rng)


def change_intensity(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change the contrast of a channel (z, y, x) about its mean, and its brightness."""
    mean, deviation = image.mean(), image.std()
    scale = np.float32(1 + rng.uniform(-CONTRAST, CONTRAST))
    shift = np.float32(rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    changed: NDArray[np.float32] = (image - mean) * scale + (mean + shift * deviation)
    return changed


def change_gamma(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Bend the intensities of a channel (z, y, x) within their range, keeping mean and standard deviation."""
    # MONAI's RandAdjustContrast uses torch's sums and powers, whose last bits depend on the number of threads.
    gamma = np.float32(rng.uniform(*GAMMA))
    lowest, highest = image.min(), image.max()
    if lowest == highest:
        return image
    bent: NDArray[np.float32] = ((image - lowest) / (highest - lowest)) ** gamma
    bent -= bent.mean()
    bent *= image.std() / max(bent.std(), np.float32(1e-6))
    bent += image.mean()
    return bent


def _affine(edges: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation, shear and scaling in mm, (3, 3), from the patch to its source."""
    alike = np.maximum.outer(edges, edges) / np.minimum.outer(edges, edges) <= COARSE
    angles = rng.uniform(-ROTATION, ROTATION, 3)
    shears = rng.uniform(-SHEAR, SHEAR, (3, 3)) * (alike & ~np.eye(3, dtype=bool))
    sizes = rng.uniform(*SCALING, 3)
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        # A rotation about an axis mixes the two others.
        if alike[(axis + 1) % 3, (axis + 2) % 3]:
            turned = turned @ Rotation.from_rotvec(radians(angle) * np.eye(3)[axis]).as_matrix()
    return turned @ (np.eye(3) + shears) / sizes


def _spline_basis(size: int, step: float, controls: int) -> NDArray[np.float32]:
    """Weights (size, controls) of uniform cubic B-splines at voxels 0 to size - 1."""
    knots = np.arange(-3, controls + 1, dtype=np.float64)
    basis: NDArray[np.float64] = BSpline.design_matrix(np.arange(size) / step, knots, 3).toarray()
    return basis.astype(np.float32)


def _transformed(transform: Any, image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Apply a random MONAI transform, seeded from `rng`, to a channel (z, y, x)."""
    transform.set_random_state(seed=int(rng.integers(2**32)))
    return np.asarray(transform(image[np.newaxis])[0], np.float32)


def _spacing(values: NDArray[np.float64]) -> Spacing:
    z, y, x = (float(value) for value in values)
    return z, y, x
