"""The claim of Gonda et al. 2018 on P_mSC_n U-Nets, held against one comparison of blocks: about 14 % better, 40 % smaller.

The comparison is that of an experiment whose `models` differ in their block, as the report writes it (comparison.csv). The
paper does not say of which score or against which spread its 14 % are. Here *better* is the relative change of the first
score of the comparison against the dense network's, VI of neurons and Dice of classes, and *smaller* that of the number of
parameters. A difference is *beyond the spread* where it is larger than both standard deviations over seeds together.
"""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

from sepvox import markers
from sepvox.errors import ConfigError, StoreError
from sepvox.experiments.base import MAIN, Experiment
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.spread import spread

PUBLISHED_BETTER = 0.14
PUBLISHED_SMALLER = 0.40


@dataclass(frozen=True)
class Network:
    """One network of a comparison, its score over `models` models; `sd` is None where that is one."""

    name: str
    block: str
    parameters: int
    models: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Against:
    """A network against the dense one.

    Attributes
    ----------
    better : float
        Relative change of the score, positive where it is better.
    smaller : float
        Relative change of the number of parameters, positive where there are fewer.
    beyond_spread : bool or None
        Whether the scores differ by more than both standard deviations together; None where one is not known.
    """

    network: Network
    better: float
    smaller: float
    beyond_spread: bool | None


def compare_blocks(experiment: Experiment, results: Path) -> str:
    """Write report/{findings.txt, findings.json} of an experiment that ran; what findings.txt says is returned.

    Raises
    ------
    ConfigError
        If the experiment has no dense network, or no other one.
    StoreError
        If its comparison was not written, or lacks scores.
    """
    layout = experiment.layout(results)
    title, networks = _read(experiment, layout.comparison())
    dense = next((network for network in networks if network.block == "dense"), None)
    others = [network for network in networks if network is not dense]
    if dense is None or not others:
        raise ConfigError(
            "models: a study of blocks needs a network with `block: dense` and at least one other; add what is missing"
        )
    lower = isinstance(experiment, NeuronsExperiment)
    found = [_against(network, dense, lower) for network in others]
    text = "\n".join([*_table(dense, found, title), "", *_claim(found)]) + "\n"
    with markers.replacing(layout.study("findings.txt")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    markers.write_json(
        layout.study("findings.json"),
        {"score": title, "dense": asdict(dense), "others": [asdict(one) for one in found]},
    )
    return text


def _read(experiment: Experiment, path: Path) -> tuple[str, list[Network]]:
    """The title of the score that networks are ranked by, which comes first, and all networks."""
    if not path.is_file():
        raise StoreError(f"{path}: missing; run the experiment first: snakemake --cores N --configfile CONFIG")
    blocks = {run.entry or MAIN: experiment.variant(model).network.block for model, run in experiment.runs().items()}
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        rows = list(table)
    title = next(name.removesuffix(" mean") for name in table.fieldnames or () if name.endswith(" mean"))
    found = []
    for row in rows:
        if not row.get(f"{title} mean"):
            raise StoreError(
                f"{path}: {row.get('network')} has no {title}; give a volume or subject with truth to test on"
            )
        if row["network"] not in blocks:
            raise StoreError(f"{path}: {row['network']} is no network of the experiment; run the experiment again")
        sd = row[f"{title} sd"]
        found.append(
            Network(
                name=row["network"],
                block=blocks[row["network"]],
                parameters=int(row["parameters"]),
                models=int(row["models"]),
                mean=float(row[f"{title} mean"]),
                sd=float(sd) if sd else None,
            )
        )
    return title, found


def _against(network: Network, dense: Network, lower: bool) -> Against:
    gain = (dense.mean - network.mean) if lower else (network.mean - dense.mean)
    return Against(
        network=network,
        better=gain / dense.mean,
        smaller=1 - network.parameters / dense.parameters,
        beyond_spread=None if network.sd is None or dense.sd is None else abs(gain) > network.sd + dense.sd,
    )


def _table(dense: Network, found: list[Against], title: str) -> list[str]:
    lines = [f"{'network':<12}{'parameters':>12}{'smaller':>10}{title:>22}{'better':>10}  beyond the spread"]
    lines.append(f"{dense.name:<12}{dense.parameters:>12,}{'':>10}{_score(dense):>22}")
    for one in found:
        beyond = {True: "yes", False: "no", None: "one seed"}[one.beyond_spread]
        network = one.network
        lines.append(
            f"{network.name:<12}{network.parameters:>12,}{one.smaller:>10.1%}{_score(network):>22}{one.better:>+10.1%}  {beyond}"
        )
    return lines


def _score(network: Network) -> str:
    return f"{network.mean:.3f}" + ("" if network.sd is None else f" ± {network.sd:.3f}")


def _claim(found: list[Against]) -> list[str]:
    separable = [one for one in found if one.network.block == "pmsc"]
    if not separable:
        return ["There is no P_mSC_n network here, so nothing is said on the claim."]
    better = spread(one.better for one in separable).mean
    smaller = spread(one.smaller for one in separable).mean
    assert better is not None and smaller is not None
    return [
        f"Published (Gonda et al. 2018): about {PUBLISHED_BETTER:.0%} better with models {PUBLISHED_SMALLER:.0%} smaller.",
        f"Here, mean over {len(separable)} P_mSC_n networks: {better:+.1%} better, {smaller:.1%} smaller.",
        f"Better by as much: {_says(better >= PUBLISHED_BETTER)}. Smaller by as much: {_says(smaller >= PUBLISHED_SMALLER)}.",
    ]


def _says(holds: bool) -> str:
    return "holds" if holds else "does not hold"
