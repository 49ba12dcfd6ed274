"""How near separable kernels come to kernels of random numbers: `python -m benchmarks.decomposition`.

Prints relative errors ‖K − K'‖ / ‖K‖, means over kernels of normal numbers, by the number of terms and the kind of
decomposition (`sepvox.nets.decompose`, `sepvox.nets.fit`).
"""

import argparse

import numpy as np

from sepvox.nets.decompose import AXES, Kernel, decompose
from sepvox.nets.fit import fit

EXTENT, CHANNELS = 3, 24
TERMS, KERNELS = (6, 13, 27, 54), 5


def errors(kernel: Kernel, terms: int) -> tuple[float, float, float]:
    """Of one stream, of the best split, and of three streams fitted together, each with so many terms in all."""
    widths = {axis: (terms + len(AXES) - 1 - axis) // len(AXES) for axis in AXES}
    return decompose(kernel, terms, (0,)).error, decompose(kernel, terms).error, fit(kernel, widths).error


def row(terms: int, channels: int = CHANNELS, count: int = KERNELS) -> tuple[float, list[float]]:
    """Share of a dense kernel's weights, and the mean errors over so many kernels."""
    shape = (channels, channels, *(EXTENT,) * 3)
    kernels = [np.random.default_rng(seed).standard_normal(shape) for seed in range(count)]
    means = np.mean([errors(kernel, terms) for kernel in kernels], axis=0)
    return terms * channels * (EXTENT**2 + EXTENT) / kernels[0].size, means.tolist()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.decomposition", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--channels", type=int, default=CHANNELS, help="channels in and out")
    parser.add_argument("--kernels", type=int, default=KERNELS, help="seeds from 0")
    given = parser.parse_args()
    print("| terms | share of the weights | one stream | best split | three streams fitted |\n|---|---|---|---|---|")
    for terms in TERMS:
        share, means = row(terms, given.channels, given.kernels)
        print(f"| {terms} | {share:.0%} | {' | '.join(f'{mean:.3f}' for mean in means)} |")


if __name__ == "__main__":
    main()
