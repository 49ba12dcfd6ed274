"""The geometry computed by arithmetic is the one that the networks have."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sepvox.nets.architecture import PUBLISHED
from sepvox.nets.build import build
from sepvox.nets.geometry import Geometry, geometry, geometry_of
from sepvox.nets.gonda2018 import build_gonda2018
from sepvox.nets.settings import NetworkSettings


def _positive(net: nn.Module, seed: int = 0) -> nn.Module:
    """All weights positive and all biases zero, so that no influence cancels or is cut off; slices stay equal."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        if "transformations" in name:
            continue
        with torch.no_grad():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.1)
            if name.endswith("bias"):
                parameter.zero_()
    return net.double().eval()


def _influences(net: nn.Module, shape: tuple[int, int, int], axis: int) -> Tensor:
    """(input position, output position) along `axis`: whether an impulse in that plane arrives."""
    extent = shape[axis]
    rows = []
    for position in range(extent):
        impulse = torch.zeros(1, 1, *shape, dtype=torch.float64)
        impulse.select(axis + 2, position).fill_(1.0)
        with torch.no_grad():
            result = net(impulse)[0, 0]
        rows.append(result.amax(dim=[other for other in range(3) if other != axis]) > 0)
    return torch.stack(rows)


def test_default_network_has_halo_48():
    where = geometry(NetworkSettings())
    assert where.halo == (48, 48, 48)
    assert where.total_stride == (8, 8, 8)
    assert where.receptive_field == (100, 100, 100)
    assert where.exact_ok


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_networks_take_44_voxels_off_each_side(name):
    where = geometry(NetworkSettings(name=name))
    assert (where.padding, where.halo, where.offset) == ("valid", (44, 44, 44), (4, 4, 4))
    assert where.admissible((100, 125, 132)) == (100, 132, 132)
    with pytest.raises(ValueError, match="not admissible"):
        where.output_shape((130, 132, 132))


@pytest.mark.parametrize(
    ("options", "axis"),
    [
        ({"depth": 3}, 2),
        ({}, 0),
        ({}, 1),
        ({"n": 1}, 0),
        ({"n": 1}, 2),
        ({"n": 3}, 1),
        ({"block": "dense"}, 1),
        ({"block": "tt"}, 0),
    ],
    ids=str,
)
def test_receptive_field_is_the_measured_one(options, axis):
    settings = NetworkSettings(**{"width": 2, "growth": 1, "depth": 2, **options})
    where = geometry(settings)
    extents = [where.total_stride[0]] * 3
    extents[axis] = where.admissible((3 * where.halo[0],) * 3)[0]
    z, y, x = extents
    seen = _influences(_positive(build(settings)), (z, y, x), axis)
    assert int(seen.sum(dim=0).max()) == where.receptive_field[axis]


@pytest.mark.parametrize(("name", "field"), [("gonda2018-3d", 44), ("gonda2018-p2sc2", 44)])
def test_receptive_field_with_valid_padding_is_the_measured_one(name, field):
    net = replace(PUBLISHED[name], widths=(2, 2, 2), pooling=((2, 2, 2),) * 2)
    where = geometry_of(net)
    shape = where.admissible((48, 44, 44))
    seen = _influences(_positive(build_gonda2018(net)), shape, 0)
    assert seen.shape[1] == where.output_shape(shape)[0] == shape[0] - 2 * where.halo[0]
    assert int(seen.sum(dim=0).max()) == where.receptive_field[0] == field


def _tiled(net: nn.Module, padded: Tensor, where: Geometry, halo: int, core: int, axis: int) -> Tensor:
    """Outputs of tiles of `core` voxels along `axis`, each read with `halo`, side by side."""
    parts = []
    extent = padded.shape[axis + 2] - 2 * where.halo[axis]
    surplus = where.halo[axis] - halo
    for start in range(0, extent, core):
        length = min(core, extent - start)
        tile = padded.narrow(axis + 2, start + surplus, length + 2 * halo)
        parts.append(net(tile).narrow(axis + 2, halo, length))
    return torch.cat(parts, dim=axis + 2)


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block": "dense"},
        {"block": "tt"},
        {"n": 1, "depth": 2},
        {"norm": "batch", "depth": 2},
        {"pooling": [[1, 2, 2], [1, 2, 2], [2, 2, 2]]},
    ],
    ids=str,
)
def test_tiles_at_multiples_of_the_stride_equal_the_whole_with_this_halo_and_no_smaller_one(options, axis):
    settings = NetworkSettings(**{"width": 2, "growth": 1, **options})
    where = geometry(settings)
    net = _positive(build(settings))
    stride, halo = where.total_stride[axis], where.halo[axis]
    extents = [8, 8, 8]
    extents[axis] = 72 + 2 * halo
    generator = torch.Generator().manual_seed(3)
    padded = torch.rand(1, 1, *extents, generator=generator, dtype=torch.float64) ** 8
    with torch.no_grad():
        whole = net(padded).narrow(axis + 2, halo, 72)
        for core in (stride, 3 * stride, 40):
            tiled = _tiled(net, padded, where, halo, core, axis)
            torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=0)
        tiled = _tiled(net, padded, where, halo - stride, 40, axis)
    assert (tiled - whole).abs().max() > 1e-12 * whole.abs().max()


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_norms_that_depend_on_the_tile_exclude_exactness_and_say_why(norm):
    where = geometry(NetworkSettings(norm=norm))
    assert not where.exact_ok
    assert norm in where.reason
    assert geometry(NetworkSettings(norm="batch")).reason == ""


def test_geometry_does_not_import_torch():
    code = (
        "import sys; from sepvox.nets.geometry import geometry; from sepvox.nets.settings import NetworkSettings; "
        "geometry(NetworkSettings()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
