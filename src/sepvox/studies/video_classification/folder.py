"""Videos in folders of their classes: which there are, how many frames each has, and to which split it belongs.

All are looked through once, before anything is trained, so that a video that cannot be read is told in the first minutes.
What was found is kept in videos/index.json.
"""

import re
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sepvox import markers
from sepvox.errors import InputError
from sepvox.studies.video_classification.reader import FRAME_SUFFIXES, VIDEO_SUFFIXES, count_frames
from sepvox.studies.video_classification.settings import FolderSettings
from sepvox.studies.video_mnist.clips import SPLITS, Split
from sepvox.versions import VERSIONS

STEP = "video"


@dataclass(frozen=True)
class Video:
    """One video: its path relative to the folder of all, the number of its class, its frames, and its split."""

    path: str
    label: int
    frames: int
    split: Split


@dataclass(frozen=True)
class Index:
    """All videos of a folder, and the names of their classes."""

    classes: tuple[str, ...]
    videos: tuple[Video, ...]

    def as_json(self) -> dict[str, Any]:
        """The index as plain dictionaries and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Index":
        """The index that `as_json` wrote."""
        return cls(tuple(content["classes"]), tuple(Video(**video) for video in content["videos"]))


def look_through(settings: FolderSettings, executor: Executor | None = None) -> Index:
    """Find, divide and decode all videos of a folder.

    Parameters
    ----------
    executor : Executor, optional
        What decodes them; this process by default.

    Raises
    ------
    InputError
        If there are fewer than two classes, a class has too few videos, the list of tested ones names another, or a video
        has no frames or cannot be read.
    """
    folder = Path(settings.path)
    found = find_videos(folder)
    splits = divide(found, settings)
    paths = [path for videos in found.values() for path in videos]
    files = [folder / path for path in paths]
    counted = map(count_frames, files) if executor is None else executor.map(count_frames, files, chunksize=8)
    labels = {path: label for label, videos in enumerate(found.values()) for path in videos}
    videos = [Video(path, labels[path], frames, splits[path]) for path, frames in zip(paths, counted, strict=True)]
    return Index(tuple(found), tuple(videos))


def find_videos(folder: Path) -> dict[str, list[str]]:
    """Paths, relative to `folder`, of the videos of each class; classes and videos are in the order of their names.

    Raises
    ------
    InputError
        If there are fewer than two classes, or one without videos.
    """
    if not folder.is_dir():
        raise InputError(f"folder.path: {folder}: no such folder; give one that has a folder per class")
    classes = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if len(classes) < 2:
        have = f"only one class, {classes[0].name}" if classes else "no folders of classes"
        raise InputError(f"folder.path: {folder}: has {have}; expected two or more folders, one per class")
    found = {}
    for each in classes:
        videos = [path for path in sorted(each.iterdir()) if _is_video(path)]
        if not videos:
            raise InputError(
                f"folder.path: {each}: has no videos; expected files {', '.join(VIDEO_SUFFIXES)}, or folders of frames {', '.join(FRAME_SUFFIXES)}"
            )
        found[each.name] = [str(path.relative_to(folder)) for path in videos]
    return found


def divide(found: Mapping[str, Sequence[str]], settings: FolderSettings) -> dict[str, Split]:
    """The split of every video.

    Of each class the test videos are those of the list, or a share drawn with the seed; of the others a share is drawn to
    validate on. Every split has at least one video of each class. Recordings are drawn as a whole.

    Raises
    ------
    InputError
        If the list of test videos cannot be read, names another video or a part of a recording, or a class has too few videos.
    """
    listed = None if settings.test_list is None else _listed(Path(settings.test_list), found)
    splits: dict[str, Split] = {}
    rng = np.random.default_rng(settings.seed)
    for name, videos in found.items():
        together = _recordings(videos, settings.recording)
        shuffled = [together[index] for index in rng.permutation(len(together))]
        if listed is None:
            tested, others = _share(shuffled, settings.test_share)
        else:
            tested = sorted(listed.intersection(videos))
            others = [recording for recording in shuffled if not listed.intersection(recording)]
            _check_whole(shuffled, listed, settings)
        if not tested or len(others) < 2:
            what = "videos" if settings.recording is None else "recordings"
            raise InputError(
                f"folder.path: class {name} has {len(together)} {what}, {len(together) - len(others)} of them to test on; each class needs one to test on and two others, to train and to validate on"
            )
        validated, trained = _share(others, settings.validation_share)
        splits |= dict.fromkeys(tested, SPLITS[2])
        splits |= dict.fromkeys(validated, SPLITS[1])
        splits |= {video: SPLITS[0] for recording in trained for video in recording}
    return splits


def _recordings(videos: Sequence[str], pattern: str | None) -> list[list[str]]:
    """Videos that stay together, in the order of the first of them; every video by itself where nothing says otherwise.

    Raises
    ------
    InputError
        If a name is none that the pattern tells the recording of.
    """
    if pattern is None:
        return [[video] for video in videos]
    together: dict[str, list[str]] = {}
    for video in videos:
        match = re.search(pattern, Path(video).name)
        if match is None:
            raise InputError(
                f"folder.recording: {pattern} is nowhere in {video}; give a regular expression that every video's name has"
            )
        together.setdefault(match[0], []).append(video)
    return list(together.values())


def _check_whole(recordings: Sequence[Sequence[str]], listed: Set[str], settings: FolderSettings) -> None:
    """Raise InputError if the list of test videos tears a recording apart."""
    for recording in recordings:
        tested, left = [[video for video in recording if (video in listed) is there] for there in (True, False)]
        if tested and left:
            raise InputError(
                f"folder.test_list: {settings.test_list}: names {tested[0]} but not {left[0]}, of one recording by folder.recording {settings.recording}; list both or neither"
            )


def _share(recordings: Sequence[list[str]], share: float) -> tuple[list[str], list[list[str]]]:
    """Videos of the first recordings, as many as make up a share of all, and the recordings that are left, one at least."""
    wanted = max(1, round(share * sum(map(len, recordings))))
    taken: list[str] = []
    for place, recording in enumerate(recordings):
        if len(taken) >= wanted or place == len(recordings) - 1:
            return taken, list(recordings[place:])
        taken += recording
    return taken, []


def folder_fingerprint(settings: FolderSettings) -> str:
    """Of all that an index and the frames depend on: settings, and the size and time of change of every file.

    Raises
    ------
    InputError
        If there are fewer than two classes, or one without videos.
    """
    root = Path(settings.path)
    videos = [root / path for paths in find_videos(root).values() for path in paths]
    files = [file for video in videos for file in (sorted(video.iterdir()) if video.is_dir() else [video])]
    listed = [] if settings.test_list is None else [Path(settings.test_list)]
    known = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files + listed if path.exists()]
    return markers.fingerprint(STEP, VERSIONS[STEP], settings.model_dump(mode="json", exclude={"processes"}), known)


def _is_video(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES


def _listed(path: Path, found: Mapping[str, Sequence[str]]) -> set[str]:
    try:
        listed = {line.strip() for line in path.read_text().splitlines() if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"folder.test_list: {path}: cannot be read as text ({type(error).__name__}); give a file with one CLASS/VIDEO per line"
        ) from None
    unknown = sorted(listed.difference(*found.values()))
    if unknown:
        raise InputError(
            f"folder.test_list: {path}: names {unknown[0]}, which is not there (and {len(unknown) - 1} more); lines are CLASS/VIDEO, relative to folder.path"
        )
    return listed
