"""The claim of Gonda et al. 2018 on P_mSC_n U-Nets, held against one comparison of blocks: about 14 % better, 40 % smaller.

The comparison is that of an experiment whose `models` differ in their block, as the report writes it (comparison.csv). The
paper does not say of which score or against which spread its 14 % are. Here *better* is the relative change of the score
that the comparison ranks by against the dense network's, VI of neurons and Dice of classes, and *smaller* that of the number
of parameters; a Dice of 0.88 has no room for 14 %. A difference is *decided* where Welch's t-test over seeds has p < 0.05 after
Holm's correction for the networks compared; from one seed nothing is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import ttest_ind_from_stats

from sepvox import markers
from sepvox.errors import StoreError
from sepvox.experiments.base import Experiment
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.nets.model_config import resolved
from sepvox.report.comparison import read_comparison
from sepvox.studies.significance import holm, significant
from sepvox.text_table import text_table

PUBLISHED_BETTER = 0.14
PUBLISHED_SMALLER = 0.40

# Seconds of a forward pass per million voxels, by the network's name.
Speeds = Mapping[str, float]
Time = Callable[[Experiment, Path], Speeds]


@dataclass(frozen=True)
class Network:
    """One network of a comparison.

    Attributes
    ----------
    macs : float
        Multiply-accumulates per output voxel.
    training_seconds : float or None
        Of one model; None where they were not measured.
    seconds_per_million : float
        Of a forward pass per million voxels, the networks taking turns in one process.
    mean, sd : float
        Score over `models` models; `sd` is None where that is one.
    """

    name: str
    block: str
    parameters: int
    macs: float
    models: int
    training_seconds: float | None
    seconds_per_million: float
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Against:
    """A network against the dense one.

    Attributes
    ----------
    better : float or None
        Relative change of the score, positive where it is better; None where the dense score is 0.
    smaller : float
        Relative change of the number of parameters, positive where there are fewer.
    p : float or None
        Of Welch's two-sided t-test that both networks score the same, over seeds; None where one has a single seed, or
        neither differs between seeds.
    corrected : float or None
        `p` after Holm's correction for all networks that are compared.
    """

    network: Network
    better: float | None
    smaller: float
    p: float | None
    corrected: float | None

    @property
    def decided(self) -> bool:
        return significant(self.corrected)

    @property
    def confirms(self) -> bool:
        """Whether it is better and smaller by as much as was published, both rounded to percents."""
        better = self.better is not None and round(self.better, 2) >= PUBLISHED_BETTER
        return self.decided and better and round(self.smaller, 2) >= PUBLISHED_SMALLER


def compare_blocks(experiment: Experiment, results: Path, time: Time) -> str:
    """Write report/{findings.txt, findings.json} of a study that ran; what findings.txt says is returned.

    Parameters
    ----------
    time : function
        Measures the networks of an experiment and its results (`sepvox.studies.blocks.speed`).

    Raises
    ------
    StoreError
        If its comparison was not written, or lacks scores.
    StaleError
        If it is of other settings.
    """
    layout = experiment.layout(results)
    title, networks = _read(experiment, results, time)
    dense = next(network for network in networks if network.block == "dense")
    lower = isinstance(experiment, NeuronsExperiment)
    others = [network for network in networks if network is not dense]
    ps = [_welch(network, dense) for network in others]
    found = [_against(network, dense, lower, *each) for network, *each in zip(others, ps, holm(ps), strict=True)]
    text = "\n".join([_table(dense, found, title), "", *_claim(dense, found)]) + "\n"
    with markers.replacing(layout.study("findings.txt")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    compared = [{**asdict(one), "decided": one.decided, "confirms": one.confirms} for one in found]
    record = {"score": title, "dense": asdict(dense), "others": compared}
    markers.write_json(layout.study("findings.json"), record)
    return text


def _read(experiment: Experiment, results: Path, time: Time) -> tuple[str, list[Network]]:
    """The title of the score that networks are ranked by, which comes first, and all networks."""
    path = experiment.layout(results).comparison()
    rows = read_comparison(experiment, results)
    blocks = {run.entry: resolved(experiment.variant(model).network).block for model, run in experiment.runs().items()}
    means = [name for name in next(iter(rows.values()), {}) if name.endswith(" mean")]
    if not means or rows.keys() != blocks.keys():
        raise StoreError(f"{path}: has not the networks of the experiment; remove it and run the experiment again")
    title = means[0].removesuffix(" mean")
    for name, row in rows.items():
        if not row[means[0]]:
            raise StoreError(f"{path}: {name} has no {title}; give the experiment something to test on")
    speeds = time(experiment, results)
    found = [
        Network(
            name=name,
            block=blocks[name],
            parameters=int(row["parameters"]),
            macs=float(row["macs_per_voxel"]),
            models=int(row["models"]),
            training_seconds=_number(row["training_seconds"]),
            seconds_per_million=speeds[name],
            mean=float(row[means[0]]),
            sd=_number(row[f"{title} sd"]),
        )
        for name, row in rows.items()
    ]
    return title, found


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _against(network: Network, dense: Network, lower: bool, p: float | None, corrected: float | None) -> Against:
    gain = (dense.mean - network.mean) if lower else (network.mean - dense.mean)
    return Against(
        network=network,
        better=gain / dense.mean if dense.mean else None,
        smaller=1 - network.parameters / dense.parameters,
        p=p,
        corrected=corrected,
    )


def _welch(one: Network, other: Network) -> float | None:
    if one.sd is None or other.sd is None or one.sd == other.sd == 0:
        return None
    samples = (one.mean, one.sd, one.models), (other.mean, other.sd, other.models)
    p = float(ttest_ind_from_stats(*samples[0], *samples[1], equal_var=False).pvalue)
    return None if math.isnan(p) else p


def _table(dense: Network, found: Sequence[Against], title: str) -> str:
    header = (
        "network",
        "parameters",
        "smaller",
        "MACs per voxel",
        "training",
        "s per million voxels",
        title,
        "better",
        "p",
        "p, Holm",
    )
    rows = [_row(dense, "", "", "", "")]
    for one in found:
        better = "-" if one.better is None else f"{one.better:+.1%}"
        ps = ["-" if p is None else f"{p:.2g}" for p in (one.p, one.corrected)]
        rows.append(_row(one.network, f"{one.smaller:.1%}", better, *ps))
    return text_table(header, rows)


def _row(network: Network, *against: str) -> tuple[str, ...]:
    smaller, *others = against
    training = "-" if network.training_seconds is None else f"{network.training_seconds:.0f} s"
    score = f"{network.mean:.3f}" + ("" if network.sd is None else f" ± {network.sd:.3f}")
    size, macs = f"{network.parameters:,}", f"{network.macs:,.0f}"
    return network.name, size, smaller, macs, training, f"{network.seconds_per_million:.2f}", score, *others


def _claim(dense: Network, found: Sequence[Against]) -> list[str]:
    separable = [one for one in found if one.network.block == "pmsc"]
    confirming = [one.network.name for one in separable if one.confirms]
    scores = (
        "Scores are of one seed, from which nothing is decided"
        if dense.models == 1
        else f"Scores are means ± standard deviations over {dense.models} seeds, p is that of Welch's t-test against the dense network, alone and after Holm's correction for all that are compared with it"
    )
    return [
        f"{scores}. A pass is timed without halo, start and storage.",
        *(f"{one.network.name}: {_verdict(one)}" for one in found),
        f"Published (Gonda et al. 2018): about {PUBLISHED_BETTER:.0%} better with models {PUBLISHED_SMALLER:.0%} smaller. Here, P_mSC_n networks of which both holds: {', '.join(confirming) or 'none'}.",
    ]


def _verdict(one: Against) -> str:
    size = f"{abs(one.smaller):.0%} {'smaller' if one.smaller >= 0 else 'larger'}"
    if one.better is None:
        return f"{size}; the dense network scores 0, of which nothing is a percentage."
    if one.p is not None and not one.decided:
        return f"{size}, and not to be told from the dense network."
    score = f"{size}, and {abs(one.better):.1%} {'better' if one.better >= 0 else 'worse'}"
    if one.p is None:
        return f"{score} in {'one seed' if one.network.models == 1 else 'seeds that do not differ'}."
    return f"{score}."
