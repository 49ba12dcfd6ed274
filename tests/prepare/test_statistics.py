"""Statistics by blocks are those of the whole image."""

import numpy as np
import pytest

from sepvox.blocks import Lattice
from sepvox.prepare import statistics
from sepvox.prepare.statistics import Accumulator, normalise


def layers(image):
    """The image in three blocks, each with its first voxel."""
    return [((begin, 0, 0), image[begin : begin + 7]) for begin in (0, 7, 14)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_statistics_by_blocks_equal_the_whole(dtype):
    rng = np.random.default_rng(0)
    image = (rng.normal(60, 20, (20, 30, 40)).clip(0, 255)).astype(dtype)
    accumulator = Accumulator(image.dtype, image.size)
    for begin, block in layers(image):
        accumulator.add(block, begin)
    found = accumulator.result()
    assert found.count == image.size
    assert found.minimum == image.min()
    assert found.maximum == image.max()
    assert found.mean == pytest.approx(image.mean(dtype=np.float64), rel=1e-6)
    assert found.std == pytest.approx(image.std(dtype=np.float64), rel=1e-6)
    assert found.percentiles["50.0"] == pytest.approx(np.percentile(image, 50), abs=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_statistics_of_blocks_are_merged_without_a_difference(dtype):
    image = np.random.default_rng(1).normal(60, 20, (20, 30, 40)).clip(0, 255).astype(dtype)
    one, merged = (Accumulator(image.dtype, image.size) for _ in range(2))
    for begin, block in layers(image):
        one.add(block, begin)
        alone = Accumulator(image.dtype, image.size)
        alone.add(block, begin)
        merged.merge(alone)
    assert merged.result() == one.result()


@pytest.mark.parametrize("size", [(7, 9, 11), (20, 4, 40), (5, 30, 8)])
def test_percentiles_of_floats_do_not_depend_on_how_the_image_is_cut(size, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLES", 900)
    image = np.random.default_rng(2).normal(60, 20, (20, 30, 40)).astype(np.float32)
    found = Accumulator(image.dtype, image.size)
    for box in Lattice(image.shape, size):
        found.add(image[box.slices], box.begin)
    # 24,000 voxels, of which every third along each axis is kept.
    expected = np.percentile(image[::3, ::3, ::3].astype(np.float64), statistics.PERCENTILES)
    assert list(found.result().percentiles.values()) == expected.tolist()


def test_normalised_intensities_span_zero_to_one():
    image = np.arange(256, dtype=np.uint8)
    accumulator = Accumulator(image.dtype, image.size)
    accumulator.add(image, (0, 0, 0))
    normal = normalise(image, accumulator.result().percentiles)
    assert normal.min() == 0
    assert normal.max() == 1
    assert normal.dtype == np.float32
    assert (np.diff(normal) >= 0).all()


def test_large_numbers_keep_their_differences():
    image = np.array([[[2**60, 2**60 + 2**20]]], np.int64)
    scaled = normalise(image, {"0.5": float(2**60), "99.5": float(2**60 + 2**20)})
    assert scaled.tolist() == [[[0.0, 1.0]]]
    assert scaled.dtype == np.float32
