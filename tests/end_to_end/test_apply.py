"""Weights applied to scans without an experiment give what the workflow gives, in the scan's own space, and leave nothing else."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from sepvox.apply import apply
from sepvox.blocks import Part
from sepvox.config import parse
from sepvox.errors import ConfigError, InputError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.settings import NetworkSettings
from sepvox.predict.classes import predict_subjects
from sepvox.predict.settings import ClassPredictSettings
from sepvox.prepare.phantoms.head import head_phantom
from sepvox.prepare.phantoms.head_settings import HeadPhantomSettings
from sepvox.prepare.subjects import prepare_subjects
from sepvox.score.class_choose import choose_clean_up_of
from sepvox.segment.classify import classify_subjects

CLASSES = {"csf": 10, "grey": 20, "white": 30}
PREPARE = {"spacing": [12, 9, 9], "crop": True, "normalisation": "zscore", "foreground": "otsu"}
PHANTOM = HeadPhantomSettings(subjects=3, shape=(20, 24, 20), voxel_size=(8, 8, 8), contrasts=("T1w", "T2w"))
CPU = ClassPredictSettings(device="cpu", augment="mirror")


def save_model(folder: Path, seed=0, modalities=("image",), **changes) -> Path:
    """Random weights of a small network with their config.json."""
    folder.mkdir(parents=True)
    network = NetworkSettings(width=4, depth=1, norm="instance", in_channels=len(modalities), out_channels=4)
    torch.manual_seed(seed)
    weights.save(folder / "best.safetensors", build(network).state_dict(), {})
    config = {
        "network": network.model_dump(mode="json", exclude={"weights"}),
        "classes": CLASSES,
        "modalities": list(modalities),
        "prepare": PREPARE,
        "patch": [16, 16, 16],
        "mirror": [False, False, True],
        "training": {},
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder / "best.safetensors"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with two heads of one contrast, and one of another."""
    folder = tmp_path_factory.mktemp("scans")
    for number in (0, 1):
        nib.save(head_phantom(PHANTOM, number).images["T1w"], folder / f"head {number}.nii.gz")
    (folder / "other").mkdir()
    nib.save(head_phantom(PHANTOM, 0).images["T2w"], folder / "other" / "head 0.nii")
    return folder


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_applied_weights_give_what_the_workflow_gives_in_the_space_of_each_scan(scans, tmp_path):
    model = save_model(tmp_path / "model")
    clean_up = {"setting": "auto", "foreground": True, "classes": ["grey"], "chosen_on": ["x"]}
    (model.parent / "clean_up.json").write_text(json.dumps(clean_up))
    told = []
    apply([model], tmp_path / "out", [scans], settings=CPU, tell=told.append)
    names = ["head 0_seg.nii.gz", "head 1_seg.nii.gz"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert told == [str(tmp_path / "out" / name) for name in names]

    table = tmp_path / "subjects.csv"
    table.write_text("subject,image\n" + "".join(f"h{n},{scans / f'head {n}.nii.gz'}\n" for n in (0, 1)))
    document = {
        "experiment": "same",
        "task": "classes",
        "subjects": {"table": str(table)},
        "classes": CLASSES,
        "prepare": PREPARE | {"chunk": [8, 8, 8], "shard": [16, 16, 16]},
        "network": {"weights": str(model)},
        "predict": {"device": "cpu", "augment": "mirror"},
    }
    experiment, results, every = parse(document, tmp_path / "e.yaml"), tmp_path / "results", Part(0, 1)
    prepare_subjects(experiment, results, every)
    predict_subjects(experiment, "main", results, every)
    choose_clean_up_of(experiment, "main", results)
    classify_subjects(experiment, "main", results, every)
    for number, name in enumerate(names):
        source, found = nib.load(scans / f"head {number}.nii.gz"), nib.load(tmp_path / "out" / name)
        expected = Layout(results / "same").native_segmentation("main", f"h{number}")
        assert (tmp_path / "out" / name).read_bytes() == expected.read_bytes()
        assert found.shape == source.shape
        np.testing.assert_array_equal(found.affine, source.affine)
        assert set(np.unique(found.dataobj)) <= {0, *CLASSES.values()}
        assert len(np.unique(found.dataobj)) > 1


def test_a_bad_file_is_named_in_one_line_and_the_others_go_on(scans, tmp_path):
    model = save_model(tmp_path / "model")
    bad = tmp_path / "in"
    bad.mkdir()
    (bad / "a_cut.nii.gz").write_bytes((scans / "head 0.nii.gz").read_bytes()[:2000])
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), bad / "b_empty.nii.gz")
    (bad / "c_good$1.nii.gz").write_bytes((scans / "head 1.nii.gz").read_bytes())
    told = []
    with pytest.raises(InputError, match=r"2 of 3 inputs could not be used, the first is .*a_cut.nii.gz"):
        apply([model], tmp_path / "out", [bad], settings=CPU, tell=told.append)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c_good$1_seg.nii.gz"]
    assert "a_cut.nii.gz: is truncated" in told[0]
    assert "b_empty.nii.gz: every voxel is 0" in told[1]
    assert all("\n" not in line for line in told)
    with pytest.raises(InputError, match="1 of 1"):
        apply([model], tmp_path / "none", [bad / "a_cut.nii.gz"], settings=CPU, tell=told.append)
    assert not (tmp_path / "none").exists()


