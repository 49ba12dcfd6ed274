"""compress: weights of a dense network to those of a parallel separable one, which training can go on from.

What is written has the form of any trained model: best.safetensors with config.json beside it, and compression.json, which
says how near every convolution came. A merge threshold or clean-up that lies beside the dense weights was chosen on their
results; it is not taken over.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sepvox import markers
from sepvox.config import load
from sepvox.errors import ConfigError, InputError, StoreError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.mistakes import explain
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.nets import compress as nets
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.compress import Budget, CompressedConvolution
from sepvox.nets.describe import describe
from sepvox.nets.model_config import read_network, write_model_config
from sepvox.text_table import text_table
from sepvox.versions import VERSIONS

WEIGHTS = "best.safetensors"
REPORT = "compression.json"


@dataclass(frozen=True)
class Compression:
    """What was made of which weights; parameters and multiply-accumulates are those of the whole networks."""

    source: Path
    output: Path
    budget: Budget
    streams: int
    parameters: tuple[int, int]
    macs_per_output_voxel: tuple[float, float]
    convolutions: tuple[CompressedConvolution, ...]

    def as_json(self) -> dict[str, Any]:
        """What compression.json holds: pairs are the dense network's figure and the compressed one's."""
        return {
            "source": str(self.source),
            "terms": self.budget.terms,
            "share": self.budget.share,
            "streams": self.streams,
            "parameters": list(self.parameters),
            "macs_per_output_voxel": list(self.macs_per_output_voxel),
            "convolutions": [row.as_json() for row in self.convolutions],
        }


def find_weights(source: Path, model: str | None, results: Path) -> Path:
    """The weights that a file or an experiment stands for.

    Parameters
    ----------
    source : Path
        Weights, or an experiment's YAML file.
    model : str, optional
        A model of the experiment; its first one by default.
    results : Path
        Folder of all results.

    Raises
    ------
    ConfigError
        If the experiment is wrong, or has no such model.
    InputError
        If there are no weights.
    """
    if source.suffix == ".safetensors":
        if model is not None:
            raise ConfigError(f"--model {model}: {source} is one network and no experiment; leave it out")
        if not source.is_file():
            raise InputError(f"{source}: no such weights; give the path of a best.safetensors file")
        return source
    experiment = load(source)
    chosen = model or next(iter(experiment.runs()))
    experiment.variant(chosen)
    found = experiment.model_weights(results, chosen)
    if not found.is_file():
        raise InputError(f"{found}: no such weights; train the model first: sepvox train {source} --model {chosen}")
    return found


def compress(source: Path, output: Path, budget: Budget, streams: int = 3, overwrite: bool = False) -> Compression:
    """Write a parallel separable network that stands for a dense one.

    Parameters
    ----------
    source : Path
        best.safetensors of a dense network, config.json beside it.
    output : Path
        Folder for best.safetensors, config.json and compression.json; made where it is missing.
    budget : Budget
        How many terms each convolution may have.
    streams : int
        Streams of a block, 1 to 3: across z, then y, then x.
    overwrite : bool
        Replace weights that are in the folder.

    Raises
    ------
    ConfigError
        If the network has no dense convolutions, or the folder holds weights and `overwrite` is false.
    InputError
        If weights or config.json are missing, damaged, or do not belong to each other.
    """
    path = source.with_name("config.json")
    settings = read_network(path, "compress")
    nets.check_dense(settings, str(source))
    target = output / WEIGHTS
    if target.exists() and target.samefile(source):
        raise ConfigError(f"--output {output}: holds the dense weights themselves; give another folder")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target}: exists already; give --overwrite to replace it, or another --output")
    dense = build(settings)
    weights.load_into(dense, source)
    made = nets.compress(dense, settings, budget, streams)
    before, after = describe(settings), describe(made.settings)
    found = Compression(
        source=source,
        output=output,
        budget=budget,
        streams=streams,
        parameters=(before.parameters, after.parameters),
        macs_per_output_voxel=(before.macs_per_output_voxel, after.macs_per_output_voxel),
        convolutions=made.convolutions,
    )
    own = {key: value for key, value in markers.read_json(path).items() if key not in ("sepvox", "network")}
    # It says of which weights they were made, and must never stand beside others.
    (output / "config.json").unlink(missing_ok=True)
    weights.save(target, made.network.state_dict(), {})
    markers.write_json(output / REPORT, found.as_json())
    write_model_config(output / "config.json", made.settings, own | {"compressed": _how(source, budget, streams)})
    return found


def is_compressed(source: Path, output: Path, budget: Budget, streams: int) -> bool:
    """Whether a folder holds what `compress` would write there now."""
    try:
        written = markers.read_json(output / "config.json", "compressed")["compressed"]
    except StoreError:
        return False
    return bool(written == _how(source, budget, streams)) and (output / WEIGHTS).exists()


def _how(source: Path, budget: Budget, streams: int) -> dict[str, Any]:
    made_from = markers.file_fingerprint(source)
    version = VERSIONS["compression"]
    return {"version": version, "weights": made_from, "terms": budget.terms, "share": budget.share, "streams": streams}


def trained_further(
    experiment: NeuronsExperiment | ClassesExperiment, start: Path, iterations: int
) -> NeuronsExperiment | ClassesExperiment:
    """One model of an experiment (`Experiment.variant`) that begins with other weights, for a number of iterations.

    Raises
    ------
    ConfigError
        If the experiment trains nothing, or its settings do not fit so many iterations.
    """
    if experiment.train is None:
        raise ConfigError("--iterations: the experiment has no `train` section to take the training's settings from")
    given = experiment.train.model_dump(exclude_unset=True, exclude={"epochs"}) | {"iterations": iterations}
    try:
        train = type(experiment.train).model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"--iterations {iterations}: {explain(error, type(experiment.train), 'train')}") from None
    network = type(experiment.network)(weights=str(start))
    return experiment.model_copy(update={"network": network, "train": train})


def render(found: Compression) -> str:
    """The report as text: a line per convolution, then the whole."""
    header = ("part", "level", "convolution", "channels", "terms", "weights", "error")
    rows = [
        (
            row.part,
            str(row.level),
            str(row.number),
            f"{row.channels_in} > {row.channels_out}",
            " + ".join(map(str, row.terms)),
            f"{row.dense_weights:,} > {row.weights:,}",
            f"{row.error:.2%}",
        )
        for row in found.convolutions
    ]
    facts = [
        ("parameters", _change(*found.parameters)),
        ("MACs per output voxel", _change(*found.macs_per_output_voxel)),
        ("weights", str(found.output / WEIGHTS)),
    ]
    return "\n".join([text_table(header, rows), "", *(f"{key:<22}{value}" for key, value in facts)])


def _change(before: float, after: float) -> str:
    return f"{before:,.0f} > {after:,.0f} ({after / before - 1:+.0%})"
