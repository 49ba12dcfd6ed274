"""Settings of the network."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sepvox.settings import NEAREST_OFFSETS, Offset, Positive, PositiveFloat, Settings, Shape

NetworkName = Literal["unet", "gonda2018-3d", "gonda2018-p1sc1", "gonda2018-p2sc2", "gonda2018-p3sc2"]


class NetworkSettings(Settings):
    """A U-Net whose block is dense or parallel separable, or a network named by its paper."""

    name: NetworkName = Field(
        "unet", description="`unet`, or a published network by name, whose other fields are then fixed."
    )
    block: Literal["dense", "pmsc"] = Field(
        "pmsc", description="Block of each level: two dense 3D convolutions, or P_mSC_n."
    )
    m: Positive = Field(2, le=3, description="Parallel streams of a P_mSC_n block, 1 to 3.")
    n: Positive = Field(2, description="2D convolutions per stream of a P_mSC_n block.")
    merge: Literal["concat", "sum"] = Field(
        "concat", description="How streams are merged: concatenated (as released) or summed (supplement, Eq. 7)."
    )
    norm: Literal["none", "batch", "group", "instance"] = Field(
        "none", description="Normalisation after each convolution; group and instance exclude exact prediction."
    )
    width: Positive = Field(12, description="Channels of the first level.")
    growth: PositiveFloat = Field(2.0, description="Factor by which channels grow per level.")
    depth: Positive = Field(3, le=8, description="Number of poolings, 1 to 8.")
    pooling: tuple[Shape, ...] | None = Field(
        None, description="Pooling factors per level, z y x; by default 2 2 2 at each."
    )
    offsets: tuple[Offset, ...] = Field(
        NEAREST_OFFSETS,
        description="Affinity offsets, one output channel each; the first three are the nearest neighbours, later ones are auxiliary targets.",
    )
    in_channels: Positive = Field(
        1, description="Channels of the image; for MRI the number of modalities, set by the experiment."
    )
    out_channels: Positive | None = Field(None, description="Channels of the output; by default one per offset.")
    deep_supervision: bool = Field(
        False,
        description="Also learn from the outputs of lower levels (1 to depth - 2); prediction is the same and costs the same.",
    )
    weights: str | None = Field(
        None,
        description="safetensors file to start from, or to apply where there is no `train`; its config.json beside it gives the architecture.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pooling is not None and len(self.pooling) != self.depth:
            raise ValueError(
                f"pooling has {len(self.pooling)} entries for a depth of {self.depth}; give one per pooling"
            )
        if self.offsets[:3] != NEAREST_OFFSETS:
            raise ValueError(
                "offsets must begin with [-1,0,0], [0,-1,0], [0,0,-1]; append long-range offsets after these"
            )
        if len(set(self.offsets)) != len(self.offsets) or (0, 0, 0) in self.offsets:
            raise ValueError("offsets must be distinct and not zero")
        chosen = {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}
        channels = {"in_channels", "out_channels"}
        fixed = chosen - {"name", "weights"} - channels
        if self.name != "unet" and fixed:
            raise ValueError(f"network {self.name} is fixed by its paper: remove {', '.join(sorted(fixed))}")
        if self.name != "unet" and (self.in_channels != 1 or self.out_channels not in (None, 3)):
            raise ValueError(
                f"network {self.name} has 1 channel in and 3 out, not in_channels {self.in_channels} and "
                f"out_channels {len(self.offsets) if self.out_channels is None else self.out_channels}; use `name: unet`"
            )
        if self.weights is not None and chosen - {"weights"}:
            raise ValueError(f"weights bring their architecture: remove {', '.join(sorted(chosen - {'weights'}))}")
        return self


class ClassNetworkSettings(NetworkSettings):
    """A network for classes: its channels follow from the modalities and classes of the experiment."""

    norm: Literal["none", "batch", "group", "instance"] = Field(
        "instance", description="Normalisation after each convolution."
    )
    width: Positive = Field(16, description="Channels of the first level.")

    @model_validator(mode="after")
    def _channels_follow(self) -> Self:
        for name in ("offsets", "in_channels", "out_channels"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} follows from modalities and classes; remove it")
        return self
