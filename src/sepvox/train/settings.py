"""Settings of the train step."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sepvox.settings import NonNegative, Positive, PositiveFloat, Probability, Seed, Settings, Shape


class AugmentSettings(Settings):
    """Random changes of a training patch; every number is the probability of one change in a patch unless said otherwise."""

    symmetries: bool = Field(True, description="Random mirror and rotation: 48 on isotropic, 16 on anisotropic voxels.")
    elastic: Probability = Field(0.2, description="Smooth elastic deformation of image and labels.")
    intensity: Probability = Field(0.8, description="Random contrast, brightness and gamma.")
    noise: Probability = Field(0.3, description="Gaussian noise.")
    blur: Probability = Field(0.2, description="Gaussian blur.")
    missing_sections: Probability = Field(0.05, description="Blank z sections.")
    misaligned_sections: Probability = Field(0.05, description="Shift or slip of the sections beyond a random z.")


class LossSettings(Settings):
    """What is minimised: a pointwise loss first, MALIS after `switch_at` iterations where it is given."""

    pointwise: Literal["bce", "mse"] = Field(
        "bce", description="Pointwise loss: binary cross-entropy, or squared error (Euclidean)."
    )
    balance: bool = Field(True, description="Weigh the two classes of each affinity channel equally within a batch.")
    switch_at: NonNegative | None = Field(
        None,
        description="Iteration from which MALIS replaces the pointwise loss on the three nearest affinities; never by default.",
    )
    auxiliary_weight: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Weight of the long-range channels relative to the nearest ones."
    )


Decay = Annotated[float, Field(ge=0, lt=1)]

# Gonda et al. 2018: 132^3 inputs, 300,000 iterations of which the first 50,000 Euclidean and then MALIS, Adam with a
# learning rate of 1e-4. The betas and the weight decay are those of the released code; the text has momentum 0.9 and 1e-5.
PRESETS: dict[str, dict[str, Any]] = {
    "practical": {},
    "gonda2018": {
        "iterations": 300_000,
        "patch": (132, 132, 132),
        "loss": {"pointwise": "mse", "balance": False, "switch_at": 50_000},
        "learning_rate": 1e-4,
        "betas": (0.99, 0.999),
        "weight_decay": 5e-6,
        "schedule": "constant",
        "warmup": 0,
        "gradient_clip": None,
        "ema": 0.0,
        "select": "loss",
    },
}


class BaseTrainSettings(Settings):
    """What trainings of every task share: optimiser, schedule, device, how often to validate and to save."""

    seed: Seed = Field(0, description="Seed of weights, patches and augmentation.")
    iterations: Positive = Field(20000, description="Optimiser steps.")
    workers: NonNegative = Field(1, description="Loader processes; the result does not depend on them.")
    learning_rate: PositiveFloat = Field(1e-3, description="Learning rate of Adam.")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="Momentum coefficients of Adam.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 weight decay of Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over the run; cosine falls to a hundredth."
    )
    warmup: NonNegative = Field(100, description="Iterations over which the learning rate rises linearly.")
    gradient_clip: PositiveFloat | None = Field(1.0, description="Largest norm of the gradient.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="Decay of the moving average of the weights that is validated and published; 0 for none."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto is bfloat16 autocast on a GPU that has it, else float32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device; auto takes a GPU where there is one.")
    validate_every: Positive = Field(1000, description="Iterations between validations.")
    checkpoint_every: Positive = Field(
        200, description="Iterations between checkpoints: what a kill can cost; the result does not depend on it."
    )
    patience: Positive | None = Field(
        None, description="Validations without improvement after which training stops; none by default."
    )
    tensorboard: bool = Field(True, description="Write TensorBoard events to the model's state folder.")

    @property
    def free(self) -> set[str]:
        """Names of the settings that the weights do not depend on."""
        return {"workers", "device", "tensorboard", "checkpoint_every"}


class TrainSettings(BaseTrainSettings):
    """Patches, affinities, loss, optimiser, validation."""

    preset: Literal["practical", "gonda2018"] = Field(
        "practical",
        description="Defaults of the other keys: those listed here, or the published ones of Gonda et al. 2018.",
    )
    batch: Positive = Field(
        2, description="Patches per step; PyTorch's convolutions of one small patch alone are slow on a CPU."
    )
    patch: Shape = Field((64, 64, 64), description="Network input in voxels, z y x.")
    augment: AugmentSettings = Field(AugmentSettings(), description="Augmentation.")
    loss: LossSettings = Field(LossSettings(), description="Loss.")
    erode_labels: NonNegative = Field(
        0,
        description="Voxels by which labels are eroded in each section before affinities are made, so that touching objects get a boundary.",
    )
    background: Literal["unknown", "boundary"] = Field(
        "unknown",
        description="What label 0 means inside a region: unknown, and left out, or membrane and outside, and separated.",
    )
    validation_crop: Shape = Field(
        (96, 96, 96), description="Centre crop of each validation volume on which loss and VI are computed."
    )
    select: Literal["loss", "voi"] = Field("voi", description="Which validation figure chooses the best checkpoint.")

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = PRESETS.get(given.get("preset", "practical"), {})
        nested = {
            key: value | given[key]
            for key, value in preset.items()
            if isinstance(value, dict) and isinstance(given.get(key), dict)
        }
        return preset | given | nested

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.loss.switch_at is not None and self.loss.switch_at >= self.iterations:
            raise ValueError(
                f"loss.switch_at is {self.loss.switch_at}, not below iterations = {self.iterations}; MALIS would never start"
            )
        return self
