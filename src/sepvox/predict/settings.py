"""Settings of the predict step."""

from typing import Annotated, Literal

from pydantic import Field

from sepvox.settings import Positive, Settings, Shape


class PredictSettings(Settings):
    """How a network is applied to a volume of any size."""

    mode: Literal["exact", "blend"] = Field(
        "exact",
        description="exact: tiles equal one pass over the whole volume; blend: overlapping tiles, Gaussian-weighted.",
    )
    tile: Shape | None = Field(
        None,
        description="Exact mode: output voxels per forward pass; blend mode: input of the network; z y x. The block by default, halved when memory runs out.",
    )
    overlap: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.25, description="Blend mode: overlap of neighbouring tiles, as a fraction of the tile."
    )
    augment: Literal["none", "mirror", "symmetries"] = Field(
        "none",
        description="Test-time augmentation: none, the 8 mirrorings, or all 48 (isotropic) or 16 (anisotropic) symmetries.",
    )
    long_range: bool = Field(
        False, description="Store the long-range channels too; segmentation uses the three nearest only."
    )
    block: Shape | None = Field(
        None,
        description="Voxels written as one unit of resuming, a multiple of the shard; one shard by default.",
    )
    slices: Positive = Field(1, description="Jobs per volume.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes every GPU there is, else the CPU.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto is bfloat16 autocast on a GPU in blend mode, else float32."
    )

    @property
    def free(self) -> set[str]:
        """Names of the settings that affinities do not depend on."""
        return {"slices", "device"} | ({"tile"} if self.mode == "exact" else set())


class ClassPredictSettings(Settings):
    """How a network for classes is applied to a subject of any size: Gaussian-weighted overlapping tiles."""

    tile: Shape | None = Field(None, description="Input of the network, z y x; the training patch by default.")
    overlap: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.5, description="Overlap of neighbouring tiles, as a fraction of the tile."
    )
    augment: Literal["none", "mirror"] = Field(
        "none", description="Test-time augmentation: none, or the mirrorings along the axes that training mirrored."
    )
    slices: Positive = Field(1, description="Jobs per model over which the subjects are divided.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU where there is one.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto is bfloat16 autocast on a GPU that has it, else float32."
    )

    @property
    def free(self) -> set[str]:
        """Names of the settings that the result does not depend on."""
        return {"slices", "device"}
