"""Make the videos of a Video-MNIST study: one store per split, shard by shard, and a contact sheet.

Every split is a step of its own, and its shards are the blocks: what is finished is kept over a kill, and is made again
only where digits, seed or layout are other ones. A store is seen as the stack of all its frames, z being the frame, so
that blocks and progress are counted as everywhere.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part
from sepvox.blockwise import Blockwise, processes
from sepvox.errors import InputError, StaleError
from sepvox.layout import Layout
from sepvox.report import figures
from sepvox.studies.video_mnist.clips import SPLITS, Split, clip, clip_seed
from sepvox.studies.video_mnist.contact_sheet import draw_contact_sheet
from sepvox.studies.video_mnist.digits import Digits, read_digits
from sepvox.studies.video_mnist.motions import BEHAVIOURS, FRAMES, SIDE
from sepvox.studies.video_mnist.settings import VideoSettings
from sepvox.studies.video_mnist.store import VideoStore, read_labels, read_videos
from sepvox.versions import VERSIONS

STEP = "video-mnist"
# Where the settings of the videos stand in the file of this study.
SECTION = "videos"


@dataclass(frozen=True)
class SplitJob:
    """Everything about the videos of one split."""

    split: Split
    seed: int
    digits: Digits
    store: VideoStore
    step: Blockwise

    def make(self, box: Box) -> None:
        """Make the videos of one shard; `box` holds their frames."""
        indices = range(box.begin[0] // FRAMES, box.end[0] // FRAMES)
        clips = [
            clip(self.digits.images[index], int(self.digits.labels[index]), clip_seed(self.seed, self.split, index))
            for index in indices
        ]
        self.store.write_shard(self._shard(box), np.stack(clips))

    def is_there(self, box: Box) -> bool:
        return self.store.has_shard(self._shard(box))

    def _shard(self, box: Box) -> int:
        return box.begin[0] // (FRAMES * self.store.shard)


def make_videos(settings: VideoSettings, layout: Layout, section: str = SECTION, restart: bool = False) -> None:
    """Write videos/{train,validation,test}.zarr and videos/contact-sheet.png of a study.

    Parameters
    ----------
    layout : Layout
        Of the study's results.
    section : str
        Where the settings stand in the study's file, for messages.
    restart : bool
        Move stores of other settings or digits aside instead of refusing to go on.

    Raises
    ------
    InputError
        If the digits cannot be read, or there are fewer than videos are asked for; nothing is written then.
    StaleError
        If there are stores of other settings or digits and `restart` is false.
    StoreError
        If another process writes here, a worker process was killed, or the disk refuses.
    """
    jobs = split_jobs(settings, layout, section)
    # Before the work of any, so that a stale store is told at once.
    for job in jobs:
        job.step.create(job.store.path, job.store.create, restart)
    with processes(settings.processes) as executor:
        for job in jobs:
            job.step.run(Part(0, 1), job.make, executor, job.is_there)
            job.step.finish(partial(job.store.finish, job.digits.labels, _described(job, settings)))
    _write_contact_sheet(layout)


def made_videos(settings: VideoSettings, layout: Layout, section: str = SECTION) -> dict[Split, str]:
    """Fingerprints of the stored videos, which are known then to be those of the settings.

    Raises
    ------
    InputError
        If the digits cannot be read, or there are fewer than videos are asked for.
    StaleError
        If the videos are of other settings or digits.
    StoreError
        If they were not made, or are damaged.
    """
    jobs = split_jobs(settings, layout, section)
    for job in jobs:
        if ome_zarr.attributes(job.store.path)["fingerprint"] != job.step.fingerprint:
            raise StaleError(
                f"{job.store.path}: made with other digits or another section {section}; make the videos again, with --restart"
            )
    return {job.split: job.step.fingerprint for job in jobs}


def split_jobs(settings: VideoSettings, layout: Layout, section: str) -> list[SplitJob]:
    """One job per split, once there are known to be enough digits for all."""
    digits = read_digits(settings.images, f"{section}.images")
    for split, found in digits.items():
        if len(found) < settings.count(split):
            raise InputError(
                f"{section}.{split}: {settings.count(split)} videos were asked for, but {settings.images or 'scikit-learn'} has only {len(found)} digits for this split; ask for at most {len(found)}"
            )
    return [_job(settings, layout, split, digits[split][: settings.count(split)]) for split in SPLITS]


def _job(settings: VideoSettings, layout: Layout, split: Split, digits: Digits) -> SplitJob:
    store = VideoStore(layout.videos(split), len(digits), settings.chunk, settings.shard)
    made = markers.fingerprint(
        STEP, VERSIONS[STEP], split, settings.seed, settings.chunk, settings.shard, digits.fingerprint()
    )
    lattice = Lattice((len(digits) * FRAMES, SIDE, SIDE), (settings.shard * FRAMES, SIDE, SIDE))
    return SplitJob(
        split, settings.seed, digits, store, Blockwise(f"{split} videos", lattice, layout.step(STEP, split), made)
    )


def _described(job: SplitJob, settings: VideoSettings) -> dict[str, Any]:
    """What a store says of itself."""
    return {
        "split": job.split,
        "source": settings.images or "scikit-learn",
        "digits": job.digits.fingerprint(),
        "seed": job.seed,
        "classes": list(BEHAVIOURS),
        "fingerprint": job.step.fingerprint,
    }


def _write_contact_sheet(layout: Layout) -> None:
    """Draw the first training video of each class, as it was stored."""
    labels = read_labels(layout.videos("train"))
    classes, first = np.unique(labels, return_index=True)
    clips = dict(zip(classes.tolist(), read_videos(layout.videos("train"), first), strict=True))
    with figures.look(), markers.replacing(layout.contact_sheet()) as temporary:
        temporary.write_bytes(figures.png(draw_contact_sheet(clips)))
