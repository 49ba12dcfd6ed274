"""What is random: volumes of normal noise, float32 (channels, z, y, x), their order, and the seeds of weights.

Each is a pure function of its kind, a seed and a number; different kinds have nothing in common where their seeds are equal.

All students of a seed see the same volumes in the same order, mirrored in the same way, whenever and wherever they are
trained; an epoch can be begun without those before it.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sepvox.studies.toy_approximation.settings import ToyStudy
from sepvox.symmetries import apply, mirrors

Volumes = NDArray[np.float32]

TRAINING, VALIDATION, CALIBRATION, ORDER, TARGET_WEIGHTS, STUDENT_WEIGHTS = range(6)
CALIBRATIONS: Final = 8
MIRRORS: Final = mirrors()


def training_batches(study: ToyStudy, seed: int, epoch: int) -> Iterator[Volumes]:
    """The volumes of an epoch in random order, each mirrored at random: float32 (at most `batch`, channels, z, y, x)."""
    rng = np.random.default_rng([ORDER, seed, epoch])
    numbers = rng.permutation(study.noise.train)
    mirrorings = rng.integers(len(MIRRORS), size=study.noise.train)
    for begin in range(0, study.noise.train, study.train.batch):
        chosen = slice(begin, begin + study.train.batch)
        yield np.stack(
            [
                apply(MIRRORS[mirroring], _noise(study, TRAINING, seed, number))
                for number, mirroring in zip(numbers[chosen], mirrorings[chosen], strict=True)
            ]
        )


def validation_batches(study: ToyStudy) -> Iterator[Volumes]:
    """The volumes to validate on, which are those of all seeds: float32 (at most `batch`, channels, z, y, x)."""
    for begin in range(0, study.noise.validation, study.train.batch):
        numbers = range(begin, min(begin + study.train.batch, study.noise.validation))
        yield np.stack([_noise(study, VALIDATION, study.target_seed, number) for number in numbers])


def calibration_volumes(study: ToyStudy) -> Volumes:
    """A few volumes to scale the target's output on: float32 (8, channels, z, y, x)."""
    return np.stack([_noise(study, CALIBRATION, study.target_seed, number) for number in range(CALIBRATIONS)])


def weights_seed(kind: int, seed: int) -> int:
    """The seed from which torch draws the weights of a target or a student.

    The dense re-training has the target's architecture: from one and the same seed it would begin as the target.
    """
    return int(np.random.SeedSequence([kind, seed]).generate_state(1)[0])


def _noise(study: ToyStudy, kind: int, seed: int, number: int) -> Volumes:
    rng = np.random.default_rng([kind, seed, number])
    return rng.standard_normal((study.noise.channels, *study.noise.shape), dtype=np.float32)
