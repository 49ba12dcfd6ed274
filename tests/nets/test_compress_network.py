"""A dense U-Net and what it is compressed to: same outputs with all terms, fewer weights with fewer."""

import pytest
import torch
from torch import nn

from sepvox.errors import ConfigError
from sepvox.nets.build import build
from sepvox.nets.compress import Budget, compress
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.unet import UNet

ALL = Budget(share=2)


def dense(**options) -> tuple[UNet, NetworkSettings]:
    """A dense network whose biases and normalisations are not those it began with."""
    torch.manual_seed(0)
    settings = NetworkSettings(**{"block": "dense", "width": 4, "depth": 1, **options})
    net = build(settings)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.add_(torch.rand_like(tensor) * (0.5 if "var" in name else 0.2))
    return net.eval(), settings


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "batch"},
        {"norm": "instance", "in_channels": 2, "out_channels": 4},
        {"norm": "group", "depth": 3, "deep_supervision": True},
        {"pooling": [[1, 2, 2], [2, 2, 2]], "depth": 2, "growth": 1.5},
    ],
    ids=str,
)
def test_with_all_terms_the_outputs_are_the_same(options, m):
    net, settings = dense(**options)
    made = compress(net, settings, ALL, m)
    image = torch.randn(1, settings.in_channels, 8, 16, 16)
    with torch.no_grad():
        expected, found = net(image), made.network.eval()(image)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert max(row.error for row in made.convolutions) <= 1e-6


@pytest.mark.parametrize("budget", [Budget(share=0.5), Budget(terms=3), ALL], ids=str)
def test_parameters_and_kernels_are_as_reported(budget):
    net, settings = dense(width=6)
    made = compress(net, settings, budget)
    convolutions = [each for each in net.modules() if isinstance(each, nn.Conv3d) and each.kernel_size == (3, 3, 3)]
    assert [row.dense_weights for row in made.convolutions] == [each.weight.numel() for each in convolutions]
    counts = [sum(parameter.numel() for parameter in each.parameters()) for each in (net, made.network)]
    assert counts[1] - counts[0] == sum(row.weights - row.dense_weights for row in made.convolutions)
    rebuilt = build(made.settings)
    rebuilt.load_state_dict(made.network.state_dict())
    for row in made.convolutions:
        level = getattr(rebuilt, f"{row.part}s")[row.level]
        assert (
            sum(layer.weight.numel() for layer in level[row.number].modules() if isinstance(layer, nn.Conv3d))
            == row.weights
        )
        if budget.share == 0.5 and sum(row.terms) > 1:
            assert row.weights <= 0.5 * row.dense_weights
        if budget.terms:
            assert sum(row.terms) == 3


@torch.no_grad()
def test_reported_errors_are_those_of_the_streams_in_the_network():
    net, settings = dense()
    made = compress(net, settings, Budget(terms=5))
    for row in made.convolutions:
        block = getattr(made.network, f"{row.part}s")[row.level][row.number]
        kernel = getattr(net, f"{row.part}s")[row.level][row.number][0].weight
        found = sum(torch.einsum("or...,ri...->oi...", lines.weight, planes.weight) for planes, lines in block.streams)
        assert float((found - kernel).norm() / kernel.norm()) == pytest.approx(row.error, abs=1e-5)


def test_errors_fall_with_the_budget():
    net, settings = dense()
    errors = [
        [row.error for row in compress(net, settings, budget).convolutions]
        for budget in (Budget(terms=2), Budget(terms=6), Budget(terms=8), ALL)
    ]
    assert [sorted(column, reverse=True) for column in zip(*errors, strict=True)] == [
        list(column) for column in zip(*errors, strict=True)
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"terms": 0}, "--terms 0: a convolution needs one term at least"),
        ({"share": 0.0}, "--share 0: is no share of weights"),
        ({"share": -1.0}, "--share -1"),
        ({"share": float("nan")}, "--share nan"),
        ({"terms": 1, "share": 1.0}, "--terms 1 and --share 1.0: give one of them"),
        ({}, "give one of them"),
    ],
    ids=str,
)
def test_a_budget_of_nothing_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        Budget(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"block": "pmsc"}, "no dense convolution"), ({"name": "gonda2018-3d"}, "gonda2018-3d is fixed by its paper")],
    ids=str,
)
def test_a_network_without_dense_blocks_of_its_own_is_refused(options, message):
    settings = NetworkSettings(**options)
    with torch.device("meta"):
        net = build(settings)
    with pytest.raises(ConfigError, match=message):
        compress(net, settings, ALL)