def test_an_output_that_is_a_file_and_a_name_that_is_no_text_are_refused(scans, tmp_path):
    model = save_model(tmp_path / "model")
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match=r"--output .*out: is no folder"):
        apply([model], tmp_path / "out", [scans / "head 1.nii.gz"], settings=CPU)
    strange = tmp_path / os.fsdecode(b"\xff.nii.gz")
    strange.write_bytes((scans / "head 1.nii.gz").read_bytes())
    told = []
    with pytest.raises(InputError, match="1 of 2"):
        apply([model], tmp_path / "a" / "b", [strange, scans / "head 1.nii.gz"], settings=CPU, tell=told.append)
    assert "\\udcff.nii.gz: its name is not UTF-8; rename it" in told[0]
    assert (tmp_path / "a" / "b" / "head 1_seg.nii.gz").exists()
    with pytest.raises(InputError, match="1 of 1"):
        apply([model], tmp_path / "c" / "d", [strange], settings=CPU, tell=told.append)
    assert not (tmp_path / "c").exists()


def test_a_spacing_that_is_a_mistake_of_units_is_refused(scans, tmp_path):
    told = []
    for number, spacing in enumerate([[1e-3] * 3, [1e6] * 3, [1e-300] * 3]):
        model = save_model(tmp_path / f"model{number}", prepare=PREPARE | {"spacing": spacing})
        with pytest.raises(InputError, match="1 of 1"):
            apply([model], tmp_path / "out", [scans / "head 1.nii.gz"], settings=CPU, tell=told.append)
    assert all("prepare.spacing" in line and "correct prepare.spacing" in line for line in told)


def test_a_tile_too_small_for_the_network_is_refused(scans, tmp_path):
    model = save_model(tmp_path / "model")
    settings = CPU.model_copy(update={"tile": (1, 1, 1)})
    with pytest.raises(ConfigError, match=r"predict.tile: .* leaves one voxel at the deepest level"):
        apply([model], tmp_path / "out", [scans / "head 1.nii.gz"], settings=settings)


@pytest.mark.parametrize("classes", [{"x": 1, "y": 1}, {"x": 2**40}, {"a b/c": 1}])
def test_impossible_classes_beside_weights_are_refused(scans, tmp_path, classes):
    model = save_model(tmp_path / "model", classes=classes)
    with pytest.raises(InputError, match=r"config.json: classes[^\n]*copy config.json again"):
        apply([model], tmp_path / "out", [scans / "head 1.nii.gz"], settings=CPU)


