"""The videos of a study, from wherever they come: each a number of frames with a class.

They are made (Video-MNIST) or looked through (a folder) by `prepare_videos`, and read by `open_videos`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sepvox import markers
from sepvox.blockwise import processes
from sepvox.errors import StaleError
from sepvox.layout import Layout
from sepvox.studies.video_classification.folder import STEP, Index, Video, folder_fingerprint, look_through
from sepvox.studies.video_classification.reader import read_frames
from sepvox.studies.video_classification.settings import FolderSettings, VideoStudy
from sepvox.studies.video_mnist import store
from sepvox.studies.video_mnist.clips import SPLITS, Split
from sepvox.studies.video_mnist.make import made_videos, make_videos
from sepvox.studies.video_mnist.motions import BEHAVIOURS, FRAMES

VERB = "study video CONFIG --part videos"
# Where the settings of Video-MNIST stand in the file of this study.
MNIST = "mnist"
OTHERS = "made of other videos or with other settings of the folder"


class Videos(Protocol):
    """The videos of one split.

    Attributes
    ----------
    labels : int64 (n,)
        Class of every video.
    """

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def length(self, index: int) -> int:
        """Frames of a video."""

    def read(self, index: int, frames: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Some frames of a video, uint8 (c, t, y, x)."""


class StoredVideos:
    """A split of Video-MNIST, which is read into memory with the first video."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels = store.read_labels(path).astype(np.int64)
        self._videos: NDArray[np.uint8] | None = None

    def length(self, index: int) -> int:  # noqa: ARG002  # all are equally long
        return FRAMES

    def read(self, index: int, frames: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._videos is None:
            self._videos = store.read_videos(self.path, np.arange(len(self.labels)))
        found: NDArray[np.uint8] = self._videos[index, frames]
        return found[None]


@dataclass(frozen=True)
class FolderVideos:
    """A split of a folder, decoded anew each time."""

    settings: FolderSettings
    videos: tuple[Video, ...]

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array([video.label for video in self.videos], np.int64)

    def length(self, index: int) -> int:
        return self.videos[index].frames

    def read(self, index: int, frames: NDArray[np.int64]) -> NDArray[np.uint8]:
        path = Path(self.settings.path) / self.videos[index].path
        return read_frames(path, frames, self.settings.size, self.settings.colour)


@dataclass(frozen=True)
class Data:
    """All that trainings need to know of the videos.

    Attributes
    ----------
    splits : mapping
        Videos to train, validate and test on.
    classes : tuple of str
        Their names.
    fingerprint : str
        Of everything that the frames depend on.
    """

    splits: Mapping[Split, Videos]
    classes: tuple[str, ...]
    fingerprint: str


def prepare_videos(study: VideoStudy, layout: Layout, restart: bool = False) -> None:
    """Make the videos of Video-MNIST, or look through those of a folder.

    Raises
    ------
    InputError
        If digits, folder or videos are not as expected.
    StaleError
        If there are videos of other settings and `restart` is false.
    """
    if study.mnist is not None:
        make_videos(study.mnist, layout, MNIST, restart)
    else:
        assert study.folder is not None
        _index(study.folder, layout, restart)
    markers.mark(layout.done(STEP, "videos"), open_videos(study, layout).fingerprint)


def open_videos(study: VideoStudy, layout: Layout) -> Data:
    """The videos that were prepared.

    Raises
    ------
    StoreError
        If they were not, or are damaged.
    StaleError
        If they are those of other settings.
    """
    if study.mnist is not None:
        made = markers.fingerprint(*made_videos(study.mnist, layout, MNIST).values())
        return Data({split: StoredVideos(layout.videos(split)) for split in SPLITS}, BEHAVIOURS, made)
    folder = study.folder
    assert folder is not None
    path = layout.video_index()
    content = markers.read_json(path, "fingerprint", "classes", "videos", step=VERB)
    made = folder_fingerprint(folder)
    if content["fingerprint"] != made:
        raise StaleError(f"{path}: {OTHERS}; run `sepvox {VERB} --restart`")
    index = Index.from_json(content)
    found = {split: FolderVideos(folder, tuple(v for v in index.videos if v.split == split)) for split in SPLITS}
    return Data(found, index.classes, made)


def _index(folder: FolderSettings, layout: Layout, restart: bool) -> None:
    path, made = layout.video_index(), folder_fingerprint(folder)
    if markers.is_done(path, made) and not restart:
        return
    if path.exists():
        markers.set_aside(path, restart, OTHERS)
    with processes(folder.processes) as executor:
        markers.write_json(path, {"fingerprint": made} | look_through(folder, executor).as_json())
