"""The digits that videos are made of: MNIST from a user's file, or scikit-learn's small ones in its place.

split   train, validation and test. Of MNIST's 60,000 training images the last 10,000 are for validation, as is usual; a
        file with fewer is divided in the same proportion. The test images are its own.

scikit-learn's 1797 digits (from UCI's Optical Recognition of Handwritten Digits, 8 x 8 pixels in 17 shades) are brought
to MNIST's form, 20 x 20 pixels in a frame of 28 x 28, and divided 5 to 1 to 1, as 50,000 to 10,000 to 10,000.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from sepvox.errors import InputError
from sepvox.studies.video_mnist.clips import Split
from sepvox.studies.video_mnist.motions import BEHAVIOURS, SIDE

KEYS = ("x_train", "y_train", "x_test", "y_test")
_INNER = 20


@dataclass(frozen=True)
class Digits:
    """Digits and their classes.

    Attributes
    ----------
    images : uint8 (n, 28, 28)
        Bright on black, n y x.
    labels : uint8 (n,)
        0 to 9.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, where: slice) -> "Digits":
        return Digits(self.images[where], self.labels[where])

    def fingerprint(self) -> str:
        """SHA-256 (first 32 hex digits) of images and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()[:32]


def read_digits(images: str | None, key: str = "videos.images") -> dict[Split, Digits]:
    """All digits of a source by split: of an .npz file, or scikit-learn's for None.

    Parameters
    ----------
    key : str
        Where the file was named, for messages.

    Raises
    ------
    InputError
        If the file is missing or damaged, or its arrays are not those of MNIST.
    """
    return _embedded() if images is None else _mnist(Path(images), key)


def _mnist(path: Path, key: str) -> dict[Split, Digits]:
    what = f"{key}: {path}"
    arrays = _arrays(path, what)
    known = _checked(what, arrays, "train")
    begin = len(known) - len(known) // 6
    return {"train": known[:begin], "validation": known[begin:], "test": _checked(what, arrays, "test")}


def _arrays(path: Path, what: str) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise InputError(
            f"{what}: no such file; give an .npz file with {', '.join(KEYS)}, or leave the key out for scikit-learn's digits"
        )
    try:
        # numpy would leave a damaged file open.
        with path.open("rb") as file, np.load(file) as archive:
            missing = [key for key in KEYS if key not in archive.files]
            found = archive.files
            arrays = {} if missing else {key: archive[key] for key in KEYS}
    # Damage shows up in any layer below: the archive, its compression, the header of an array.
    except Exception as error:
        raise InputError(
            f"{what}: cannot be read as .npz ({type(error).__name__}: {error}); the file is damaged or of another format: copy it again from its source"
        ) from None
    if missing:
        raise InputError(f"{what}: has no {', '.join(missing)}, only {', '.join(found)}; MNIST is {', '.join(KEYS)}")
    return arrays


def _checked(what: str, arrays: dict[str, NDArray[Any]], part: str) -> Digits:
    images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8:
        raise InputError(
            f"{what}: x_{part} is {images.dtype} of shape {images.shape}; expected uint8 of shape (n, {SIDE}, {SIDE})"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"{what}: y_{part} is {labels.dtype} of shape {labels.shape}; expected whole numbers of shape ({len(images)},), one per image of x_{part}"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(BEHAVIOURS)):
        raise InputError(
            f"{what}: y_{part} goes from {labels.min()} to {labels.max()}; expected classes 0 to {len(BEHAVIOURS) - 1}"
        )
    return Digits(images, labels.astype(np.uint8))


def _embedded() -> dict[Split, Digits]:
    small, labels = load_digits(return_X_y=True)
    images = np.stack([_framed(digit) for digit in small.reshape(-1, 8, 8)])
    digits = Digits(images, labels.astype(np.uint8))
    part = len(digits) // 7
    begin, end = len(digits) - 2 * part, len(digits) - part
    return {"train": digits[:begin], "validation": digits[begin:end], "test": digits[end:]}


def _framed(digit: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A digit (8, 8) with values 0 to 16 in the middle of a frame, uint8 (28, 28)."""
    scaled = Image.fromarray((digit * (255 / 16)).astype(np.uint8)).resize((_INNER, _INNER), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(scaled), (SIDE - _INNER) // 2)
