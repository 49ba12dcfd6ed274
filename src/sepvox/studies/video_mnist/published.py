"""Table 2 of Ras et al. (2019), with which the study is compared: mean test accuracies, and the networks behind them.

Rows are the numbers of training videos. The paper gives each network's total of parameters, which names the filters of
its two convolutions (C1, C2): dense (18, 28) is 496,430, (12, 22) 375,668; 3DTT (18, 28) is 444,966, (12, 22) 348,612,
(6, 16) 254,058 and (4, 14) 222,940.
"""

from dataclasses import dataclass
from typing import Literal

Network = Literal["dense", "tt"]
NETWORKS: tuple[Network, ...] = ("dense", "tt")
# As the paper writes them.
TITLES: dict[Network, str] = {"dense": "3D", "tt": "3DTT"}
Widths = tuple[int, int]


@dataclass(frozen=True)
class PublishedRow:
    """One row, per network: filters of the convolutions, and the mean accuracy over 30 runs on 10,000 test videos."""

    widths: dict[Network, Widths]
    accuracy: dict[Network, float]


def _row(dense: Widths, dense_accuracy: float, tt: Widths, tt_accuracy: float) -> PublishedRow:
    return PublishedRow({"dense": dense, "tt": tt}, {"dense": dense_accuracy, "tt": tt_accuracy})


TABLE_2: dict[int, PublishedRow] = {
    10: _row((12, 22), 0.374, (18, 28), 0.477),
    20: _row((18, 28), 0.498, (12, 22), 0.588),
    30: _row((18, 28), 0.625, (18, 28), 0.668),
    40: _row((18, 28), 0.671, (12, 22), 0.721),
    50: _row((18, 28), 0.750, (18, 28), 0.773),
    100: _row((18, 28), 0.837, (12, 22), 0.829),
    500: _row((18, 28), 0.960, (4, 14), 0.925),
    1000: _row((18, 28), 0.976, (6, 16), 0.968),
    2000: _row((18, 28), 0.988, (4, 14), 0.972),
    5000: _row((18, 28), 0.994, (4, 14), 0.988),
}
