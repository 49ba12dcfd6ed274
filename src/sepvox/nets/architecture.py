"""What a network is made of, as plain numbers: no tensors, no torch.

A *level* is one resolution of a U-Net; level 0 is the input's, and level l + 1 follows from level l by pooling with
`pooling[l]`. The *reach* of a level's block is the number of voxels, along each axis and to each side, that its
convolutions look at together. *Padding* is `same` (every convolution keeps the extents) or `valid` (every convolution
takes its reach off each side). The configuration's `NetworkSettings` resolve to one `Architecture`, from which the network
is built and its geometry computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from sepvox.nets.settings import NetworkSettings, Transformation

Triple = tuple[int, int, int]
Part = Literal["encoder", "decoder"]

RELEASED_SLOPE = 0.005


@dataclass(frozen=True)
class Architecture:
    """One U-Net in numbers.

    Attributes
    ----------
    name : str
        Name by which the configuration asks for it.
    block, m, n, merge, linear_streams, stream_widths, norm, transformation
        As in `NetworkSettings`.
    widths : tuple of int
        Channels per level, from the input's resolution down; one more than there are poolings.
    pooling : tuple of (int, int, int)
        Pooling factors per level, z y x.
    padding : {"same", "valid"}
        Padding of every convolution.
    in_channels, out_channels : int
        Channels of the image and of the output.
    supervised : tuple of int
        Lower levels whose decoders have an output of their own while the network is trained, from the finest down.
    temporal_axis : int
        Axis along which the slices of a `tt` kernel follow each other: 0, 1, 2 for z, y, x.
    """

    name: str
    block: Literal["dense", "pmsc", "tt"]
    m: int
    n: int
    merge: Literal["concat", "sum"]
    norm: Literal["none", "batch", "group", "instance"]
    widths: tuple[int, ...]
    pooling: tuple[Triple, ...]
    padding: Literal["same", "valid"]
    in_channels: int
    out_channels: int
    supervised: tuple[int, ...] = ()
    transformation: Transformation = "similarity"
    temporal_axis: int = 0
    linear_streams: bool = False
    stream_widths: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.pooling) + 1:
            raise ValueError(f"{len(self.widths)} widths for {len(self.pooling)} poolings; one more is needed")

    @property
    def joint(self) -> bool:
        """Whether one P_mSC_n block replaces both convolutions of a level (n > 1)."""
        return self.block == "pmsc" and self.n > 1

    @property
    def reach(self) -> int:
        """Voxels along each axis and to each side that one level's convolutions look at."""
        return self.n if self.joint else 2

    def channels(self, part: Part, level: int) -> tuple[int, int]:
        """Channels in and out of a level's encoder or decoder."""
        after = self.widths[level]
        if part == "decoder":
            return 2 * after, after
        return (self.widths[level - 1] if level else self.in_channels), after

    def applications(self, part: Part, level: int) -> tuple["Application", ...]:
        """The blocks that a level's encoder or decoder applies, one after the other."""
        before, after = self.channels(part, level)
        channels = ((before, after),) if self.joint else ((before, after), (after, after))
        if self.block != "pmsc":
            return tuple(Application(*each, ()) for each in channels)
        if self.stream_widths is None:
            return tuple(Application(*each, (stream_width(*each, self.m),) * self.m) for each in channels)
        first = (level if part == "encoder" else len(self.widths) + level) * len(channels)
        widths = self.stream_widths[first : first + len(channels)]
        return tuple(Application(*each, own) for each, own in zip(channels, widths, strict=True))


@dataclass(frozen=True)
class Application:
    """One block of a level: channels in and out, and those between the convolutions of each stream, if it has any."""

    channels_in: int
    channels_out: int
    stream_widths: tuple[int, ...]


def _published(name: str, block: Literal["dense", "pmsc"], m: int, n: int) -> Architecture:
    return Architecture(
        name=name,
        block=block,
        m=m,
        n=n,
        merge="concat",
        norm="none",
        widths=(24, 72, 216, 648),
        pooling=((2, 2, 2),) * 3,
        padding="valid",
        in_channels=1,
        out_channels=3,
    )


PUBLISHED: Mapping[str, Architecture] = MappingProxyType(
    {
        "gonda2018-3d": _published("gonda2018-3d", "dense", 1, 1),
        "gonda2018-p1sc1": _published("gonda2018-p1sc1", "pmsc", 1, 1),
        "gonda2018-p2sc2": _published("gonda2018-p2sc2", "pmsc", 2, 2),
        "gonda2018-p3sc2": _published("gonda2018-p3sc2", "pmsc", 3, 2),
    }
)
"""The four networks of Gonda et al. 2018 (parallel separable 3D convolution), as released."""


def architecture(settings: NetworkSettings) -> Architecture:
    """Resolve the configuration of a network to its numbers.

    Widths of the practical family are `width * growth ** level`, rounded to the nearest whole number; where streams are
    concatenated, up to a multiple of `m`, so that every stream yields as many channels as the others.

    Deep supervision reaches all levels but the lowest two, as in nnU-Net (Isensee et al. 2021): those are too coarse to
    tell classes apart. A network of depth 1 or 2 therefore has no such level beside the output's own.
    """
    if settings.name != "unet":
        return PUBLISHED[settings.name]
    concatenated = settings.block == "pmsc" and settings.merge == "concat"
    multiple = settings.m if concatenated else 1
    widths = (max(1, round(settings.width * settings.growth**level)) for level in range(settings.depth + 1))
    return Architecture(
        name=settings.name,
        block=settings.block,
        m=settings.m,
        n=settings.n,
        merge=settings.merge,
        norm=settings.norm,
        widths=tuple(-(-width // multiple) * multiple for width in widths),
        pooling=settings.pooling if settings.pooling is not None else ((2, 2, 2),) * settings.depth,
        padding="same",
        in_channels=settings.in_channels,
        out_channels=len(settings.offsets) if settings.out_channels is None else settings.out_channels,
        linear_streams=settings.linear_streams,
        stream_widths=settings.stream_widths,
        supervised=tuple(range(1, settings.depth - 1)) if settings.deep_supervision else (),
        transformation=settings.transformation,
        temporal_axis="zyx".index(settings.temporal_axis),
    )


def intermediate_width(channels_in: int, channels_out: int, m: int, extent: int = 3) -> int:
    """Channels between the convolutions of one stream of a P_mSC_n block, as released with Gonda et al. 2018.

    M = floor(27 C_in C_out / (9 C_in + 3 C_out)), at least 3, is the width at which a plane convolution followed by a line
    convolution has as many weights as one dense 3×3×3 convolution. Each of the `m` streams gets int(M / m), at most C_out
    and at most 512. For kernels of another `extent` k the same holds with k³, k² and k in the place of 27, 9 and 3.
    """
    dense = extent**3 * channels_in * channels_out
    whole = max(3, dense // (extent**2 * channels_in + extent * channels_out))
    return min(max(1, whole // m), channels_out, 512)


def stream_width(channels_in: int, channels_out: int, m: int) -> int:
    """Channels between the convolutions of one stream in the practical family: at least channels_out / m.

    The published formula leaves 3 channels in the first level of a small network, through which the whole image would have
    to pass.
    """
    return max(intermediate_width(channels_in, channels_out, m), channels_out // m)
