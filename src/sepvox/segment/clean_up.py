"""Clean-up of a class map: only the largest connected component of a class is kept, where that is known to help.

A *component* is a set of voxels of one class that are connected through faces, edges or corners (26 neighbours), so that a
thin structure is not torn where it runs diagonally. The *foreground* is all classes together. What is removed becomes
background. Class maps hold class numbers: 0 is background.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sepvox import markers
from sepvox.errors import StoreError

Numbers = NDArray[np.uint8]

GAIN: Final = 1e-4
"""What the mean Dice must gain at least: less is chance, and clean-up may remove a true second component."""
_TOUCHING: Final = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class CleanUp:
    """What is cleaned: the foreground as a whole first, then some classes by themselves."""

    foreground: bool = False
    classes: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.foreground or bool(self.classes)

    def apply(self, labels: Numbers) -> Numbers:
        """The cleaned class map (z, y, x); about 6 bytes per voxel of the foreground's box beside it."""
        if self.foreground:
            labels = np.where(largest_component(labels != 0), labels, np.uint8(0))
        return largest_components(labels, self.classes)

    def names(self, classes: Mapping[str, int]) -> list[str]:
        """Names of the cleaned classes, where `classes` are all of them in the order of their numbers."""
        return [name for number, name in enumerate(classes, start=1) if number in self.classes]


@dataclass(frozen=True)
class Choice:
    """A chosen clean-up and the mean Dice per class number 1, 2, … on what it was chosen on; None where undefined."""

    clean_up: CleanUp
    without: tuple[float | None, ...]
    with_clean_up: tuple[float | None, ...]


def largest_components(labels: Numbers, numbers: Iterable[int]) -> Numbers:
    """The class map (z, y, x) with the largest component only of each of these classes."""
    cleaned = labels.copy()
    for number in numbers:
        mask = labels == number
        cleaned[mask & ~largest_component(mask)] = 0
    return cleaned


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest component of a mask (z, y, x); of equals the one whose first voxel comes first."""
    kept = np.zeros_like(mask)
    found = ndimage.find_objects(mask.view(np.uint8))
    if not found or found[0] is None:
        return kept
    box = found[0]
    pieces, count = ndimage.label(mask[box], _TOUCHING)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept[box] = pieces == sizes.argmax()
    return kept


def choose_clean_up(pairs: Iterable[tuple[Numbers, NDArray[Any]]], classes: int) -> Choice:
    """Decide what to clean from predictions and truths, one subject at a time.

    As nnU-Net decides (Isensee et al. 2021): the foreground is cleaned first where that raises the mean Dice and lowers
    that of no class; then each class where that raises its own, given the first decision. "Raises" means by more than
    `GAIN`. Every mean is over the subjects that have the class in truth or prediction.

    Parameters
    ----------
    pairs : iterable of (predicted, truth)
        Class numbers (z, y, x).
    classes : int
        Number of classes beside background.
    """
    every = tuple(range(1, classes + 1))
    tried = [CleanUp(), CleanUp(False, every), CleanUp(True), CleanUp(True, every)]
    dice = [[dice_of(option.apply(predicted), truth, classes) for option in tried] for predicted, truth in pairs]
    if not dice:
        return Choice(CleanUp(), (None,) * classes, (None,) * classes)
    stacked = np.asarray(dice)
    # Classes that no subject has keep the value nan, without numpy's warning about means of nothing.
    known = np.isfinite(stacked).sum(axis=0)
    plain, each, whole, both = np.where(known > 0, np.nansum(stacked, axis=0) / np.maximum(known, 1), np.nan)
    raised = whole - plain
    foreground = bool(np.isfinite(plain).any() and np.nanmean(raised) > GAIN and np.nanmin(raised) >= 0)
    before, after = (whole, both) if foreground else (plain, each)
    chosen = tuple(number for number in every if after[number - 1] - before[number - 1] > GAIN)
    final = np.where(np.isin(every, chosen), after, before)
    return Choice(CleanUp(foreground, chosen), _defined(plain), _defined(final))


def dice_of(predicted: NDArray[Any], truth: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Dice, 2 |P∩T| / (|P| + |T|), of the class numbers 1 to `classes`; nan where neither has the class."""
    both, found, true = (
        np.bincount(values.ravel(), minlength=classes + 1)[1 : classes + 1].astype(np.float64)
        for values in (np.where(predicted == truth, truth, 0), predicted, truth)
    )
    total = found + true
    return np.where(total > 0, 2 * both / np.maximum(total, 1), np.nan)


def read_clean_up(path: Path, classes: Mapping[str, int], mend: str) -> CleanUp:
    """The clean-up in a clean_up.json, which names classes.

    Raises
    ------
    StoreError
        If it is missing or damaged, or names classes that are not among `classes`.
    """
    if not path.exists():
        raise StoreError(f"{path}: missing; {mend}")
    content = markers.read_json(path, "foreground", "classes", mend=mend)
    names, known = content["classes"], list(classes)
    if not isinstance(content["foreground"], bool) or not isinstance(names, list):
        raise StoreError(f"{path}: `foreground` must be true or false, and `classes` a list of names; {mend}")
    foreign = [name for name in names if name not in known]
    if foreign:
        raise StoreError(f"{path}: names the class {foreign[0]}, but the classes are {', '.join(known)}; {mend}")
    return CleanUp(content["foreground"], tuple(sorted(known.index(name) + 1 for name in names)))


def majority(choices: Sequence[CleanUp]) -> CleanUp:
    """What more than half of the choices clean."""
    numbers = sorted({number for choice in choices for number in choice.classes})
    return CleanUp(
        2 * sum(choice.foreground for choice in choices) > len(choices),
        tuple(n for n in numbers if 2 * sum(n in choice.classes for choice in choices) > len(choices)),
    )


def _defined(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
