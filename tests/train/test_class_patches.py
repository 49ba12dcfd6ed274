"""Patches for classes: a pure function of seed and number, balanced over classes, and honest about what is unknown."""

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from sepvox.blocks import Box, Part
from sepvox.errors import InputError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.markers import read_arrays
from sepvox.prepare.subject import open_subject
from sepvox.prepare.subjects import prepare_subjects
from sepvox.train import class_patches
from sepvox.train.class_patches import ClassPatches, zeros_of
from sepvox.train.class_settings import ClassTrainSettings

SHAPES = {"long": (20, 36, 24), "short": (14, 20, 30)}
NEVER = {"mirror": (False, False, False)} | dict.fromkeys(
    ("affine", "elastic", "bias_field", "gamma", "intensity", "noise", "blur", "low_resolution"), 0.0
)
PATCH = (16, 16, 16)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two subjects of two modalities with a large class 3 and a class 7 of eight voxels; their stores and voxels."""
    folder = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(0)
    rows = ["subject,image_a,image_b,labels"]
    for name, shape in SHAPES.items():
        labels = np.zeros(shape, np.uint8)
        labels[2:-2, 4:-4, 6:-6] = 3
        labels[8:10, 8:10, 8:10] = 7
        for kind, data in (
            ("a", labels * 30 + rng.normal(100, 9, shape)),
            ("b", labels + rng.normal(5, 1, shape)),
            ("labels", labels),
        ):
            # Stored k j i: the axes x y z of an image in RAS are the last to first of z y x.
            dtype = np.uint8 if kind == "labels" else np.float32
            image = nib.Nifti1Image(data.astype(dtype).transpose(2, 1, 0), np.diag([1.5, 1.0, 1.0, 1.0]))
            nib.save(image, folder / f"{name}-{kind}.nii")
        rows.append(f"{name},{name}-a.nii,{name}-b.nii,{name}-labels.nii")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    experiment = ClassesExperiment.model_validate(
        {
            "experiment": "e",
            "task": "classes",
            "subjects": {"table": str(folder / "table.csv")},
            "classes": {"large": 3, "small": 7},
            "prepare": {"chunk": (8, 8, 8), "shard": (16, 16, 16)},
            "train": {},
        }
    )
    prepare_subjects(experiment, Path(folder), Part(0, 1))
    layout = Layout(folder / "e")
    subjects = [open_subject(layout, name, experiment.classes) for name in SHAPES]
    voxels = [list(read_arrays(layout.class_voxels(name), "prepare", "class1", "class2").values()) for name in SHAPES]
    return subjects, voxels


def patches(prepared, patch=PATCH, output=None, **settings):
    subjects, voxels = prepared
    return ClassPatches(subjects, voxels, ClassTrainSettings(**settings), patch, output or patch)


def content(patch):
    return {name: tensor.numpy().tobytes() for name, tensor in patch.items()}


def test_patch_is_a_function_of_seed_and_number_alone(prepared):
    first = patches(prepared)
    expected = [content(first[number]) for number in range(6)]
    assert len({each["image"] for each in expected}) == 6
    later = pickle.loads(pickle.dumps(patches(prepared)))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert [content(later[number]) for number in reversed(range(6))] == expected[::-1]
    torch.set_num_threads(threads)
    assert content(patches(prepared, seed=1)[0]) != expected[0]


def test_kept_subjects_give_the_same_bytes_as_chunks_read_when_needed(prepared, monkeypatch):
    kept = [content(patches(prepared, (24, 16, 40))[number]) for number in range(6)]
    monkeypatch.setattr(class_patches, "KEPT_BYTES", 0)
    assert [content(patches(prepared, (24, 16, 40))[number]) for number in range(6)] == kept


def test_patch_has_the_types_and_shapes_that_training_needs(prepared):
    patch = patches(prepared, output=(8, 12, 16))[0]
    whole = patches(prepared)[0]
    assert patch["image"].shape == (2, *PATCH)
    assert patch["image"].dtype == torch.float32
    assert patch["classes"].dtype == torch.int64
    assert torch.equal(patch["classes"], whole["classes"][4:12, 2:14])


def test_classes_are_drawn_equally_often_however_small_they_are(prepared):
    small = {}
    for foreground in (0.0, 1.0):
        drawn = patches(prepared, (4, 4, 4), foreground=foreground, augment=NEVER)
        found = [drawn[number]["classes"] for number in range(200)]
        small[foreground] = np.mean([bool((classes == 2).any()) for classes in found])
        if foreground:
            assert all(bool((classes > 0).any()) for classes in found)
    assert small[0.0] < 0.1
    assert 0.4 < small[1.0] < 0.65


def test_both_subjects_are_drawn_equally_often(prepared):
    drawn = patches(prepared, (16, 20, 40), foreground=0.0, augment=NEVER)
    # Of 40 voxels, 24 or 30 are inside.
    inside = [int((drawn[number]["classes"][8, 10] >= 0).sum()) for number in range(60)]
    assert set(inside) == {24, 30}
    assert 18 < inside.count(30) < 42


def test_beyond_the_subject_classes_are_unknown_and_the_image_repeats_its_edge(prepared):
    (subject, _), (voxels, _) = prepared
    patch = (28, 16, 24)
    drawn = ClassPatches([subject], [voxels], ClassTrainSettings(augment=NEVER), patch, patch)
    truth = subject.classes_box(Box.of(subject.shape))
    for number in range(5):
        image, classes = (drawn[number][name].numpy() for name in ("image", "classes"))
        inside = np.flatnonzero((classes >= 0).any(axis=(1, 2)))
        assert len(inside) == 20
        assert (classes[inside] >= 0).all()
        starts = [y for y in range(21) if np.array_equal(truth[:, y : y + 16], classes[inside])]
        assert starts
        assert (image[:, : inside[0]] == image[:, inside[:1]]).all()
        assert (image[:, inside[-1] :] == image[:, inside[-1:]]).all()


def test_zero_intensity_is_where_no_signal_is(prepared):
    (subject, _), _ = prepared
    for channel, zero in enumerate(zeros_of(subject)):
        shift, factor = subject.scales[channel]
        assert zero == pytest.approx(max(-shift * factor, subject.limits[channel][0]))


def test_labels_without_any_class_are_refused(prepared):
    subjects, _ = prepared
    empty = np.zeros((0, 3), np.int32)
    with pytest.raises(InputError, match="no voxel of any class"):
        ClassPatches(subjects, [[empty, empty]] * 2, ClassTrainSettings(), PATCH, PATCH)
