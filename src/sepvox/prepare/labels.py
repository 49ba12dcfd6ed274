"""Label maps: scans whose values are classes.

Their values are whole numbers, 0 is background. How many bits a value takes in the file says nothing of what it means.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.scans import Scan, read_stored

# Tools that scale labels to 8 bits miss whole numbers by up to half a step of 1/255 of the largest; interpolated labels
# miss them by more in some voxels.
_WHOLE = 0.02
_LISTED = 8


def read_labels(path: Path, what: str, values: Collection[int] | None) -> Scan:
    """Read a label map.

    Floats are accepted where every value is whole within 0.02, since many tools save masks as floats, or scaled to 8
    bits; they are rounded. A map of background alone is a label map.

    Parameters
    ----------
    path, what : see `read_scan`.
    values : collection of int or None
        The declared classes; 0 is always one of them. None accepts every whole value.

    Returns
    -------
    Scan
        With data of `label_dtype` of the values, the declared ones or those found.

    Raises
    ------
    InputError
        As `read_scan`, and for values that are not whole or not declared, which are listed.
    """
    scan = read_stored(path, what)
    found = np.unique(scan.data)
    if found.dtype.kind == "f":
        whole = np.rint(found)
        with np.errstate(invalid="ignore"):
            fractions = found[~(np.abs(found - whole) <= _WHOLE)]
        if fractions.size:
            raise InputError(
                f"{what}: {path}: holds {fractions.size} values that are not whole, such as {_listed(fractions)}; "
                "expected classes: was an image given, or a label map resampled other than by nearest neighbours?"
            )
        found = np.unique(whole)
    if found[0] < np.iinfo(np.int32).min or found[-1] > np.iinfo(np.int32).max:
        raise InputError(
            f"{what}: {path}: holds the values {_listed(found[[0, -1]])}; expected classes of 32 bits: number them anew"
        )
    present = [int(v) for v in found]
    unknown = sorted(set(present) - {0, *(present if values is None else values)})
    if values is not None and unknown:
        raise InputError(
            f"{what}: {path}: holds the values {_listed(np.asarray(unknown))}, which are no declared class; "
            f"expected 0 and {_listed(np.asarray(sorted(set(values) - {0})))}: declare them, or correct the labels"
        )
    dtype = label_dtype(present if values is None else values)
    whole_map = np.rint(scan.data) if scan.data.dtype.kind == "f" else scan.data
    return replace(scan, data=whole_map.astype(dtype))


def label_dtype(values: Collection[int]) -> np.dtype[Any]:
    """The smallest of uint8, uint16 and int32 that holds 0 and `values`: the types of labels that viewers read."""
    lowest, highest = min(values, default=0), max(values, default=0)
    if lowest >= 0 and highest <= 65535:
        return np.dtype(np.uint8 if highest <= 255 else np.uint16)
    return np.dtype(np.int32)


def _listed(values: NDArray[Any]) -> str:
    more = f" and {values.size - _LISTED} more" if values.size > _LISTED else ""
    return ", ".join(f"{v:g}" if values.dtype.kind == "f" else str(v) for v in values[:_LISTED]) + more
