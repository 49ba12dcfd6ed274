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
