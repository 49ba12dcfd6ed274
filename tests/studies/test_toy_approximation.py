"""The toy approximation trains what it says, on targets that belong to their volumes, and its findings are in the numbers."""

import csv
import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tests.workflow.runs import REPOSITORY, planned, snakemake
from torch import nn
from torch.nn import functional

from sepvox.cli import main
from sepvox.errors import InputError, StaleError, StoreError
from sepvox.layout import Layout
from sepvox.studies.toy_approximation import training
from sepvox.studies.toy_approximation.findings import Outcome, findings
from sepvox.studies.toy_approximation.networks import build_student, cost, target_network
from sepvox.studies.toy_approximation.report import report_toy
from sepvox.studies.toy_approximation.run import train_toy
from sepvox.studies.toy_approximation.settings import CHAINS, DENSE, STREAMS, STUDENTS, Student, ToyStudy, read_study
from sepvox.studies.toy_approximation.volumes import STUDENT_WEIGHTS, training_batches, validation_batches, weights_seed

CPU = torch.device("cpu")
SMALL = {
    "experiment": "small",
    "width": 6,
    "noise": {"shape": [6, 8, 10], "train": 7, "validation": 5},
    "train": {"epochs": 3, "batch": 3, "device": "cpu"},
}


def study(**changes) -> ToyStudy:
    """A tiny study; sections are changed key by key."""
    changed = {key: SMALL[key] | value if isinstance(value, dict) else value for key, value in changes.items()}
    return ToyStudy.model_validate(SMALL | changed)


