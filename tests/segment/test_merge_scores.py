"""Merge scores hold waterz's own segmentations, at every threshold."""

import numpy as np
import pytest
import waterz
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from waterz._agglomerate import _load_prebuilt

from sepvox.errors import ConfigError, InputError
from sepvox.segment.merge_scores import merge_scores, silent_stdout, waterz_function
from sepvox.segment.settings import SCORINGS, FragmentSettings
from sepvox.segment.watershed import fragments_of_cell

Ids = NDArray[np.uint64]
SHAPE = (20, 36, 40)
# Some thresholds are values that scores take exactly: 1 - k/255 for means, 1 - (k + 0.5)/256 for quantiles.
THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 1 - 127.5 / 256, 0.6, 0.7, 204 / 255, 0.9)


def neuron_affinities(seed: int) -> NDArray[np.uint8]:
    """Noisy affinities with connected dark sheets, as a network gives them."""
    rng = np.random.default_rng(seed)
    sheets = np.abs(gaussian_filter(rng.standard_normal(SHAPE), 3))
    sheets = np.minimum(3 * sheets / sheets.std(), 3) - 1
    noise = gaussian_filter(rng.standard_normal((3, *SHAPE)), (0, 1, 1, 1))
    return np.rint(255 / (1 + np.exp(-2 * sheets - 1.5 * noise / noise.std()))).astype(np.uint8)


def fragments_of(affinities: NDArray[np.uint8]) -> Ids:
    whole = (slice(0, SHAPE[0]), slice(0, SHAPE[1]), slice(0, SHAPE[2]))
    return fragments_of_cell(affinities, whole, (0, 0, 0), SHAPE, FragmentSettings(seed_distance=2))