def test_existing_results_are_kept_unless_told_otherwise(scans, tmp_path):
    model, out = save_model(tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    result = out / "head 1_seg.nii.gz"
    result.write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"head 1_seg.nii.gz: exists already, as 1 of 2 .*--overwrite"):
        apply([model], out, [scans], settings=CPU, tell=lambda _: None)
    assert [path.name for path in out.iterdir()] == ["head 1_seg.nii.gz"]
    assert result.read_bytes() == b"precious"
    apply([model], out, [scans / "head 1.nii.gz"], overwrite=True, settings=CPU, tell=lambda _: None)
    assert voxels(result).shape == nib.load(scans / "head 1.nii.gz").shape
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "x.nii.gz").write_bytes((scans / "head 1.nii.gz").read_bytes())
    for _ in range(2):
        apply([model], copy, [copy], overwrite=True, settings=CPU, tell=lambda _: None)
    assert sorted(path.name for path in copy.iterdir()) == ["x.nii.gz", "x_seg.nii.gz"]


def test_several_weights_are_an_ensemble(scans, tmp_path):
    models = [save_model(tmp_path / f"model{seed}", seed=seed) for seed in (0, 1, 2)]
    scan = scans / "head 0.nii.gz"
    for name, chosen in (("one", models[:1]), ("all", models), ("turned", models[::-1])):
        apply(chosen, tmp_path / name, [scan], settings=CPU, tell=lambda _: None)
    one, every, turned = (voxels(tmp_path / name / "head 0_seg.nii.gz") for name in ("one", "all", "turned"))
    assert (one != every).any()
    assert (turned != every).mean() < 0.001
    other = save_model(tmp_path / "other", classes={"a": 1, "b": 2, "c": 3})
    with pytest.raises(ConfigError, match=r"classes: csf 10, grey 20, white 30, but .* a 1, b 2, c 3"):
        apply([models[0], other], tmp_path / "bad", [scan], settings=CPU)


def test_several_modalities_of_one_subject_are_given_by_name(scans, tmp_path):
    model = save_model(tmp_path / "model", modalities=("T1w", "T2w"))
    t1, t2 = scans / "head 0.nii.gz", scans / "other" / "head 0.nii"
    for name, given in (("ordered", {"T1w": t1, "T2w": t2}), ("turned", {"T2w": t2, "T1w": t1})):
        apply([model], tmp_path / name, modalities=given, settings=CPU, tell=lambda _: None)
    result = voxels(tmp_path / "ordered" / "head 0_seg.nii.gz")
    np.testing.assert_array_equal(result, voxels(tmp_path / "turned" / "head 0_seg.nii.gz"))
    expected = "--modality T1w=FILE --modality T2w=FILE"
    for wrong in (
        {"inputs": [t1]},
        {"modalities": {"T1w": t1}},
        {"inputs": [t1], "modalities": {"T1w": t1, "T2w": t2}},
    ):
        with pytest.raises(ConfigError, match=expected):
            apply([model], tmp_path / "bad", **wrong)
    assert not (tmp_path / "bad").exists()


def test_what_cannot_work_is_refused_before_any_work(scans, tmp_path):
    model, out = save_model(tmp_path / "model"), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    same = [scans / "head 0.nii.gz", scans / "other" / "head 0.nii"]
    for inputs, expected in (
        (same, "both would be written to"),
        ([], "INPUT: none given"),
        ([tmp_path / "empty"], "holds no scan"),
        ([scans / "gone.nii.gz"], "gone.nii.gz: does not exist"),
    ):
        with pytest.raises((ConfigError, InputError), match=expected):
            apply([model], out, inputs, settings=CPU)
    with pytest.raises(InputError, match="no such weights"):
        apply([tmp_path / "none.safetensors"], out, [scans], settings=CPU)
    assert not out.exists()
