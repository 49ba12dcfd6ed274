"""Class-balanced subsets: which videos a network is trained or judged on.

A subset depends on the labels and a seed alone, so that two networks with the same seed get the same videos, and of one
seed a smaller subset is the beginning of every larger one.
"""

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError

# Set apart from the splits' words in the seeds of clips.
_STREAM = 4


def balanced(labels: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.int64]:
    """Indices of `count` videos, drawn without repetition, of which no class that occurs has two more than another.

    Parameters
    ----------
    labels : uint8 (n,)
        Class of every video.
    count : int
        How many are drawn.
    seed : int
        What they are drawn with.

    Returns
    -------
    int64 (count,)
        Indices into `labels`, in a random order in which the classes take turns.

    Raises
    ------
    InputError
        If a class has too few videos.
    """
    classes, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if count > len(classes) * sizes.min():
        raise InputError(
            f"{count} videos were asked for with as many of each class, but there are only {sizes.min()} of class {classes[sizes.argmin()]} among {len(labels)}; ask for at most {len(classes) * sizes.min()}, or make more videos"
        )
    shuffled = np.random.default_rng((seed, _STREAM)).permutation(len(labels))
    rounds = np.empty(len(labels), np.int64)
    for number, size in enumerate(sizes):
        rounds[of_class[shuffled] == number] = np.arange(size)
    return shuffled[np.argsort(rounds, kind="stable")][:count]
