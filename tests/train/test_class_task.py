"""The training of classes: what follows from the experiment, its loss, its validation, and that it learns."""

import json

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from sepvox.blocks import Box, Part
from sepvox.errors import ConfigError, InputError, StaleError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.model_config import write_model_config
from sepvox.predict.class_model import read_class_model
from sepvox.prepare.subject import open_subject
from sepvox.prepare.subjects import prepare_subjects
from sepvox.train.class_settings import ClassTrainSettings
from sepvox.train.class_validation import MOST_SUBJECTS, ClassValidation, dice_error
from sepvox.train.classes import ClassLoss, class_task

CLASSES = {"csf": 1, "grey": 2, "white": 3}
NAMES = ("head-01", "head-02", "head-03")


def experiment(train=None, network=None, classes=CLASSES, **changes):
    small = {"kind": "head", "subjects": 3, "shape": (24, 28, 24), "voxel_size": (7.0, 7.0, 7.0)}
    given = {
        "experiment": "heads",
        "task": "classes",
        "subjects": {"phantom": small},
        "classes": classes,
        "split": {"test": 0.3, "validation": 0.5},
        "network": {"width": 4, "depth": 2} if network is None else network,
        "train": {"iterations": 40, "batch": 2, "patch": (16, 16, 16)} if train is None else train,
    }
    return ClassesExperiment.model_validate(given | changes)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    prepare_subjects(experiment(), folder, Part(0, 1))
    return folder


@pytest.fixture
def layout(results):
    return Layout(results / "heads")


def test_task_follows_from_the_experiment(layout):
    task = class_task(experiment(), "main", layout)
    roles = experiment().roles("main")
    assert (task.patch, task.batch, task.iterations, task.select) == ((16, 16, 16), 2, 40, "dice_error")
    assert (task.network.in_channels, task.network.out_channels) == (1, 4)
    assert task.network.pooling == ((2, 2, 2), (2, 2, 2))
    assert type(task.network).model_validate(json.loads(task.network.model_dump_json())) == task.network
    assert task.record["training"]["subjects"] == {name: role for name, role in roles.items() if role != "test"}
    assert len(task.validation.items) == 1
    assert any("patch" in note for note in task.notes)
    logits = build(task.network)(task.patches[0]["image"][None])
    assert logits.shape == (1, 4, 16, 16, 16)


def test_patch_pooling_and_batch_that_are_not_given_are_planned_within_the_memory(layout):
    task = class_task(experiment({"memory": 0.2}, {"width": 8, "depth": 3}), "main", layout)
    assert task.network.pooling is not None
    assert task.network.depth == len(task.network.pooling)
    assert task.batch >= 2
    assert {"patch", "pooling", "batch", "memory"} <= {note.split()[0].rstrip(":") for note in task.notes}
    tight = class_task(experiment({"memory": 0.02}, {"width": 8, "depth": 3}), "main", layout)
    assert torch.Size(tight.patch).numel() < torch.Size(task.patch).numel()


def test_epochs_count_patches_of_all_training_subjects(layout):
    task = class_task(experiment({"epochs": 7, "batch": 2, "patch": (16, 16, 16)}), "main", layout)
    learned = list(experiment().roles("main").values()).count("train")
    assert task.iterations == -(-7 * learned // 2)


def test_published_preset():
    found = ClassTrainSettings(preset="gonda2018")
    assert (found.patch, found.batch, found.epochs) == ((64, 64, 64), 4, 50)
    assert (found.learning_rate, found.weight_decay) == (1e-5, 1e-6)
    assert (found.schedule, found.warmup, found.gradient_clip, found.ema) == ("constant", 0, None, 0.0)
    assert ClassTrainSettings(preset="gonda2018", batch=2).batch == 2
    assert ClassTrainSettings(preset="gonda2018", iterations=9).epochs is None


def test_fingerprint_tells_what_the_weights_depend_on(layout):
    base = {"iterations": 40, "batch": 2, "patch": (16, 16, 16)}
    made = class_task(experiment(base), "main", layout).fingerprint
    for same in ({"workers": 3}, {"memory": 9.0}, {"checkpoint_every": 7}):
        assert class_task(experiment(base | same), "main", layout).fingerprint == made, same
    for other in ({"batch": 1}, {"foreground": 0.5}, {"augment": {"affine": 0.0}}, {"seed": 1}):
        assert class_task(experiment(base | other), "main", layout).fingerprint != made, other
    assert class_task(experiment(base, {"width": 5, "depth": 2}), "main", layout).fingerprint != made
    other_split = experiment(base, split={"test": 0.3, "validation": 0})
    assert class_task(other_split, "main", layout).fingerprint != made


def test_subjects_that_were_prepared_with_other_settings_are_not_learned_from(layout):
    with pytest.raises(
        StaleError, match=r"^[^\n]*image\.zarr: prepared from other files or with other settings[^\n]*$"
    ):
        class_task(experiment(prepare={"spacing": (8.0, 8.0, 8.0)}), "main", layout)
    with pytest.raises(StaleError, match="prepare --restart"):
        class_task(experiment(classes=CLASSES | {"white": 4}), "main", layout)


def test_without_validation_subjects_nothing_is_visited(layout):
    assert not class_task(experiment(split={"test": 0.3, "validation": 0}), "main", layout).validation.items


def test_weights_to_start_from_bring_their_architecture_and_must_fit(layout, tmp_path):
    task = class_task(experiment(), "main", layout)
    path = tmp_path / "best.safetensors"
    weights.save(path, build(task.network).state_dict(), {})
    write_model_config(tmp_path / "config.json", task.network, task.record)
    found = read_class_model(path)
    assert (dict(found.classes), found.modalities, found.patch) == (CLASSES, ("T1w",), (16, 16, 16))
    again = class_task(experiment(network={"weights": str(path)}), "main", layout)
    assert again.network == task.network
    assert again.initial == path
    assert again.fingerprint != task.fingerprint
    other = experiment(network={"weights": str(path)}, classes={"csf": 1, "grey": 2, "matter": 3})
    with pytest.raises(ConfigError, match=r"^classes: .* was trained for [^\n]*$"):
        class_task(other, "main", layout)


def test_channels_that_a_published_network_has_not_are_refused(layout):
    with pytest.raises(ConfigError, match=r"^network: .*gonda2018-p2sc2 has 1 channel in and 3 out[^\n]*$"):
        class_task(experiment(network={"name": "gonda2018-p2sc2"}), "main", layout)


def test_a_training_subject_without_labels_is_named(results, tmp_path):
    image = results / "heads" / "volumes" / "head-01" / "T1w.nii.gz"
    table = tmp_path / "table.csv"
    table.write_text(f"subject,image,labels,split\none,{image},,train\n")
    given = experiment(subjects={"table": str(table)})
    prepare_subjects(given, tmp_path, Part(0, 1))
    with pytest.raises(InputError, match=r"^subject one: has no labels, but its role is train"):
        class_task(given, "main", Layout(tmp_path / "heads"))


def logits_and_labels():
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn((2, 3, n, n, n), generator=generator) for n in (8, 4)]
    labels = torch.randint(-1, 3, (2, 8, 8, 8), generator=generator)
    return levels, labels


