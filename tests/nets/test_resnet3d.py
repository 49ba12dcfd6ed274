"""3D ResNets and DenseNets: published totals, what replaces what, shapes, and what `sepvox model` says of them."""

import json
from dataclasses import replace

import pytest
import torch
from monai.networks.nets import DenseNet121, resnet18, resnet34, resnet50
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from sepvox.cli import app
from sepvox.errors import ConfigError
from sepvox.nets.architecture import intermediate_width
from sepvox.nets.clip_networks import CLIP_NETWORK_NAMES, clip_network
from sepvox.nets.describe_classifier import describe_classifier
from sepvox.nets.resnet3d import build_clip_network, first_activations
from sepvox.nets.separable import SeparableConv3d
from sepvox.nets.tt import TTConv3d

KINETICS = 400
# Of torchvision's r3d_18, which has the same layers behind a first convolution of 3x7x7 (its model card).
R3D_18 = 33_371_472


def parameters(network):
    return sum(each.numel() for each in network.parameters())


def built(name, **changes):
    with torch.device("meta"):
        return build_clip_network(replace(clip_network(name), **changes))


def small(name, **changes):
    """Of few channels and for small clips, so that it is computed and not only counted."""
    torch.manual_seed(0)
    return build_clip_network(replace(clip_network(name), **{"width": 8, "classes": 5} | changes))


def counted(layers, bottleneck):
    """Parameters of a 3D ResNet for 400 classes, added up block by block from He et al. (2016), Table 1."""
    total = 64 * 3 * 7**3 + 2 * 64
    before = 64
    for stage, blocks in enumerate(layers):
        inner = 64 * 2**stage
        after = inner * 4 if bottleneck else inner
        for block in range(blocks):
            total += before * inner + 27 * inner**2 + inner * after if bottleneck else 27 * (before * inner + inner**2)
            total += 2 * (2 * inner + after) if bottleneck else 2 * 2 * inner
            if block == 0 and (stage > 0 or bottleneck):
                total += before * after + 2 * after
            before = after
    return total + (before + 1) * KINETICS


@pytest.mark.parametrize(
    ("name", "same", "layers"),
    [("resnet18", resnet18, (2, 2, 2, 2)), ("resnet34", resnet34, (3, 4, 6, 3)), ("resnet50", resnet50, (3, 4, 6, 3))],
)
def test_dense_resnets_have_the_parameters_of_their_layers_and_as_many_as_monais(name, same, layers):
    total = parameters(built(name, classes=KINETICS))
    assert total == counted(layers, bottleneck=name == "resnet50")
    with torch.device("meta"):
        reference = same(n_input_channels=3, num_classes=KINETICS, shortcut_type="B", bias_downsample=False)
    assert total == parameters(reference)


def test_resnet18_has_the_parameters_of_torchvisions_r3d_18_and_those_of_a_longer_first_kernel():
    assert parameters(built("resnet18", classes=KINETICS)) == R3D_18 + 64 * 3 * 49 * (7 - 3)


def test_dense_densenet_has_as_many_parameters_as_monais():
    with torch.device("meta"):
        reference = DenseNet121(spatial_dims=3, in_channels=3, out_channels=101)
    assert parameters(built("densenet121")) == parameters(reference)


