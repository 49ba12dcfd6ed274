"""Statistics by blocks are those of the whole image."""

import numpy as np
import pytest

from sepvox.prepare.statistics import Accumulator, normalise


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_statistics_by_blocks_equal_the_whole(dtype):
    rng = np.random.default_rng(0)
    image = (rng.normal(60, 20, (20, 30, 40)).clip(0, 255)).astype(dtype)
    accumulator = Accumulator(image.dtype, image.size)
    for block in np.array_split(image, 3):
        accumulator.add(block)
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
    for block in np.array_split(image, 3):
        one.add(block)
        alone = Accumulator(image.dtype, image.size)
        alone.add(block)
        merged.merge(alone)
    assert merged.result() == one.result()


def test_normalised_intensities_span_zero_to_one():
    image = np.arange(256, dtype=np.uint8)
    accumulator = Accumulator(image.dtype, image.size)
    accumulator.add(image)
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
