"""Tiled prediction equals one pass over the whole volume, and test-time augmentation leaves exact affinities as they are."""

import numpy as np
import pytest
import torch

from sepvox.blocks import Box, reflected
from sepvox.nets.build import build
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NetworkSettings
from sepvox.predict.blend import blend
from sepvox.predict.tiles import Tiler, to_uint8, torch_forward
from sepvox.settings import NEAREST_OFFSETS
from sepvox.symmetries import IDENTITY, mirrors, symmetries
from sepvox.train.targets import affinities

SHAPE = (21, 18, 26)


def reader(image):
    """Boxes of an image, mirrored at its faces."""

    def read(box):
        indices = [reflected(b, e, n) for b, e, n in zip(box.begin, box.end, image.shape, strict=True)]
        return image[np.ix_(*indices)]

    return read


def network(**changes):
    """A small network whose weights are all positive, so that nothing an input voxel does is cancelled on its way."""
    settings = NetworkSettings(width=2, depth=2, growth=1.0, **changes)
    torch.manual_seed(0)
    net = build(settings).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.abs_()
            weight /= weight.sum().clamp(min=1)
    cpu = torch.device("cpu")
    return settings, torch_forward(net, cpu, torch.autocast("cpu", enabled=False), 3)


def whole(settings, image, forward):
    """One forward pass over the volume mirrored outward by the halo and up to the total stride."""
    net = geometry(settings)
    outer = Box(
        tuple(-h for h in net.halo),
        tuple(
            -h + n
            for h, n in zip(
                net.halo,
                net.admissible(tuple(n + 2 * h for n, h in zip(image.shape, net.halo, strict=True))),
                strict=True,
            )
        ),
    )
    predicted = forward(reader(image)(outer))
    lead = net.halo if net.padding == "same" else (0, 0, 0)
    return predicted[:, *(slice(h, h + n) for h, n in zip(lead, image.shape, strict=True))]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)


@pytest.mark.parametrize("tile", [(8, 12, 8), (20, 12, 16), (64, 64, 64)])
@pytest.mark.parametrize(
    "changes", [{}, {"pooling": ((1, 2, 2), (2, 2, 2))}, {"block": "dense"}], ids=["pmsc", "anisotropic", "dense"]
)
def test_tiles_of_any_size_equal_the_whole(image, tile, changes):
    settings, forward = network(**changes)
    tiler = Tiler(geometry(settings), (IDENTITY,), NEAREST_OFFSETS)
    tiled = tiler.exact(reader(image), Box.of(SHAPE), tile, forward)
    assert np.abs(tiled - whole(settings, image, forward)).max() <= 1e-5


def test_a_halo_one_stride_smaller_would_not_be_exact(image):
    from dataclasses import replace

    settings, forward = network()
    net = geometry(settings)
    smaller = replace(net, halo=tuple(h - s for h, s in zip(net.halo, net.total_stride, strict=True)))
    tiled = Tiler(smaller, (IDENTITY,), NEAREST_OFFSETS).exact(reader(image), Box.of(SHAPE), (12, 12, 12), forward)
    assert np.abs(tiled - whole(settings, image, forward)).max() > 1e-9


def test_any_box_of_the_volume_is_the_same_part_of_the_whole(image):
    settings, forward = network()
    tiler = Tiler(geometry(settings), (IDENTITY,), NEAREST_OFFSETS)
    box = Box((5, 3, 10), (20, 17, 26))
    part = tiler.exact(reader(image), box, (16, 16, 16), forward)
    assert np.abs(part - whole(settings, image, forward)[:, *box.slices]).max() <= 1e-5


def test_augmented_tiles_do_not_depend_on_the_tile(image):
    settings, forward = network()
    tiler = Tiler(geometry(settings), mirrors(), NEAREST_OFFSETS)
    box = Box((0, 0, 0), (16, 16, 16))
    small, large = (tiler.exact(reader(image), box, tile, forward) for tile in [(8, 16, 16), (16, 16, 16)])
    assert np.abs(small - large).max() <= 1e-5


@pytest.mark.parametrize("anisotropic", [False, True])
@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_average_over_all_symmetries_of_exact_affinities_is_the_identity(anisotropic, mode):
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 4, (12, 12, 12)).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    settings = NetworkSettings(width=2, depth=1)

    def oracle(image):
        return affinities(image.astype(np.int64), NEAREST_OFFSETS)[0].astype(np.float32)

    expected = oracle(reader(labels.astype(np.float32))(Box.of(labels.shape).grow((1, 1, 1))))[:, 1:-1, 1:-1, 1:-1]
    tiler = Tiler(geometry(settings), symmetries(anisotropic), NEAREST_OFFSETS)
    read = reader(labels.astype(np.float32))
    if mode == "exact":
        found = tiler.exact(read, Box.of(labels.shape), (8, 8, 8), oracle)
        assert np.array_equal(found, expected)
    else:
        found = blend(tiler, read, Box.of(labels.shape), labels.shape, labels.shape, 0.5, oracle)
        assert np.abs(found - expected)[:, 1:-1, 1:-1, 1:-1].max() <= 1e-5


def test_blended_blocks_do_not_depend_on_how_the_volume_is_cut(image):
    settings, forward = network()
    tiler = Tiler(geometry(settings), (IDENTITY,), NEAREST_OFFSETS)
    arguments = (SHAPE, (16, 16, 16), 0.5, forward)
    once = blend(tiler, reader(image), Box.of(SHAPE), *arguments)
    box = Box((8, 0, 16), (21, 16, 26))
    assert np.abs(once[:, *box.slices] - blend(tiler, reader(image), box, *arguments)).max() <= 1e-6


def test_blending_a_box_visits_the_tiles_that_meet_it_and_no_others():
    """In a volume of 10^18 voxels: were its other tiles but looked at, this would not end."""
    settings, forward = network()
    tiler = Tiler(geometry(settings), (IDENTITY,), NEAREST_OFFSETS)
    visited = []

    def read(box):
        visited.append(box)
        return np.zeros(box.shape, np.float32)

    begin = (500_001, 0, 999_990)
    box = Box(begin, tuple(b + n for b, n in zip(begin, (20, 9, 10), strict=True)))
    blend(tiler, read, box, (10**6,) * 3, (16, 16, 16), 0.5, forward)
    assert all(tile.clip(box).size for tile in visited)
    steps = [sorted({tile.begin[axis] for tile in visited}) for axis in range(3)]
    # Tiles begin every 8 voxels; the last one is the first to reach the volume's end.
    assert steps == [[499_992, 500_000, 500_008, 500_016], [0, 8], [999_976, 999_984]]


def test_probabilities_are_rounded_to_bytes():
    assert to_uint8(np.array([0, 0.5, 0.999, 1], np.float32)).tolist() == [0, 128, 255, 255]