def history_of(results: Path, model: str) -> list[tuple[float, ...]]:
    """Figures of every epoch, without seconds."""
    lines = Layout(results / "small").metrics(model).read_text().splitlines()
    return [tuple(value for key, value in json.loads(line).items() if key != "seconds") for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Results of all students with two seeds, and what the command line printed of them."""
    results = tmp_path_factory.mktemp("finished")
    chosen = study(seeds=[0, 5])
    train_toy(chosen, results)
    return results, report_toy(chosen, results)


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished[0], tmp_path / "copied"))


# Networks


def parameters_by_hand(m: int | None, n: str | None, filters: int = 60, between: int = 60) -> int:
    """Weights and biases from the kernels, one input channel.

    Streams of a block that follows another have `between` channels inside, those of the first filters / m.
    """

    def layer(before: int, after: int, kernel: int) -> int:
        return (before * kernel + 1) * after

    head = layer(filters, 3, 1)
    if m is None:
        return layer(1, filters, 27) + 2 * layer(filters, filters, 27) + head
    own = filters // m
    later = layer(filters, between, 9) + layer(between, own, 3)
    streams = {
        "1": layer(1, own, 9) + layer(own, own, 3) + 2 * later,
        "2": layer(1, own, 9) + layer(own, own, 9) + layer(own, own, 5) + later,
        "*": layer(1, own, 9) + 2 * layer(own, own, 9) + layer(own, own, 7),
    }
    return m * streams[n] + head


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_published_networks_have_the_parameters_that_their_kernels_give(student):
    published = read_study(REPOSITORY / "configs/studies/toy-published.yaml")
    # The released formula: 27 C_in C_out / (9 C_in + 3 C_out) = 135 over m, at most 60.
    between = {None: 0, 1: 60, 2: 60, 3: 45}[student.m]
    assert cost(published, student)[0] == parameters_by_hand(student.m, student.n, between=between)


def test_target_costs_what_its_table_says():
    published = read_study(REPOSITORY / "configs/studies/toy-published.yaml")
    parameters, macs = cost(published, DENSE)
    assert parameters == 196_383
    assert macs == 27 * 60 * 30**3 + 27 * 60 * 60 * 30**3 + 27 * 60 * 60 * 15**3 + 60 * 3 * 15**3


def test_there_are_nine_separable_students_and_the_dense_one():
    names = [student.name for student in STUDENTS]
    assert sorted(names) == sorted(["dense", *(f"p{m}sc{n}" for m in (1, 2, 3) for n in ("1", "2", "-all"))])
    assert [student.label for student in STUDENTS if student.m == 3] == ["P3SC1", "P3SC2", "P3SC*"]


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_every_student_maps_volumes_to_three_channels_of_half_the_extents(student):
    chosen = study(noise={"channels": 2})
    (first, *_) = training_batches(chosen, 0, 1)
    assert build_student(chosen, student)(torch.from_numpy(first)).shape == (3, 3, 3, 4, 5)


def test_whole_network_chain_is_planes_with_the_pooling_between_them_and_one_line():
    network = build_student(study(), Student(2, "*"))
    block = network[0]
    assert len(network) == 2
    for axis, stream in enumerate(block.streams):
        layers = [layer for layer in stream.modules() if isinstance(layer, nn.Conv3d | nn.MaxPool3d)]
        kernels = [tuple(layer.kernel_size) if isinstance(layer, nn.Conv3d) else "pool" for layer in layers]
        plane = tuple(1 if each == axis else 3 for each in range(3))
        line = tuple(7 if each == axis else 1 for each in range(3))
        assert kernels == [plane, plane, "pool", plane, line]


def test_activations_are_relus():
    slopes = [layer.negative_slope for layer in target_network(study()).modules() if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.0] * 3


# Target and volumes


def test_target_is_fixed_by_its_seed_and_its_outputs_are_spread_on_fresh_noise():
    chosen = study(width=12, noise={"shape": [16, 16, 16], "validation": 12}, train={"batch": 12})
    target, again, other = (
        target_network(each) for each in (chosen, chosen, chosen.model_copy(update={"target_seed": 1}))
    )
    (volumes,) = validation_batches(chosen)
    logits = target(torch.from_numpy(volumes))
    assert not any(parameter.requires_grad for parameter in target.parameters())
    assert torch.equal(logits, again(torch.from_numpy(volumes)))
    assert not torch.allclose(logits, other(torch.from_numpy(volumes)), atol=0.1)
    std, mean = torch.std_mean(logits, dim=(0, 2, 3, 4))
    assert torch.allclose(mean, torch.zeros(3), atol=0.3)
    assert torch.allclose(std, torch.full((3,), 2.0), rtol=0.15)
    shares = torch.bincount(logits.argmax(dim=1).flatten(), minlength=3) / logits[:, 0].numel()
    assert shares.min() > 0.15, "one channel is nearly never the largest"


def test_dense_student_does_not_begin_as_the_target_although_their_seeds_are_equal(tmp_path):
    chosen = study(train={"epochs": 1, "learning_rate": 1e-12})
    trained = training.train_student(chosen, DENSE, chosen.target_seed, tmp_path)
    assert trained.history[0]["accuracy"] < 0.8
    student, target = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"], target_network(chosen)
    for name, weights in target.state_dict().items():
        assert not torch.allclose(student[name], weights) or not weights.any()


def test_making_the_target_leaves_the_random_numbers_of_students_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    target_network(study())
    assert torch.equal(torch.rand(4), expected)


def test_an_epoch_shows_every_volume_once_mirrored_anew_and_is_the_same_again():
    chosen = study(noise={"train": 40})
    first, again, second = (np.concatenate(list(training_batches(chosen, 5, epoch))) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (40, 1, 6, 8, 10)
    assert first.dtype == np.float32

    def values(volumes: np.ndarray) -> np.ndarray:
        each = np.sort(volumes.reshape(len(volumes), -1), axis=1)
        return each[np.argsort(each[:, 0])]

    np.testing.assert_array_equal(values(first), values(second))
    assert abs(first.mean()) < 0.02
    assert abs(first.std() - 1) < 0.02
    # The same volume, found by its largest value, in both epochs: eight mirrorings, one of which is none.
    other = {float(volume.max()): volume for volume in second}
    same = [np.array_equal(volume, other[float(volume.max())]) for volume in first]
    assert 0 < sum(same) < 20
    flips = [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]
    for volume in first:
        assert any(np.array_equal(np.flip(volume, flip), other[float(volume.max())]) for flip in flips)


def test_volumes_to_train_and_to_validate_on_differ_and_so_do_seeds():
    chosen = study()
    kinds = [np.concatenate(list(training_batches(chosen, seed, 1))) for seed in (0, 1)]
    kinds.append(np.concatenate(list(validation_batches(chosen))))
    assert len({float(volume.max()) for kind in kinds for volume in kind}) == 7 + 7 + 5


def test_students_learn_what_the_target_makes_of_the_mirrored_volume(tmp_path):
    chosen = study(train={"epochs": 1, "learning_rate": 1e-12})
    found = training.train_student(chosen, DENSE, 4, tmp_path).history[0]["train_loss"]
    torch.manual_seed(weights_seed(STUDENT_WEIGHTS, 4))
    student, target = build_student(chosen, DENSE), target_network(chosen)
    volumes = torch.from_numpy(np.concatenate(list(training_batches(chosen, 4, 1))))
    with torch.no_grad():
        outputs = torch.sigmoid(target(volumes))
        expected = functional.mse_loss(torch.sigmoid(student(volumes)), outputs)
        mirrored = torch.sigmoid(target(volumes.flip(2))).flip(2)
    assert found == pytest.approx(float(expected), rel=1e-4)
    assert functional.mse_loss(mirrored, outputs) > 0.01, "target commutes with mirroring: this test shows nothing"


# Training


def test_the_target_itself_has_no_loss_and_is_always_right():
    target = target_network(study())
    checked = [(volumes, training.target_of(target, volumes, CPU)) for volumes in validation_batches(study())]
    loss, accuracy = training.validate(target, checked, CPU)
    assert loss == 0
    assert accuracy == 1


def test_accuracy_is_the_share_of_voxels_whose_largest_channel_is_the_targets():
    class Given(nn.Module):
        def forward(self, volumes: torch.Tensor) -> torch.Tensor:
            return volumes

    logits = np.zeros((2, 3, 1, 1, 2), np.float32)
    logits[0, 1] = 4
    logits[1, :, 0, 0, 0] = (1, 3, 2)
    logits[1, :, 0, 0, 1] = (-3, -2, -1)
    outputs = torch.full((2, 3, 1, 1, 2), 0.1)
    outputs[:, 1] = 0.2
    loss, accuracy = training.validate(Given(), [(logits, outputs)], CPU)
    assert accuracy == 0.75
    assert loss == pytest.approx(float(((torch.sigmoid(torch.from_numpy(logits)) - outputs) ** 2).mean()))


def test_students_learn(tmp_path):
    chosen = study(noise={"train": 60}, train={"epochs": 8, "learning_rate": 0.01})
    trained = training.train_student(chosen, Student(2, "1"), 0, tmp_path)
    losses = [record["validation_loss"] for record in trained.history]
    assert losses[-1] < 0.8 * losses[0]
    assert losses[-1] < trained.constant_loss
    assert trained.history[-1]["accuracy"] > trained.constant_accuracy


def test_interrupted_training_goes_on_after_its_last_epoch_to_the_same_figures(finished, tmp_path, monkeypatch):
    chosen = study(seeds=[0, 5])
    write = training.write_history

    def interrupted(path: Path, history: list[dict[str, float]]) -> None:
        write(path, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "write_history", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_toy(chosen, tmp_path, "p2sc-all", 5)
    layout = Layout(tmp_path / "small")
    assert not layout.metrics("p2sc-all-seed5").exists()
    assert len((layout.state("p2sc-all-seed5") / "metrics.jsonl").read_text().splitlines()) == 2
    begun = []
    monkeypatch.setattr(training, "training_batches", lambda *which: begun.append(which) or training_batches(*which))
    train_toy(chosen, tmp_path, "p2sc-all", 5)
    assert [epoch for _, _, epoch in begun] == [3]
    assert history_of(tmp_path, "p2sc-all-seed5") == history_of(finished[0], "p2sc-all-seed5")


def test_finished_units_are_kept_and_lost_outputs_come_from_the_checkpoint(copied, monkeypatch):
    monkeypatch.setattr(training, "learn", lambda *_: pytest.fail("trained again"))
    chosen, layout = study(seeds=[0, 5]), Layout(copied / "small")
    before = history_of(copied, "p1sc1-seed0")
    train_toy(chosen, copied)
    # Snakemake removes what it was promised before it tries again.
    layout.metrics("p1sc1-seed0").unlink()
    layout.done("toy", "p1sc1-seed0").unlink()
    train_toy(chosen, copied)
    assert history_of(copied, "p1sc1-seed0") == before


def test_trainings_of_other_settings_are_refused_or_moved_aside(copied):
    chosen, layout = study(seeds=[0, 5], train={"learning_rate": 0.1}), Layout(copied / "small")
    before = history_of(copied, "p1sc1-seed0")
    with pytest.raises(StaleError, match=r"p1sc1-seed0/state.*--restart"):
        train_toy(chosen, copied, "p1sc1", 0)
    with pytest.raises(StoreError, match="20 of 20 trainings are not done"):
        report_toy(chosen, copied)
    train_toy(chosen, copied, "p1sc1", 0, restart=True)
    assert layout.state("p1sc1-seed0").with_name("state.stale").exists()
    assert history_of(copied, "p1sc1-seed0") != before
    # Another seed and the device are no other settings.
    train_toy(study(seeds=[5, 9], train={"device": "auto"}), copied, "p1sc1", 5)


def test_loss_that_is_no_number_is_an_error_and_leaves_no_result(tmp_path):
    with pytest.raises(InputError, match=r"P1SC1, seed 0: .* lower train\.learning_rate"):
        train_toy(study(train={"learning_rate": 1e30}), tmp_path, "p1sc1")
    assert not Layout(tmp_path / "small").metrics("p1sc1-seed0").exists()


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("models/dense-seed0/metrics.jsonl", b'{"epoch": 1}\n', "not one JSON object with epoch, train_loss"),
        ("models/dense-seed0/metrics.jsonl", b"epoch 1\n", "not one JSON object"),
        ("done/toy/dense-seed0.json", b"{", "1 of 20 trainings are not done"),
    ],
)
def test_damaged_results_are_not_reported_on(copied, file, content, says):
    (copied / "small" / file).write_bytes(content)
    with pytest.raises(StoreError, match=says):
        report_toy(study(seeds=[0, 5]), copied)


def test_damaged_checkpoint_is_an_error_that_says_how_to_mend_it(copied):
    layout = Layout(copied / "small")
    layout.metrics("dense-seed0").unlink()
    path = layout.state("dense-seed0") / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"not a readable checkpoint.*to train afresh"):
        train_toy(study(seeds=[0, 5]), copied, "dense", 0)


# Report


def test_report_has_a_row_per_student_with_mean_and_spread_over_the_seeds(finished):
    results, printed = finished
    layout = Layout(results / "small")
    with layout.study("table.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert list(rows) == [student.label for student in STUDENTS]
    last = [history_of(results, f"p3sc2-seed{seed}")[-1] for seed in (0, 5)]
    losses, accuracies = ([figures[index] for figures in last] for index in (2, 3))
    row = rows["P3SC2"]
    assert float(row["loss"]) == pytest.approx(np.mean(losses))
    assert float(row["loss_spread"]) == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert float(row["accuracy"]) == pytest.approx(np.mean(accuracies))
    assert float(row["seconds"]) > 0
    assert int(row["parameters"]) == parameters_by_hand(3, "2", filters=6, between=4)
    assert row["seeds"] == "2"
    summary = json.loads(layout.study("summary.json").read_text())
    assert [each["student"] for each in summary["students"]] == list(rows)
    assert summary["study"]["noise"]["shape"] == [6, 8, 10]
    assert summary["accuracy"].startswith("share of output voxels")
    assert 1 / 3 < summary["constant_output"]["accuracy"] < 1
    assert layout.study("findings.txt").read_text() == printed + "\n"
    assert len(printed.splitlines()) == 2 + len(summary["findings"]) == 8


def test_figure_shows_every_student_and_is_the_same_again(finished):
    results, _ = finished
    layout = Layout(results / "small")
    before = {name: layout.study(name).read_bytes() for name in ("curves.png", "curves.svg")}
    texts = {
        "".join(each.itertext()) for each in ElementTree.fromstring(before["curves.svg"]).iter() if "text" in each.tag
    }
    assert {student.label for student in STUDENTS} | {"Validation loss", "Validation accuracy", "epoch"} <= texts
    picture = np.asarray(Image.open(layout.study("curves.png")).convert("RGB")).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)):
        assert (picture == colour).all(axis=1).any()
    report_toy(study(seeds=[0, 5]), results)
    assert {name: layout.study(name).read_bytes() for name in before} == before


def outcomes(loss: np.ndarray, dense: np.ndarray) -> dict[Student, Outcome]:
    """Outcomes of a loss (m, n, seeds) and of the dense one's (seeds,); accuracy is 1 - loss."""
    table = {Student(m, n): loss[i, j] for i, m in enumerate(STREAMS) for j, n in enumerate(CHAINS)} | {DENSE: dense}
    return {student: Outcome(1, 1, each, 1 - each, each) for student, each in table.items()}


BY_N = np.array([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("loss", "dense", "holds"),
    [
        (np.tile(BY_N, (3, 1)), 0.4, (True, True, True)),
        (np.tile(BY_N, (3, 1)) + 0.04 * np.arange(3)[:, None], 0.4, (True, True, True)),
        (np.tile(BY_N, (3, 1)) + 0.06 * np.arange(3)[:, None], 0.5, (False, True, True)),
        (np.tile(BY_N[::-1], (3, 1)), 0.4, (True, False, True)),
        (np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.1, 0.09, 0.3]]), 0.4, (True, False, True)),
        (np.tile(BY_N, (3, 1)), 0.29, (True, True, False)),
        (np.tile(BY_N, (3, 1)), 0.05, (True, True, False)),
    ],
)
def test_findings_follow_from_the_numbers(loss, dense, holds):
    found = findings(outcomes(loss[:, :, None], np.array([dense])))
    assert tuple(each.holds for each in found[:3]) == holds
    assert tuple(each.holds for each in found[3:]) == holds, "accuracy is 1 - loss: it must say the same"
    assert tuple(bool(each.seeds) for each in found) == holds * 2


