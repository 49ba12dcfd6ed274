"""A dense 3D kernel as a sum of separable ones (Gonda et al. 2018, supplement, Section 1, Eq. 4, 5 and 7).

A *kernel* has the shape (C_out, C_in, z, y, x). Its HOSVD over the three spatial axes (De Lathauwer et al. 2000) is
K = G ×_z U_z ×_y U_y ×_x U_x, with orthogonal *bases* U and a *core* G of the kernel's shape, whose slices across each axis
are orthogonal to each other and ordered by falling norm.

A part of the core that lives on one slice across an axis is a separable kernel: planes over the other two axes, and a line
along this one, a column of U. A *split* deals the core out to such slices. Slices of one orientation stand in a *box* of the
core, so that a split is one box per orientation, and a box is one *stream*: a convolution with planes from C_in to R
channels, then one with lines from R to C_out. The *matricisation* of a kernel across an axis has a row for each output
channel and position along the axis, a column for each input channel and position in the plane. Streams of R channels are
the matrices of rank R; a *term* is one of these channels, a separable kernel with weights of its own for each input and each
output channel, and its *energy* is its squared Frobenius norm.

docs/methods.md says how terms are chosen, and in which sense that is best.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from sepvox.nets.architecture import Triple

Kernel = NDArray[np.float64]
Bases = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

AXES = (0, 1, 2)
EXACT = 1e-6
"""Relative errors below this are rounding; splits whose errors differ by less are equally good."""


@dataclass(frozen=True)
class Box:
    """Slices of one orientation: the part of the core from `start` to `stop` (z y x), cut across `axis`."""

    axis: int
    start: Triple
    stop: Triple

    @property
    def slices(self) -> tuple[slice, ...]:
        """The index of the box in an array of the kernel's shape."""
        return (slice(None), slice(None), *map(slice, self.start, self.stop))


@dataclass(frozen=True)
class Stream:
    """Two convolutions, one after the other, that together are one part of a kernel.

    Attributes
    ----------
    axis : int
        Orientation: 0, 1, 2 for z, y, x; the axis of the lines.
    planes : float64 array (R, C_in, z, y, x)
        Of extent 1 along `axis`.
    lines : float64 array (C_out, R, z, y, x)
        Of extent 1 along the other axes.
    """

    axis: int
    planes: Kernel
    lines: Kernel

    @property
    def terms(self) -> int:
        """Channels between the two convolutions."""
        return len(self.planes)

    def kernel(self) -> Kernel:
        """The kernel (C_out, C_in, z, y, x) that it stands for."""
        found: Kernel = np.einsum("or...,ri...->oi...", self.lines, self.planes)
        return found


@dataclass(frozen=True)
class Decomposition:
    """Streams whose sum stands for a kernel.

    Attributes
    ----------
    streams : tuple of Stream
        At most one per orientation, in the order of the axes; those without a term are left out.
    error : float
        Frobenius norm of what is missing, relative to the kernel's.
    """

    streams: tuple[Stream, ...]
    error: float

    @property
    def terms(self) -> int:
        return sum(stream.terms for stream in self.streams)

    def kernel(self) -> Kernel:
        """The kernel (C_out, C_in, z, y, x) that the streams sum to."""
        total: Kernel = np.sum([stream.kernel() for stream in self.streams], axis=0)
        return total


def hosvd(kernel: Kernel) -> tuple[Kernel, Bases]:
    """Core and bases of a kernel (C_out, C_in, z, y, x); channels are not transformed.

    Returns
    -------
    core : float64 array of the kernel's shape
    bases : three float64 arrays (extent, extent)
        For z, y, x; columns belong to slices of the core.
    """
    unfolded = (np.moveaxis(kernel, 2 + axis, 0).reshape(kernel.shape[2 + axis], -1) for axis in AXES)
    z, y, x = (np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1] for matrix in unfolded)
    return np.einsum("oizyx,zp,yq,xr->oipqr", kernel, z, y, x, optimize=True), (z, y, x)


def splits(extents: Triple, axes: Sequence[int]) -> Iterator[tuple[Box, ...]]:
    """Every way to cut a core into boxes: leading slices across a first axis, of the rest across a second, then a third.

    Parameters
    ----------
    extents : (int, int, int)
        Extents of the kernel, z y x.
    axes : sequence of int
        Orientations that may be used. Where the leading slices are none or all, boxes are missing, so that the splits of
        fewer axes are among those of more.
    """
    for order in permutations(axes):
        for counts in product(*(range(extents[axis] + 1) for axis in order[:-1])):
            yield tuple(_boxes(extents, order, counts))