def random_affinities(seed: int) -> NDArray[np.uint8]:
    """Noise around one level for each box of four voxels, so that contacts differ in every statistic."""
    rng = np.random.default_rng(seed)
    levels = np.kron(rng.integers(0, 200, (3, *(n // 4 for n in SHAPE))), np.ones((1, 4, 4, 4), int))
    return (levels + rng.integers(0, 56, levels.shape)).astype(np.uint8)


def boxes(edge: int) -> Ids:
    z, y, x = (i // edge for i in np.indices(SHAPE))
    return (1 + z * 10_000 + y * 100 + x).astype(np.uint64)


def waterz_segmentations(affinities: NDArray[np.float32], fragments: Ids, scoring: str) -> list[Ids]:
    _, dense = np.unique(np.append(0, fragments), return_inverse=True)
    dense = dense[1:].reshape(fragments.shape).astype(np.uint64)
    with silent_stdout():
        runs = waterz.agglomerate(
            affinities, THRESHOLDS, fragments=dense.copy(), scoring_function=waterz_function(scoring)
        )
        return [segmentation.copy() for segmentation in runs]


def thresholded(fragments: Ids, edges: Ids, scores: NDArray[np.float32], threshold: float) -> NDArray[np.int32]:
    ids, index = np.unique(fragments, return_inverse=True)
    kept = np.searchsorted(ids, edges[scores < np.float32(threshold)])
    graph = coo_array((np.ones(len(kept)), (kept[:, 0], kept[:, 1])), shape=(len(ids), len(ids)))
    return connected_components(graph, directed=False)[1][index].reshape(fragments.shape)


def same_partition(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    pairs = np.unique(np.stack([a.ravel().astype(np.int64), b.ravel().astype(np.int64)]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize(
    "scoring", ["mean", "histogram-quantile50", "histogram-quantile75", "histogram-quantile50-initmax"]
)
@pytest.mark.parametrize("kind", ["random", "neurons", "float"])
def test_thresholded_edges_are_waterz_segmentation(kind: str, scoring: str) -> None:
    if kind == "random":
        affinities = random_affinities(0)
        fragments = boxes(4)
        fragments[3:9, 5:20, 7:9] = 0
    else:
        affinities = neuron_affinities(1)
        fragments = fragments_of(affinities)
    floats = affinities * np.float32(1 / 255)
    if kind == "float":
        floats = (0.9 * floats + 0.1 * np.random.default_rng(2).random(floats.shape)).astype(np.float32)
    edges, scores = merge_scores(floats if kind == "float" else affinities, fragments, None, scoring)
    counts = set()
    for threshold, expected in zip(THRESHOLDS, waterz_segmentations(floats, fragments, scoring), strict=True):
        assert same_partition(thresholded(fragments, edges, scores, threshold), expected), threshold
        counts.add(len(np.unique(expected)))
    assert len(counts) >= (2 if "initmax" in scoring else 3), "the thresholds do not tell segmentations apart"


def test_edges_are_the_contacts_of_fragments() -> None:
    fragments = boxes(7)
    fragments[:, :, 14:21] = 0
    affinities = neuron_affinities(3)
    edges, scores = merge_scores(affinities, fragments, None, "mean")
    contacts = set()
    for axis in range(3):
        a, b = (np.moveaxis(fragments, axis, 0)[s].ravel().tolist() for s in (slice(None, -1), slice(1, None)))
        contacts |= {(min(p), max(p)) for p in zip(a, b, strict=True) if p[0] != p[1] and 0 not in p}
    assert [tuple(edge) for edge in edges.tolist()] == sorted(contacts)
    assert (edges.dtype, scores.dtype) == (np.uint64, np.float32)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_score_is_the_bottleneck_of_the_merges() -> None:
    """Three fragments in a row: 1-2 join at 0.2; 3 joins them through 2, at 0.6."""
    fragments = np.array([[[10, 10, 20, 30]], [[10, 10, 20, 30]]], np.uint64)
    affinities = np.ones((3, 2, 1, 4), np.float32)
    affinities[2, :, :, 2] = 0.8
    affinities[2, :, :, 3] = 0.4
    edges, scores = merge_scores(affinities, fragments, None, "mean")
    assert edges.tolist() == [[10, 20], [20, 30]]
    assert scores.tolist() == pytest.approx([0.2, 0.6])


def test_every_edge_is_kept_by_the_owner_of_its_lower_fragment() -> None:
    affinities = neuron_affinities(4)
    fragments = boxes(6)
    ids = np.unique(fragments)
    whole, all_scores = merge_scores(affinities, fragments, None, "mean")
    parts = [merge_scores(affinities, fragments, ids[i::3], "mean") for i in range(3)]
    assert np.isin(parts[1][0][:, 0], ids[1::3]).all()
    edges = np.concatenate([edges for edges, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    assert np.array_equal(edges[order], whole)
    assert np.array_equal(scores[order], all_scores)


def test_inputs_stay_as_they_were_and_only_three_channels_count() -> None:
    affinities = neuron_affinities(5)
    fragments = boxes(5)
    long_range = np.concatenate([affinities, 255 - affinities])
    kept = fragments.copy(), long_range.copy()
    edges, scores = merge_scores(long_range, fragments, None, "histogram-quantile50")
    assert np.array_equal(fragments, kept[0])
    assert np.array_equal(long_range, kept[1])
    again = merge_scores(affinities, fragments, None, "histogram-quantile50")
    assert np.array_equal(edges, again[0])
    assert np.array_equal(scores, again[1])


def test_large_ids_cost_no_memory() -> None:
    fragments = boxes(6) + np.uint64(2**62)
    affinities = neuron_affinities(6)
    edges, scores = merge_scores(affinities, fragments, None, "mean")
    small_edges, small_scores = merge_scores(affinities, boxes(6), None, "mean")
    assert np.array_equal(edges - np.uint64(2**62), small_edges)
    assert np.array_equal(scores, small_scores)


@pytest.mark.parametrize("value", [0, 9])
def test_fewer_than_two_fragments_have_no_edges(value: int) -> None:
    edges, scores = merge_scores(neuron_affinities(0), np.full(SHAPE, value, np.uint64), None, "mean")
    assert (edges.shape, scores.shape) == ((0, 2), (0,))


def test_every_scoring_is_precompiled_in_waterz() -> None:
    functions = [waterz_function(scoring) for scoring in SCORINGS]
    assert len(set(functions)) == len(SCORINGS)
    assert all(_load_prebuilt(function, 0) is not None for function in functions)


@pytest.mark.parametrize("scoring", ["median", "histogram-quantile51", "histogram-quantile50-initmin", ""])
def test_other_scoring_is_refused(scoring: str) -> None:
    with pytest.raises(ConfigError, match="not precompiled"):
        waterz_function(scoring)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    merge_scores(neuron_affinities(0), boxes(6), None, "mean")
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"


def test_wrong_arrays_are_refused() -> None:
    affinities = neuron_affinities(0)
    for wrong in (affinities[:2], affinities[:, 1:], affinities[0], affinities.astype(np.float64)):
        with pytest.raises(InputError, match="affinities: "):
            merge_scores(wrong, boxes(6), None, "mean")
    with pytest.raises(InputError, match="fragments: type int64"):
        merge_scores(affinities, boxes(6).astype(np.int64), None, "mean")  # type: ignore[arg-type]
