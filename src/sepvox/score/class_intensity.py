"""The yardstick of a tissue network: a Gaussian mixture on brightness alone, tuned on what it is scored on.

A *component* is one Gaussian of the mixture. Every component is given the class that makes the mean Dice over the classes
largest, by looking at the truth; so what this reaches is as good as brightness allows, and no blind method gets as far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_fill_holes, gaussian_filter, label
from skimage.filters import threshold_otsu

from sepvox.errors import InputError

COMPONENTS = (4, 6, 9)
SIGMAS = (0.0, 0.6)
_ITERATIONS = 50
_SAMPLE = 6_000


@dataclass(frozen=True)
class MixtureResult:
    """The best classification by brightness, and what gave it.

    `labels` are uint8 (z, y, x), `dice` the Dice of the classes 1, 2, … in turn, `components` the number of Gaussians and
    `sigma` the smoothing in voxels.
    """

    labels: NDArray[np.uint8]
    dice: tuple[float, ...]
    components: int
    sigma: float

    @property
    def mean_dice(self) -> float:
        """Mean over the classes."""
        return float(np.mean(self.dice))


def foreground(image: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest object brighter than half of Otsu's threshold (1979), closed and filled: a head with its dark parts."""
    smooth = gaussian_filter(image.astype(np.float32), 1.0)
    bright = binary_closing(np.pad(smooth > threshold_otsu(smooth) / 2, 3), iterations=2)[3:-3, 3:-3, 3:-3]
    objects, _ = label(bright)
    sizes = np.bincount(objects.ravel())
    sizes[0] = 0
    filled: NDArray[np.bool_] = binary_fill_holes(objects == np.argmax(sizes))
    return filled


def _log_densities(
    values: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log of weight times density, (component, value), of values (value, channel), less a constant."""
    found = np.empty((len(means), len(values)))
    for k, (mean, covariance, weight) in enumerate(zip(means, covariances, weights, strict=True)):
        factor = np.linalg.cholesky(covariance)
        distance = np.linalg.solve(factor, (values - mean).T)
        found[k] = np.log(weight) - np.log(np.diag(factor)).sum() - 0.5 * (distance**2).sum(axis=0)
    return found


def _assigned_components(values: NDArray[np.float64], components: int) -> NDArray[np.intp]:
    """Most probable component of every value (value, channel), by expectation maximisation (Dempster et al. 1977)."""
    sample = values[:: max(1, len(values) // _SAMPLE)]
    principal = np.linalg.svd(np.cov(sample.T).reshape(sample.shape[1], -1))[0][:, 0]
    rank = np.argsort(np.argsort(sample @ principal)) * components // len(sample)
    share = (rank == np.arange(components)[:, None]).astype(np.float64)
    floor = 1e-4 * np.diag(sample.var(axis=0))
    for _ in range(_ITERATIONS):
        mass = share.sum(axis=1) + 1e-9
        means = share @ sample / mass[:, None]
        apart = [sample - mean for mean in means]
        covariances = np.stack([(w * d.T) @ d / m + floor for w, d, m in zip(share, apart, mass, strict=True)])
        weights = mass / mass.sum()
        density = _log_densities(sample, means, covariances, weights)
        share = np.exp(density - density.max(axis=0))
        share /= share.sum(axis=0)
    return np.asarray(np.argmax(_log_densities(values, means, covariances, weights), axis=0))


def _dice(counts: NDArray[np.int64], sizes: NDArray[np.int64], given: NDArray[np.intp]) -> NDArray[np.float64]:
    """Dice of the classes 1, 2, … when component k is given class `given[k]`; counts are (component, class)."""
    classes = range(1, counts.shape[1])
    both = np.array([counts[given == c, c].sum() for c in classes])
    found = np.array([counts[given == c].sum() for c in classes])
    return np.asarray(2 * both / (found + sizes[1:]))


def _best_classes(counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Class of every component with the largest mean Dice: one component is changed at a time until none gains."""
    given = np.asarray(np.argmax(counts / sizes, axis=1))
    best, previous = _dice(counts, sizes, given).mean(), -1.0
    while best > previous:
        previous = best
        for k in range(len(given)):
            for c in range(counts.shape[1]):
                changed = np.where(np.arange(len(given)) == k, c, given)
                if (gain := _dice(counts, sizes, changed).mean()) > best:
                    given, best = changed, gain
    return given


def gaussian_mixture_labels(
    image: NDArray[Any],
    truth: NDArray[np.integer[Any]],
    components: Sequence[int] = COMPONENTS,
    sigmas: Sequence[float] = SIGMAS,
) -> MixtureResult:
    """The best classification by a mixture of Gaussians on the very volume.

    Parameters
    ----------
    image : (z, y, x) or (channel, z, y, x)
        Brightness, in one or several contrasts; what lies around the head is dark.
    truth : integer (z, y, x)
        0 background, then classes 1, 2, … all of which occur.
    components : sequence of int
        Numbers of Gaussians to try.
    sigmas : sequence of float
        Standard deviations in voxels of the smoothing to try.

    Raises
    ------
    InputError
        If the shapes differ, or a class below the largest one does not occur.
    """
    channels = image[None] if image.ndim == truth.ndim else image
    if channels.shape[1:] != truth.shape:
        raise InputError(f"truth has shape {truth.shape}, expected that of the image, {channels.shape[1:]}")
    sizes = np.bincount(truth.ravel())
    if len(sizes) < 2 or not sizes.all():
        raise InputError(f"truth has classes {np.unique(truth).tolist()}, expected 0, 1, 2, … without a gap")
    inside = foreground(channels[0])
    best = None
    for sigma in sigmas:
        values = np.stack([gaussian_filter(c.astype(np.float64), sigma)[inside] for c in channels], axis=1)
        for number in components:
            component = _assigned_components(values, number)
            counts = np.zeros((number, len(sizes)), np.int64)
            np.add.at(counts, (component, truth[inside]), 1)
            given = _best_classes(counts, sizes)
            dice = _dice(counts, sizes, given)
            if best is None or dice.mean() > best.mean_dice:
                labels = np.zeros(truth.shape, np.uint8)
                labels[inside] = given[component]
                best = MixtureResult(labels, tuple(dice.tolist()), number, sigma)
    if best is None:
        raise InputError("no components or no sigmas to try: give at least one of each")
    return best
