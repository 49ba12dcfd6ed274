"""Settings of the train step for classes (MRI)."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sepvox.settings import Positive, PositiveFloat, Probability, Settings, Shape
from sepvox.train.settings import BaseTrainSettings


class ClassAugmentSettings(Settings):
    """Random changes of a training patch; every number is the probability of one change in a patch."""

    mirror: tuple[bool, bool, bool] = Field(
        (True, True, True), description="Axes z y x that may be mirrored; false where left and right are classes."
    )
    affine: Probability = Field(0.3, description="Rotation, scaling and shear.")
    elastic: Probability = Field(0.1, description="Smooth elastic deformation.")
    bias_field: Probability = Field(0.3, description="Smooth multiplicative bias field.")
    gamma: Probability = Field(0.3, description="Gamma curve.")
    intensity: Probability = Field(0.3, description="Contrast and brightness.")
    noise: Probability = Field(0.2, description="Gaussian noise.")
    blur: Probability = Field(0.1, description="Gaussian blur.")
    low_resolution: Probability = Field(0.1, description="Simulated lower resolution.")


# Gonda et al. 2018, MRI brain segmentation: patches of 64^3, batches of 4, Adam with a learning rate of 1e-5 and a weight
# decay of 1e-6, 50 epochs.
CLASS_PRESETS: dict[str, dict[str, Any]] = {
    "practical": {},
    "gonda2018": {
        "epochs": 50,
        "patch": (64, 64, 64),
        "batch": 4,
        "learning_rate": 1e-5,
        "weight_decay": 1e-6,
        "schedule": "constant",
        "warmup": 0,
        "gradient_clip": None,
        "ema": 0.0,
    },
}


class ClassTrainSettings(BaseTrainSettings):
    """Patches, classes, loss, optimiser, validation."""

    preset: Literal["practical", "gonda2018"] = Field(
        "practical",
        description="Defaults of the other keys: those listed here, or the published ones of Gonda et al. 2018.",
    )
    epochs: Positive | None = Field(
        None, description="Instead of iterations: one epoch is as many patches as there are training subjects."
    )
    iterations: Positive = Field(5000, description="Optimiser steps.")
    patch: Shape | None = Field(
        None, description="Network input in voxels, z y x; chosen from shapes, spacing and memory by default."
    )
    batch: Positive | None = Field(None, description="Patches per step; chosen from patch and memory by default.")
    memory: PositiveFloat = Field(8.0, description="Gigabytes that a chosen patch and batch may take.")
    foreground: Probability = Field(
        0.67, description="Part of the patches centred on a voxel of a class, each class as often as the others."
    )
    augment: ClassAugmentSettings = Field(ClassAugmentSettings(), description="Augmentation.")
    dice_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="Weight of the Dice loss.")
    cross_entropy_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="Weight of the cross-entropy.")
    validate_every: Positive = Field(250, description="Iterations between validations.")
    select: Literal["loss", "dice"] = Field("dice", description="Which validation figure chooses the best checkpoint.")

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = dict(CLASS_PRESETS.get(given.get("preset", "practical"), {}))
        if "iterations" in given:
            preset.pop("epochs", None)
        return preset | given

    @model_validator(mode="after")
    def _some_loss(self) -> "ClassTrainSettings":
        if self.dice_weight == 0 and self.cross_entropy_weight == 0:
            raise ValueError("dice_weight and cross_entropy_weight are both 0; give one of them a weight")
        return self