def test_findings_are_of_the_means_and_say_in_how_many_seeds_they_hold():
    good, bad = np.tile(BY_N, (3, 1)), np.tile([0.21, 0.2, 0.3], (3, 1))
    found = findings(outcomes(np.stack([good, good, bad], axis=2), np.array([0.4, 0.4, 0.25])))
    assert [(each.holds, each.seeds) for each in found[:3]] == [(True, 3), (True, 2), (True, 2)]
    assert "holds (by itself in 2 of 3 seeds)" in found[1].line(3)
    assert "The best of each m: P1SC1, P2SC1, P3SC1." in found[1].line(3)
    assert "seeds" not in found[1].line(1)


def test_findings_name_who_beats_the_dense_network():
    loss = np.tile(BY_N, (3, 1))
    found = findings(outcomes(loss[:, :, None], np.array([0.15])))[2]
    assert "0.15; 3 of 9 are better: P1SC1, P2SC1, P3SC1." in found.figures


# Settings, verb, workflow


def test_published_configuration_is_the_papers():
    published = read_study(REPOSITORY / "configs/studies/toy-published.yaml")
    assert (published.width, published.noise.shape, published.noise.channels) == (60, (30, 30, 30), 1)
    assert (published.noise.train, published.train.epochs, published.train.learning_rate) == (20_000, 100, 0.001)


