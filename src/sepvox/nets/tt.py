"""3DTT, the temporally transformed 3D convolution (Ras et al. 2019).

A filter's kernel is a row of T 2D *slices* along its *temporal axis*, which may be any of z, y and x. The first slice, the
*base*, is free. Each of the T - 1 *steps* makes the next slice: voxel p of it is what the slice before has at the
transformed place of p, interpolated bilinearly, and 0 beyond the slice's edge. Places are in normalised coordinates: (x,
y) from -1 to 1 between the centres of the outermost voxels, x along the later of the plane's two axes. A transformation is
a 2×3 matrix that is applied to (x, y, 1); each filter has its own, and its input channels share it.

Any such layer equals the `nn.Conv3d` of the kernel that it materialises, so `materialised` networks predict at the same
cost as dense ones.
"""

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from sepvox.nets.architecture import Triple
from sepvox.nets.convolution import Padding, Style, activation
from sepvox.nets.settings import Transformation


class Similarity(nn.Module):
    """Matrices made of a scale s, a rotation r and a translation t: (x, y) goes to s R(r) ((x, y) + t).

    This is Eq. 2 of Ras et al. 2019:

        s cos r   -s sin r   s (t_x cos r - t_y sin r)
        s sin r    s cos r   s (t_x sin r + t_y cos r)

    They begin as identity, s = 1 and r = t = 0.
    """

    def __init__(self, steps: int, filters: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(steps, filters))
        self.rotation = nn.Parameter(torch.zeros(steps, filters))
        self.translation = nn.Parameter(torch.zeros(steps, filters, 2))

    def forward(self) -> Tensor:
        """The matrices, (steps, filters, 2, 3)."""
        cosine, sine = self.scale * self.rotation.cos(), self.scale * self.rotation.sin()
        linear = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
        return torch.cat([linear, (linear * self.translation.unsqueeze(-2)).sum(-1, keepdim=True)], -1)


class Affine(nn.Module):
    """Free matrices, which begin as identity."""

    def __init__(self, steps: int, filters: int) -> None:
        super().__init__()
        # In three axes: torch takes tensors of four or five for images when a network's memory format is changed.
        self.theta = nn.Parameter(torch.eye(2, 3).flatten().repeat(steps, filters, 1))

    def forward(self) -> Tensor:
        """The matrices, (steps, filters, 2, 3)."""
        steps, filters, _ = self.theta.shape
        return self.theta.view(steps, filters, 2, 3)


