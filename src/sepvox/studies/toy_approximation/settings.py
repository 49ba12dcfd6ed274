"""Settings of the toy approximation, and how its description was read (Gonda et al. 2018, supplement, Section 2).

A dense network, the *target*, maps volumes of normal noise to three channels between 0 and 1. *Students* learn to give the
same output for the same input: P_mSC_n networks for m in 1, 2, 3 and n in 1, 2, *, and the target's own architecture with
fresh weights, the *dense re-training*. Which of them comes nearest is the paper's Figure 1; its Table 1 is the target: two
convolutions of 3×3×3 with 60 filters, maximum pooling by 2, one more, all with ReLU, and one of 1×1×1 to 3 with a sigmoid.

The description leaves a choice in these places, taken as follows.

input         the table has 30×30×30 voxels, the text 20,000 volumes of 30×20×20×100 of which consecutive channels along the
              last axis are drawn. We read the table: `noise.shape` is 30³ and `noise.channels` is 1. All values being independent, what
              is drawn from a longer axis differs from a volume of its own in nothing but that parts of it come again.
target        it is said to be trained, not on what. Ours has random weights (He et al. 2015) that stay as they are. Its last
              layer is scaled so that each output's logit has mean 0 and standard deviation 2 on noise; otherwise one of the
              three channels is the largest at nearly every voxel.
loss          mean squared error of the three outputs, which an exact copy of the target brings to 0.
accuracy      is not defined. Here it is the share of output voxels at which the largest of the student's three channels is
              the target's.
augmentation  each volume is mirrored along each axis with probability 1/2, anew in every epoch. The target is computed from
              the mirrored volume: the target network does not commute with mirroring, so that its mirrored output would be
              the answer to another question.
widths        where the streams of a block are narrower than channels_out / m by the released formula, they are
              channels_out / m wide: 1 input channel would leave them 8 channels or fewer.
n = *         each stream is the target with its convolutions 3×3 instead of 3×3×3, the pooling where it was, and one line
              convolution of 7 at the end; the 1×1×1 convolution follows.
n = 2         the first two convolutions are one P_mSC_2, the one after the pooling, which has no neighbour, is P_mSC_1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sepvox.config import load_study
from sepvox.settings import Name, Positive, PositiveFloat, Seed, Settings, Shape

ACCURACY = "share of output voxels at which the largest of the three channels is the target's"
LOSS = "mean squared error of the three outputs"


@dataclass(frozen=True)
class Student:
    """A network that learns what the target does; `m` and `n` are None for the dense one, and n may be `*`."""

    m: int | None = None
    n: Literal["1", "2", "*"] | None = None

    @property
    def name(self) -> str:
        """Name for files and commands."""
        return "dense" if self.m is None else f"p{self.m}sc{'-all' if self.n == '*' else self.n}"

    @property
    def label(self) -> str:
        """Name for people."""
        return "dense re-training" if self.m is None else f"P{self.m}SC{self.n}"


DENSE = Student()
STREAMS: tuple[int, ...] = (1, 2, 3)
CHAINS: tuple[Literal["1", "2", "*"], ...] = ("1", "2", "*")
STUDENTS: tuple[Student, ...] = (DENSE, *(Student(m, n) for n in CHAINS for m in STREAMS))


class NoiseSettings(Settings):
    """The volumes: what they are like, and how many there are."""

    shape: Shape = Field((30, 30, 30), description="Extents of a volume, z y x, each even.")
    channels: Positive = Field(1, description="Channels of a volume.")
    train: Positive = Field(20_000, description="Volumes to train on, the same in every epoch.")
    validation: Positive = Field(1_000, description="Volumes to validate on, after every epoch.")

    @model_validator(mode="after")
    def _even(self) -> Self:
        if any(extent % 2 for extent in self.shape):
            raise ValueError(f"shape is {list(self.shape)}, which cannot be pooled by 2; give even extents")
        return self


class LearnSettings(Settings):
    """How students are trained: Adam on the mean squared error."""

    epochs: Positive = Field(100, description="Passes over the volumes.")
    batch: Positive = Field(16, description="Volumes per step.")
    learning_rate: PositiveFloat = Field(0.001, description="Learning rate.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device; auto takes a GPU where there is one.")


class ToyStudy(Settings):
    """One toy approximation: a YAML file. The defaults are the published ones, where there are such."""

    experiment: Name = Field(description="Name; results go to results/NAME.")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        (0,), description="Seeds of the students' weights and volumes; each student is trained once per seed."
    )
    target_seed: Seed = Field(0, description="Seed of the target network and of the volumes to validate on.")
    width: Positive = Field(60, description="Filters of each convolution but the last, a multiple of 6.")
    noise: NoiseSettings = Field(NoiseSettings(), description="The volumes.")
    train: LearnSettings = Field(LearnSettings(), description="Training.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} has one twice; give each once")
        if self.width % 6:
            raise ValueError(
                f"width: {self.width} filters cannot be shared equally by 2 and by 3 streams; give a multiple of 6"
            )
        return self

    def learned(self) -> dict[str, Any]:
        """The settings that what a student learns depends on."""
        return self.model_dump(mode="json", exclude={"experiment": True, "seeds": True, "train": {"device"}})


def read_study(path: str | Path) -> ToyStudy:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has unknown keys, wrong types or impossible combinations.
    """
    return load_study(path, ToyStudy)
