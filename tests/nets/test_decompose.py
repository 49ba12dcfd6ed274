"""Kernels as sums of separable ones: exact with all terms, and as near as promised with fewer."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmarks.decomposition import row

from sepvox.nets import fit as fitting
from sepvox.nets.decompose import AXES, Box, decompose, hosvd, splits, stream_of
from sepvox.nets.fit import approximate, fit

SHAPES = [(4, 3, 3, 3, 3), (12, 1, 3, 3, 3), (2, 7, 3, 3, 3), (5, 2, 1, 3, 3), (3, 4, 3, 5, 1), (2, 6, 2, 3, 4)]
ORIENTATIONS = [(0,), (1,), (2, 0), AXES]


def kernel_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


def relative(found: np.ndarray, kernel: np.ndarray) -> float:
    return float(np.linalg.norm(found - kernel) / np.linalg.norm(kernel))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_core_and_bases_are_those_of_an_hosvd(shape):
    kernel = kernel_of(shape)
    core, (z, y, x) = hosvd(kernel)
    np.testing.assert_allclose(np.einsum("oipqr,zp,yq,xr->oizyx", core, z, y, x), kernel, atol=1e-12)
    for axis, basis in enumerate((z, y, x)):
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-12)
        slices = np.moveaxis(core, 2 + axis, 0).reshape(len(basis), -1)
        gram = slices @ slices.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9)
        assert (np.diff(np.diag(gram)) <= 1e-9).all()


@pytest.mark.parametrize("axes", ORIENTATIONS, ids=str)
def test_the_boxes_of_a_split_hold_every_entry_of_the_core_once_and_one_orientation_each(axes):
    found = list(splits((3, 2, 4), axes))
    for boxes in found:
        held = np.zeros((1, 1, 3, 2, 4), int)
        for box in boxes:
            held[box.slices] += 1
        assert (held == 1).all()
        assert len({box.axis for box in boxes}) == len(boxes)
        assert {box.axis for box in boxes} <= set(axes)
    assert max(map(len, found)) == len(axes)
    assert all((Box(axis, (0, 0, 0), (3, 2, 4)),) in found for axis in axes)


def test_a_slice_of_a_box_is_a_plane_kernel_times_a_line_and_all_slices_are_the_kernel():
    kernel = kernel_of((4, 3, 3, 3, 3))
    core, bases = hosvd(kernel)
    boxes = max(splits((3, 3, 3), AXES), key=len)
    total = np.zeros_like(kernel)
    for box in boxes:
        for index in range(box.start[box.axis], box.stop[box.axis]):
            part = np.zeros_like(core)
            start, stop = list(box.start), list(box.stop)
            start[box.axis], stop[box.axis] = index, index + 1
            inside = Box(box.axis, tuple(start), tuple(stop)).slices
            part[inside] = core[inside]
            separable = np.einsum("oipqr,zp,yq,xr->oizyx", part, *bases)
            # One matrix for each pair of channels: a row per position along the axis, of rank 1.
            matrices = np.moveaxis(separable, 2 + box.axis, 2).reshape(12, 3, 9)
            assert np.linalg.matrix_rank(matrices, tol=1e-9).max() == 1
            total += separable
    np.testing.assert_allclose(total, kernel, atol=1e-12)


@pytest.mark.parametrize("axes", ORIENTATIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("decomposed", [decompose, approximate])
def test_all_terms_are_exact_in_float32(shape, axes, decomposed):
    kernel = kernel_of(shape)
    found = decomposed(kernel, None, axes)
    assert np.abs(found.kernel().astype(np.float32) - kernel).max() <= 1e-5
    assert found.error <= 1e-6
    least = min(min(shape[0] * shape[2 + a], kernel[0].size // shape[2 + a]) for a in axes)
    assert found.terms == least
    for stream in found.streams:
        assert stream.axis in axes
        along = tuple(n if a == stream.axis else 1 for a, n in enumerate(shape[2:]))
        across = tuple(1 if a == stream.axis else n for a, n in enumerate(shape[2:]))
        assert stream.lines.shape == (shape[0], stream.terms, *along)
        assert stream.planes.shape == (stream.terms, shape[1], *across)


@pytest.mark.parametrize("axes", ORIENTATIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES[:5], ids=str)
def test_the_error_of_a_split_is_the_energy_left_out_and_falls_with_every_term(shape, axes):
    kernel = kernel_of(shape)
    errors = [1.0]
    for terms in range(1, decompose(kernel, None, axes).terms + 1):
        found = decompose(kernel, terms, axes)
        assert found.terms <= terms
        assert relative(found.kernel(), kernel) == pytest.approx(found.error, abs=1e-6)
        errors.append(found.error)
    assert all(after < before for before, after in pairwise(errors))
    assert errors[-1] <= 1e-6


def test_one_orientation_is_the_truncated_singular_value_decomposition_and_its_error_the_tail():
    kernel = kernel_of((6, 5, 3, 3, 3))
    values = np.linalg.svd(np.moveaxis(kernel, 3, 1).reshape(18, 45), compute_uv=False)
    for terms in (1, 4, 11):
        tail = np.sqrt((values[terms:] ** 2).sum() / (values**2).sum())
        assert approximate(kernel, terms, (1,)).error == pytest.approx(tail, rel=1e-9)


def test_terms_of_several_boxes_are_orthogonal_so_that_energies_add_up():
    core, _ = hosvd(kernel_of((4, 3, 3, 3, 3)))
    boxes = max(splits((3, 3, 3), AXES), key=len)
    assert len(boxes) == 3
    left, kept = np.zeros_like(core), np.zeros_like(core)
    tail = 0.0
    for box, terms in zip(boxes, (2, 3, 1), strict=True):
        part = core[box.slices]
        kept[box.slices] = stream_of(part, box.axis, terms).kernel()
        left[box.slices] = part
        rows = np.moveaxis(part, 2 + box.axis, 1).reshape(part.shape[0] * part.shape[2 + box.axis], -1)
        tail += (np.linalg.svd(rows, compute_uv=False)[terms:] ** 2).sum()
    assert np.linalg.norm(left - kept) ** 2 == pytest.approx(tail, rel=1e-9)


def test_planes_and_lines_of_a_term_have_equal_norms():
    stream = stream_of(kernel_of((6, 2, 3, 3, 3)), 0, 7)
    planes = (stream.planes**2).sum(axis=(1, 2, 3, 4))
    lines = (stream.lines**2).sum(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(planes, lines, rtol=1e-9)


@pytest.mark.parametrize("terms", [1, 2, 5, 9, 20])
def test_streams_fitted_together_are_never_farther_than_the_best_split_and_say_their_error(terms):
    kernel = kernel_of((8, 8, 3, 3, 3))
    found = approximate(kernel, terms)
    assert found.terms <= terms
    assert found.error <= decompose(kernel, terms).error
    assert relative(found.kernel(), kernel) == pytest.approx(found.error, abs=1e-9)


def test_a_kernel_that_is_three_streams_is_found_again_where_no_single_orientation_is_near():
    rng = np.random.default_rng(0)
    kernel = np.zeros((16, 16, 3, 3, 3))
    for axis in AXES:
        along, across = [1, 1, 1], [3, 3, 3]
        along[axis], across[axis] = 3, 1
        lines, planes = rng.standard_normal((16, 3, *along)), rng.standard_normal((3, 16, *across))
        kernel += np.einsum("or...,ri...->oi...", lines, planes)
    assert min(decompose(kernel, 9, (axis,)).error for axis in AXES) > 0.3
    assert approximate(kernel, 9).error < 0.05


def test_every_sweep_comes_nearer(monkeypatch):
    kernel = kernel_of((8, 8, 3, 3, 3))
    one = stream_of(kernel, 0, 6).kernel() + stream_of(kernel - stream_of(kernel, 0, 6).kernel(), 1, 6).kernel()
    errors = []
    for sweeps in (1, 2, 3, 4):
        monkeypatch.setattr(fitting, "SWEEPS", sweeps)
        errors.append(fit(kernel, {0: 6, 1: 6}).error)
    assert errors[0] == pytest.approx(relative(one, kernel))
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_a_kernel_of_zeros_keeps_one_term():
    found = approximate(np.zeros((2, 3, 3, 3, 3)))
    assert (found.terms, found.error) == (1, 0.0)
    assert not found.kernel().any()


@pytest.mark.parametrize("decomposed", [decompose, approximate])
def test_a_budget_of_no_terms_is_refused(decomposed):
    with pytest.raises(ValueError, match="0 terms; at least one is needed"):
        decomposed(kernel_of(SHAPES[0]), 0)


def test_table_of_the_methods_page_holds():
    page = (Path(__file__).parents[2] / "docs/methods.md").read_text()
    table = page.partition("| terms | share of the weights |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[float(cell.strip(" %")) for cell in line.split("|")[1:-1]] for line in table]
    assert len(rows) == 4
    for terms, share, *errors in rows:
        found = row(int(terms))
        assert share == pytest.approx(100 * found[0], abs=0.5)
        assert errors == pytest.approx(found[1], abs=0.001)
