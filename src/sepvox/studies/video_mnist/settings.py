"""Settings of the Video-MNIST study.

A *row* is a number of training videos, a *run* one of the repetitions of a row: other videos, other initial weights. In
every run both networks, dense and 3DTT, see the same videos.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sepvox.config import load_study
from sepvox.errors import ConfigError
from sepvox.settings import Name, NonNegative, Positive, PositiveFloat, Seed, Settings
from sepvox.studies.video_mnist.clips import SPLITS, Split
from sepvox.studies.video_mnist.motions import BEHAVIOURS
from sepvox.studies.video_mnist.published import NETWORKS, TABLE_2, Network, Widths

CLASSES = len(BEHAVIOURS)
# Runs that learning rates are chosen by have the seeds from here on, reported ones those below.
MOST_RUNS = 1_000_000
Runs = Annotated[int, Field(gt=0, le=MOST_RUNS)]
Filters = tuple[Annotated[int, Field(gt=0, lt=10_000)], Annotated[int, Field(gt=0, lt=10_000)]]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Rates = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
Rows = Annotated[tuple[Positive, ...], Field(min_length=1)]


class VideoSettings(Settings):
    """The videos: the digits that they are made of, how many there are, and the layout of their stores."""

    images: str | None = Field(
        None,
        description="MNIST as an .npz file with x_train, y_train, x_test and y_test; scikit-learn's digits by default.",
    )
    seed: Seed = Field(0, description="Seed of the motions.")
    train: Positive = Field(50_000, description="Videos to train on: the first digits of the split.")
    validation: Positive = Field(10_000, description="Videos to validate on.")
    test: Positive = Field(10_000, description="Videos to test on.")
    chunk: Positive = Field(10, description="Videos per Zarr chunk, the unit of reading.")
    shard: Positive = Field(1_000, description="Videos per Zarr shard, the unit of writing, a multiple of the chunk.")
    processes: Positive = Field(1, description="Processes that make videos.")

    @model_validator(mode="after")
    def _shard_of_chunks(self) -> Self:
        if self.shard % self.chunk:
            raise ValueError(f"shard: {self.shard} is not a multiple of the chunk's {self.chunk}")
        return self

    def count(self, split: Split) -> int:
        """How many videos a split has."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


class RateSettings(Settings):
    """Candidates for the learning rate of each network, for inputs in [0, 1]; a single one is taken as it is."""

    dense: Rates = Field((0.003, 0.01, 0.02, 0.03), description="Of the dense network.")
    tt: Rates = Field((1e-6, 3e-6, 1e-5, 3e-5, 1e-4), description="Of the 3DTT network, whose base slices are large.")


class ChooseSettings(Settings):
    """Trainings by which learning rates are chosen; no reported run is one of them."""

    videos: Rows = Field(
        (20,),
        description="Numbers of training videos to choose at. A row takes the rate chosen at the nearest number, by ratio, among those at which its network has the same filters; where there is none, at the nearest of all.",
    )
    runs: Runs = Field(2, description="Trainings per candidate and number of videos.")