def separable_weights(channels_in, channels_out, m, n=1, extent=3):
    """Of a P_mSC_n, from the definition in Gonda et al. (2018)."""
    width = intermediate_width(channels_in, channels_out, m, extent)
    planes = extent**2 * width * (channels_in + (n - 1) * width) + 2 * n * width
    return m * planes + (n * (extent - 1) + 1) * width * channels_out


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 1), (2, 2), (3, 2)])
def test_every_convolution_of_a_basic_block_is_replaced_and_n_2_replaces_both_at_once(m, n):
    dense, network = built("resnet18"), built(f"resnet18-pmsc-{m}-{n}")
    layers = [each for each in network.modules() if isinstance(each, SeparableConv3d)]
    assert len(layers) == 1 + 16 // n
    change = separable_weights(3, 64, m, extent=7) - 64 * 3 * 7**3
    for stage in range(4):
        after = 64 * 2**stage
        for before in (max(64, after // 2), after):
            dense_weights = 27 * after * (before + after)
            if n == 2:
                # The normalisation between the two convolutions goes with them.
                change += separable_weights(before, after, m, 2) - dense_weights - 2 * after
            else:
                change += separable_weights(before, after, m) + separable_weights(after, after, m) - dense_weights
    assert parameters(network) == parameters(dense) + change
    inside = {id(each) for layer in layers for each in layer.modules()}
    outside = [each for each in network.modules() if isinstance(each, nn.Conv3d) and id(each) not in inside]
    assert {each.kernel_size for each in outside} == {(1, 1, 1)}


@pytest.mark.parametrize("base", ["resnet50", "densenet121"])
@pytest.mark.parametrize("block", ["pmsc-3-1", "tt"])
def test_between_convolutions_of_1_the_one_of_3_is_replaced(base, block):
    kind = TTConv3d if block == "tt" else SeparableConv3d
    dense, network = built(base), built(f"{base}-{block}")
    spatial = [each for each in dense.modules() if isinstance(each, nn.Conv3d) and each.kernel_size != (1, 1, 1)]
    assert len([each for each in network.modules() if isinstance(each, kind)]) == len(spatial)
    assert parameters(network) < parameters(dense)


# Of which the last stage is more than one voxel: of a kernel that sees only its middle, some transformations change nothing.
SMALL = {
    "resnet18": (1, 18, 36, 36),
    "resnet34": (1, 8, 20, 20),
    "resnet50": (2, 8, 20, 28),
    "densenet121": (1, 15, 29, 29),
}


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet18-pmsc-1-1", "resnet18-pmsc-3-2", "resnet18-tt", "resnet34-pmsc-2-2", "resnet50-pmsc-3-1"],
)
def test_a_clip_becomes_logits_and_every_parameter_gets_a_gradient(name):
    clip = SMALL[name.partition("-")[0]]
    network = small(name, clip=clip)
    logits = network(torch.rand(3, *clip, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, 5)
    nn.functional.cross_entropy(logits, torch.tensor([3, 0, 1])).backward()
    assert [n for n, each in network.named_parameters() if each.grad is None or not each.grad.abs().max() > 0] == []


@pytest.mark.parametrize("name", [f"{base}{block}" for base in CLIP_NETWORK_NAMES for block in ("-pmsc-3-1", "-tt")])
def test_replacements_leave_the_extents_of_every_layer_as_they_were(name):
    def extents(of):
        found = {}
        with torch.device("meta"):
            net = replace(clip_network(of), clip=(1, 17, 37, 33))
            network = build_clip_network(net).eval()
            kinds = (nn.Conv3d, SeparableConv3d, TTConv3d, nn.BatchNorm3d)
            for place, module in network.named_modules():
                if isinstance(module, kinds) and ".streams." not in place:
                    module.register_forward_hook(
                        lambda _, __, output, place=place: found.update({place: tuple(output.shape)})
                    )
            network(torch.empty(2, *net.clip))
        return found

    assert extents(name) == extents(name.partition("-")[0])


def test_a_separable_layer_sees_what_the_dense_one_sees():
    layer = SeparableConv3d(1, 3, 7, (1, 2, 2), m=3).eval().double()
    for module in layer.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.ones_(module.weight)
    clip = torch.zeros(1, 1, 15, 15, 15, dtype=torch.float64, requires_grad=True)
    for stream in range(3):
        (seen,) = torch.autograd.grad((layer(clip + 1)[0, stream, 7, 4, 4]), clip)
        found = torch.nonzero(seen[0, 0])
        assert found.min(0).values.tolist() == [4, 5, 5]
        assert found.max(0).values.tolist() == [10, 11, 11]
        assert len(found) == 7**3


def test_streams_are_lines_in_t_y_x_and_uneven_where_three_do_not_divide():
    layer = SeparableConv3d(4, 64, m=3, n=2)
    assert layer.stream_channels == (22, 21, 21)
    kernels = [[each.kernel_size for each in stream if isinstance(each, nn.Conv3d)] for stream in layer.streams]
    assert kernels == [
        [(1, 3, 3), (1, 3, 3), (5, 1, 1)],
        [(3, 1, 3), (3, 1, 3), (1, 5, 1)],
        [(3, 3, 1), (3, 3, 1), (1, 1, 5)],
    ]
    assert layer(torch.zeros(2, 4, 3, 5, 4)).shape == (2, 64, 3, 5, 4)


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", [8]), ("resnet18-pmsc-3-1", [3, 3, 2]), ("densenet121-pmsc-2-1", [4, 4])]
)
def test_first_activations_are_those_that_the_network_goes_on_with(name, channels):
    clip = (1, 15, 29, 29)
    network = small(name, clip=clip).eval()
    seen = []
    pooling = network.features.pool0 if name.startswith("densenet") else network.maxpool
    pooling.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    video = torch.rand(1, *clip)
    with torch.no_grad():
        found = first_activations(network, video)
        network(video)
    assert [each.shape[1] for each in found] == channels
    torch.testing.assert_close(torch.cat(found, 1), seen[0])


def described(*arguments):
    return CliRunner().invoke(app, ["model", *arguments], catch_exceptions=False).output


@pytest.mark.parametrize("name", ["resnet18-pmsc-3-1", "resnet50-tt", "densenet121"])
def test_description_counts_what_torch_counts(name):
    found = json.loads(described(name, "--json"))
    assert (found["name"], found["clip"], found["classes"]) == (name, [3, 16, 112, 112], 101)
    network = built(name)
    assert found["parameters"] == parameters(network)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(1, *found["clip"]))
    # 3DTT kernels are made once and not counted.
    assert found["macs_per_clip"] == sum(layer["macs_per_clip"] for layer in found["layers"])
    if not name.endswith("tt"):
        assert found["macs_per_clip"] == counter.get_total_flops() // 2


def test_3dtt_costs_what_dense_convolutions_cost_and_has_fewer_parameters():
    dense, tt = (describe_classifier(clip_network(name)) for name in ("resnet18", "resnet18-tt"))
    assert tt.macs_per_clip == dense.macs_per_clip
    assert tt.parameters < 0.4 * dense.parameters


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet18-pmsc-4-1", "m is 4; there are 1 to 3 streams"),
        ("resnet18-pmsc-3-3", "n is 3, but the blocks of resnet18 have two consecutive convolutions"),
        (
            "resnet50-pmsc-3-2",
            "n is 2, but the blocks of resnet50 have no two consecutive convolutions of 3x3x3; use n 1",
        ),
        ("densenet121-pmsc-1-0", "use n 1"),
        ("resnet19", "model resnet19: neither a file nor one of .*resnet18, .*with -pmsc-M-N or -tt behind"),
        ("resnet18-pmsc-3", "model resnet18-pmsc-3: neither a file"),
    ],
)
def test_networks_that_are_none_are_refused_in_one_line(name, says):
    with pytest.raises(ConfigError, match=says) as caught:
        described(name)
    assert "\n" not in str(caught.value)


def test_clips_of_which_a_densenet_would_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match="30 frames of 28x28, of which its poolings leave nothing") as caught:
        replace(clip_network("densenet121"), clip=(1, 30, 28, 28))
    assert "\n" not in str(caught.value)
