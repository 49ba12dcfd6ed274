import time
from itertools import combinations

import numpy as np
import pytest
import torch

from sepvox.settings import NEAREST_OFFSETS
from sepvox.symmetries import partners
from sepvox.train.malis import malis_loss, malis_weights
from sepvox.train.targets import BOUNDARY, affinities

LONG_OFFSETS = (*NEAREST_OFFSETS, (0, -2, 0), (0, 1, -1))


def edge_list(labels: np.ndarray, offsets) -> list[tuple[int, int, int]]:
    """All known edges as (edge, node, partner), counted over (c, z, y, x) and (z, y, x)."""
    nodes = np.arange(labels.size).reshape(labels.shape)
    edges = np.arange(labels.size * len(offsets)).reshape(len(offsets), *labels.shape)
    found = []
    for channel, offset in enumerate(offsets):
        here, there = partners(labels.shape, offset)
        found += list(zip(edges[channel][here].flat, nodes[here].flat, nodes[there].flat, strict=True))
    return [(int(e), int(u), int(v)) for e, u, v in found if labels.flat[u] != 0 and labels.flat[v] != 0]


def maximin(strengths: dict[tuple[int, int], float], nodes: int) -> np.ndarray:
    """Strongest paths between all pairs by the closure of Floyd and Warshall; -1 where there is no path."""
    best = np.full((nodes, nodes), -1.0)
    for (u, v), strength in strengths.items():
        best[u, v] = best[v, u] = max(best[u, v], strength)
    for middle in range(nodes):
        best = np.maximum(best, np.minimum(best[:, middle, None], best[None, middle]))
    return best


