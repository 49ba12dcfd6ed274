"""Outputs of lower levels help training and leave prediction, old weights and the geometry as they are."""

import pytest
import torch
from pydantic import ValidationError

from sepvox.nets.build import build
from sepvox.nets.describe import describe, render
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NetworkSettings

DEEP = {"width": 4, "growth": 1, "depth": 4, "pooling": [[1, 2, 2], [2, 2, 2], [1, 2, 2], [2, 1, 1]]}


def _pair(seed=0, **options):
    """The same network from the same seed, without and with deep supervision."""
    nets = []
    for deep_supervision in (False, True):
        torch.manual_seed(seed)
        nets.append(build(NetworkSettings(**{**DEEP, **options}, deep_supervision=deep_supervision)))
    return nets


def test_training_gives_one_output_per_level_but_the_lowest_two():
    settings = NetworkSettings(**DEEP, in_channels=2, out_channels=5, deep_supervision=True)
    outputs = build(settings)(torch.randn(1, 2, 4, 16, 8))
    assert [tuple(output.shape) for output in outputs] == [(1, 5, 4, 16, 8), (1, 5, 4, 8, 4), (1, 5, 2, 4, 2)]


def test_prediction_is_the_same_with_and_without():
    plain, deep = _pair()
    image = torch.randn(1, 1, 4, 8, 8)
    assert torch.equal(plain.eval()(image), deep.eval()(image))
    assert torch.equal(plain.train()(image), deep.train()(image)[0])


def test_without_it_the_names_of_the_weights_are_those_of_old_files():
    plain, deep = _pair()
    names = list(plain.state_dict())
    assert not any("lower_heads" in name for name in names)
    assert list(deep.state_dict()) == [
        *names,
        *(f"lower_heads.{head}.{part}" for head in (0, 1) for part in ("weight", "bias")),
    ]


@pytest.mark.parametrize(
    "options", [{"block": "dense"}, {"n": 1}, {"m": 3, "n": 1, "width": 6}, {"m": 3, "merge": "sum"}], ids=str
)
def test_gradients_reach_every_parameter(options):
    _, deep = _pair(seed=1, **options)
    outputs = deep(torch.randn(2, 1, 8, 16, 16))
    sum(output.square().mean() for output in outputs).backward()
    assert [name for name, each in deep.named_parameters() if each.grad is None or not each.grad.abs().max() > 0] == []
    # What the output alone cannot reach is what the lower outputs are for.
    deep.zero_grad()
    deep(torch.randn(2, 1, 8, 16, 16))[-1].square().mean().backward()
    assert all(each.grad is None for each in deep.head.parameters())
    assert all(each.grad.abs().max() > 0 for each in deep.encoders[-1].parameters())


@pytest.mark.parametrize("depth", [1, 2])
def test_shallow_networks_have_no_level_for_it(depth):
    net = build(NetworkSettings(width=4, depth=depth, deep_supervision=True))
    assert torch.is_tensor(net(torch.randn(1, 1, 8, 8, 8)))


def test_description_counts_the_heads_as_parameters_and_not_as_work():
    plain, deep = (
        describe(NetworkSettings(width=4, depth=3, in_channels=2, out_channels=4, deep_supervision=flag))
        for flag in (False, True)
    )
    heads = [row for row in deep.levels if row.kind == "training head"]
    assert [(row.level, row.parameters, row.macs_per_output_voxel) for row in heads] == [(1, 8 * 4 + 4, 0)]
    assert deep.parameters == plain.parameters + 36 == sum(row.parameters for row in deep.levels)
    assert deep.macs_per_output_voxel == plain.macs_per_output_voxel
    assert (deep.levels[0].channels_in, deep.levels[-2].channels_out) == (2, 4)
    assert "training head" in render(deep)


def test_geometry_is_the_same_with_and_without():
    assert geometry(NetworkSettings(**DEEP)) == geometry(NetworkSettings(**DEEP, deep_supervision=True, in_channels=3))


def test_old_config_files_still_describe_the_same_network():
    new = {"in_channels", "out_channels", "deep_supervision", "weights"}
    old = NetworkSettings().model_dump(mode="json", exclude=new)
    assert NetworkSettings.model_validate(old) == NetworkSettings()
    assert build(NetworkSettings.model_validate(old)).head.out_channels == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 2}, "1 channel in and 3 out, not in_channels 2 and out_channels 3"),
        ({"out_channels": 4}, "not in_channels 1 and out_channels 4"),
        ({"deep_supervision": True}, "fixed by its paper: remove deep_supervision"),
    ],
    ids=str,
)
def test_published_networks_keep_their_channels(options, message):
    with pytest.raises(ValidationError, match=message):
        NetworkSettings(name="gonda2018-p1sc1", **options)
    assert NetworkSettings(name="gonda2018-p1sc1", in_channels=1, out_channels=3).out_channels == 3
