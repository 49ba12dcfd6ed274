"""Boxes, lattices and slices cover what they should, once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepvox.blocks import Box, Lattice, Part, fitting_block, reflected
from sepvox.errors import ConfigError

extents = st.tuples(*[st.integers(1, 40)] * 3)
sizes = st.tuples(*[st.integers(1, 17)] * 3)


@given(extents, sizes)
def test_boxes_of_a_lattice_cover_every_voxel_once(shape, size):
    seen = np.zeros(shape, int)
    for box in Lattice(shape, size):
        seen[box.slices] += 1
    assert (seen == 1).all()


@given(extents, sizes, st.integers(1, 9))
def test_slices_share_all_blocks_without_overlap(shape, size, count):
    total = len(Lattice(shape, size))
    numbers = [number for index in range(count) for number in Part(index, count).of(total)]
    assert numbers == list(range(total))


@given(extents, sizes, st.integers(1, 3))
def test_cells_within_blocks_are_the_lattice_of_cells(shape, size, factor):
    cells = Lattice(shape, size)
    blocks = Lattice(shape, tuple(s * factor for s in size))
    found = [cell for block in blocks for cell in cells.within(block)]
    assert sorted(found, key=lambda b: b.begin) == sorted(cells, key=lambda b: b.begin)


def test_a_block_that_cuts_a_cell_is_refused():
    with pytest.raises(ValueError, match="axis y"):
        list(Lattice((8, 8, 8), (4, 4, 4)).within(Box((0, 0, 0), (4, 6, 4))))


@given(st.integers(1, 12), st.integers(-30, 30), st.integers(0, 40))
def test_reflection_equals_numpy_at_any_distance(size, begin, length):
    end = begin + length
    axis = np.arange(size)
    before, after = max(0, -begin), max(0, end - size)
    expected = np.pad(axis, (before, after), mode="reflect" if size > 1 else "edge")[begin + before : end + before]
    assert (reflected(begin, end, size) == expected).all()


@given(extents, sizes, sizes)
def test_chosen_block_is_whole_units_or_covers_the_axis(shape, first, second):
    inside = [[unit[axis] for unit in (first, second) if unit[axis] < shape[axis]] for axis in range(3)]
    if any(math.lcm(*units) > 4 * max(units) for units in inside if units):
        with pytest.raises(ConfigError, match="meet only every"):
            fitting_block("segment.block", None, [first, second], shape)
        return
    block = fitting_block("segment.block", None, [first, second], shape)
    for axis in range(3):
        for unit in (first, second):
            assert block[axis] % unit[axis] == 0 or block[axis] >= shape[axis]


def test_block_that_is_no_multiple_names_key_axis_and_mend():
    with pytest.raises(ConfigError, match=r"segment.block: axis x is 96; it must be a multiple of 64"):
        fitting_block("segment.block", (64, 64, 96), [(64, 64, 64)], (200, 200, 200))


def test_cells_and_shards_that_hardly_ever_meet_are_refused_and_not_made_one_block():
    message = r"segment\.block: along axis y cells and shards of 128 and 100 voxels meet only every 3200; choose one"
    with pytest.raises(ConfigError, match=message):
        fitting_block("segment.block", None, [(128, 128, 128), (64, 100, 64)], (1024, 1024, 1024))
    assert fitting_block("segment.block", None, [(128,) * 3, (96,) * 3], (1024,) * 3) == (384, 384, 384)


@pytest.mark.parametrize("text", ["4/4", "a/2", "-1/2", "1", "1/2/3", "1/0"])
def test_parts_of_other_forms_are_refused(text):
    with pytest.raises(ConfigError, match="INDEX/COUNT"):
        Part.parse(text)


@given(extents, st.tuples(*[st.integers(0, 9)] * 3))
def test_grown_box_clips_back_to_itself(shape, halo):
    box = Box.of(shape)
    assert box.grow(halo).clip(box) == box
    assert box.grow(halo).contains(box)
    assert box.inside(box.grow(halo)).begin == halo