def stream_of(kernel: Kernel, axis: int, terms: int) -> Stream:
    """The stream of `terms` terms across `axis` that is nearest to a kernel (C_out, C_in, z, y, x).

    It is the truncated singular value decomposition of the matricisation, than which no matrix of this rank is nearer
    (Eckart and Young 1936). Planes and lines of a term have equal norms.
    """
    matrix = _matrix(kernel, axis)
    tall = len(matrix) > matrix.shape[1]
    vectors = np.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)[1][:, : -terms - 1 : -1]
    left, right = (matrix @ vectors, vectors.T) if tall else (vectors, vectors.T @ matrix)
    root = np.sqrt(np.linalg.norm(left, axis=0) * np.linalg.norm(right, axis=1))
    inverse = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    left, right = (left * inverse, right * root[:, None]) if tall else (left * root, right * inverse[:, None])
    extents = kernel.shape[2:]
    along = [extent if each == axis else 1 for each, extent in enumerate(extents)]
    across = [1 if each == axis else extent for each, extent in enumerate(extents)]
    lines = left.reshape(len(kernel), extents[axis], -1).swapaxes(1, 2)
    return Stream(axis, right.reshape(-1, kernel.shape[1], *across), lines.reshape(*lines.shape[:2], *along))


def decompose(kernel: Kernel, terms: int | None = None, axes: Sequence[int] = AXES) -> Decomposition:
    """Split the core of a kernel and keep the terms of the highest energy, `terms` at most.

    Of all splits the one with the least error is taken, of equal ones that of the fewest terms.

    Parameters
    ----------
    kernel : float64 array (C_out, C_in, z, y, x)
    terms : int, optional
        Budget; all terms by default, which leaves rounding only.
    axes : sequence of int
        Orientations of streams, of 0, 1, 2 for z, y, x.

    Raises
    ------
    ValueError
        If the budget is less than one term.
    """
    if terms is not None and terms < 1:
        raise ValueError(f"{terms} terms; at least one is needed")
    core, bases = hosvd(kernel)
    energies = _Energies(core)
    z, y, x = kernel.shape[2:]
    found = [_keep(boxes, energies, terms) for boxes in splits((z, y, x), axes)]
    norm = float(np.linalg.norm(core)) or 1.0
    least = min(kept.error for kept in found)
    equal = [kept for kept in found if kept.error <= least + EXACT * norm]
    best = min(equal, key=lambda kept: sum(kept.counts))
    streams = (_of_box(core, bases, *each) for each in zip(best.boxes, best.counts, strict=True) if each[1])
    return Decomposition(tuple(sorted(streams, key=lambda stream: stream.axis)), best.error / norm)


@dataclass(frozen=True)
class _Kept:
    """How many terms each box of a split keeps, and the norm of what is left out."""

    boxes: tuple[Box, ...]
    counts: tuple[int, ...]
    error: float


class _Energies(dict[Box, NDArray[np.float64]]):
    """Energies of each box's terms, falling; 0 where only rounding is left."""

    def __init__(self, core: Kernel) -> None:
        super().__init__()
        self._core = core

    def __missing__(self, box: Box) -> NDArray[np.float64]:
        matrix = _matrix(self._core[box.slices], box.axis)
        gram = matrix.T @ matrix if len(matrix) > matrix.shape[1] else matrix @ matrix.T
        found = np.linalg.eigvalsh(gram)[::-1].astype(np.float64)
        found[found <= np.finfo(float).eps * len(gram) * found[0]] = 0
        self[box] = found
        return found


def _keep(boxes: tuple[Box, ...], energies: _Energies, terms: int | None) -> _Kept:
    """Keep the terms of the highest energy that is not 0; of a kernel of zeros, one."""
    every = [energies[box] for box in boxes]
    energy = np.concatenate(every)
    owner = np.repeat(np.arange(len(boxes)), [len(each) for each in every])
    order = np.argsort(-energy, kind="stable")
    there = max(1, int(np.count_nonzero(energy)))
    kept, left = np.split(order, [there if terms is None else min(terms, there)])
    counts = np.bincount(owner[kept], minlength=len(boxes))
    return _Kept(boxes, tuple(map(int, counts)), float(np.sqrt(energy[left].sum())))


def _boxes(extents: Triple, order: tuple[int, ...], counts: tuple[int, ...]) -> Iterator[Box]:
    """Boxes that take the leading `counts` slices across the axes of `order`, one after the other; the last takes the rest."""
    start = [0, 0, 0]
    for axis, count in zip(order, (*counts, extents[order[-1]]), strict=True):
        stop = list(extents)
        stop[axis] = count
        if all(first < last for first, last in zip(start, stop, strict=True)):
            yield Box(axis, (start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        start[axis] = count


def _matrix(kernel: Kernel, axis: int) -> NDArray[np.float64]:
    """Matricisation of a kernel across an axis: rows (C_out, axis), columns (C_in, the other axes)."""
    moved = np.moveaxis(kernel, 2 + axis, 1)
    return moved.reshape(moved.shape[0] * moved.shape[1], -1)


def _of_box(core: Kernel, bases: Bases, box: Box, terms: int) -> Stream:
    """The stream of a box of the core, back in the positions of the kernel."""
    stream = stream_of(core[box.slices], box.axis, terms)
    parts = {"lines": stream.lines, "planes": stream.planes}
    for axis, basis in enumerate(bases):
        name = "lines" if axis == box.axis else "planes"
        columns = basis[:, box.start[axis] : box.stop[axis]]
        parts[name] = np.moveaxis(np.tensordot(parts[name], columns, (2 + axis, 1)), -1, 2 + axis)
    return Stream(box.axis, **parts)
