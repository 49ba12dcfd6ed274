"""Settings of the video classification study."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sepvox.config import load_study
from sepvox.errors import ConfigError
from sepvox.nets.clip_networks import CLIP_NETWORK_NAMES, ClipNetwork, clip_network
from sepvox.settings import Name, NonNegative, Positive, PositiveFloat, Seed, Settings
from sepvox.studies.video_mnist.motions import SIDE
from sepvox.studies.video_mnist.settings import VideoSettings

Share = Annotated[float, Field(gt=0, lt=1)]
Strength = Annotated[float, Field(ge=0, lt=1)]


class FolderSettings(Settings):
    """Videos of a user: where they are, how they are divided, and the size that their frames are brought to."""

    path: str = Field(
        description="Folder with one folder per class, and in it videos (.mp4, .avi, .gif) or folders of frames (.png, .jpg)."
    )
    test_list: str | None = Field(
        None,
        description="Text file that names the videos of the test split, one per line, as CLASS/VIDEO; by default a share of each class.",
    )
    test_share: Share = Field(0.2, description="Share of each class that is tested on, where there is no test_list.")
    validation_share: Share = Field(0.1, description="Share of each class's other videos that is validated on.")
    recording: str | None = Field(
        None,
        description="Regular expression of the part of a video's name that cuts of one recording share, such as _g[0-9]+_ in UCF-101; they stay in one split. By default each video is a recording of its own.",
    )
    seed: Seed = Field(0, description="Seed of the division.")
    size: tuple[Positive, Positive] = Field(
        (112, 112), description="Height and width of frames: scaled to cover it, and cut to it around their middle."
    )
    colour: bool = Field(True, description="Three channels, red green blue; otherwise one, the brightness.")
    processes: Positive = Field(1, description="Processes that look through the videos before the first training.")

    @field_validator("recording")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern}: is no regular expression ({error})") from None
        return pattern


class ClipSettings(Settings):
    """Which frames of a video make a clip."""

    frames: Positive = Field(16, description="Frames of a clip.")
    every: Positive = Field(1, description="Distance between frames of a clip, in frames of the video.")
    jitter: NonNegative | None = Field(
        None,
        description="Frames by which a training clip may begin before or after the middle one, which is judged; anywhere where it fits by default.",
    )


class TrainSettings(Settings):
    """Optimiser and augmentation; the defaults are those of Gonda et al. 2018, as far as they are published."""

    epochs: Positive = Field(50, description="Times that every training video is seen.")
    batch: Annotated[int, Field(ge=2)] = Field(16, description="Clips per step; an incomplete last batch is left out.")
    learning_rate: PositiveFloat = Field(1e-5, description="Learning rate of Adam.")
    decay: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="By this the learning rate falls: step i has learning_rate / (1 + decay * i)."
    )
    shift: Strength = Field(0.1, description="Largest shift of a clip along y and x, as a share of its extent.")
    shear: Strength = Field(0.1, description="Largest shear: shift of a row or column per row or column.")
    zoom: Strength = Field(0.1, description="Largest change of size along y and x, as a share.")
    workers: NonNegative = Field(0, description="Loader processes; the result does not depend on them.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto is bfloat16 autocast on a GPU that has it, else float32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device; auto takes a GPU where there is one.")

    @property
    def free(self) -> set[str]:
        """Names of the settings that the weights do not depend on."""
        return {"workers", "device"}


class VideoStudy(Settings):
    """One study of networks that classify videos: a YAML file."""

    experiment: Name = Field(description="Name; results go to results/NAME.")
    mnist: VideoSettings | None = Field(None, description="Videos of Video-MNIST, which are made.")
    folder: FolderSettings | None = Field(None, description="Videos of one's own, instead of mnist.")
    clip: ClipSettings = Field(ClipSettings(), description="What networks see of a video.")
    networks: dict[Name, str] = Field(
        description=f"Networks by names of one's own: {', '.join(CLIP_NETWORK_NAMES)}, each also with -pmsc-M-N or -tt behind.",
        min_length=1,
    )
    width: Positive = Field(
        64, description="Filters of the first convolution of every network; all others grow with it."
    )
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="Each network is trained once with each.")
    train: TrainSettings = Field(TrainSettings(), description="Training.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.mnist is None) == (self.folder is None):
            raise ValueError("give one of `mnist` and `folder`: the videos that are made, or those that there are")
        if self.mnist is not None and self.mnist.train < 2:
            raise ValueError(f"mnist.train: {self.mnist.train} video is no training set; give two or more")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} has one twice; remove it")
        for label in self.networks:
            try:
                self.network(label)
            except ConfigError as error:
                raise ValueError(f"networks.{label}: {error}") from None
        return self

    def units(self) -> dict[str, tuple[str, int]]:
        """What is trained, each by itself: key of `networks` and seed, by the name of its model."""
        return {f"{label}-seed{seed}": (label, seed) for label in self.networks for seed in self.seeds}

    def network(self, label: str, classes: int = 2) -> ClipNetwork:
        """The network of one key of `networks`, for the clips of the study.

        Raises
        ------
        ConfigError
            If there is no such network, or the clips are too small for it.
        """
        name = self.networks[label]
        found = clip_network(name)
        if found is None:
            raise ConfigError(
                f"{name} is none of {', '.join(CLIP_NETWORK_NAMES)}, each also with -pmsc-M-N or -tt behind"
            )
        if self.folder is None:
            channels, height, width = 1, SIDE, SIDE
        else:
            channels, (height, width) = 3 if self.folder.colour else 1, self.folder.size
        return replace(found, width=self.width, clip=(channels, self.clip.frames, height, width), classes=classes)


def read_study(path: str | Path) -> VideoStudy:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
    """
    return load_study(path, VideoStudy, ("mnist.images", "folder.path", "folder.test_list"))
