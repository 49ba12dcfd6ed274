"""The claim of Gonda et al. 2018 on P_mSC_n U-Nets, held against one comparison of blocks: about 14 % better, 40 % smaller.

The comparison is that of an experiment whose `models` differ in their block, as the report writes it (comparison.csv). The
paper does not say of which score or against which spread its 14 % are. Here *better* is the relative change of the score
that the comparison ranks by against the dense network's, VI of neurons and Dice of classes, and *smaller* that of the number
of parameters. A difference is *decided* where it is larger than both standard deviations over seeds together; from one seed
nothing is.
"""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

from sepvox import markers
from sepvox.config import load
from sepvox.errors import ConfigError, StoreError
from sepvox.experiments.base import Experiment
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.nets.model_config import resolved
from sepvox.text_table import text_table

PUBLISHED_BETTER = 0.14
PUBLISHED_SMALLER = 0.40


@dataclass(frozen=True)
class Network:
    """One network of a comparison.

    Attributes
    ----------
    macs : float
        Multiply-accumulates per output voxel.
    training_seconds, seconds_per_million : float or None
        Of one model: its training, and its prediction per million voxels; None where they were not measured.
    mean, sd : float
        Score over `models` models; `sd` is None where that is one.
    """

    name: str
    block: str
    parameters: int
    macs: float
    models: int
    training_seconds: float | None
    seconds_per_million: float | None
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
    decided : bool
        Whether the scores differ by more than both standard deviations together.
    """

    network: Network
    better: float | None
    smaller: float
    decided: bool


def read_study(path: str | Path) -> NeuronsExperiment | ClassesExperiment:
    """Read an experiment that compares blocks.

    Raises
    ------
    ConfigError
        As `sepvox.config.load`, and if no network of the experiment is dense, or none is another one.
    """
    experiment = load(path)
    blocks = [experiment.variant(model).network for model in experiment.runs()]
    dense = [network.weights is None and network.block == "dense" for network in blocks]
    if not any(dense) or all(dense):
        raise ConfigError(
            f"{path}: models: a study of blocks needs a network with `block: dense` and one with another; add what is missing"
        )
    return experiment


def compare_blocks(experiment: Experiment, results: Path) -> str:
    """Write report/{findings.txt, findings.json} of a study that ran; what findings.txt says is returned.

    Raises
    ------
    StoreError
        If its comparison was not written, or lacks scores.
    """
    layout = experiment.layout(results)
    title, networks = _read(experiment, layout.comparison())
    dense = next(network for network in networks if network.block == "dense")
    lower = isinstance(experiment, NeuronsExperiment)
    found = [_against(network, dense, lower) for network in networks if network is not dense]
    text = "\n".join([_table(dense, found, title), "", *_claim(found)]) + "\n"
    with markers.replacing(layout.study("findings.txt")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    record = {"score": title, "dense": asdict(dense), "others": [asdict(one) for one in found]}
    markers.write_json(layout.study("findings.json"), record)
    return text


def _read(experiment: Experiment, path: Path) -> tuple[str, list[Network]]:
    """The title of the score that networks are ranked by, which comes first, and all networks."""
    if not path.is_file():
        raise StoreError(f"{path}: missing; run the experiment first: snakemake --cores N --configfile CONFIG")
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        rows = list(table)
    means = [name for name in table.fieldnames or () if name.endswith(" mean")]
    blocks = {run.entry: resolved(experiment.variant(model).network).block for model, run in experiment.runs().items()}
    if not means or {row["network"] for row in rows} != set(blocks):
        raise StoreError(f"{path}: is not of this experiment; run the experiment again")
    title = means[0].removesuffix(" mean")
    found = []
    for row in rows:
        mean = _number(row[means[0]])
        if mean is None:
            raise StoreError(f"{path}: {row['network']} has no {title}; give the experiment something to test on")
        predicted, voxels = _number(row["prediction_seconds"]), float(row["voxels"])
        found.append(
            Network(
                name=row["network"],
                block=blocks[row["network"]],
                parameters=int(row["parameters"]),
                macs=float(row["macs_per_voxel"]),
                models=int(row["models"]),
                training_seconds=_number(row["training_seconds"]),
                seconds_per_million=None if predicted is None or not voxels else predicted / voxels * 1e6,
                mean=mean,
                sd=_number(row[f"{title} sd"]),
            )
        )
    return title, found


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _against(network: Network, dense: Network, lower: bool) -> Against:
    gain = (dense.mean - network.mean) if lower else (network.mean - dense.mean)
    return Against(
        network=network,
        better=gain / dense.mean if dense.mean else None,
        smaller=1 - network.parameters / dense.parameters,
        decided=network.sd is not None and dense.sd is not None and abs(gain) > network.sd + dense.sd,
    )


def _table(dense: Network, found: list[Against], title: str) -> str:
    header = ("network", "parameters", "smaller", "MACs per voxel", "training", "per million voxels", title, "better")
    rows = [_row(dense, "", "")]
    for one in found:
        better = "-" if one.better is None else f"{one.better:+.1%}" + ("" if one.decided else ", not decided")
        rows.append(_row(one.network, f"{one.smaller:.1%}", better))
    return text_table(header, rows)


def _row(network: Network, smaller: str, better: str) -> tuple[str, ...]:
    training, prediction = (
        "-" if seconds is None else f"{seconds:.{digits}f} s"
        for seconds, digits in ((network.training_seconds, 0), (network.seconds_per_million, 2))
    )
    score = f"{network.mean:.3f}" + ("" if network.sd is None else f" ± {network.sd:.3f}")
    return (
        network.name,
        f"{network.parameters:,}",
        smaller,
        f"{network.macs:,.0f}",
        training,
        prediction,
        score,
        better,
    )


def _claim(found: list[Against]) -> list[str]:
    separable = [one for one in found if one.network.block == "pmsc"]
    better = [one for one in separable if one.decided and one.better is not None and one.better >= PUBLISHED_BETTER]
    level = [one for one in separable if not one.decided]
    worse = [one for one in separable if one.decided and one.better is not None and one.better < 0]
    smaller = [one for one in separable if one.smaller >= PUBLISHED_SMALLER]
    return [
        f"Published (Gonda et al. 2018): about {PUBLISHED_BETTER:.0%} better with models {PUBLISHED_SMALLER:.0%} smaller.",
        f"Here, of {len(separable)} P_mSC_n networks: better by as much {_names(better)}; worse {_names(worse)}; not to be told from the dense network {_names(level)}.",
        f"Smaller by as much: {_names(smaller)}.",
    ]


def _names(found: list[Against]) -> str:
    return ", ".join(one.network.name for one in found) or "none"
