"""Settings of the network."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sepvox.errors import ConfigError
from sepvox.settings import NEAREST_OFFSETS, NonNegative, Offset, Positive, PositiveFloat, Settings, Shape

NetworkName = Literal["unet", "gonda2018-3d", "gonda2018-p1sc1", "gonda2018-p2sc2", "gonda2018-p3sc2"]
Transformation = Literal["similarity", "affine", "shared"]


class NetworkSettings(Settings):
    """A U-Net whose block is dense, parallel separable or 3DTT, or a network named by its paper."""

    # Keys that an experiment's task does not leave to its user, and why: they keep their defaults, and schema and
    # documentation leave them out.
    refused: ClassVar[Mapping[str, str]] = {}

    name: NetworkName = Field(
        "unet", description="`unet`, or a published network by name, whose other fields are then fixed."
    )
    block: Literal["dense", "pmsc", "tt"] = Field(
        "pmsc", description="Block of each level: two dense 3D convolutions, P_mSC_n, or two 3DTT convolutions."
    )
    m: Positive = Field(2, le=3, description="Parallel streams of a P_mSC_n block, 1 to 3.")
    n: Positive = Field(2, description="2D convolutions per stream of a P_mSC_n block.")
    merge: Literal["concat", "sum"] = Field(
        "concat", description="How streams are merged: concatenated (as released) or summed (supplement, Eq. 7)."
    )
    transformation: Transformation = Field(
        "similarity",
        description="What makes each slice of a tt kernel from the one before: scale, rotation and translation per step, a free 2×3 matrix per step (affine), or one scale, rotation and translation for all steps (shared).",
    )
    temporal_axis: Literal["z", "y", "x"] = Field(
        "z", description="Axis along which the slices of a tt kernel follow each other."
    )
    linear_streams: bool = Field(
        False,
        description="Nothing between the convolutions of a stream; normalisation and LeakyReLU once, after the merge.",
    )
    stream_widths: tuple[tuple[NonNegative, ...], ...] | None = Field(
        None,
        description="Channels between the convolutions of each stream, a list of m for each P_mSC_n block: those of encoders from the first level down, then those of decoders; 0 leaves a summed stream out. Computed by default.",
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

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for key in cls.refused:
            del properties[key]
        return schema

    @model_validator(mode="after")
    def _nothing_refused(self) -> Self:
        for key, why in self.refused.items():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} {why}; remove it")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pooling is not None and len(self.pooling) != self.depth:
            raise ValueError(
                f"pooling has {len(self.pooling)} entries for a depth of {self.depth}; give one per pooling"
            )
        if self.stream_widths is not None:
            self._check_stream_widths(self.stream_widths)
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

    def _check_stream_widths(self, widths: tuple[tuple[int, ...], ...]) -> None:
        if self.block != "pmsc":
            raise ValueError(f"stream_widths: block {self.block} has no streams; remove it, or use `block: pmsc`")
        blocks = (2 * self.depth + 1) * (2 if self.n == 1 else 1)
        if len(widths) != blocks:
            raise ValueError(
                f"stream_widths has {len(widths)} entries for {blocks} P_mSC_n blocks (depth {self.depth}, n {self.n}); give one each"
            )
        for index, each in enumerate(widths):
            if len(each) != self.m:
                raise ValueError(f"stream_widths[{index}] has {len(each)} widths for m {self.m}; give one per stream")
            if not any(each) or (self.merge == "concat" and not all(each)):
                raise ValueError(
                    f"stream_widths[{index}] is {list(each)}; summed streams need one that is not 0, concatenated ones none"
                )


class NeuronNetworkSettings(NetworkSettings):
    """A network for affinities: a U-Net whose block is dense, parallel separable or 3DTT, or a network named by its paper."""

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("in_channels", "out_channels", "deep_supervision"), "belongs to the task classes"
    )


class ClassNetworkSettings(NetworkSettings):
    """A network for classes: its channels follow from the modalities and classes of the experiment."""

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("offsets", "in_channels", "out_channels"), "follows from modalities and classes"
    )

    norm: Literal["none", "batch", "group", "instance"] = Field(
        "instance", description="Normalisation after each convolution."
    )
    width: Positive = Field(16, description="Channels of the first level.")
    depth: Positive = Field(3, le=8, description="Number of poolings, 1 to 8; where they are planned, the most.")
    pooling: tuple[Shape, ...] | None = Field(
        None, description="Pooling factors per level, z y x; planned from shapes and voxel sizes by default."
    )

    @property
    def pooling_is_open(self) -> bool:
        """Whether pooling, and depth with it, is left to the plan of training."""
        return self.weights is None and self.name == "unet" and self.pooling is None

    def with_channels(self, modalities: int, classes: int) -> NetworkSettings:
        """The network itself: a channel in per modality, a channel out per class and one for the background.

        Pooling stays as given, or open. Weights that are named bring their architecture and are not looked at.

        Raises
        ------
        ConfigError
            If a network named by its paper has other channels.
        """
        own = self.model_dump(exclude={"weights"}) if self.name == "unet" else {"name": self.name}
        try:
            return NetworkSettings.model_validate(own | {"in_channels": modalities, "out_channels": classes + 1})
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(f"network: {message}") from None