def verb(monkeypatch, folder: Path, document: dict, *arguments: str) -> int:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    results = ["--results", str(folder / "results")]
    monkeypatch.setattr(sys, "argv", ["sepvox", "study", "toy", str(path), *results, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("changes", "arguments", "says"),
    [
        ({"width": 10}, (), "width: 10 filters cannot be shared equally by 2 and by 3 streams; give a multiple of 6"),
        ({"noise": {"shape": [6, 7, 8]}}, (), "noise: shape is [6, 7, 8], which cannot be pooled by 2"),
        ({"seeds": [1, 1]}, (), "seeds: [1, 1] has one twice"),
        ({"seeds": []}, (), "seeds: Tuple should have at least 1 item"),
        ({"noise": {"trian": 5}}, (), "noise.trian: unknown key; did you mean `train`?"),
        ({"train": {"epochs": 0}}, (), "train.epochs: Input should be greater than 0, got 0"),
        ({}, ("--student", "p4sc1"), "--student p4sc1: no such student; choose one of dense, p1sc1"),
        ({}, ("--seed", "7"), "--seed 7: not one of the study's `seeds`, 0"),
        ({}, ("--report",), "10 of 10 trainings are not done with these settings, the first is dense-seed0; run"),
        ({}, ("--report", "--seed", "0"), "--report: is on all students and seeds; leave out --student and --seed"),
    ],
    ids=str,
)
def test_mistakes_are_refused_in_one_line(tmp_path, monkeypatch, capsys, changes, arguments, says):
    assert verb(monkeypatch, tmp_path, SMALL | changes, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "results").exists(), "something was left behind"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_there_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    assert verb(monkeypatch, tmp_path, SMALL | {"train": {"device": "cuda"}}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "train.device: cuda was asked for" in line


def test_verb_trains_one_unit_or_all_and_then_reports(tmp_path, monkeypatch, capsys):
    document = SMALL | {"train": {"epochs": 1, "device": "cpu"}}
    assert verb(monkeypatch, tmp_path, document, "--student", "p2sc1", "--seed", "0") == 0
    models = tmp_path / "results/small/models"
    assert [path.name for path in models.iterdir()] == ["p2sc1-seed0"]
    assert capsys.readouterr().out == ""
    assert verb(monkeypatch, tmp_path, document) == 0
    assert {path.name for path in models.iterdir()} == {f"{student.name}-seed0" for student in STUDENTS}
    printed = capsys.readouterr().out
    assert "m matters little, by loss:" in printed
    assert "Accuracy: share of output voxels" in printed
    assert verb(monkeypatch, tmp_path, document, "--report") == 0
    assert capsys.readouterr().out == printed


def test_workflow_trains_each_student_with_each_seed_and_reports_once(tmp_path, monkeypatch):
    shutil.copy(REPOSITORY / "configs/demo.yaml", tmp_path / "experiment.yaml")
    small = read_study(REPOSITORY / "configs/studies/toy.yaml")
    assert planned(tmp_path, "study_toy") == {"toy_student": 10 * len(small.seeds), "study_toy": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMALL | {"seeds": [0, 1, 2]}))
    monkeypatch.setenv("SEPVOX_STUDY_TOY", str(tmp_path / "study.yaml"))
    assert planned(tmp_path, "study_toy") == {"toy_student": 30, "study_toy": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMALL | {"experiment": "demo"}))
    status, output = snakemake(tmp_path, "--dry-run", "study_toy")
    assert status != 0
    assert "experiment: demo is the name of a study; choose another" in output.splitlines()[-1]
