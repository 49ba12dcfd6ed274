"""Videos to clips: which frames, and how they are changed at random for training.

A *clip* is what a network sees at once: (channel, t, y, x), values 0 to 1. The clip of a video in an epoch is a pure
function of seed, epoch and video, so that a training that goes on after a kill sees what it would have seen.
"""

from collections.abc import Iterator

import numpy as np
import torch
from monai.transforms import RandAffine
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sepvox.studies.video_classification.settings import ClipSettings, TrainSettings
from sepvox.studies.video_classification.videos import Videos

# Apart from the words of other seeds. numpy takes trailing zeros for absent, so that epochs and videos count from 1.
_ORDER, _CLIP = 5, 6

Key = tuple[int, int]
Batch = dict[str, torch.Tensor]


def clip_frames(length: int, settings: ClipSettings, rng: np.random.Generator | None) -> NDArray[np.int64]:
    """Numbers, int64 (t,), of the frames of a video of `length` frames that make its clip.

    Without `rng` the clip lies in the middle, with it it begins at random, see `ClipSettings.jitter`. A video that is shorter
    than its clip begins again at its end, as in Hara et al. 2018.
    """
    room = max(0, length - (settings.frames - 1) * settings.every - 1)
    begin = room // 2
    if rng is not None:
        reach = room if settings.jitter is None else settings.jitter
        begin = int(rng.integers(max(0, begin - reach), min(room, begin + reach) + 1))
    return (begin + settings.every * np.arange(settings.frames, dtype=np.int64)) % length


class Distortion:
    """Random shift, shear and zoom of y and x, the same for all frames and channels of a clip; what is moved in from outside
    repeats the border."""

    def __init__(self, settings: TrainSettings, size: tuple[int, int]) -> None:
        self._transform = RandAffine(
            prob=1,
            shear_range=(settings.shear,) * 2,
            translate_range=tuple(settings.shift * extent for extent in size),
            scale_range=(settings.zoom,) * 2,
            mode="bilinear",
            padding_mode="border",
        )

    def __call__(self, clip: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """A changed float32 (c, t, y, x)."""
        self._transform.set_random_state(seed=int(rng.integers(2**32)))
        changed: torch.Tensor = self._transform(clip.flatten(0, 1)).as_tensor()
        return changed.reshape(clip.shape)


class Clips(Dataset[Batch]):
    """Clips by (epoch, video); those that are judged are the same in every epoch.

    Parameters
    ----------
    videos : Videos
        One split.
    settings : ClipSettings
        Which frames are taken.
    train : TrainSettings, optional
        How clips are changed for training; without it they are not.
    seed : int
        What changes are drawn with.
    """

    def __init__(
        self, videos: Videos, settings: ClipSettings, train: TrainSettings | None = None, seed: int = 0
    ) -> None:
        self.videos, self.settings, self.train, self.seed = videos, settings, train, seed

    def __len__(self) -> int:
        return len(self.videos.labels)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        rng = None if self.train is None else np.random.default_rng((self.seed, _CLIP, epoch + 1, index + 1))
        frames = self.videos.read(index, clip_frames(self.videos.length(index), self.settings, rng))
        clip = torch.from_numpy(np.ascontiguousarray(frames)).float().div_(255)
        if self.train is not None and rng is not None:
            height, width = clip.shape[2:]
            clip = Distortion(self.train, (height, width))(clip, rng)
        return {"clip": clip, "label": torch.tensor(self.videos.labels[index])}


def training_batches(count: int, batch: int, seed: int, begin: int, end: int) -> Iterator[list[Key]]:
    """Keys of the batches of epochs `begin` to `end` - 1, each epoch in its own random order.

    An incomplete last batch is left out, unless it is the only one: a batch of one cannot be normalised.
    """
    for epoch in range(begin, end):
        order = np.random.default_rng((seed, _ORDER, epoch + 1)).permutation(count).tolist()
        for at in range(0, batches_per_epoch(count, batch) * batch, batch):
            yield [(epoch, index) for index in order[at : at + batch]]


def batches_per_epoch(count: int, batch: int) -> int:
    """Batches of an epoch of `count` videos."""
    return max(1, count // batch)


def judged_batches(count: int, batch: int) -> list[list[Key]]:
    """Keys of the batches in which `count` videos are judged."""
    return [[(0, index) for index in range(at, min(at + batch, count))] for at in range(0, count, batch)]
