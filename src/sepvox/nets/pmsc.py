"""Parallel separable 3D convolution, P_mSC_n (Gonda et al. 2018).

A dense 3D convolution is replaced by `m` parallel *streams*. Stream a (a = 1..m for z, y, x) has `n` plane convolutions,
3×3 over the two axes other than a, and then one line convolution of 2n+1 along axis a. Together they look `n` voxels to each
side along every axis, as n dense 3×3×3 convolutions do; so streams can be joined voxel by voxel, with valid padding too.

After each convolution come normalisation and LeakyReLU. In *linear* streams they come once, after the merge: then one block
with n = 1, summed, computes what a dense convolution with the sum of the streams' kernels does, and the LeakyReLU behind it.
"""

from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from sepvox.nets.architecture import Triple, intermediate_width
from sepvox.nets.convolution import Style, activation, convolution, unit


class PmSC(nn.Module):
    """P_mSC_n block: (batch, channels_in, z, y, x) to (batch, out_channels, z, y, x).

    `out_channels` is channels_out, but for concatenated streams whose number does not divide it: then the next multiple below.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels. Concatenated, each stream yields int(channels_out / m) channels; summed, each yields channels_out.
    m : int
        Number of streams, 1 to 3.
    n : int
        Plane convolutions per stream.
    merge : {"concat", "sum"}
        Streams are concatenated, as released, or summed, as in Eq. 7 of the paper's supplement.
    style : Style
        Padding, normalisation and slope. Valid padding takes n voxels off each side.
    widths : tuple of int, optional
        Channels between the convolutions of each stream, by default `intermediate_width(channels_in, channels_out, m)`;
        0 leaves a stream out, which only summed ones allow.
    linear : bool
        Nothing between the convolutions of a stream.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        m: int,
        n: int,
        merge: Literal["concat", "sum"] = "concat",
        *,
        style: Style,
        widths: tuple[int, ...] | None = None,
        linear: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= m <= 3:
            raise ValueError(f"m is {m}; there are 1 to 3 streams, one per axis")
        widths = (intermediate_width(channels_in, channels_out, m),) * m if widths is None else widths
        each = channels_out // m if merge == "concat" else channels_out
        self.merge = merge
        self.out_channels = each * m if merge == "concat" else each
        there = [(axis, width) for axis, width in enumerate(widths) if width]
        if linear:
            # One bias is enough for a sum.
            biased = range(len(there) if merge == "concat" else 1) if style.norm == "none" else ()
            streams = [
                _linear_stream(axis, channels_in, each, n, style, width, bias=place in biased)
                for place, (axis, width) in enumerate(there)
            ]
        else:
            streams = [_stream(axis, channels_in, each, n, style, width) for axis, width in there]
        self.streams = nn.ModuleList(streams)
        self.after = activation(self.out_channels, style) if linear else nn.Identity()
        if merge == "sum":
            self._share_variance(len(there))

    def forward(self, image: Tensor) -> Tensor:
        results: list[Tensor] = [stream(image) for stream in self.streams]
        result: Tensor = self.after(results[0] if len(results) == 1 else self._merged(results))
        return result

    def _merged(self, results: list[Tensor]) -> Tensor:
        # The sum of a stack would be laid out channel by channel, and every convolution after it would convert it back.
        return torch.cat(results, dim=1) if self.merge == "concat" else reduce(torch.add, results)

    def _share_variance(self, count: int) -> None:
        """Make the sum of `count` independent streams vary as much as a single one would, before any training."""
        for stream in self.streams:
            line = [module for module in stream.modules() if isinstance(module, nn.Conv3d)][-1]
            with torch.no_grad():
                line.weight.div_(count**0.5)


def _stream(axis: int, channels_in: int, channels_out: int, n: int, style: Style, width: int) -> nn.Sequential:
    """`n` plane convolutions across `axis`, one line convolution of 2n+1 along it."""
    planes = [unit(width if i else channels_in, width, _kernel(axis, 3, along=False), style) for i in range(n)]
    return nn.Sequential(*planes, unit(width, channels_out, _kernel(axis, 2 * n + 1, along=True), style))


def _linear_stream(
    axis: int, channels_in: int, channels_out: int, n: int, style: Style, width: int, *, bias: bool
) -> nn.Sequential:
    """The convolutions of `_stream` and nothing else."""

    def plane(before: int) -> nn.Conv3d:
        return convolution(before, width, _kernel(axis, 3, along=False), style, bias=False, before="linear")

    planes = [plane(width if i else channels_in) for i in range(n)]
    line = convolution(width, channels_out, _kernel(axis, 2 * n + 1, along=True), style, bias=bias)
    return nn.Sequential(*planes, line)


def _kernel(axis: int, size: int, *, along: bool) -> Triple:
    z, y, x = (size if (each == axis) == along else 1 for each in range(3))
    return z, y, x
