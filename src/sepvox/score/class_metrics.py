"""Scores of a class label map against ground truth, for one subject.

A *class map* holds one class value per voxel; 0 is background. A class is *absent* when neither map has it, *missed*
when only the truth has it, *invented* when only the prediction has it. The *surface* of a class is the set of its
voxels with at least one of their six face neighbours outside it, the outside of the array included; distances run
between voxel centres.

A score that is not defined is None, and means are over the values that there are:

===========  ====  =========  ===========  =========  =====================
class        Dice  distances  sensitivity  precision  volume difference (%)
===========  ====  =========  ===========  =========  =====================
absent       None  None       None         None       None
missed       0     None       0            None       -100
invented     0     None       None         0          None
===========  ====  =========  ===========  =========  =====================

An absent class has the undefined Dice 0/0. Conventions differ: BraTS sets it to 1, nnU-Net leaves it out. It is left
out here, since a 1 would raise the mean of a subject by classes that it does not have. A missed or invented class is an
error without a distance: infinity cannot be averaged, and the image diagonal would depend on the field of view (Reinke
et al. 2024, Nat. Methods 21:182, on empty structures). A mean distance is therefore only as good as the number of
missed and invented classes that stands beside it, while the mean Dice counts both as 0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice, get_mask_edges, get_surface_distance
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from sepvox.class_summary import SCORES
from sepvox.errors import ConfigError, InputError
from sepvox.score.contingency import Contingency, contingency
from sepvox.score.metrics import variation_of_information

Scores = dict[str, float | None]
Spacing = tuple[float, float, float]


def class_scores(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: Mapping[str, int], spacing: Spacing
) -> dict[str, Any]:
    """Score one subject's class map.

    Parameters
    ----------
    predicted, truth : integer (z, y, x)
        Class maps on the same grid.
    classes : mapping of str to int
        Value of each class, at least 1. All other values but 0 are errors.
    spacing : tuple of float
        Size of a voxel along z, y, x, in mm.

    Returns
    -------
    dict
        Only of dict, float and None, so that it can be written as JSON.

        classes : the scores of each class by name, in the order of `classes`:
            dice : 2 |P∩T| / (|P| + |T|).
            hd95_mm : the larger of the two 95th percentiles of the distances from each surface to the other
                (Huttenlocher et al. 1993, IEEE TPAMI 15:850, with the maximum replaced by the percentile); some
                programs take one percentile of both sets together instead, which is smaller or equal.
            assd_mm : mean of the distances of both surfaces' voxels to the other surface, taken together (average
                symmetric surface distance; Heimann et al. 2009, IEEE TMI 28:1251).
            volume_mm3, true_volume_mm3 : predicted and true volume.
            volume_difference_mm3, volume_difference_percent : predicted minus true, and that in percent of the true.
            sensitivity, precision : |P∩T| / |T| and |P∩T| / |P|.
        mean : the same keys, each the mean over the classes that have a value.
        voi_split, voi_merge, voi_sum : variation of information of the whole map in bits, over all voxels, where
            background is a class like any other.

    Raises
    ------
    ConfigError
        If there are no classes, two have the same value, or a value is below 1.
    InputError
        If the maps are not of integers, three-dimensional and of the same shape, a spacing is not a length, or a map
        has a value that is no class.
    """
    _check_classes(classes)
    _check_grid(predicted, truth, spacing)
    for name, labels in (("prediction", predicted), ("ground truth", truth)):
        _check_values(name, labels, classes)
    values = list(classes.values())
    predicted, truth = _numbered(predicted, values), _numbered(truth, values)
    # A contingency drops truth 0, which is unknown among objects but known background among classes.
    counted = contingency(predicted, truth + truth.dtype.type(1))
    boxes = zip(find_objects(predicted, len(values)), find_objects(truth, len(values)), strict=True)
    scored = {
        name: _overlap(counted, number, spacing) | _agreement(predicted, truth, number, _joined(*pair), spacing)
        for number, (name, pair) in enumerate(zip(classes, boxes, strict=True), start=1)
    }
    ordered = {name: {key: scores[key] for key in SCORES} for name, scores in scored.items()}
    split, merged = variation_of_information(counted)
    return {
        "classes": ordered,
        "mean": {key: _mean(scores[key] for scores in ordered.values()) for key in SCORES},
        "voi_split": split,
        "voi_merge": merged,
        "voi_sum": split + merged,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _numbered(labels: NDArray[np.integer], values: list[int]) -> NDArray[np.unsignedinteger]:
    """Positions of values among the classes, counted from 1; background stays 0."""
    known = np.array([0, *values])
    order = np.argsort(known)
    numbers = order[np.searchsorted(known, labels, sorter=order)]
    return numbers.astype(np.min_scalar_type(len(values) + 1))


def _overlap(counted: Contingency, number: int, spacing: Spacing) -> Scores:
    """Volumes and the scores that are ratios of them, from counts whose truth is shifted by one."""
    in_predicted = counted.fragment == number
    in_truth = counted.truth == number + 1
    predicted = int(counted.count[in_predicted].sum())
    true = int(counted.count[in_truth].sum())
    both = int(counted.count[in_predicted & in_truth].sum())
    voxel = float(np.prod(spacing))
    return {
        "volume_mm3": predicted * voxel,
        "true_volume_mm3": true * voxel,
        "volume_difference_mm3": (predicted - true) * voxel,
        "volume_difference_percent": 100.0 * (predicted - true) / true if true else None,
        "sensitivity": both / true if true else None,
        "precision": both / predicted if predicted else None,
    }


def _agreement(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    number: int,
    box: tuple[slice, ...] | None,
    spacing: Spacing,
) -> Scores:
    """Dice and surface distances of one class, within the box of both of its masks."""
    undefined: Scores = {"dice": None, "hd95_mm": None, "assd_mm": None}
    if box is None:
        return undefined
    masks = [labels[box] == number for labels in (predicted, truth)]
    if not all(mask.any() for mask in masks):
        return undefined | {"dice": 0.0}
    # From its two parts, since MONAI's own Hausdorff and mean surface distance would each find the same distances anew.
    surfaces = get_mask_edges(*masks, crop=False)
    there, back = (get_surface_distance(*pair, spacing=spacing) for pair in (surfaces, surfaces[::-1]))
    return {
        "dice": compute_dice(*(torch.from_numpy(mask)[None, None] for mask in masks)).item(),
        "hd95_mm": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd_mm": float(np.concatenate([there, back]).mean(dtype=np.float64)),
    }


def _joined(one: tuple[slice, ...] | None, other: tuple[slice, ...] | None) -> tuple[slice, ...] | None:
    if one is None or other is None:
        return one or other
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


def _check_classes(classes: Mapping[str, int]) -> None:
    if not classes:
        raise ConfigError("classes: there are none to score; name each with its label value, such as brain: 1")
    taken: dict[int, str] = {}
    for name, value in classes.items():
        if value < 1:
            raise ConfigError(f"classes.{name}: value {value}; give 1 or more, 0 is background and is no class")
        if value in taken:
            raise ConfigError(f"classes.{name}: value {value} is also that of {taken[value]}; give each its own")
        taken[value] = name


def _check_grid(predicted: NDArray[np.integer], truth: NDArray[np.integer], spacing: Spacing) -> None:
    for name, labels in (("prediction", predicted), ("ground truth", truth)):
        if labels.dtype.kind not in "iu":
            raise InputError(f"{name}: values of type {labels.dtype}; class maps are of integers, convert it")
        if labels.ndim != 3 or not labels.size:
            raise InputError(f"{name}: shape {labels.shape}; a class map has three axes z, y, x, none of them empty")
    if predicted.shape != truth.shape:
        raise InputError(
            f"ground truth: shape {truth.shape} where the prediction has {predicted.shape}; "
            "both must be on the grid of the subject's image"
        )
    if len(spacing) != 3 or not all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise InputError(f"spacing: {spacing}; give the voxel's size along z, y, x in mm, each above 0")


def _check_values(name: str, labels: NDArray[np.integer], classes: Mapping[str, int]) -> None:
    allowed = [0, *classes.values()]
    found = np.unique(labels)
    foreign = found[~np.isin(found, allowed)]
    if len(foreign):
        value = int(foreign[0])
        known = ", ".join(f"{value} {name}" for name, value in classes.items())
        raise InputError(
            f"{name}: value {value} in {int((labels == value).sum())} voxels is no class (0 background, {known}); "
            "declare it under classes, or correct the labels"
        )
