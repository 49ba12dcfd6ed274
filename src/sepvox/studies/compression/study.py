"""What compressing a trained dense network is worth: scores before, after, and after training on, against training from scratch.

The dense network is that of an experiment of its own, which was trained. From its weights two experiments on the same
volumes are made:

applied   `dense` and `compressed` (`sepvox compress`), as they are;
trained   `fine-tuned`, the compressed network trained on, and `scratch`, the same network from random weights, trained for as
          many steps as the dense network and the fine-tuned one together.
"""

import csv
from pathlib import Path
from typing import Any

import yaml

from sepvox import markers
from sepvox.compress import WEIGHTS, compress, find_weights, is_compressed
from sepvox.config import load_neurons
from sepvox.errors import StaleError
from sepvox.layout import Layout
from sepvox.nets.compress import Budget
from sepvox.nets.model_config import read_network
from sepvox.nets.settings import NeuronNetworkSettings
from sepvox.report.comparison import logged_seconds, read_comparison
from sepvox.studies.compression.settings import CompressionStudy, dense_experiment, stage_config
from sepvox.text_table import text_table

# The experiments that are made, in the order in which they run, and the rows of the table.
STAGES = ("applied", "trained")
NETWORKS = ("dense", "compressed", "fine-tuned", "scratch")


def prepare_stages(study: CompressionStudy, results: Path) -> None:
    """Compress the dense network into results/NAME/compressed, and write results/NAME/{applied, trained}.yaml.

    Raises
    ------
    InputError
        If the dense network is not trained.
    """
    source, folder = _weights(study, results)
    budget = Budget(None, study.share)
    # Weights written anew would be taken for changed ones by the workflows that follow.
    if not is_compressed(source, folder, budget, study.streams):
        compress(source, folder, budget, study.streams, overwrite=True)
    for stage, text in _stages(study, source, folder).items():
        with markers.replacing(stage_config(study, results, stage)) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _weights(study: CompressionStudy, results: Path) -> tuple[Path, Path]:
    """The dense network's weights, and the folder of the compressed network."""
    first = dense_experiment(study)[1]
    return find_weights(Path(study.dense), first, results), Layout(results / study.experiment).root / "compressed"


def _stages(study: CompressionStudy, source: Path, folder: Path) -> dict[str, str]:
    """The configuration of each stage."""
    experiment, first = dense_experiment(study)
    train = experiment.variant(first).train
    assert train is not None, "read_study has refused it"
    common = experiment.model_dump(mode="json", exclude={"network", "models", "seeds", "train"}, exclude_unset=True)
    applied, trained = _models(study, train.iterations, source, folder)
    own = {"applied": {"models": applied}}
    own["trained"] = {"models": trained, "train": train.model_dump(mode="json", exclude_unset=True)}
    documents = {stage: common | {"experiment": f"{study.experiment}-{stage}"} | own[stage] for stage in STAGES}
    # Paths in it were expanded already.
    return {stage: yaml.safe_dump(found, sort_keys=False).replace("$", "$$") for stage, found in documents.items()}


def _models(
    study: CompressionStudy, iterations: int, source: Path, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The section `models` of both stages."""
    rate = {} if study.learning_rate is None else {"learning_rate": study.learning_rate}
    compressed = {"weights": str((folder / WEIGHTS).resolve())}
    architecture = read_network(folder / "config.json", "compression").model_dump(
        mode="json", exclude=set(NeuronNetworkSettings.refused) | {"weights"}
    )
    return (
        {"dense": {"network": {"weights": str(source.resolve())}}, "compressed": {"network": compressed}},
        {
            "fine-tuned": {"network": compressed, "train": {"iterations": study.iterations} | rate},
            "scratch": {"network": architecture, "train": {"iterations": iterations + study.iterations}},
        },
    )


def tabulate(study: CompressionStudy, results: Path) -> str:
    """Write report/table.csv with a row per network; the rows as text are returned.

    `training_seconds` are of all training that a network's weights have gone through, the dense network's included.

    Raises
    ------
    InputError
        If the dense network is not trained.
    StoreError
        If a stage was not run.
    StaleError
        If none was prepared, or one was run with other settings or of another dense network.
    """
    source, folder = _weights(study, results)
    if not is_compressed(source, folder, Budget(None, study.share), study.streams):
        raise StaleError(
            f"{folder}: missing, or not the dense network as this study compresses it; run the study again"
        )
    rows: dict[str, dict[str, str]] = {}
    for stage, text in _stages(study, source, folder).items():
        config = stage_config(study, results, stage)
        if not config.is_file() or config.read_text(encoding="utf-8") != text:
            raise StaleError(f"{config}: not the experiment that this study makes; run the study again")
        rows |= read_comparison(load_neurons(config, "study compression"), results)
    experiment, first = dense_experiment(study)
    before = logged_seconds(experiment, results, first)
    assert before is not None, "it was trained"
    for name in ("dense", "compressed", "fine-tuned"):
        rows[name]["training_seconds"] = str(before + float(rows[name]["training_seconds"] or 0))
    with (
        markers.replacing(Layout(results / study.experiment).study("table.csv")) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, list(rows["dense"]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows[name] for name in NETWORKS)
    score = next(name for name in rows["dense"] if name.endswith(" mean"))
    shown = ("network", "parameters", "macs_per_voxel", "training_seconds", "prediction_seconds", score)
    return text_table(shown, [tuple(_short(rows[name][key]) for key in shown) for name in NETWORKS]) + "\n"


def _short(cell: str) -> str:
    try:
        return f"{float(cell):,.4g}" if "." in cell else f"{int(cell):,}"
    except ValueError:
        return cell or "-"
