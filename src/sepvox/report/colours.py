"""Colours of labels: hashed from ids, so that a label has one colour in every picture.

Colours are red, green and blue in [0, 1]. Label 0 is nearly black. Borders between labels are darkened, so that neighbours
of similar colours stay apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.uint64]

BACKGROUND = (0.09, 0.10, 0.12)


@dataclass(frozen=True)
class Matched:
    """Truth objects that segments overlap most.

    Attributes
    ----------
    segments : uint64, rising
    truths : uint64, one per segment
    largest : bool, one per segment
        Whether no other segment of the same object overlaps it more.
    """

    segments: Labels
    truths: Labels
    largest: NDArray[np.bool_]


def hashed(ids: Labels, salt: int) -> Floats:
    """A uniform number in [0, 1) per id: the finaliser of SplitMix64 (Steele et al. 2014, OOPSLA, fig. 17)."""
    with np.errstate(over="ignore"):
        value = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(salt + 1)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = value ^ (value >> np.uint64(31))
    return (value >> np.uint64(11)).astype(np.float64) / 2.0**53


def colours_of(ids: Labels) -> Floats:
    """Colours (n, 3) of n ids."""
    hsv = np.stack([hashed(ids, 0), 0.45 + 0.4 * hashed(ids, 1), 0.68 + 0.32 * hashed(ids, 2)], axis=-1)
    found: Floats = np.asarray(hsv_to_rgb(hsv), dtype=np.float64)
    found[ids == 0] = BACKGROUND
    return found


def match(segments: Sequence[Labels], truths: Sequence[Labels]) -> Matched:
    """Match each segment to the truth object that it overlaps most on the given planes; zeros take no part."""
    pairs = np.stack([np.concatenate([plane.ravel() for plane in planes]) for planes in (segments, truths)], axis=-1)
    pairs, counts = np.unique(pairs[(pairs != 0).all(axis=1)], axis=0, return_counts=True)
    order = np.lexsort((-counts, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    chosen = order[first]
    matched, counts = pairs[chosen], counts[chosen]
    by_truth = np.lexsort((-counts, matched[:, 1]))
    _, first = np.unique(matched[by_truth, 1], return_index=True)
    largest = np.zeros(len(matched), bool)
    largest[by_truth[first]] = True
    return Matched(matched[:, 0], matched[:, 1], largest)


def matched_colours(ids: Labels, matched: Matched) -> Floats:
    """Colours of segments: of the object's where one is the largest part of it, else a lighter or darker tone of that.

    Segments that overlap no object are grey.
    """
    at = np.minimum(np.searchsorted(matched.segments, ids), max(len(matched.segments) - 1, 0))
    known = matched.segments[at] == ids if len(matched.segments) else np.zeros(len(ids), bool)
    grey = 0.35 + 0.3 * hashed(ids, 3)
    found = np.repeat(grey[:, None], 3, axis=1)
    found[known] = colours_of(matched.truths[at[known]])
    part = known.copy()
    part[known] = ~matched.largest[at[known]]
    tone = hashed(ids[part], 4)[:, None]
    found[part] = np.where(tone < 0.5, found[part] * (0.5 + 0.6 * tone), 1 - (1 - found[part]) * (1.05 - 0.6 * tone))
    found[ids == 0] = BACKGROUND
    return found


def borders(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label."""
    found = np.zeros(labels.shape, bool)
    found[:-1] |= labels[:-1] != labels[1:]
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return found


def paint(labels: Labels, matched: Matched | None = None) -> Floats:
    """A label picture (rows, columns, 3); with `matched`, segments take the colours of truth objects."""
    ids, inverse = np.unique(labels, return_inverse=True)
    palette = colours_of(ids) if matched is None else matched_colours(ids, matched)
    picture = palette[inverse.reshape(labels.shape)]
    picture[borders(labels)] *= 0.45
    return picture
