"""The LeNet-5 of Ras et al. 2019: published totals, shapes, and what `sepvox model` says of them."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from sepvox.cli import app
from sepvox.errors import ConfigError
from sepvox.nets.classifiers import classifier
from sepvox.nets.lenet import build_lenet5
from sepvox.nets.tt import TTConv3d

TOTALS = {
    "ras2019-lenet5-3d-18-28": 496_430,
    "ras2019-lenet5-3dttn-18-28": 444_966,
    "ras2019-lenet5-3d-12-22": 375_668,
    "ras2019-lenet5-3dttn-12-22": 348_612,
    "ras2019-lenet5-3d-6-16": 263_906,
    "ras2019-lenet5-3dttn-6-16": 254_058,
    "ras2019-lenet5-3d-4-14": 228_652,
    "ras2019-lenet5-3dttn-4-14": 222_940,
}


def _described(name):
    return json.loads(CliRunner().invoke(app, ["model", name, "--json"], catch_exceptions=False).output)


@pytest.mark.parametrize(("name", "total"), TOTALS.items())
def test_parameters_are_the_total_that_is_published_or_follows_from_the_architecture(name, total):
    network = build_lenet5(classifier(name))
    assert sum(parameter.numel() for parameter in network.parameters()) == total
    described = _described(name)
    assert described["parameters"] == total == sum(layer["parameters"] for layer in described["layers"])


@pytest.mark.parametrize("name", ["ras2019-lenet5-3d-4-14", "ras2019-lenet5-3dttn-4-14"])
def test_a_clip_becomes_ten_logits_and_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    network = build_lenet5(classifier(name))
    logits = network(torch.rand(2, 1, 30, 28, 28))
    assert logits.shape == (2, 10)
    nn.functional.cross_entropy(logits, torch.tensor([3, 7])).backward()
    assert [n for n, each in network.named_parameters() if each.grad is None or not each.grad.abs().max() > 0] == []


def test_slices_of_3dtt_follow_each_other_in_time_each_by_its_own_transformation():
    layers = [each for each in build_lenet5(classifier("ras2019-lenet5-3dttn-4-14")) if isinstance(each, TTConv3d)]
    assert [layer.temporal_axis for layer in layers] == [0, 0]
    assert [tuple(layer.transformations.scale.shape) for layer in layers] == [(4, 4), (4, 14)]


def test_description_counts_what_torch_counts_and_the_same_for_both_kinds():
    found = _described("ras2019-lenet5-3d-6-16")
    assert (found["clip"], found["classes"]) == ([1, 30, 28, 28], 10)
    outputs = [[6, 30, 28, 28], [16, 11, 10, 10], [120], [84], [10]]
    assert [layer["output"] for layer in found["layers"]] == outputs
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_lenet5(classifier("ras2019-lenet5-3d-6-16"))(torch.empty(1, 1, 30, 28, 28))
    assert found["macs_per_clip"] == sum(layer["macs_per_clip"] for layer in found["layers"])
    assert found["macs_per_clip"] == counter.get_total_flops() // 2
    other = _described("ras2019-lenet5-3dttn-6-16")
    assert [layer["macs_per_clip"] for layer in other["layers"]] == [
        layer["macs_per_clip"] for layer in found["layers"]
    ]
    assert other["layers"][1]["kind"] == "3DTT convolution"


def test_text_shows_the_total_and_every_layer():
    text = CliRunner().invoke(app, ["model", "ras2019-lenet5-3dttn-18-28"]).output
    assert "444,966" in text
    assert [line.split()[0] for line in text.splitlines()[-5:]] == [
        "convolution1",
        "convolution2",
        "linear1",
        "linear2",
        "linear3",
    ]


@pytest.mark.parametrize("name", ["ras2019-lenet5-3d-18", "ras2019-lenet5-3dttn-0-4", "ras2019-lenet5-2d-18-28"])
def test_names_that_are_none_are_refused_with_the_form_of_those_that_are(name):
    with pytest.raises(ConfigError, match=rf"model {name}: neither .*ras2019-lenet5-3dttn-C1-C2") as caught:
        CliRunner().invoke(app, ["model", name], catch_exceptions=False)
    assert "\n" not in str(caught.value)


def test_classifiers_have_no_models():
    with pytest.raises(ConfigError, match="--model main: ras2019-lenet5-3d-4-14 is one network"):
        CliRunner().invoke(app, ["model", "ras2019-lenet5-3d-4-14", "--model", "main"], catch_exceptions=False)
