"""Synthetic heads as NIfTI images: several subjects and contrasts, each subject on an oblique grid of its own.

A *subject* is a number from 0; seed and number alone decide its head. Every subject's grid has an *orientation code*, the
directions in which its three stored axes run, drawn from all 48, and is turned against the axes of the world by a random
angle. The anatomy stands upright in the world but for a small tilt, so a reader that ignores affines sees tumbled heads.
"""

from dataclasses import dataclass
from typing import get_args

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sepvox.errors import InputError
from sepvox.prepare.phantoms.head_anatomy import FIELD_OF_VIEW, Grid, draw_tissue
from sepvox.prepare.phantoms.head_imaging import Axes, majority_class, scan, tissue_fractions
from sepvox.prepare.phantoms.head_settings import Contrast, HeadPhantomSettings

_LARGEST_TILT = 4.0
_SHAPE_JITTER = 2
_SCANNER, _HEAD = 0, 1
_FIRST_CONTRAST = 2


@dataclass(frozen=True)
class HeadPhantom:
    """One subject: an image per contrast, and the truth on the same grid.

    Attributes
    ----------
    images : dict of str to Nifti1Image
        int16 by contrast, in the order of the settings; slope 1, millimetres, sform and qform of code 1.
    labels : Nifti1Image
        uint8: 0 background (air, scalp, skull, face), 1 CSF with the ventricles, 2 grey matter, 3 white matter.
    """

    images: dict[str, nib.Nifti1Image]
    labels: nib.Nifti1Image


def _turn(rng: np.random.Generator, degrees: float) -> NDArray[np.float64]:
    """A rotation (3, 3) about a random axis by up to so many degrees."""
    axis = rng.normal(size=3)
    turned: NDArray[np.float64] = Rotation.from_rotvec(
        np.radians(rng.uniform(0, degrees)) * axis / np.linalg.norm(axis)
    ).as_matrix()
    return turned


def _axes(shape: tuple[int, ...], spacing: NDArray[np.float64]) -> Axes:
    """Coordinates along three axes, with 0 in the middle of each."""
    z, y, x = (step * (np.arange(n) - (n - 1) / 2) for n, step in zip(shape, spacing, strict=True))
    return z, y, x


def _nifti(
    array: NDArray[np.generic], affine: NDArray[np.float64], orientation: NDArray[np.float64]
) -> nib.Nifti1Image:
    """An image from an array (z, y, x) of the upright head, stored with its axes in the given orientation."""
    image = nib.Nifti1Image(np.ascontiguousarray(array.T), affine).as_reoriented(orientation)
    stored = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    stored.set_sform(image.affine, code=1)
    stored.set_qform(image.affine, code=1)
    stored.header.set_xyzt_units("mm")
    stored.header.set_slope_inter(1, 0)
    return stored


def head_phantom(settings: HeadPhantomSettings, subject: int) -> HeadPhantom:
    """Make one subject.

    Parameters
    ----------
    settings : HeadPhantomSettings
        The phantom.
    subject : int
        Number of the subject, from 0.

    Returns
    -------
    HeadPhantom
        The same for the same seed, grid and subject, whatever other subjects and contrasts are asked for.

    Raises
    ------
    InputError
        If there is no such subject.
    """
    if not 0 <= subject < settings.subjects:
        raise InputError(
            f"phantom subject {subject}: expected 0 to {settings.subjects - 1}; raise `subjects` to have more"
        )
    scanner, head = (np.random.default_rng([settings.seed, subject, key]) for key in (_SCANNER, _HEAD))
    spacing = np.array(settings.voxel_size)
    shape = tuple(int(n + scanner.integers(-_SHAPE_JITTER, _SHAPE_JITTER + 1)) for n in settings.shape)
    shape = tuple(max(n, 2) for n in shape)
    oblique = _turn(scanner, settings.oblique)
    axes_stored, flips = scanner.permutation(3), scanner.choice([-1, 1], 3)
    affine = np.eye(4)
    affine[:3, :3] = oblique * spacing[::-1]
    affine[:3, 3] = scanner.normal(0, 12, 3) - affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    orientation = np.stack([axes_stored, flips], axis=1).astype(np.float64)

    # The head fills the grid, so lengths are divided by its size relative to the field of view they were made for.
    size = float(np.min(spacing * settings.shape / FIELD_OF_VIEW))
    points = _axes(tuple(2 * n for n in shape), spacing / (2 * size))
    fractions = tissue_fractions(draw_tissue(head, Grid(points, _turn(head, _LARGEST_TILT) @ oblique)))
    contrasts: dict[Contrast, int] = {name: key for key, name in enumerate(get_args(Contrast), _FIRST_CONTRAST)}
    images = {
        name: scan(
            np.random.default_rng([settings.seed, subject, contrasts[name]]),
            fractions,
            _axes(shape, spacing / size),
            name,
            bias=settings.bias,
            noise=settings.noise,
        )
        for name in settings.contrasts
    }
    return HeadPhantom(
        {str(name): _nifti(image, affine, orientation) for name, image in images.items()},
        _nifti(majority_class(fractions), affine, orientation),
    )
