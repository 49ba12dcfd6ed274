"""P_mSC_n (Gonda et al. 2018) in the place of dense convolutions of a network that exists already.

`sepvox.nets.pmsc` makes whole blocks, normalisation and activation with them. Here a P_mSC_n takes the place of a bare
convolution: what the network has behind that convolution, it also has behind the merged streams, and inside the streams
every plane convolution is followed by batch normalisation and ReLU, as is usual in such networks. Normalising concatenated
streams is normalising each of them, so that both forms compute the same.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from sepvox.nets.architecture import Triple, intermediate_width


class SeparableConv3d(nn.Module):
    """P_mSC_n without its last normalisation and activation: (batch, channels_in, t, y, x) to (batch, channels_out, t', y', x').

    Stream a has `n` plane convolutions over the two axes other than a, and one line convolution of n (extent - 1) + 1 along
    a; the first m of t, y, x are such axes. Streams are concatenated; where m does not divide channels_out, the first ones
    yield a channel more. Padding is half an extent, so that with stride 1 a clip keeps its extents.

    A stride is taken by the first plane convolution and, along its own axis, by the line convolution. With n = 1 a stream
    sees exactly what the dense convolution sees.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels.
    extent : int
        Extent of the dense kernel along each axis, odd.
    stride : (int, int, int)
        Stride, t y x.
    m, n : int
        Streams, 1 to 3, and plane convolutions per stream.
    """

    def __init__(
        self, channels_in: int, channels_out: int, extent: int = 3, stride: Triple = (1, 1, 1), *, m: int, n: int = 1
    ) -> None:
        super().__init__()
        if extent % 2 == 0:
            raise ValueError(f"extent is {extent}; only odd kernels keep a clip's extents")
        self.stream_channels = tuple(channels_out // m + (stream < channels_out % m) for stream in range(m))
        between = (channels_in, *(intermediate_width(channels_in, channels_out, m, extent),) * n)
        self.streams = nn.ModuleList(
            _stream(axis, between, yields, extent, stride) for axis, yields in enumerate(self.stream_channels)
        )

    def forward(self, clip: Tensor) -> Tensor:
        return torch.cat([stream(clip) for stream in self.streams], dim=1)


def _stream(axis: int, channels: tuple[int, ...], channels_out: int, extent: int, stride: Triple) -> nn.Sequential:
    """Plane convolutions through `channels`, then one line convolution to `channels_out`."""
    line = (len(channels) - 1) * (extent - 1) + 1
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(channels)):
        taken = _across(axis, stride, 1) if number == 0 else (1, 1, 1)
        layers += [
            _convolution(before, after, _across(axis, (extent,) * 3, 1), taken),
            nn.BatchNorm3d(after),
            nn.ReLU(inplace=True),
        ]
    last = _convolution(channels[-1], channels_out, _along(axis, line), _along(axis, stride[axis]))
    return nn.Sequential(*layers, last)


def _convolution(channels_in: int, channels_out: int, kernel: Triple, stride: Triple) -> nn.Conv3d:
    t, y, x = kernel
    layer = nn.Conv3d(channels_in, channels_out, kernel, stride, (t // 2, y // 2, x // 2), bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _across(axis: int, of: Triple, own: int) -> Triple:
    """`of`, with `own` for the axis itself."""
    t, y, x = (own if each == axis else value for each, value in enumerate(of))
    return t, y, x


def _along(axis: int, value: int) -> Triple:
    """`value` for the axis itself, 1 for the others."""
    return _across(axis, (1, 1, 1), value)
