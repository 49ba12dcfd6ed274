"""Videos of a user, decoded: a file (.mp4, .avi, .gif) or a folder of frames to pictures of one size.

A *frame* is one picture of a video. Files are decoded by imageio, .mp4 and .avi with PyAV, which is an extra; frames of a
folder are put in the order of the numbers in their names, so that 10 comes after 9.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sepvox.errors import InputError

FRAME_SUFFIXES = (".jpeg", ".jpg", ".png")
# imageio's name of the decoder, and how it is asked for red, green and blue. Clips are decoded by several processes at
# once, each with one thread.
_DECODERS: MappingProxyType[str, tuple[Literal["pillow", "pyav"], dict[str, Any]]] = MappingProxyType(
    {
        ".avi": ("pyav", {"format": "rgb24", "thread_count": 1}),
        ".gif": ("pillow", {"mode": "RGB"}),
        ".mp4": ("pyav", {"format": "rgb24", "thread_count": 1}),
    }
)
VIDEO_SUFFIXES = tuple(_DECODERS)


def count_frames(path: Path) -> int:
    """How many frames a video has, all of which are decoded to see that they can be.

    Raises
    ------
    InputError
        If it has none, cannot be read, or its decoder is not installed.
    """
    with _explained(path):
        count = sum(1 for _ in _frames(path))
    if count == 0:
        raise InputError(f"{path}: has no frames; remove it, or copy it again from its source")
    return count


def read_frames(path: Path, numbers: NDArray[np.int64], size: tuple[int, int], colour: bool) -> NDArray[np.uint8]:
    """Some frames of a video, scaled to cover a size and cut to it around their middle.

    Parameters
    ----------
    numbers : int64 (t,)
        Which frames, from 0, in any order and as often as wanted.
    size : (int, int)
        Height and width in pixels.
    colour : bool
        Whether there are three channels, red green blue, or one, the brightness.

    Returns
    -------
    uint8 (c, t, y, x)

    Raises
    ------
    InputError
        As `count_frames`, and if the video has not all of these frames.
    """
    wanted = set(numbers.tolist())
    found: dict[int, NDArray[np.uint8]] = {}
    last = max(wanted)
    with _explained(path), closing(_frames(path)) as frames:
        for number, frame in enumerate(frames):
            if number in wanted:
                found[number] = _fitted(frame, size, colour)
            if number == last:
                break
    if len(found) < len(wanted):
        raise InputError(
            f"{path}: frame {last} was there when the videos were looked through, and is not now; run the study again with --restart"
        )
    return np.stack([found[number] for number in numbers.tolist()], axis=1)


def frame_files(folder: Path) -> list[Path]:
    """The frames of a folder in their order."""
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES), key=_in_numbers)


def _frames(path: Path) -> Generator[Image.Image, None, None]:
    if path.is_dir():
        for file in frame_files(path):
            with Image.open(file) as frame:
                yield frame.convert("RGB")
        return
    plugin, options = _DECODERS[path.suffix.lower()]
    with iio.imopen(path, "r", plugin=plugin) as video:
        for decoded in video.iter(**options):
            yield Image.fromarray(decoded)


def _fitted(frame: Image.Image, size: tuple[int, int], colour: bool) -> NDArray[np.uint8]:
    """A frame as uint8 (c, y, x)."""
    height, width = size
    fitted = ImageOps.fit(frame if colour else frame.convert("L"), (width, height), Image.Resampling.BILINEAR)
    return np.moveaxis(np.atleast_3d(np.asarray(fitted)), -1, 0)


def _in_numbers(path: Path) -> list[tuple[int, str]]:
    """Digits of a name as numbers, so that names are compared as people count."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong in a decoder is said in one line that names the video."""
    try:
        yield
    except ImportError:
        raise InputError(
            f"{path}: {path.suffix} is decoded with PyAV, which is not installed; install sepvox[video], or give .gif files or folders of frames"
        ) from None
    # Damage shows up in any layer: the container, its codec, a single picture.
    except Exception as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as a video ({type(error).__name__}: {why}); remove it, or copy it again from its source"
        ) from None
