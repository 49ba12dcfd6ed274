"""The experiments that a study of compression makes of a dense one, and the table of both."""

from pathlib import Path

import pytest

from sepvox import markers
from sepvox.config import load
from sepvox.errors import ConfigError, InputError, StaleError, StoreError
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.describe import describe
from sepvox.nets.model_config import read_network, write_model_config
from sepvox.report.comparison import comparison_fingerprint
from sepvox.studies.compression.settings import dense_experiment, read_study, stage_config
from sepvox.studies.compression.study import prepare_stages, tabulate

DENSE = """\
experiment: whole
volumes:
  learn: {role: train, phantom: {shape: [40, 40, 40]}}
  choose: {role: validate, phantom: {shape: [40, 40, 40], seed: 2}}
  new: {role: apply, image: price$$.npy}
network: {block: BLOCK, width: 2, depth: 1}
train: {iterations: 30, batch: 1, learning_rate: 0.004, patch: [32, 32, 32]}
"""


@pytest.fixture
def study(tmp_path: Path):
    """A study whose dense network has the weights that it begins with."""
    (tmp_path / "whole.yaml").write_text(DENSE.replace("BLOCK", "dense"))
    (tmp_path / "study.yaml").write_text(
        "experiment: less\ndense: whole.yaml\nshare: 0.5\niterations: 10\nlearning_rate: 0.001\n"
    )
    experiment = load(tmp_path / "whole.yaml")
    path = experiment.model_weights(tmp_path / "results", "main")
    weights.save(path, build(experiment.network).state_dict(), {})
    write_model_config(path.with_name("config.json"), experiment.network, {})
    return read_study(tmp_path / "study.yaml")


def test_both_networks_of_a_stage_see_the_volumes_of_the_dense_experiment(study, tmp_path):
    results = tmp_path / "results"
    prepare_stages(study, results)
    whole = load(tmp_path / "whole.yaml")
    applied, trained = (load(stage_config(study, results, stage)) for stage in ("applied", "trained"))
    assert [applied.experiment, trained.experiment] == ["less-applied", "less-trained"]
    assert applied.volumes == trained.volumes == whole.volumes
    assert applied.segment == trained.segment == whole.segment
    assert applied.train is None
    assert list(applied.models) == ["dense", "compressed"]
    assert applied.variant("dense").network.weights == str(whole.model_weights(results, "main"))


def test_from_scratch_the_same_network_is_trained_for_as_long_as_all_of_the_other(study, tmp_path):
    results = tmp_path / "results"
    prepare_stages(study, results)
    trained = load(stage_config(study, results, "trained"))
    tuned, scratch = trained.variant("fine-tuned"), trained.variant("scratch")
    assert (tuned.train.iterations, tuned.train.learning_rate) == (10, 0.001)
    assert (scratch.train.iterations, scratch.train.learning_rate) == (40, 0.004)
    assert scratch.network.weights is None
    compressed = read_network(Path(tuned.network.weights).with_name("config.json"), "test")
    assert describe(scratch.network) == describe(compressed)
    assert describe(compressed).parameters < describe(load(tmp_path / "whole.yaml").network).parameters


def test_the_table_has_a_row_per_network(study, tmp_path):
    results = tmp_path / "results"
    prepare_stages(study, results)
    for stage, names in (("applied", ("dense", "compressed")), ("trained", ("fine-tuned", "scratch"))):
        experiment = load(stage_config(study, results, stage))
        path = experiment.layout(results).comparison()
        with pytest.raises(StoreError, match="run the experiment first"):
            tabulate(study, results)
        path.parent.mkdir(parents=True)
        rows = [f"{name},1200,35.5,1,,2.25,100,0.51234,\n" for name in names]
        head = "network,parameters,macs_per_voxel,models,training_seconds,prediction_seconds,voxels,VI mean,VI sd\n"
        path.write_text(head + "".join(rows))
        markers.mark(path.with_suffix(".json"), comparison_fingerprint(experiment))
    folder = load(tmp_path / "whole.yaml").model_directory(results, "main")
    (folder / "metrics.jsonl").write_text('{"iteration": 30, "patches_per_second": 0.5}\n')
    write_model_config(
        folder / "config.json", load(tmp_path / "whole.yaml").network, {"training": {"settings": {"batch": 1}}}
    )
    text = tabulate(study, results)
    assert [line.split()[0] for line in text.splitlines()] == [
        "network",
        "dense",
        "compressed",
        "fine-tuned",
        "scratch",
    ]
    # 30 steps of half a patch per second; the scratch network has no time of its own here.
    assert text.splitlines()[1].split() == ["dense", "1,200", "35.5", "60", "2.25", "0.5123"]
    assert text.splitlines()[4].split() == ["scratch", "1,200", "35.5", "-", "2.25", "0.5123"]
    with pytest.raises(StaleError, match=r"compressed: missing, or not the dense network as this study compresses it"):
        tabulate(study.model_copy(update={"share": 0.7}), results)
    with pytest.raises(StaleError, match=r"trained\.yaml: not the experiment that this study makes"):
        tabulate(study.model_copy(update={"iterations": 11}), results)


def test_a_network_that_is_not_dense_or_not_trained_is_refused(study, tmp_path):
    with pytest.raises(InputError, match="train the model first"):
        prepare_stages(study, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "whole.yaml").write_text(DENSE.replace("BLOCK", "pmsc"))
    with pytest.raises(ConfigError, match=r"study\.yaml: dense: .*whole\.yaml: its first model is no dense network"):
        read_study(tmp_path / "study.yaml")


@pytest.mark.parametrize(("name", "model"), [("compression", "main"), ("fib25-compression", "dense-seed0")])
def test_studies_of_the_repository_are_valid(name, model, monkeypatch, tmp_path):
    monkeypatch.setenv("SEPVOX_DATA", str(tmp_path))
    chosen = read_study(Path(__file__).parents[2] / f"configs/studies/{name}.yaml")
    experiment, first = dense_experiment(chosen)
    assert (chosen.experiment, first, experiment.variant(first).network.block) == (name, model, "dense")
