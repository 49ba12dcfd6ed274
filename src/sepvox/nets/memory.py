"""Memory that one training step takes, by arithmetic alone.

*Kept* are the activations that the forward pass leaves for the backward pass; they grow with the voxels of the batch. With
v bytes per activation, every convolution keeps its input, which is what the activation before it made, and

- a unit of c channels keeps c v bytes per voxel: its LeakyReLU works in place, so that its result and the next
  convolution's input are one. Batch and instance normalisation keep their input as well: 2 c v. Group normalisation is
  computed in float32 by autocast, input and result: at v = 2 it keeps (4 + 4 + 2) c;
- streams that are joined keep, beside their own results, the joined copy: c v. Linear streams keep what is between their
  convolutions, c v, and the joined result as a unit does;
- a pooling keeps its result, c v, and 8 c bytes of indices, per voxel of the level below;
- a decoder keeps the joined skip and upsampled image: 2 c v.

The *transient* part is what exists beside these at the turn from forward to backward: the loss (6 float32 values per
voxel and output channel: logits, log-probabilities, probabilities, labels one-hot, and two products) and the gradients of
the highest level's last activations (3 w v per voxel, w being its width). The *fixed* part are 5 float32 values per
parameter (itself, its gradient, two moments of Adam, and its moving average) and the copy that autocast makes of it, and
the kernels that 3DTT convolutions make, in float32: all slices, the second once more, and for each filter and step 243
values that interpolation keeps; of the slices there is autocast's copy too. What the libraries take for themselves (a GPU's
context, the workspaces of convolutions) is not counted.
"""

from math import prod
from typing import Final

from sepvox.nets.architecture import Application, Architecture, Part, Triple

INDEX_BYTES: Final = 8
FLOAT_BYTES: Final = 4
LOSS_VALUES: Final = 6
GRADIENT_VALUES: Final = 3
PARAMETER_VALUES: Final = 5
KERNEL_VALUES: Final = 27
SLICE_VALUES: Final = 9
TT_STEPS: Final = 2
# The weights between 9 and 9 voxels, and three times their two factors of 9 by 3.
INTERPOLATION_VALUES: Final = 243


