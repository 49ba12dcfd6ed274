"""Blocks and builders: kernels, published counts, shapes, gradients, memory layouts."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sepvox.nets.architecture import PUBLISHED, intermediate_width
from sepvox.nets.build import build
from sepvox.nets.convolution import Style
from sepvox.nets.geometry import geometry
from sepvox.nets.gonda2018 import build_gonda2018
from sepvox.nets.pmsc import PmSC
from sepvox.nets.settings import NetworkSettings

SMALL = {"width": 4, "depth": 2}


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _kernels(module: nn.Module) -> list[tuple[int, ...]]:
    return [each.kernel_size for each in module.modules() if isinstance(each, nn.Conv3d)]


@pytest.mark.parametrize(
    ("n", "line", "expected"),
    [
        (1, 3, [(1, 3, 3), (3, 1, 1), (3, 1, 3), (1, 3, 1), (3, 3, 1), (1, 1, 3)]),
        (2, 5, [(1, 3, 3)] * 2 + [(5, 1, 1)] + [(3, 1, 3)] * 2 + [(1, 5, 1)] + [(3, 3, 1)] * 2 + [(1, 1, 5)]),
    ],
)
def test_stream_a_convolves_the_planes_across_axis_a_and_then_the_line_along_it(n, line, expected):
    block = PmSC(6, 12, 3, n, style=Style())
    assert _kernels(block) == expected
    assert max(max(kernel) for kernel in _kernels(block)) == line


def test_every_convolution_has_a_bias_and_the_released_slope():
    block = PmSC(6, 12, 2, 2, style=Style())
    assert all(each.bias is not None for each in block.modules() if isinstance(each, nn.Conv3d))
    slopes = [each.negative_slope for each in block.modules() if isinstance(each, nn.LeakyReLU)]
    assert slopes == [0.005] * 6


@pytest.mark.parametrize(("merge", "each", "together"), [("concat", 4, 12), ("sum", 13, 13)])
def test_streams_yield_their_share_when_concatenated_and_all_channels_when_summed(merge, each, together):
    block = PmSC(6, 13, 3, 1, merge, style=Style())
    image = torch.randn(1, 6, 5, 5, 5)
    parts = [stream(image) for stream in block.streams]
    assert [part.shape[1] for part in parts] == [each] * 3
    expected = torch.cat(parts, dim=1) if merge == "concat" else parts[0] + parts[1] + parts[2]
    result = block(image)
    assert result.shape[1] == block.out_channels == together
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_merged_streams_keep_their_memory_layout(merge):
    block = PmSC(6, 12, 3, 1, merge, style=Style())
    # Which layout a convolution yields depends on sizes and threads; merging is all that is looked at.
    block.streams = nn.ModuleList(nn.Identity() for _ in range(3))
    image = torch.randn(2, 6, 5, 5, 5).to(memory_format=torch.channels_last_3d)
    assert block(image).is_contiguous(memory_format=torch.channels_last_3d)


def test_linear_streams_have_one_activation_and_one_bias_after_a_sum():
    block = PmSC(6, 12, 3, 1, "sum", style=Style(), linear=True)
    assert [each.bias is not None for each in block.modules() if isinstance(each, nn.Conv3d)] == [False, True] + [
        False
    ] * 4
    assert sum(isinstance(each, nn.LeakyReLU) for each in block.modules()) == 1
    concatenated = PmSC(6, 12, 3, 1, style=Style(norm="batch"), linear=True)
    assert not any(each.bias is not None for each in concatenated.modules() if isinstance(each, nn.Conv3d))
    assert [each.num_features for each in concatenated.modules() if isinstance(each, nn.BatchNorm3d)] == [12]


def test_stream_widths_are_those_between_the_convolutions_in_the_order_of_encoders_then_decoders():
    widths = [[1, 2], [3, 0], [4, 5], [0, 6], [7, 8], [9, 10]]
    settings = NetworkSettings(width=4, depth=1, n=1, merge="sum", stream_widths=widths)
    net = build(settings)
    blocks = [block for level in (*net.encoders, *net.decoders) for block in level]
    found = [[stream[0][0].out_channels for stream in block.streams] for block in blocks]
    assert found == [[each for each in row if each] for row in widths]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "dense"}, "block dense has no streams"),
        ({"depth": 1}, "has 6 entries for 3 P_mSC_n blocks"),
        ({"n": 1, "m": 3}, r"stream_widths\[0\] has 2 widths for m 3"),
        ({"n": 1, "merge": "concat"}, r"stream_widths\[2\] is \[0, 1\]"),
        ({"n": 1, "stream_widths": [[0, 0]] + [[1, 1]] * 5}, r"stream_widths\[0\] is \[0, 0\]"),
    ],
    ids=str,
)
def test_stream_widths_that_fit_no_network_are_refused(options, message):
    given = {"depth": 1, "merge": "sum", "stream_widths": [[1, 1], [1, 1], [0, 1], [1, 1], [1, 1], [1, 1]], **options}
    with pytest.raises(ValidationError, match=message):
        NetworkSettings(**given)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_valid_block_takes_n_voxels_off_each_side_and_equals_the_middle_of_the_same_block(n):
    torch.manual_seed(0)
    same = PmSC(2, 6, 3, n, style=Style("same")).double()
    valid = PmSC(2, 6, 3, n, style=Style("valid")).double()
    valid.load_state_dict(same.state_dict())
    image = torch.randn(1, 2, 9, 10, 11, dtype=torch.float64)
    torch.testing.assert_close(valid(image), same(image)[:, :, n:-n, n:-n, n:-n])


@pytest.mark.parametrize(
    ("channels", "m", "expected"),
    [
        ((1, 24), 1, 8),
        ((1, 24), 2, 4),
        ((24, 72), 1, 72),
        ((72, 216), 2, 162),
        ((1, 1), 2, 1),
        ((648, 648), 1, 512),
    ],
)
def test_intermediate_width_is_the_released_one(channels, m, expected):
    assert intermediate_width(*channels, m) == expected


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gonda2018-3d", 21_412_347),
        ("gonda2018-p1sc1", 12_574_139),
        ("gonda2018-p2sc2", 15_698_611),
        ("gonda2018-p3sc2", 14_381_295),
    ],
)
def test_published_networks_have_the_published_counts_and_shapes(name, parameters):
    settings = NetworkSettings(name=name)
    with torch.device("meta"):
        net = build(settings)
        output = net(torch.empty(1, 1, 132, 132, 132))
    assert _parameters(net) == parameters
    assert output.shape == (1, 3, 44, 44, 44)
    assert geometry(settings).output_shape((132, 132, 132)) == (44, 44, 44)


def test_dense_published_network_upsamples_each_channel_by_itself():
    with torch.device("meta"):
        net = build(NetworkSettings(name="gonda2018-3d"))
    transposed = [each for each in net.modules() if isinstance(each, nn.ConvTranspose3d)]
    assert sum(_parameters(each) for each in transposed) == 7488


def test_default_network_is_near_0_56_million_parameters():
    with torch.device("meta"):
        assert abs(_parameters(build(NetworkSettings())) - 560_000) < 10_000


OPTIONS = [
    {},
    {"block": "dense"},
    {"block": "tt"},
    {"block": "tt", "transformation": "affine", "temporal_axis": "y"},
    {"block": "tt", "transformation": "shared", "norm": "instance"},
    {"n": 1},
    {"m": 3, "width": 5},
    {"merge": "sum", "m": 3, "width": 5},
    {"norm": "batch"},
    {"norm": "group"},
    {"norm": "instance"},
    {"pooling": [[1, 2, 2], [2, 2, 2]]},
    {"m": 3, "n": 1, "merge": "sum", "linear_streams": True},
    {"linear_streams": True, "norm": "group"},
    {"n": 1, "merge": "sum", "linear_streams": True, "stream_widths": [[3, 0], [5, 2]] * 5},
    {"growth": 1.5, "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-3, 0, 0]]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_gives_one_logit_per_offset_and_a_gradient_to_every_parameter(options):
    torch.manual_seed(1)
    settings = NetworkSettings(**{**SMALL, **options})
    net = build(settings)
    logits = net(torch.randn(2, 1, 8, 16, 16))
    assert logits.shape == (2, len(settings.offsets), 8, 16, 16)
    assert (logits < 0).any()
    assert (logits > 0).any()
    logits.square().mean().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.abs().max() > 0] == []


@pytest.mark.parametrize("name", ["gonda2018-p1sc1", "gonda2018-3d"])
def test_published_builders_reach_every_parameter(name):
    torch.manual_seed(0)
    net = build_gonda2018(replace(PUBLISHED[name], widths=(8, 8, 8), pooling=((2, 2, 2),) * 2))
    net(torch.randn(1, 1, 44, 44, 44)).square().mean().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.abs().max() > 0] == []


@pytest.mark.parametrize("options", [{"block": "dense"}, {}, {"block": "tt", "transformation": "affine"}], ids=str)
def test_channels_last_computes_the_same(options):
    torch.manual_seed(0)
    net = build(NetworkSettings(**SMALL, **options)).double()
    image = torch.randn(1, 1, 8, 16, 16, dtype=torch.float64)
    contiguous = net(image)
    last = net.to(memory_format=torch.channels_last_3d)(image.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(contiguous, last)


def test_untrained_upsampling_shows_no_checkerboard():
    torch.manual_seed(0)
    upsampling = build(NetworkSettings(**SMALL)).upsamplings[0]
    coarse = torch.randn(1, 8, 2, 3, 4)
    fine = upsampling(coarse)
    corner = fine[:, :, ::2, ::2, ::2]
    torch.testing.assert_close(fine, corner.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4))


def test_shape_that_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match="cannot be pooled"):
        build(NetworkSettings(**SMALL))(torch.zeros(1, 1, 8, 8, 10))


@pytest.mark.parametrize("block", ["dense", "pmsc", "tt"])
def test_without_normalisation_training_from_scratch_is_stable_and_learns(block):
    torch.manual_seed(0)
    net = build(NetworkSettings(width=8, depth=1, block=block)).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(120):
        truth = (nn.functional.interpolate(torch.randn(1, 1, 4, 4, 4), scale_factor=3.0) > 0).float()
        image = 2 * truth - 1 + 0.3 * torch.randn(1, 1, 12, 12, 12)
        loss = nn.functional.binary_cross_entropy_with_logits(net(image), truth.expand(-1, 3, -1, -1, -1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert max(losses) < 1.5
    assert sum(losses[-10:]) / 10 < 0.35
