"""The automatic choice follows nnU-Net's rules, keeps to the memory, and always gives a patch that the network takes."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepvox.errors import ConfigError
from sepvox.nets.architecture import architecture
from sepvox.nets.geometry import geometry
from sepvox.nets.memory import training_bytes
from sepvox.nets.settings import NetworkSettings
from sepvox.train.plan import LARGEST_BATCH, plan, poolings

GIB = 1024**3
HIPPOCAMPUS = ([(36, 50, 35)] * 208, [(1.0, 1.0, 1.0)] * 208)
BRAIN = ([(53, 334, 325)] * 3, [(3.0, 0.7, 0.7)] * 3)


def _bytes(chosen, network):
    return training_bytes(architecture(chosen.network(network)), chosen.patch, chosen.batch)


def test_small_isotropic_images_are_taken_whole_and_a_twentieth_of_the_voxels_at_a_time():
    chosen = plan(*HIPPOCAMPUS, NetworkSettings(), 2 * GIB)
    assert (chosen.patch, chosen.pooling, chosen.depth) == ((40, 56, 40), ((2, 2, 2),) * 3, 3)
    assert chosen.batch == 208 * 36 * 50 * 35 // (20 * 40 * 56 * 40) == 7
    assert any("208 of 208 images are smaller" in reason for reason in chosen.reasons)


def test_coarse_axis_is_pooled_once_the_others_have_reached_its_spacing():
    chosen = plan(*BRAIN, NetworkSettings(depth=5), 2 * GIB)
    assert chosen.pooling == ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert any("z with voxels of 3 mm waits" in reason for reason in chosen.reasons)


def test_depth_is_the_networks():
    network = NetworkSettings(depth=2)
    assert plan(*BRAIN, network, 2 * GIB).depth == 2
    deeper = NetworkSettings(depth=4)
    assert plan(*BRAIN, deeper, 2 * GIB).network(deeper).depth == 4


def test_less_memory_gives_smaller_patches_of_the_same_proportions_that_fit():
    network = NetworkSettings()
    shapes, spacings = [(160, 240, 200)] * 100, [(1.0, 1.0, 1.0)] * 100
    patches = []
    for memory in (16 * GIB, 4 * GIB, GIB):
        chosen = plan(shapes, spacings, network, memory)
        assert memory / 2 < _bytes(chosen, network) <= memory
        ratios = [size / whole for size, whole in zip(chosen.patch, shapes[0], strict=True)]
        assert max(ratios) - min(ratios) < 0.1
        patches.append(prod(chosen.patch))
    assert patches[0] > 3 * patches[1] > 9 * patches[2]


def test_half_precision_gives_larger_patches():
    sizes = [prod(plan(*BRAIN, NetworkSettings(), GIB, value_bytes=size).patch) for size in (4, 2)]
    assert sizes[1] > 1.3 * sizes[0]


def test_batch_grows_with_the_memory_to_its_limit():
    shapes, spacings = [(48, 48, 48)] * 500, [(1.0, 1.0, 1.0)] * 500
    batches = [plan(shapes, spacings, NetworkSettings(), memory).batch for memory in (GIB // 3, GIB // 2, 9 * GIB)]
    assert 2 <= batches[0] < batches[1] < batches[2] == LARGEST_BATCH


def test_long_images_start_from_a_cube():
    chosen = plan([(1000, 300, 300)], [(1.0, 1.0, 1.0)], NetworkSettings(), 10**15)
    assert chosen.patch == (256, 256, 256)


@pytest.mark.parametrize(
    ("shape", "patch", "pooling"),
    [((5, 3, 1), (6, 4, 1), (2, 2, 1)), ((1, 1, 1), (1, 1, 1), (1, 1, 1)), ((9, 3, 3), (10, 3, 3), (2, 1, 1))],
    ids=str,
)
def test_tiny_images_still_get_one_pooling(shape, patch, pooling):
    chosen = plan([shape], [(1.0, 1.0, 1.0)], NetworkSettings(), GIB)
    assert (chosen.patch, chosen.pooling) == (patch, (pooling,))


def test_what_the_user_gives_is_kept():
    network = NetworkSettings()
    assert plan(*HIPPOCAMPUS, network, GIB, batch=3).batch == 3
    given = plan(*BRAIN, NetworkSettings(depth=5), 2 * GIB, patch=(28, 96, 96))
    assert given.patch == (28, 96, 96)
    assert given.pooling == ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    pooled = NetworkSettings(depth=2, pooling=[[2, 2, 2], [1, 4, 4]])
    assert plan(*HIPPOCAMPUS, pooled, GIB).pooling == pooled.pooling
    assert plan(*HIPPOCAMPUS, pooled, GIB).patch == (36, 56, 40)


def test_given_batch_takes_its_memory_from_the_patch():
    network = NetworkSettings()
    few, many = (plan(*BRAIN, network, GIB, batch=batch) for batch in (1, 8))
    assert prod(many.patch) < prod(few.patch)
    assert _bytes(many, network) <= GIB


def test_given_patch_that_does_not_fit_is_followed_and_said():
    chosen = plan(*HIPPOCAMPUS, NetworkSettings(), GIB // 8, patch=(64, 64, 64))
    assert (chosen.patch, chosen.batch) == ((64, 64, 64), 1)
    assert any("is more than the 0.125 GiB allowed" in reason for reason in chosen.reasons)


def test_impossible_wishes_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"^train\.patch: .* takes is \[64, 64, 64\]$"):
        plan(*HIPPOCAMPUS, NetworkSettings(), GIB, patch=(63, 63, 63))
    with pytest.raises(ConfigError, match=r"^memory: even patches of .* more than the"):
        plan(*HIPPOCAMPUS, NetworkSettings(), 10**6)


def test_published_networks_keep_their_pooling_and_get_a_patch_that_they_take():
    network = NetworkSettings(name="gonda2018-p2sc2")
    chosen = plan(*BRAIN, network, 8 * GIB)
    assert chosen.network(network) == network
    assert geometry(network).admissible(chosen.patch) == chosen.patch


def test_reasons_are_single_lines_and_name_the_choices():
    network = NetworkSettings(deep_supervision=True)
    chosen = plan([(12, 12, 12)], [(1.0, 1.0, 1.0)], network, GIB)
    assert all(reason and "\n" not in reason for reason in chosen.reasons)
    assert [reason.split(" ")[0] for reason in chosen.reasons] == [
        *("images:", "patch", "pooling", "batch", "memory:", "deep")
    ]


sizes = st.integers(1, 400)
lengths = st.floats(0.1, 10)


@given(
    shape=st.tuples(sizes, sizes, sizes),
    spacing=st.tuples(lengths, lengths, lengths),
    width=st.integers(1, 32),
    depth=st.integers(1, 5),
    block=st.sampled_from(["dense", "pmsc", "tt"]),
    memory=st.integers(GIB // 4, 16 * GIB),
)
def test_patch_is_always_admissible_and_fits(shape, spacing, width, depth, block, memory):
    network = NetworkSettings(width=width, depth=depth, block=block)
    chosen = plan([shape], [spacing], network, memory)
    settings = chosen.network(network)
    assert settings.depth == chosen.depth <= depth
    assert geometry(settings).admissible(chosen.patch) == chosen.patch
    assert 2 <= chosen.batch <= max(2, prod(shape) // (20 * prod(chosen.patch)))
    assert _bytes(chosen, network) <= memory
    strides = geometry(settings).total_stride
    assert all(size < whole + stride for size, whole, stride in zip(chosen.patch, shape, strides, strict=True))


@given(extents=st.tuples(sizes, sizes, sizes), spacing=st.tuples(lengths, lengths, lengths), exact=st.booleans())
def test_poolings_leave_four_voxels_and_bring_voxels_nearer_to_cubes(extents, spacing, exact):
    found = poolings(extents, spacing, 5, exact=exact)
    strides = [prod(factors[axis] for factors in found) for axis in range(3)]
    if max(extents) < 8 or (exact and all(extent % 2 for extent in extents)):
        assert len(found) == 1
        return
    for axis, (extent, stride) in enumerate(zip(extents, strides, strict=True)):
        assert stride == 1 or extent >= 4 * stride
        assert not exact or extent % stride == 0
        others = [spacing[other] * strides[other] for other in range(3) if strides[other] > 1]
        assert stride == 1 or spacing[axis] * stride < 4 * max(others)