def brute_force(values: np.ndarray, labels: np.ndarray, offsets) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and both pair counts, from every pair of labelled voxels. `values` must differ and lie inside (0, 1)."""
    edges = edge_list(labels, offsets)
    ids = labels.ravel()
    truth = {edge: ids[u] == ids[v] > 0 for edge, u, v in edges}
    flat = values.ravel()
    positive: dict[tuple[int, int], float] = {}
    negative: dict[tuple[int, int], float] = {}
    for edge, u, v in edges:
        pair = (min(u, v), max(u, v))
        positive[pair] = max(positive.get(pair, -1), min(flat[edge], float(truth[edge])))
        negative[pair] = max(negative.get(pair, -1), max(flat[edge], float(truth[edge])))
    inside, across = maximin(positive, ids.size), maximin(negative, ids.size)
    owner = {flat[edge]: edge for edge, _, _ in edges}
    counts = np.zeros((2, flat.size))
    errors: list[list[float]] = [[], []]
    for u, v in combinations(np.flatnonzero(ids > 0), 2):
        if ids[u] == ids[v] and inside[u, v] > 0:
            counts[0, owner[inside[u, v]]] += 1
            errors[0].append((1 - inside[u, v]) ** 2)
        elif ids[u] != ids[v] and across[u, v] >= 0:
            counts[1, owner[across[u, v]]] += 1
            errors[1].append(across[u, v] ** 2)
    counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    loss = sum(float(np.mean(part)) for part in errors if part)
    return loss, counts[0].reshape(values.shape), counts[1].reshape(values.shape)


def random_graph(seed: int) -> tuple[np.ndarray, np.ndarray, tuple]:
    rng = np.random.default_rng(seed)
    offsets = LONG_OFFSETS if seed % 2 else NEAREST_OFFSETS
    shape = tuple(int(size) for size in rng.integers(1, 5, 3))
    labels = rng.integers(BOUNDARY if seed % 3 == 0 else 0, 4, shape) * 7
    labels[labels < 0] = BOUNDARY
    number = labels.size * len(offsets)
    values = (rng.permutation(number) + 1) / (number + 1)
    return values.reshape(len(offsets), *shape).astype(np.float32), labels, offsets


@pytest.mark.parametrize("seed", range(40))
def test_pair_counts_are_those_of_all_pairs(seed) -> None:
    values, labels, offsets = random_graph(seed)
    positive, negative = malis_weights(values, labels, offsets)
    _, expected_positive, expected_negative = brute_force(values, labels, offsets)
    np.testing.assert_allclose(positive, expected_positive, atol=1e-6)
    np.testing.assert_allclose(negative, expected_negative, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_loss_and_gradient_are_those_of_all_pairs(seed) -> None:
    values, labels, offsets = random_graph(seed)
    logits = torch.logit(torch.from_numpy(values)).unsqueeze(0).requires_grad_()
    loss = malis_loss(logits, torch.from_numpy(labels).unsqueeze(0), offsets)
    loss.backward()
    exact = 1 / (1 + np.exp(-logits.detach().numpy()[0].astype(np.float64)))
    assert loss.item() == pytest.approx(brute_force(exact, labels, offsets)[0], abs=1e-6)
    # Far below the distance between two affinities, so that no spanning tree changes.
    step = 1e-5
    for edge in np.ndindex(exact.shape):
        change = np.zeros(exact.shape)
        change[edge] = step
        slope = brute_force(exact + change, labels, offsets)[0] - brute_force(exact - change, labels, offsets)[0]
        expected = slope / (2 * step) * exact[edge] * (1 - exact[edge])
        assert logits.grad[(0, *edge)].item() == pytest.approx(expected, abs=1e-6)


def test_one_weak_bridge_inside_an_object_carries_all_pairs_across_it() -> None:
    labels = np.ones((1, 1, 5), int)
    values = np.zeros((3, 1, 1, 5), np.float32)
    values[2, 0, 0] = [0, 0.9, 0.2, 0.8, 0.7]
    positive, negative = malis_weights(values, labels, NEAREST_OFFSETS)
    np.testing.assert_allclose(positive[2, 0, 0], [0, 0.1, 0.6, 0.1, 0.2])
    assert not negative.any()


def test_merge_is_charged_to_the_weakest_edge_between_whole_objects() -> None:
    labels = np.array([[[4, 4, 9, 9, 9]]])
    values = np.zeros((3, 1, 1, 5), np.float32)
    values[2, 0, 0] = [0, 0.1, 0.6, 0.1, 0.1]
    positive, negative = malis_weights(values, labels, NEAREST_OFFSETS)
    assert negative[2, 0, 0].tolist() == [0, 0, 1, 0, 0]
    assert positive[2, 0, 0, 2] == 0


def test_objects_that_leak_through_boundary_voxels_are_seen() -> None:
    labels = np.array([[[1, 1, BOUNDARY, BOUNDARY, 2]]])
    values = np.zeros((3, 1, 1, 5), np.float32)
    values[2, 0, 0] = [0, 1, 0.9, 0.3, 0.8]
    _, negative = malis_weights(values, labels, NEAREST_OFFSETS)
    assert negative[2, 0, 0].tolist() == [0, 0, 0, 1, 0]


def test_unlabelled_voxels_join_nothing() -> None:
    labels = np.array([[[1, 1, 0, 1, 2]]])
    values = np.ones((3, 1, 1, 5), np.float32)
    positive, negative = malis_weights(values, labels, NEAREST_OFFSETS)
    assert positive[2, 0, 0].tolist() == [0, 1, 0, 0, 0]
    assert negative[2, 0, 0].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("values", [0.0, 0.5, 1.0])
def test_equal_affinities_still_count_every_pair_once(values) -> None:
    labels = np.random.default_rng(0).integers(1, 4, (5, 6, 7))
    positive, negative = malis_weights(np.full((3, 5, 6, 7), values, np.float32), labels, NEAREST_OFFSETS)
    truth, mask = affinities(labels, NEAREST_OFFSETS)
    assert positive.sum() == pytest.approx(1, abs=1e-5)
    assert negative.sum() == pytest.approx(1, abs=1e-5)
    assert not positive[truth == 0].any()
    assert not negative[(truth == 1) | ~mask].any()


@pytest.mark.parametrize("labels", [np.zeros((2, 3, 4), int), np.full((2, 3, 4), BOUNDARY)])
def test_nothing_to_count_is_a_loss_of_zero(labels) -> None:
    logits = torch.zeros((1, 3, 2, 3, 4), requires_grad=True)
    loss = malis_loss(logits, torch.from_numpy(labels)[None], NEAREST_OFFSETS)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_batch_is_the_mean_of_its_patches() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn((2, 3, 4, 4, 4), generator=generator)
    labels = torch.randint(0, 3, (2, 4, 4, 4), generator=generator)
    single = [malis_loss(logits[i : i + 1], labels[i : i + 1], NEAREST_OFFSETS).item() for i in range(2)]
    assert malis_loss(logits, labels, NEAREST_OFFSETS).item() == pytest.approx(sum(single) / 2)


def test_descending_the_gradient_segments_the_volume() -> None:
    labels = torch.ones((1, 4, 6, 6), dtype=torch.int64)
    labels[:, :, :, 3:] = 2
    logits = torch.randn((1, 3, 4, 6, 6), generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.2)
    first = malis_loss(logits, labels, NEAREST_OFFSETS).item()
    for _ in range(150):
        optimiser.zero_grad()
        loss = malis_loss(logits, labels, NEAREST_OFFSETS)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05 < first


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="expected"):
        malis_weights(np.zeros((3, 2, 2, 2), np.float32), np.ones((2, 2, 3), int), NEAREST_OFFSETS)


def test_64_cubed_takes_at_most_one_second() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((3, 64, 64, 64), dtype=np.float32)
    labels = np.kron(rng.integers(1, 200, (8, 8, 8)), np.ones((8, 8, 8), np.int64))
    malis_weights(values, labels, NEAREST_OFFSETS)
    durations = []
    for _ in range(3):
        start = time.process_time()
        malis_weights(values, labels, NEAREST_OFFSETS)
        durations.append(time.process_time() - start)
    assert min(durations) <= 1.0
