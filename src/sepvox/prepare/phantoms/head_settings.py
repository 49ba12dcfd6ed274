"""Settings of the head phantom: how many subjects, which contrasts, on which grid, and how hard to segment."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sepvox.settings import NonNegative, Positive, PositiveFloat, Settings, Shape

Contrast = Literal["T1w", "T2w", "FLAIR"]


class HeadPhantomSettings(Settings):
    """Synthetic head MRI of several subjects with exact ground truth; the head fills the grid, whatever its size."""

    kind: Literal["head"] = Field("head", description="Kind of phantom.")
    subjects: Positive = Field(12, description="Number of subjects; a subject is the same however many there are.")
    contrasts: Annotated[tuple[Contrast, ...], Field(min_length=1)] = Field(
        ("T1w",), description="Contrasts of every subject, on one grid: T1w, T2w, FLAIR."
    )
    shape: Shape = Field(
        (48, 56, 48), description="Grid of a head in voxels, z y x from the feet, back and left; it varies by subject."
    )
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (3.5, 3.5, 3.5), description="Edge lengths of a voxel in millimetres, z y x of the upright head."
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        0.03, description="Standard deviation of the Rician noise, as a fraction of the brightness of white matter."
    )
    bias: Annotated[float, Field(ge=0)] = Field(
        0.16, description="Standard deviation of the logarithm of the bias field; 0 leaves it out."
    )
    seed: NonNegative = Field(0, description="Seed; the same seed and subject give the same head.")
    oblique: Annotated[float, Field(ge=0, lt=45)] = Field(
        12.0, description="Largest angle between the grid and the axes of the world, in degrees."
    )

    @field_validator("contrasts")
    @classmethod
    def _no_contrast_twice(cls, contrasts: tuple[Contrast, ...]) -> tuple[Contrast, ...]:
        if len(set(contrasts)) < len(contrasts):
            raise ValueError(f"{', '.join(contrasts)}: a contrast is named twice; name each once")
        return contrasts
