"""Connected components by blocks are those of the whole volume."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label

from sepvox.blocks import Lattice
from sepvox.prepare.components import components_of_block, faces, joined, replaced, touching


def by_blocks(labels, size):
    lattice = Lattice(labels.shape, size)
    ids = np.zeros(labels.shape, np.uint64)
    for box in lattice:
        ids[box.slices] = components_of_block(labels[box.slices], box, labels.shape)
    pairs = [
        touching(ids[low.slices], ids[high.slices], labels[low.slices], labels[high.slices])
        for low, high in faces(lattice)
    ]
    return replaced(ids, *joined(pairs))


@given(st.integers(0, 10_000), st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 5)] * 3))
def test_components_by_blocks_equal_those_of_the_whole(seed, shape, size):
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint64)
    found = by_blocks(labels, size)
    whole = label(labels, background=0, connectivity=1)
    assert ((found == 0) == (labels == 0)).all()
    pairs = np.unique(np.stack([found.ravel(), whole.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def test_ids_do_not_depend_on_blocks():
    labels = np.random.default_rng(0).integers(0, 3, (9, 8, 7)).astype(np.uint64)
    assert (by_blocks(labels, (3, 3, 3)) == by_blocks(labels, (9, 8, 7))).all()


def test_replacing_twice_changes_nothing():
    labels = np.ones((4, 4, 4), np.uint64)
    once = by_blocks(labels, (2, 2, 2))
    assert (once == 1).all()
