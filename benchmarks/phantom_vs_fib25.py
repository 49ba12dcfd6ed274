"""Compare the EM phantom with FIB-25: one markdown table, every measure computed alike for both.

Words and measures. A *border voxel* has a 6-neighbour of another object; the *depth* of a voxel is its Euclidean distance to
the nearest border voxel. *Membrane* voxels have depth at most 1, *inner* voxels depth at least 5.

- membrane contrast: (mean grey of inner voxels - mean grey of membrane voxels) / standard deviation of the whole image.
- membrane ambiguity: probability that a random membrane voxel is brighter than a random inner voxel (half for ties); 0 is
  a membrane that one threshold finds, 50 % is one that grey values alone do not find.
- membrane half-width: depth, in voxels, at which the mean grey has risen half-way from depth 0 to depths of at least 5.
- noise along an axis: 1.4826 * median |second difference| / sqrt(6) along that axis, in grey values; it is the standard
  deviation where the noise is white and the signal linear.
- texture: standard deviation of grey values of inner voxels within an object, root mean square over objects, in grey values.
- cytoplasm: standard deviation over objects (of at least 1,000 inner voxels) of their mean inner grey value.
- calibre of an object of at least 1,000 voxels: twice the largest depth it reaches plus 1, in voxels; quartiles over objects.
- thickness of tissue: twice the depth plus 1 of a voxel, 90th percentile over voxels.
- objects: objects in the central 128 cubed, and the largest one's share of it.

FIB-25 is read from $SEPVOX_DATA/em/fib25.h5 (keys raw, labels); the phantom is made in the same shape with its defaults.
"""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from benchmarks.degraded import borders
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.prepare.settings import EMPhantomSettings

SIDE = 128
MEMBRANE_DEPTH = 1
INNER_DEPTH = 5
SMALLEST = 1000


def depths(labels: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Distance of every voxel to the nearest border voxel, in voxels, float32 (z, y, x)."""
    distance: NDArray[np.float32] = distance_transform_edt(~borders(labels)).astype(np.float32)
    return distance


def brighter(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Probability that a value of `a` exceeds one of `b`, ties counted half."""
    p = np.bincount(a, minlength=256) / a.size
    q = np.bincount(b, minlength=256) / b.size
    return float((p * (np.cumsum(q) - q / 2)).sum())


def half_width(image: NDArray[np.uint8], depth: NDArray[np.float32]) -> float:
    """Depth of the half-way rise from the border's mean grey to the inner mean grey, linear between whole depths."""
    bins = np.minimum(np.rint(depth), INNER_DEPTH).astype(int).ravel()
    profile = np.bincount(bins, image.ravel()) / np.bincount(bins)
    middle = (profile[0] + profile[-1]) / 2
    return float(np.interp(middle, np.maximum.accumulate(profile), np.arange(profile.size)))


def noise(image: NDArray[np.uint8], axis: int) -> float:
    """Noise along an axis from second differences, in grey values."""
    return float(1.4826 * np.median(np.abs(np.diff(image.astype(np.int16), 2, axis))) / np.sqrt(6))


def measure(image: NDArray[np.uint8], labels: NDArray[np.uint32]) -> dict[str, str]:
    """All measures of one volume, formatted, in the order of the table."""
    depth = depths(labels)
    inner = depth >= INNER_DEPTH
    membrane = depth <= MEMBRANE_DEPTH
    names, compact, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    compact = compact.reshape(labels.shape)
    counts = np.bincount(compact[inner], minlength=names.size)
    means = np.bincount(compact[inner], image[inner], minlength=names.size) / np.maximum(counts, 1)
    squares = np.bincount(compact[inner], image[inner].astype(float) ** 2, minlength=names.size) / np.maximum(counts, 1)
    well_seen = counts >= SMALLEST
    order = np.argsort(compact, axis=None, kind="stable")
    largest = np.maximum.reduceat(depth.ravel()[order], np.r_[0, np.cumsum(sizes)[:-1]])
    calibre = 2 * largest[sizes >= SMALLEST] + 1
    centre = labels[tuple(slice((n - SIDE) // 2, (n + SIDE) // 2) for n in labels.shape)]
    shares = np.unique(centre, return_counts=True)[1]
    q1, q2, q3 = np.percentile(calibre, [25, 50, 75])
    contrast = (image[inner].mean() - image[membrane].mean()) / image.std()
    return {
        "membrane contrast (standard deviations)": f"{contrast:.2f}",
        "membrane ambiguity (%)": f"{100 * brighter(image[membrane], image[inner]):.0f}",
        "membrane half-width (voxels)": f"{half_width(image, depth):.1f}",
        "noise along z / y / x (grey values)": " / ".join(f"{noise(image, axis):.1f}" for axis in range(3)),
        "texture within objects (grey values)": f"{np.sqrt(np.mean((squares - means**2)[well_seen])):.0f}",
        "cytoplasm, spread over objects (grey values)": f"{means[well_seen].std():.0f}",
        "grey values, mean and standard deviation": f"{image.mean():.0f} and {image.std():.0f}",
        "calibre, quartiles over objects (voxels)": f"{q1:.0f} / {q2:.0f} / {q3:.0f}",
        "thickness of tissue, 90th percentile (voxels)": f"{2 * np.percentile(depth, 90) + 1:.0f}",
        "objects in the central 128 cubed": f"{shares.size}",
        "share of the largest of them (%)": f"{100 * shares.max() / centre.size:.0f}",
    }


def main() -> int:
    """Print the table; without SEPVOX_DATA say so and return 1."""
    root = os.environ.get("SEPVOX_DATA")
    if root is None:
        print("SEPVOX_DATA is not set: set it to the folder that holds em/fib25.h5", file=sys.stderr)
        return 1
    with h5py.File(Path(root) / "em" / "fib25.h5") as file:
        image, labels = file["raw"][:], file["labels"][:]
    settings = EMPhantomSettings(shape=image.shape)
    rows = measure(image, labels), measure(*em_phantom(settings, (0, 0, 0), image.shape))
    print(f"| measure, on {' x '.join(map(str, image.shape))} voxels | FIB-25 | phantom |\n|---|---|---|")
    for name, value in rows[0].items():
        print(f"| {name} | {value} | {rows[1][name]} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
