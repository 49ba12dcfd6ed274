"""Settings of the Video-MNIST study."""

from typing import Self

from pydantic import Field, model_validator

from sepvox.settings import Name, Positive, Seed, Settings
from sepvox.studies.video_mnist.clips import Split


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


class VideoMnistStudy(Settings):
    """One Video-MNIST study: a YAML file."""

    experiment: Name = Field(description="Name; results go to results/NAME.")
    videos: VideoSettings = Field(description="The videos that all networks of the study see.")