class LearnSettings(Settings):
    """How a network is trained: SGD with momentum on cross-entropy."""

    seed: Seed = Field(0, lt=2**40, description="Run r takes videos, weights and order from seed + r.")
    epochs: Positive = Field(100, description="Passes over the training videos.")
    batch: Positive = Field(20, description="Videos per step; all of them where there are fewer.")
    momentum: Momentum = Field(0.9, description="Momentum.")
    learning_rates: RateSettings = Field(RateSettings(), description="Candidates per network.")
    choose: ChooseSettings = Field(ChooseSettings(), description="How they are chosen.")
    transformations: PositiveFloat = Field(
        1.0, description="Learning rate of a 3DTT's scales, rotations and translations as a multiple of the other's."
    )
    validation_videos: Positive = Field(
        500, description="Videos of the fixed class-balanced subset of the validation split that is validated on."
    )
    validate_every: Positive = Field(1, description="Epochs between validations.")
    patience: Positive = Field(
        10, description="Epochs without a rise of validation accuracy after which the learning rate is lowered."
    )
    factor: Fraction = Field(0.5, description="What it is multiplied by.")
    stop_after: Positive | None = Field(
        None, description="Epochs without a rise after which training ends before the last epoch; never by default."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device; auto takes a GPU where there is one.")
    checkpoint_every: Positive = Field(
        10, description="Epochs between checkpoints: what a kill can cost; the result does not depend on it."
    )

    def rates(self, network: Network) -> tuple[float, ...]:
        """Candidates of a network."""
        return {"dense": self.learning_rates.dense, "tt": self.learning_rates.tt}[network]

    @property
    def chooses(self) -> bool:
        """Whether the learning rate of any network is to be chosen."""
        return any(len(self.rates(network)) > 1 for network in NETWORKS)

    @property
    def free(self) -> set[str]:
        """Names of the settings that the weights of a run of given learning rate do not depend on."""
        return {"device", "checkpoint_every", "learning_rates", "choose"}


class JudgeSettings(Settings):
    """What the chosen weights are tested on."""

    videos: Positive | None = Field(
        None, description="Videos of a fixed class-balanced subset of the test split; the whole split by default."
    )
    whole_runs: NonNegative = Field(
        0, description="How many runs of each row are tested on the whole split too, where a subset is given."
    )


class WidthSettings(Settings):
    """Filters of the two convolutions of each network."""

    dense: Filters = Field(description="Of the dense network.")
    tt: Filters = Field(description="Of the 3DTT network.")


class TableSettings(Settings):
    """Table 2 of Ras et al. (2019): which rows, how many runs, and how they are trained and tested."""

    rows: Rows = Field(tuple(TABLE_2), description="Numbers of training videos.")
    runs: Runs = Field(30, description="Runs per row.")
    widths: WidthSettings | None = Field(
        None, description="Filters in every row; by default those of the published totals, which differ by row."
    )
    train: LearnSettings = Field(LearnSettings(), description="Training.")
    test: JudgeSettings = Field(JudgeSettings(), description="Test.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        chosen = {"train.choose.videos": self.train.choose.videos} if self.train.chooses else {}
        for key, rows in ({"rows": self.rows} | chosen).items():
            _check_counts(key, rows)
            unknown = [row for row in rows if row not in TABLE_2]
            if unknown and self.widths is None:
                raise ValueError(
                    f"{key}: {unknown[0]} is no row of the published table ({', '.join(map(str, TABLE_2))}), so its filters are not known; give widths"
                )
        for key, count in (
            ("train.validation_videos", self.train.validation_videos),
            ("test.videos", self.test.videos),
        ):
            if count is not None and count % CLASSES:
                raise ValueError(f"{key}: {count} is not a multiple of the {CLASSES} classes, so it cannot be balanced")
        if self.test.whole_runs > self.runs:
            raise ValueError(f"test.whole_runs: {self.test.whole_runs} is more than the {self.runs} runs")
        return self

    def filters(self, network: Network, videos: int) -> Widths:
        """Filters of the two convolutions of a network in a row."""
        if self.widths is None:
            return TABLE_2[videos].widths[network]
        return self.widths.dense if network == "dense" else self.widths.tt


def _check_counts(key: str, counts: Sequence[int]) -> None:
    for count in counts:
        if count % CLASSES:
            raise ValueError(f"{key}: {count} is not a multiple of the {CLASSES} classes, so it cannot be balanced")
    if len(set(counts)) != len(counts):
        raise ValueError(f"{key}: {list(counts)} has a number twice")


class VideoMnistStudy(Settings):
    """One Video-MNIST study: a YAML file."""

    experiment: Name = Field(description="Name; results go to results/NAME.")
    videos: VideoSettings = Field(description="The videos that all networks of the study see.")
    table: TableSettings | None = Field(None, description="The trainings and their table; without it videos only.")

    @model_validator(mode="after")
    def _enough_videos(self) -> Self:
        if self.table is None:
            return self
        train = self.table.train
        asked = {
            ("table.rows", "train"): max(self.table.rows),
            ("table.train.choose.videos", "train"): max(train.choose.videos) if train.chooses else 0,
            ("table.train.validation_videos", "validation"): train.validation_videos,
            ("table.test.videos", "test"): self.table.test.videos or 0,
        }
        available: dict[str, int] = {split: self.videos.count(split) for split in SPLITS}
        for (key, split), count in asked.items():
            if count > available[split]:
                raise ValueError(
                    f"{key}: {count} videos are asked for, but videos.{split} is {available[split]}; make it larger"
                )
        return self

    def with_table(self) -> TableSettings:
        """The section `table`.

        Raises
        ------
        ConfigError
            If there is none.
        """
        if self.table is None:
            raise ConfigError("table: missing section; add it, `table: {}` for the published table")
        return self.table


def read_study(path: str | Path) -> VideoMnistStudy:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
    """
    return load_study(path, VideoMnistStudy, ("videos.images",))
