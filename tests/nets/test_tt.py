"""3DTT: kernels are what their definition says, layers equal ordinary convolutions, and gradients are right."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.signal import correlate
from torch import nn

from sepvox.nets.build import build
from sepvox.nets.convolution import Style
from sepvox.nets.describe import describe
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.tt import TTConv3d, materialised, tt_block
from sepvox.nets.weights import load_into, save

TRANSFORMATIONS = ["similarity", "affine", "shared"]
SMALL = {"block": "tt", "width": 4, "depth": 2}


def _layer(*args, seed=0, spread=0.3, **options):
    """A layer in float64 whose transformations are moved away from identity by normal numbers of this spread."""
    torch.manual_seed(seed)
    layer = TTConv3d(*args, **options).double()
    for parameter in layer.transformations.parameters():
        with torch.no_grad():
            parameter.add_(spread * torch.randn_like(parameter))
    return layer


def _matrix(layer, step, filter_):
    """The 2×3 matrix by Eq. 2, from the layer's parameters and nothing else of it."""
    own = {name: value.detach().numpy() for name, value in layer.transformations.named_parameters()}
    if "theta" in own:
        return own["theta"][step, filter_].reshape(2, 3)
    step = min(step, len(own["scale"]) - 1)
    s, r = own["scale"][step, filter_], own["rotation"][step, filter_]
    tx, ty = own["translation"][step, filter_]
    return np.array(
        [
            [s * np.cos(r), -s * np.sin(r), s * (tx * np.cos(r) - ty * np.sin(r))],
            [s * np.sin(r), s * np.cos(r), s * (tx * np.sin(r) + ty * np.cos(r))],
        ]
    )


def _kernel(layer):
    """The kernel slice by slice with scipy's interpolation, its temporal axis third."""
    base = layer.base.detach().numpy().squeeze(2 + layer.temporal_axis)
    height, width = base.shape[2:]
    slices = [base]
    for step in range(layer.kernel_size[layer.temporal_axis] - 1):
        following = np.empty_like(base)
        for filter_ in range(len(base)):
            matrix = _matrix(layer, step, filter_)
            places = np.empty((2, height, width))
            for i, j in np.ndindex(height, width):
                x, y = matrix @ [2 * j / (width - 1) - 1, 2 * i / (height - 1) - 1, 1]
                places[:, i, j] = (y + 1) / 2 * (height - 1), (x + 1) / 2 * (width - 1)
            for channel in range(base.shape[1]):
                before = slices[-1][filter_, channel]
                following[filter_, channel] = map_coordinates(before, places, order=1, mode="grid-constant")
        slices.append(following)
    return np.stack(slices, axis=2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("extents", [(3, 3, 3), (4, 2, 5)], ids=str)
def test_each_slice_is_sampled_from_the_one_before_at_transformed_places(transformation, axis, extents):
    layer = _layer(3, 4, extents, transformation=transformation, temporal_axis=axis)
    kernel = layer.kernel().detach().numpy()
    assert kernel.shape == (4, 3, *extents)
    np.testing.assert_allclose(np.moveaxis(kernel, 2 + axis, 2), _kernel(layer), atol=1e-12)


def test_moving_by_a_voxel_brings_zeros_in_and_half_a_turn_rotates():
    layer = TTConv3d(2, 2, 5)
    with torch.no_grad():
        layer.transformations.translation[0, 0, 0] = 2 / 4
        layer.transformations.rotation[0, 1] = torch.pi
    kernel = layer.kernel()
    torch.testing.assert_close(kernel[0, :, 1, :, :4], kernel[0, :, 0, :, 1:])
    assert (kernel[0, :, 1, :, 4] == 0).all()
    torch.testing.assert_close(kernel[1, :, 1], kernel[1, :, 0].flip(1, 2))


def test_shared_transformation_is_applied_again_at_every_step():
    layer = TTConv3d(1, 1, 5, transformation="shared")
    assert [tuple(each.shape) for each in layer.transformations.parameters()] == [(1, 1), (1, 1), (1, 1, 2)]
    with torch.no_grad():
        layer.transformations.translation[..., 1] = 2 / 4
    kernel = layer.kernel()[0, 0]
    for step in range(1, 5):
        torch.testing.assert_close(kernel[step, : 5 - step], kernel[0, step:])


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_kernel_begins_as_equal_slices_of_unit_normal_values(transformation):
    torch.manual_seed(0)
    layer = TTConv3d(40, 50, 3, transformation=transformation)
    kernel = layer.kernel()
    assert torch.equal(kernel, layer.base.expand_as(kernel))
    assert layer.base.mean().abs() < 0.03
    assert abs(layer.base.std() - 1) < 0.03
    assert 0.5 < layer.bias.abs().max() * (40 * 27) ** 0.5 <= 1


@pytest.mark.parametrize(("transformation", "each"), [("similarity", 2 * 4), ("affine", 2 * 6), ("shared", 4)])
def test_transformations_belong_to_steps_and_filters_and_not_to_input_channels(transformation, each):
    for channels in (1, 7):
        layer = TTConv3d(channels, 6, 3, bias=False, transformation=transformation)
        assert sum(parameter.numel() for parameter in layer.parameters()) == 6 * (9 * channels + each)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1, "bias": False},
        {"padding": "same", "dilation": (2, 1, 1)},
        {"stride": (1, 2, 3), "padding": (0, 2, 1), "temporal_axis": 2},
        {"padding": "valid", "temporal_axis": 1},
    ],
    ids=str,
)
def test_layer_computes_what_the_ordinary_convolution_of_its_kernel_does(options):
    layer = _layer(2, 3, (3, 5, 3), **options)
    image = torch.randn(2, 2, 9, 10, 11, dtype=torch.float64)
    plain = {name: value for name, value in options.items() if name != "temporal_axis"}
    ordinary = nn.Conv3d(2, 3, (3, 5, 3), **plain).double()
    with torch.no_grad():
        ordinary.weight.copy_(layer.kernel())
        if layer.bias is not None:
            ordinary.bias.copy_(layer.bias)
        torch.testing.assert_close(layer(image), ordinary(image))
        assert torch.equal(layer.ordinary()(image), layer(image))


