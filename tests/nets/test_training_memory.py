"""The memory computed by arithmetic is what torch keeps."""

import pytest
import torch
from torch import Tensor, nn

from sepvox.nets.architecture import architecture
from sepvox.nets.build import build
from sepvox.nets.memory import kept_bytes, kernel_bytes, parameters, training_bytes
from sepvox.nets.settings import NetworkSettings

PATCH = (8, 16, 16)


def _kept(net: nn.Module, image: Tensor, bfloat16: bool) -> int:
    """Bytes of all storages, but the parameters', that a forward pass keeps for the backward pass."""
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            # The tensor itself is held, so that no other takes its place.
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        net(image)
        return sum(size for size, _ in kept.values())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block": "dense"},
        {"m": 1, "n": 1},
        {"m": 3, "n": 1},
        {"m": 3, "merge": "sum"},
        {"m": 3, "n": 1, "merge": "sum", "linear_streams": True},
        {"linear_streams": True, "norm": "batch"},
        {"m": 2, "n": 1, "merge": "sum", "linear_streams": True, "stream_widths": [[3, 0], [5, 2]] * 5},
        {"m": 2, "n": 2, "merge": "sum", "stream_widths": [[3, 5], [0, 2], [1, 1], [4, 4], [6, 3]]},
        {"norm": "batch"},
        {"block": "dense", "norm": "instance"},
        {"norm": "group"},
        {"block": "tt"},
        {"block": "tt", "transformation": "affine", "norm": "instance"},
        {"block": "tt", "transformation": "shared", "temporal_axis": "x"},
        {"pooling": [[1, 2, 2], [2, 2, 2]], "in_channels": 4, "out_channels": 5},
    ],
    ids=str,
)
def test_kept_activations_and_parameters_are_torchs_own(options):
    settings = NetworkSettings(**{"width": 8, "depth": 2, **options})
    net = build(settings)
    numbers = architecture(settings)
    measured = _kept(net, torch.zeros(2, settings.in_channels, *PATCH), False)
    # Normalisations keep a mean and a deviation per channel beside; kernels are made once for all patches.
    assert measured == pytest.approx(2 * kept_bytes(numbers, PATCH) + kernel_bytes(numbers), rel=0.02)
    assert parameters(numbers) == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("block", ["dense", "pmsc", "tt"])
def test_under_autocast_the_kept_activations_are_estimated_within_a_half(block):
    settings = NetworkSettings(width=6, depth=1, block=block)
    numbers = architecture(settings)
    measured = _kept(build(settings), torch.zeros(1, 1, *PATCH), True)
    assert 1 / 1.5 < measured / (kept_bytes(numbers, PATCH, 2) + kernel_bytes(numbers, 2)) < 1.5


def test_parameters_of_deep_supervision_are_counted():
    settings = NetworkSettings(width=4, depth=4, deep_supervision=True, out_channels=3)
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in build(settings).parameters())
    assert parameters(architecture(settings)) == expected


def test_estimate_of_a_published_network_is_an_upper_one():
    settings = NetworkSettings(name="gonda2018-p2sc2")
    with torch.device("meta"):
        net = build(settings)
        # On the meta device storages have no address; shapes are enough to count results of units.
        sizes = []
        for module in net.modules():
            if isinstance(module, nn.LeakyReLU):
                module.register_forward_hook(lambda _module, _inputs, result: sizes.append(result.numel()))
        net(torch.empty(1, 1, 132, 132, 132))
    assert 4 * sum(sizes) < kept_bytes(architecture(settings), (132, 132, 132)) < 8 * 4 * sum(sizes)


def test_a_step_takes_what_it_keeps_for_each_patch_and_something_fixed():
    numbers = architecture(NetworkSettings())
    one, two, three = (training_bytes(numbers, (32, 32, 32), batch) for batch in (1, 2, 3))
    assert three - two == two - one > kept_bytes(numbers, (32, 32, 32))
    assert one - (two - one) == 20 * parameters(numbers)
