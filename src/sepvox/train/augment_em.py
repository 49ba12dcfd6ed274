"""Faults of serial sections: sections that are missing, and sections that do not lie on each other.

A *section* is one z plane. A *slip* displaces a single section; a *translation* displaces all sections from one z on. Both
are those of Lee et al. 2017 ("Superhuman accuracy on the SNEMI3D connectomics challenge", data augmentation). Labels move
with the image, so that the network learns to follow an object across the step; under a blank section they stay, so that
it learns to bridge the gap.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# In voxels, each way along y and x.
MISALIGNMENT_REACH: Final = 8
# Two missing sections in a row are bridged with context; more are not.
MOST_BLANK: Final = 2


def misalign(
    image: NDArray[np.float32], labels: NDArray[np.integer[Any]], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.integer[Any]]]:
    """Displace one section, or all sections from one z on, by whole voxels.

    Parameters
    ----------
    image, labels
        Shape (z, y, x), with `MISALIGNMENT_REACH` voxels more than wanted on each side of y and x.
    rng
        Draws slip or translation, z, and the displacement.

    Returns
    -------
    image, labels
        New arrays of the same dtypes, without the margin. Nothing is filled in.
    """
    sections, height, width = image.shape
    height, width = height - 2 * MISALIGNMENT_REACH, width - 2 * MISALIGNMENT_REACH
    first = int(rng.integers(sections))
    displaced = slice(first, first + 1) if rng.random() < 0.5 else slice(first, None)
    y, x = (int(start) for start in rng.integers(2 * MISALIGNMENT_REACH + 1, size=2))
    margin = slice(MISALIGNMENT_REACH, -MISALIGNMENT_REACH)
    aligned_image, aligned_labels = image[:, margin, margin].copy(), labels[:, margin, margin].copy()
    aligned_image[displaced] = image[displaced, y : y + height, x : x + width]
    aligned_labels[displaced] = labels[displaced, y : y + height, x : x + width]
    return aligned_image, aligned_labels


def blank_sections(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Blank one to `MOST_BLANK` neighbouring sections, black or in one random grey.

    Parameters
    ----------
    image
        Shape (z, y, x), between 0 and 1; not changed.
    rng
        Draws the sections and the grey.

    Returns
    -------
    image
        A new array of the same shape and dtype.
    """
    blanked = image.copy()
    number = int(rng.integers(1, MOST_BLANK + 1))
    first = int(rng.integers(len(image)))
    grey = rng.random() if rng.random() < 0.5 else 0.0
    blanked[first : first + number] = grey
    return blanked
