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
from sepvox.errors import StoreError
from sepvox.layout import Layout
from sepvox.nets.compress import Budget
from sepvox.nets.model_config import read_network
from sepvox.nets.settings import NeuronNetworkSettings
from sepvox.report.comparison import logged_seconds
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
    experiment, first = dense_experiment(study)
    train = experiment.variant(first).train
    assert train is not None, "read_study has refused it"
    source = find_weights(Path(study.dense), first, results)
    folder = Layout(results / study.experiment).root / "compressed"
    budget = Budget(None, study.share)
    # Weights written anew would be taken for changed ones by the workflows that follow.
    if not is_compressed(source, folder, budget, study.streams):
        compress(source, folder, budget, study.streams, overwrite=True)
    common = experiment.model_dump(mode="json", exclude={"network", "models", "seeds", "train"}, exclude_unset=True)
    applied, trained = _models(study, train.iterations, source, folder)
    for stage, own in (
        ("applied", {"models": applied}),
        ("trained", {"models": trained, "train": train.model_dump(mode="json", exclude_unset=True)}),
    ):
        document = common | {"experiment": f"{study.experiment}-{stage}"} | own
        with markers.replacing(stage_config(study, results, stage)) as temporary:
            # Paths in it were expanded already.
            temporary.write_text(yaml.safe_dump(document, sort_keys=False).replace("$", "$$"), encoding="utf-8")


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
    StoreError
        If a stage was not run.
    """
    rows: dict[str, dict[str, str]] = {}
    for stage in STAGES:
        path = load_neurons(stage_config(study, results, stage), "study compression").layout(results).comparison()
        if not path.is_file():
            raise StoreError(f"{path}: missing; run the stage first: snakemake --cores N --configfile CONFIG")
        with path.open(newline="", encoding="utf-8") as file:
            rows |= {row["network"]: row for row in csv.DictReader(file)}
    before = logged_seconds(dense_experiment(study)[0], results, dense_experiment(study)[1])
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
