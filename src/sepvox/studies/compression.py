"""What compressing a trained dense network is worth: scores before, after, and after training on, against training from scratch.

The dense network is that of an experiment of its own, which was trained. From its weights two experiments on the same
volumes are made:

applied   `dense` and `compressed` (`sepvox compress`), as they are;
trained   `fine-tuned`, the compressed network trained on, and `scratch`, the same network from random weights, trained for as
          many steps as the dense network and the fine-tuned one together.
"""

import csv
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from sepvox import markers
from sepvox.compress import WEIGHTS, compress, find_weights
from sepvox.config import load_neurons, load_study
from sepvox.errors import StoreError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.nets.compress import Budget
from sepvox.nets.model_config import read_network
from sepvox.nets.settings import NeuronNetworkSettings
from sepvox.settings import Name, Positive, PositiveFloat, Settings

# The experiments that are made, in the order in which they run, and the rows of the table.
STAGES = ("applied", "trained")
NETWORKS = ("dense", "compressed", "fine-tuned", "scratch")


class CompressionStudy(Settings):
    """One study of compression: a YAML file."""

    experiment: Name = Field(description="Name; results go to results/NAME, NAME-applied and NAME-trained.")
    dense: str = Field(description="Experiment of task neurons, a YAML file, whose first model is dense.")
    share: Annotated[float, Field(gt=0, le=2)] = Field(
        0.5, description="Weights that a convolution may keep, as a share."
    )
    streams: Annotated[int, Field(ge=1, le=3)] = Field(3, description="Streams: across z, then y, then x.")
    iterations: Positive = Field(description="Steps for which the compressed network is trained on.")
    learning_rate: PositiveFloat | None = Field(
        None, description="Learning rate of these steps; that of the dense network by default."
    )


def read_study(path: str | Path) -> CompressionStudy:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
    """
    return load_study(path, CompressionStudy, ("dense",))


def stage_config(study: CompressionStudy, results: Path, stage: str) -> Path:
    """Where the experiment of a stage is written."""
    return Layout(results / study.experiment).root / f"{stage}.yaml"


def prepare_stages(study: CompressionStudy, results: Path) -> None:
    """Compress the dense network into results/NAME/compressed, and write results/NAME/{applied, trained}.yaml.

    Raises
    ------
    ConfigError
        If the experiment is none of neurons, trains nothing, or its network is not dense.
    InputError
        If the dense network is not trained.
    """
    experiment = load_neurons(study.dense, "study compression")
    source = find_weights(Path(study.dense), None, results)
    folder = Layout(results / study.experiment).root / "compressed"
    compress(source, folder, Budget(None, study.share), study.streams, overwrite=True)
    for stage, models in zip(STAGES, _models(study, experiment, source, folder), strict=True):
        document = experiment.model_dump(mode="json", exclude={"network", "models", "seeds"}, exclude_unset=True)
        document |= {"experiment": f"{study.experiment}-{stage}", "models": models}
        if stage == "applied":
            document.pop("train", None)
        with markers.replacing(stage_config(study, results, stage)) as temporary:
            # Paths in it were expanded already.
            temporary.write_text(yaml.safe_dump(document, sort_keys=False).replace("$", "$$"), encoding="utf-8")


def _models(
    study: CompressionStudy, experiment: NeuronsExperiment, source: Path, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The section `models` of both stages."""
    train = experiment.variant(next(iter(experiment.runs()))).train
    assert train is not None, "weights that were found were trained"
    rate = {} if study.learning_rate is None else {"learning_rate": study.learning_rate}
    compressed = {"weights": str((folder / WEIGHTS).resolve())}
    architecture = read_network(folder / "config.json", "compression").model_dump(
        mode="json", exclude=set(NeuronNetworkSettings.refused) | {"weights"}
    )
    return (
        {"dense": {"network": {"weights": str(source.resolve())}}, "compressed": {"network": compressed}},
        {
            "fine-tuned": {"network": compressed, "train": {"iterations": study.iterations} | rate},
            "scratch": {"network": architecture, "train": {"iterations": train.iterations + study.iterations}},
        },
    )


def tabulate(study: CompressionStudy, results: Path) -> str:
    """Write report/table.csv with a row per network; the rows as text are returned.

    Raises
    ------
    StoreError
        If a stage was not run.
    """
    rows = []
    for stage in STAGES:
        path = load_neurons(stage_config(study, results, stage), "study compression").layout(results).comparison()
        if not path.is_file():
            raise StoreError(f"{path}: missing; run the stage first: snakemake --cores N --configfile CONFIG")
        with path.open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    order = {row["network"]: row for row in rows}
    with (
        markers.replacing(Layout(results / study.experiment).study("table.csv")) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(order[name] for name in NETWORKS)
    score = next(name for name in rows[0] if name.endswith(" mean"))
    shown = ("network", "parameters", "macs_per_voxel", "training_seconds", "prediction_seconds", score)
    cells = [shown, *(tuple(_short(order[name][key]) for key in shown) for name in NETWORKS)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells) + "\n"


def _short(cell: str) -> str:
    try:
        return f"{float(cell):,.4g}" if "." in cell else f"{int(cell):,}"
    except ValueError:
        return cell or "-"
