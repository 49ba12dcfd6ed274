"""The trainings of a study, each a unit of work of its own.

A *reported* unit is one run of one network in one row of the table. A *candidate* is a training with one of the candidates
for a network's learning rate, by which the rate is chosen; its seed is none of a reported unit's, so it sees other videos
and begins with other weights.
"""

from dataclasses import dataclass
from itertools import product
from math import log

from sepvox.errors import ConfigError
from sepvox.nets.classifiers import LeNet5, classifier
from sepvox.studies.video_mnist.published import NETWORKS, Network
from sepvox.studies.video_mnist.settings import MOST_RUNS, TableSettings

_KINDS: dict[Network, str] = {"dense": "3d", "tt": "3dttn"}


@dataclass(frozen=True)
class Unit:
    """One training.

    Attributes
    ----------
    network : {"dense", "tt"}
    videos : int
        Number of training videos.
    run : int
        From 0.
    rate : float or None
        Learning rate that a candidate tries; None for a reported unit.
    """

    network: Network
    videos: int
    run: int
    rate: float | None = None

    @property
    def name(self) -> str:
        """Name of its folders and markers: tt-10-run3, or tt-20-rate0.001-run0."""
        rate = "" if self.rate is None else f"-rate{self.rate!r}"
        return f"{self.network}-{self.videos}{rate}-run{self.run}"

    def seed(self, table: TableSettings) -> int:
        """What videos, initial weights and order are drawn with; the same for both networks of a run."""
        return table.train.seed + self.run + (0 if self.rate is None else MOST_RUNS)

    def classifier(self, table: TableSettings) -> LeNet5:
        """Its network."""
        first, second = table.filters(self.network, self.videos)
        found = classifier(f"ras2019-lenet5-{_KINDS[self.network]}-{first}-{second}")
        assert found is not None
        return found


def reported_units(table: TableSettings) -> list[Unit]:
    """Every unit of the table; the quickest rows first."""
    return [
        Unit(network, videos, run) for videos, run, network in product(sorted(table.rows), range(table.runs), NETWORKS)
    ]


def candidate_units(table: TableSettings) -> list[Unit]:
    """Every training that a learning rate is chosen by; none for a network with a single candidate."""
    choose = table.train.choose
    return [
        Unit(network, videos, run, rate)
        for videos, run, network in product(sorted(choose.videos), range(choose.runs), NETWORKS)
        if len(table.train.rates(network)) > 1
        for rate in table.train.rates(network)
    ]


def chosen_at(table: TableSettings, network: Network, videos: int) -> int:
    """Number of videos at which the learning rate of a network in a row is chosen.

    The nearest by ratio, of two as near the smaller, of those at which the network has the row's filters; of all where it
    has them at none: how large a rate a network stands goes by its width.
    """
    counts = table.train.choose.videos
    as_wide = [count for count in counts if table.filters(network, count) == table.filters(network, videos)]
    return min(as_wide or counts, key=lambda count: (abs(log(count / videos)), count))


def find_unit(table: TableSettings, network: Network, videos: int, run: int, rate: float | None) -> Unit:
    """The unit that is asked for.

    Raises
    ------
    ConfigError
        If the study has no such unit.
    """
    choose = table.train.choose
    rows, runs = (table.rows, table.runs) if rate is None else (choose.videos, choose.runs)
    if videos not in rows:
        raise ConfigError(f"--videos {videos}: not in the study, which has {', '.join(map(str, rows))}")
    if not 0 <= run < runs:
        raise ConfigError(f"--run {run}: not in the study, which has runs 0 to {runs - 1}")
    if rate is not None and rate not in table.train.rates(network):
        candidates = ", ".join(map(repr, table.train.rates(network)))
        raise ConfigError(f"--rate {rate!r}: no candidate of the {network} network, which has {candidates}")
    return Unit(network, videos, run, rate)