def test_layer_correlates_with_its_kernel():
    layer = _layer(2, 3, 3, temporal_axis=1)
    image = np.random.default_rng(0).normal(size=(2, 6, 7, 8))
    result = layer(torch.from_numpy(image)[None])[0].detach().numpy()
    kernel = np.moveaxis(_kernel(layer), 2, 3)
    for filter_ in range(3):
        expected = sum(correlate(image[channel], kernel[filter_, channel], "valid") for channel in range(2))
        np.testing.assert_allclose(result[filter_], expected + layer.bias[filter_].item(), atol=1e-10)


@pytest.mark.parametrize("spread", [0.3, 0.0], ids=["moved", "at the beginning"])
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_gradients_are_the_numerical_ones(transformation, spread):
    layer = _layer(2, 2, 3, spread=spread, transformation=transformation, temporal_axis=1)
    names = [name for name, _ in layer.named_parameters()]
    image = torch.randn(1, 2, 3, 4, 3, dtype=torch.float64, requires_grad=True)

    def forward(image, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (image,))

    assert torch.autograd.gradcheck(forward, (image, *layer.parameters()))


def test_autocast_leaves_the_kernel_in_full_precision():
    layer = _layer(3, 4, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.kernel(), layer.kernel().float())
        inside = layer.kernel()
        assert layer(torch.randn(1, 3, 4, 4, 4)).dtype == torch.bfloat16
    assert torch.equal(inside, layer.kernel())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": (1, 3, 3)}, "one slice along axis 0"),
        ({"kernel_size": 3, "temporal_axis": 3}, "temporal_axis is 3"),
    ],
    ids=str,
)
def test_kernels_without_a_step_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TTConv3d(1, 1, **options)


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_materialised_network_computes_the_same_with_ordinary_convolutions_only(norm):
    torch.manual_seed(0)
    network = build(NetworkSettings(**SMALL, norm=norm, transformation="affine")).eval()
    for name, parameter in network.named_parameters():
        if "theta" in name:
            with torch.no_grad():
                parameter.add_(0.2 * torch.randn_like(parameter))
    image = torch.randn(1, 1, 8, 8, 12)
    expected = network(image)
    plain = materialised(network)
    assert plain is network
    assert not any(isinstance(module, TTConv3d) for module in plain.modules())
    assert torch.equal(plain(image), expected)


def test_block_has_the_geometry_and_the_work_of_a_dense_one_and_fewer_parameters():
    ours, dense = (NetworkSettings(block=block, width=8) for block in ("tt", "dense"))
    assert geometry(ours) == geometry(dense)
    found, other = describe(ours), describe(dense)
    assert [row.kernels for row in found.levels] == [row.kernels for row in other.levels]
    assert [row.macs_per_output_voxel for row in found.levels] == [row.macs_per_output_voxel for row in other.levels]
    assert found.macs_per_output_voxel == other.macs_per_output_voxel
    assert sum(row.parameters for row in found.levels) == found.parameters
    (encoder,) = (row for row in found.levels if (row.level, row.kind) == (1, "encoder"))
    assert encoder.parameters == 16 * (9 * 8 + 2 * 4 + 1) + 16 * (9 * 16 + 2 * 4 + 1)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_temporal_axis_of_the_settings_is_that_of_every_layer(axis):
    network = build(NetworkSettings(**SMALL, temporal_axis=axis, transformation="shared"))
    layers = [module for module in network.modules() if isinstance(module, TTConv3d)]
    assert len(layers) == 10
    assert {layer.temporal_axis for layer in layers} == {"zyx".index(axis)}
    assert all(len(layer.transformations.scale) == 1 for layer in layers)


def test_block_begins_with_activations_as_large_as_what_goes_in():
    torch.manual_seed(0)
    block = nn.Sequential(*(tt_block(16, 16, Style(), "similarity", 0) for _ in range(8)))
    for image in (torch.randn(1, 16, 8, 8, 8), torch.randn(1, 16, 1, 1, 1).expand(1, 16, 8, 8, 8)):
        assert 0.03 < block(image).square().mean().sqrt() < 10


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_weights_come_back_from_disk(tmp_path, transformation):
    settings = NetworkSettings(**SMALL, transformation=transformation)
    torch.manual_seed(0)
    network = build(settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save(tmp_path / "best.safetensors", network.state_dict(), {})
    other = build(settings)
    load_into(other, tmp_path / "best.safetensors")
    image = torch.randn(1, 1, 8, 8, 8)
    assert torch.equal(other(image), network(image))