@pytest.mark.parametrize("deep", [False, True])
def test_loss_is_the_weighted_sum_of_its_terms(deep):
    levels, labels = logits_and_labels()
    given = levels if deep else levels[0]

    def loss(dice, entropy):
        settings = ClassTrainSettings(dice_weight=dice, cross_entropy_weight=entropy)
        return float(ClassLoss(settings)(given, {"classes": labels}))

    assert loss(1, 1) == pytest.approx(loss(1, 0) + loss(0, 1), rel=1e-5)
    assert loss(0.3, 2) == pytest.approx(0.3 * loss(1, 0) + 2 * loss(0, 1), rel=1e-5)
    assert 0 < loss(1, 0) < 1
    if not deep:
        expected = functional.cross_entropy(levels[0], labels, ignore_index=-1)
        assert loss(0, 1) == pytest.approx(float(expected), rel=1e-5)


def test_dice_error_is_that_of_the_classes_that_occur():
    truth = torch.tensor([[[0, 1, 1, 2, -1, -1]]])
    predicted = torch.tensor([[[0, 1, 2, 2, 3, 1]]])
    # Class 1: 2 * 1 / (2 + 1), class 2: 2 * 1 / (1 + 2); class 3 is predicted only where nothing is known.
    assert dice_error(predicted, truth, 4) == pytest.approx(1 - 2 / 3)
    assert dice_error(truth.clamp(min=0), truth, 4) == 0
    assert dice_error(torch.zeros_like(truth), torch.zeros_like(truth), 4) == 0
    assert dice_error(predicted, torch.zeros_like(truth), 4) == 1


class _Constant(torch.nn.Module):
    """Says the same of every voxel."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits).reshape(1, -1, 1, 1, 1)

    def forward(self, image):
        return self.logits.expand(len(image), -1, *image.shape[2:])


def test_validation_figures_are_those_of_the_whole_subject(layout):
    subject = open_subject(layout, "head-01", CLASSES)
    loss = ClassLoss(ClassTrainSettings(dice_weight=0.0, cross_entropy_weight=1.0))
    validation = ClassValidation([subject], (16, 16, 16), (16, 16, 16), loss)
    assert validation.items[0].box == Box.of(subject.shape)
    found = validation.figures(_Constant([0.0, 0.0, 1.0, 0.0]), validation.items[0], torch.device("cpu"))
    truth = subject.classes_box(Box.of(subject.shape))
    share = (truth == 2).mean()
    assert found["dice_error"] == pytest.approx(1 - 2 * share / (1 + share) / 3, abs=1e-5)
    chances = torch.log_softmax(torch.tensor([0.0, 0.0, 1.0, 0.0]), 0)
    assert found["loss"] == pytest.approx(-float(chances[2] * share + chances[0] * (1 - share)), abs=1e-4)


def test_validation_of_many_subjects_is_spread_evenly_over_some(layout):
    subjects = [open_subject(layout, name, CLASSES) for name in NAMES]
    loss = ClassLoss(ClassTrainSettings())
    many = ClassValidation([subjects[0], *[subjects[1]] * 98, subjects[2]], (16, 16, 16), (16, 16, 16), loss)
    assert len(many.items) == MOST_SUBJECTS
    assert many.items[0].subject is subjects[0]
    assert many.items[-1].subject is subjects[2]


@pytest.mark.parametrize("deep", [False, True])
def test_a_few_steps_reduce_the_loss(layout, deep):
    network = {"width": 4, "depth": 3, "deep_supervision": deep}
    train = {"iterations": 24, "batch": 2, "patch": (32, 16, 16)}
    task = class_task(experiment(train, network), "main", layout)
    torch.manual_seed(0)
    net = build(task.network)
    assert isinstance(net(task.patches[0]["image"][None]), list) == deep
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for batch in DataLoader(task.patches, task.batch, sampler=range(0, 24 * task.batch)):
        loss = task.loss(net(batch["image"]), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-6:]) < 0.85 * sum(losses[:6])
    net.eval()
    with torch.no_grad():
        figures = task.validation.figures(net, task.validation.items[0], torch.device("cpu"))
    assert set(figures) == {"loss", "dice_error"}
    assert figures["dice_error"] < 0.95
