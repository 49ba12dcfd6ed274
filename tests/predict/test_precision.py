"""All blocks of one store are computed in one precision, whatever devices its slices run on."""

import json
import re

import pytest
import torch
from tests.predict.test_memory import experiment_in

from sepvox.blocks import Part
from sepvox.errors import StaleError
from sepvox.layout import Layout
from sepvox.predict import job, predict
from sepvox.predict.settings import PredictSettings


def test_auto_is_bfloat16_only_where_it_pays(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    found = {
        (mode, device): predict._precision(PredictSettings(mode=mode), torch.device(device))
        for mode in ("exact", "blend")
        for device in ("cpu", "cuda")
    }
    assert [key for key, value in found.items() if value == "bfloat16"] == [("blend", "cuda")]


def test_a_slice_of_another_precision_is_refused(tmp_path):
    experiment, results = experiment_in(tmp_path)
    job.create(experiment, "main", "v", results, restart=True)
    blocks = Layout(results / "memory").step("predict", "main", "v") / "blocks"
    # As a slice on a GPU leaves it in blend mode.
    (blocks / "precision.json").write_text(json.dumps("bfloat16"))
    with pytest.raises(StaleError) as caught:
        predict.predict_slice(experiment, "main", "v", results, Part(0, 1))
    assert re.fullmatch(
        r"[^\n]*affinities\.zarr: [^\n]*bfloat16[^\n]*float32[^\n]*set predict\.precision[^\n]*", str(caught.value)
    )
    assert not (blocks / "0.json").exists()


def test_the_first_slice_decides_and_finished_slices_are_left_alone(tmp_path):
    experiment, results = experiment_in(tmp_path)
    job.create(experiment, "main", "v", results, restart=True)
    predict.predict_slice(experiment, "main", "v", results, Part(0, 1))
    precision = Layout(results / "memory").step("predict", "main", "v") / "blocks/precision.json"
    assert json.loads(precision.read_text()) == "float32"
    precision.write_text(json.dumps("bfloat16"))
    predict.predict_slice(experiment, "main", "v", results, Part(0, 1))
    assert json.loads(precision.read_text()) == "bfloat16"
