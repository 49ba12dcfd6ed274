"""What the trainings of a study cost, counted before they begin: multiply-accumulates, and seconds at a given speed.

A training step costs at most three passes over its videos (forward, and backward to activations and to weights), validation
and test one each. The convolutions of a 3DTT cost what those of a dense network of the same filters cost; making their kernels
is not counted.
"""

from dataclasses import dataclass
from itertools import product

from sepvox.nets.describe_classifier import describe_classifier
from sepvox.studies.video_mnist.published import NETWORKS
from sepvox.studies.video_mnist.settings import VideoMnistStudy
from sepvox.studies.video_mnist.units import Unit, candidate_units, reported_units
from sepvox.text_table import facts_and_table

PASSES = 3


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of one unit."""

    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        return self.train + self.validation + self.test


def tested_videos(study: VideoMnistStudy, unit: Unit) -> int:
    """How many videos the chosen weights of a unit are tested on."""
    test = study.with_table().test
    if unit.rate is not None:
        return 0
    return study.videos.test if test.videos is None or unit.run < test.whole_runs else test.videos


def cost(study: VideoMnistStudy, unit: Unit, macs_per_clip: int) -> Cost:
    """What a unit costs."""
    train = study.with_table().train
    # Validation begins before the first epoch, and the last epoch ends with one.
    validations = 1 + -(-train.epochs // train.validate_every)
    return Cost(
        PASSES * train.epochs * unit.videos * macs_per_clip,
        validations * train.validation_videos * macs_per_clip,
        tested_videos(study, unit) * macs_per_clip,
    )


def render_costs(study: VideoMnistStudy, speed: float) -> str:
    """A line per row and network, sums over its units, as text.

    Parameters
    ----------
    speed : float
        Multiply-accumulates per second of one process, in units of 10⁹.
    """
    table = study.with_table()
    lines: list[tuple[str, ...]] = []
    total = 0
    for what, units in (("candidates", candidate_units(table)), ("table", reported_units(table))):
        for videos, network in product(sorted({unit.videos for unit in units}), NETWORKS):
            row = [unit for unit in units if (unit.videos, unit.network) == (videos, network)]
            if not row:
                continue
            macs = describe_classifier(row[0].classifier(table)).macs_per_clip
            costs = [cost(study, unit, macs) for unit in row]
            together = sum(each.total for each in costs)
            parts = zip(*((each.train, each.validation, each.test) for each in costs), strict=True)
            shown = (f"{sum(part) / 1e12:.2f}" for part in parts)
            lines.append(
                (what, str(videos), network, str(len(row)), *shown, f"{together / len(row) / speed / 1e9:.0f}")
            )
            total += together
    facts = [
        ("total", f"{total / 1e12:.1f} TMAC"),
        ("time", f"{total / speed / 3.6e12:.2f} hours of one process at {speed:g} GMAC/s"),
    ]
    header = ("for", "videos", "network", "units", "train TMAC", "validation", "test", "seconds per unit")
    return facts_and_table(facts, header, lines)