class TTConv3d(nn.Module):
    """3DTT convolution: (batch, channels_in, z, y, x) to (batch, channels_out, z', y', x').

    The base, (channels_out, channels_in, z, y, x) with 1 along the temporal axis, begins as unit normal, the bias as in
    `nn.Conv3d`.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels.
    kernel_size : int or (int, int, int)
        Extents of the kernel, z y x; at least 2 along the temporal axis.
    stride, padding, dilation, bias
        As in `nn.Conv3d`.
    transformation : {"similarity", "affine", "shared"}
        What leads from slice to slice: a `Similarity` per step, an `Affine` per step, or one `Similarity` for all steps.
    temporal_axis : int
        Axis along which slices follow each other: 0, 1, 2 for z, y, x.

    Raises
    ------
    ValueError
        If the kernel is a single slice, or the axis is none of three.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int | Triple,
        stride: int | Triple = 1,
        padding: int | Triple | Padding = 0,
        dilation: int | Triple = 1,
        bias: bool = True,
        *,
        transformation: Transformation = "similarity",
        temporal_axis: int = 0,
    ) -> None:
        super().__init__()
        extents = (kernel_size,) * 3 if isinstance(kernel_size, int) else kernel_size
        if temporal_axis not in range(3):
            raise ValueError(f"temporal_axis is {temporal_axis}; expected 0, 1 or 2 for z, y or x")
        self.steps = extents[temporal_axis] - 1
        if self.steps < 1:
            raise ValueError(f"kernel_size {extents} has one slice along axis {temporal_axis}; at least 2 are needed")
        self.in_channels, self.out_channels, self.kernel_size = channels_in, channels_out, extents
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.temporal_axis = temporal_axis
        slice_extents = (1 if axis == temporal_axis else extent for axis, extent in enumerate(extents))
        self.base = nn.Parameter(torch.empty(channels_out, channels_in, *slice_extents))
        self.transformations = (
            Affine(self.steps, channels_out)
            if transformation == "affine"
            else Similarity(1 if transformation == "shared" else self.steps, channels_out)
        )
        self.bias = nn.Parameter(torch.empty(channels_out)) if bias else None
        nn.init.normal_(self.base)
        if self.bias is not None:
            bound = 1 / sqrt(channels_in * prod(extents))
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, image: Tensor) -> Tensor:
        return functional.conv3d(image, self.kernel(), self.bias, self.stride, self.padding, self.dilation)

    def kernel(self) -> Tensor:
        """The kernel of the equal `nn.Conv3d`: (channels_out, channels_in, z, y, x).

        It is computed in the parameters' own precision, under autocast too, where its roundings would add up from slice to
        slice.
        """
        height, width = (extent for axis, extent in enumerate(self.kernel_size) if axis != self.temporal_axis)
        with _without_autocast(self.base.device):
            sampling = _sampling(self.transformations(), height, width).expand(self.steps, -1, -1, -1)
            slices = [self.base.flatten(2)]
            for weights in sampling:
                slices.append(torch.bmm(slices[-1], weights.transpose(1, 2)))
        whole = torch.stack(slices, 2).reshape(self.out_channels, self.in_channels, self.steps + 1, height, width)
        return whole.movedim(2, 2 + self.temporal_axis)

    def ordinary(self) -> nn.Conv3d:
        """The `nn.Conv3d` that computes the same, with a copy of kernel and bias."""
        layer = nn.Conv3d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            bias=self.bias is not None,
            device=self.base.device,
            dtype=self.base.dtype,
        )
        with torch.no_grad():
            layer.weight.copy_(self.kernel())
            if layer.bias is not None and self.bias is not None:
                layer.bias.copy_(self.bias)
        return layer


def materialised(network: nn.Module) -> nn.Module:
    """`network`, with each `TTConv3d` inside it replaced by the `nn.Conv3d` of its kernel.

    For prediction: kernels are computed once and not in every pass. The weights' names change, so a materialised network
    is neither trained nor saved.
    """
    for name, child in network.named_children():
        setattr(network, name, child.ordinary() if isinstance(child, TTConv3d) else materialised(child))
    return network


def tt_block(
    channels_in: int, channels_out: int, style: Style, transformation: Transformation, temporal_axis: int
) -> nn.Sequential:
    """Two units of 3×3×3 3DTT convolutions, which look as far as those of `convolution.dense_block`."""

    def unit(before: int, after: int) -> nn.Sequential:
        layer = TTConv3d(
            before,
            after,
            3,
            padding=style.padding,
            bias=style.norm == "none",
            transformation=transformation,
            temporal_axis=temporal_axis,
        )
        nn.init.kaiming_normal_(layer.base, a=style.slope, nonlinearity="leaky_relu")
        with torch.no_grad():
            # The three slices begin equal, so that what varies little along the axis passes all three with one sign.
            layer.base.div_(3)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return nn.Sequential(layer, *activation(after, style))

    return nn.Sequential(
        *(unit(before, after) for before, after in pairwise((channels_in, channels_out, channels_out)))
    )


def _sampling(matrices: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation as matrices: what each voxel of the next slice takes from each voxel of the slice before.

    Written out and not left to `functional.grid_sample`, whose gradient on a GPU is not the same twice.

    Parameters
    ----------
    matrices : Tensor
        (steps, filters, 2, 3), applied to (x, y, 1).
    height, width : int
        Extents of a slice.

    Returns
    -------
    Tensor
        (steps, filters, height * width, height * width), the voxels of the next slice before those of the one before.
    """
    y, x = torch.meshgrid(_coordinates(height, matrices), _coordinates(width, matrices), indexing="ij")
    places = matrices @ torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])
    along_x = _hat(places[..., 0, :], width)
    along_y = _hat(places[..., 1, :], height)
    return (along_y.unsqueeze(-1) * along_x.unsqueeze(-2)).flatten(-2)


def _coordinates(extent: int, like: Tensor) -> Tensor:
    """Normalised coordinates of voxel centres; a single one is in the middle."""
    start = -1.0 if extent > 1 else 0.0
    return torch.linspace(start, -start, extent, dtype=like.dtype, device=like.device)


def _hat(places: Tensor, extent: int) -> Tensor:
    """Weights of linear interpolation: (...) normalised coordinates to (..., extent), 0 from one voxel away on."""
    voxels = torch.arange(extent, dtype=places.dtype, device=places.device)
    distance = ((places + 1) * ((extent - 1) / 2)).unsqueeze(-1) - voxels
    # Where a place falls on a voxel, as all do at the beginning, the derivative is the mean of those to both sides:
    # abs gives 0 there, and maximum half of what lies to one side.
    return torch.maximum(1 - distance.abs(), torch.zeros((), dtype=places.dtype, device=places.device))


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