def training_bytes(net: Architecture, patch: Triple, batch: int, value_bytes: int = FLOAT_BYTES) -> int:
    """Bytes of one training step on `batch` patches of `patch` voxels (z y x): kept, transient and fixed.

    Parameters
    ----------
    net : Architecture
        The network; for the published ones, whose builders differ in detail, the figure is an upper estimate.
    patch : (int, int, int)
        Voxels of one input patch, z y x.
    batch : int
        Patches per step.
    value_bytes : int
        Bytes of an activation: 4 for float32, 2 for bfloat16 autocast.
    """
    voxels = prod(patch)
    supervised = voxels + sum(voxels // _shrinkage(net, level) for level in net.supervised)
    loss = LOSS_VALUES * FLOAT_BYTES * net.out_channels * supervised
    gradients = GRADIENT_VALUES * net.widths[0] * value_bytes * voxels
    fixed = (PARAMETER_VALUES * FLOAT_BYTES + _cast_bytes(value_bytes)) * parameters(net)
    return batch * (kept_bytes(net, patch, value_bytes) + loss + gradients) + fixed + kernel_bytes(net, value_bytes)


def kept_bytes(net: Architecture, patch: Triple, value_bytes: int = FLOAT_BYTES) -> int:
    """Bytes of activations that the forward pass over one patch keeps for the backward pass."""
    total = net.in_channels * (FLOAT_BYTES + _cast_bytes(value_bytes)) * prod(patch)
    for level, width in enumerate(net.widths):
        voxels = prod(patch) // _shrinkage(net, level)
        total += voxels * _block_bytes(net, "encoder", level, value_bytes)
        if level > 0:
            total += voxels * net.widths[level - 1] * (value_bytes + INDEX_BYTES)
        if level < len(net.pooling):
            total += voxels * (2 * width * value_bytes + _block_bytes(net, "decoder", level, value_bytes))
    return total


def kernel_bytes(net: Architecture, value_bytes: int = FLOAT_BYTES) -> int:
    """Bytes of the kernels of 3DTT convolutions, and of what making them keeps for the backward pass; 0 without these."""
    if net.block != "tt":
        return 0
    pair = (KERNEL_VALUES + SLICE_VALUES) * FLOAT_BYTES + KERNEL_VALUES * _cast_bytes(value_bytes)
    each = _tt_matrices(net) * INTERPOLATION_VALUES * FLOAT_BYTES
    return sum(block.channels_out * (block.channels_in * pair + each) for block in _all_applications(net))


def parameters(net: Architecture) -> int:
    """Trained parameters; exact for networks of the practical family, near it for the published ones."""
    total = 0
    for level, width in enumerate(net.widths):
        total += _block_parameters(net, "encoder", level)
        if level < len(net.pooling):
            total += _block_parameters(net, "decoder", level)
            total += net.widths[level + 1] * width * prod(net.pooling[level])
    return total + sum((net.widths[level] + 1) * net.out_channels for level in (0, *net.supervised))


def _all_applications(net: Architecture) -> list[Application]:
    """The blocks of all encoders and decoders."""
    encoders = [block for level in range(len(net.widths)) for block in net.applications("encoder", level)]
    return encoders + [block for level in range(len(net.pooling)) for block in net.applications("decoder", level)]


def _tt_matrices(net: Architecture) -> int:
    """Transformations per filter of a 3DTT convolution."""
    return 1 if net.transformation == "shared" else TT_STEPS


def _shrinkage(net: Architecture, level: int) -> int:
    """Voxels of the input per voxel of a level."""
    return prod(prod(factors) for factors in net.pooling[:level])


def _cast_bytes(value_bytes: int) -> int:
    """Bytes of the copy that autocast makes of a float32 value."""
    return 0 if value_bytes == FLOAT_BYTES else value_bytes


def _unit_bytes(net: Architecture, value_bytes: int) -> int:
    """Bytes per channel and voxel that a convolution, its normalisation and its LeakyReLU keep."""
    if net.norm == "none":
        return value_bytes
    if net.norm == "group" and value_bytes != FLOAT_BYTES:
        return 2 * FLOAT_BYTES + value_bytes
    return 2 * value_bytes


def _block_bytes(net: Architecture, part: Part, level: int, value_bytes: int) -> int:
    """Bytes per voxel that one level's encoder or decoder keeps, its result included and its input not."""
    unit = _unit_bytes(net, value_bytes)
    total = 0
    for block in net.applications(part, level):
        after = block.channels_out
        if net.block != "pmsc":
            total += after * unit
            continue
        streams = sum(width > 0 for width in block.stream_widths)
        planes = net.n * sum(block.stream_widths)
        if net.linear_streams:
            total += planes * value_bytes + after * unit
            continue
        lines = after if net.merge == "concat" else streams * after
        joined = after * value_bytes if streams > 1 else 0
        total += (planes + lines) * unit + joined
    return total


def _block_parameters(net: Architecture, part: Part, level: int) -> int:
    """Weights of one level's convolutions, and their biases or the two factors of each normalised channel."""
    shift = 1 if net.norm == "none" else 2
    # Linear streams have these once, after the merge.
    within = 0 if net.linear_streams else shift
    total = 0
    for block in net.applications(part, level):
        before, after = block.channels_in, block.channels_out
        if net.block == "dense":
            total += after * (KERNEL_VALUES * before + shift)
            continue
        if net.block == "tt":
            each = 6 if net.transformation == "affine" else 4
            total += after * (SLICE_VALUES * before + each * _tt_matrices(net) + shift)
            continue
        each = after // net.m if net.merge == "concat" else after
        for width in filter(None, block.stream_widths):
            planes = width * (9 * before + within) + (net.n - 1) * width * (9 * width + within)
            total += planes + each * ((2 * net.n + 1) * width + within)
        total += after * (shift - within)
    return total
