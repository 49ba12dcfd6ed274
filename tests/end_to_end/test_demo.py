"""What `make demo` and `make demo-mri` made: far better than grey values alone give."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sepvox.config import load
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.score.intensity import tune_intensity_chain

pytestmark = pytest.mark.demo
ROOT = Path(__file__).parents[2]
LAYOUT = Layout(ROOT / "results/demo")
MRI = Layout(ROOT / "results/demo-mri")


def test_demo_is_within_its_promise_and_twice_as_good_as_grey_values():
    chosen = json.loads(LAYOUT.scores("main", "test").read_text())["chosen"]
    assert chosen["chosen_on"] == "choose"
    assert chosen["voi_sum"] <= 0.8
    phantom = load(ROOT / "configs/demo.yaml").volumes["test"].phantom
    assert phantom is not None
    assert chosen["voi_sum"] <= tune_intensity_chain(*em_phantom(phantom, (0, 0, 0), phantom.shape)).voi_sum / 2


def test_demo_mri_segments_unseen_heads_where_brightness_alone_cannot():
    test = json.loads(MRI.summary("main").read_text())["test"]
    assert test["mean"]["scores"]["dice"]["mean"] >= 0.85
    config = load(ROOT / "configs/demo-mri.yaml")
    assert isinstance(config, ClassesExperiment)
    for subject in config.predicted("main"):
        made = nib.load(MRI.native_segmentation("main", subject))
        scan = nib.load(MRI.source(subject, "T1w"))
        assert made.shape == scan.shape
        np.testing.assert_array_equal(made.affine, scan.affine)
