"""The pointwise losses: every affinity is compared with its own target.

A *class* is the set of known affinities of one channel, over the whole batch, with target 1 or with target 0.
*Balancing* gives both classes of a channel the same influence, as long as the rarer has at least the share `RAREST`.
"""

from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

# Below this share of a channel a class weighs less: a handful of voxels must not make up half of a gradient.
RAREST: Final = 0.01


def pointwise_loss(
    logits: Tensor,
    targets: Tensor,
    mask: Tensor,
    kind: Literal["bce", "mse"],
    balance: bool,
    channel_weights: Tensor | None = None,
) -> Tensor:
    """Return the masked loss, averaged over voxels within a channel and then over channels.

    With s the sum of the voxel losses of a class, n its number of voxels and N that of both classes, a channel's loss
    is ``(s0 + s1) / N``, or balanced ``(s0 / max(n0, RAREST N) + s1 / max(n1, RAREST N)) / 2``. An absent class adds 0.

    Parameters
    ----------
    logits
        Network output before the sigmoid, shape (b, c, z, y, x), any float dtype; computed with in float32.
    targets
        0 or 1, same shape, any dtype.
    mask
        True where the target is known, same shape, bool.
    kind
        bce: binary cross-entropy; mse: squared error of the sigmoid (the Euclidean loss of Gonda et al. 2018, without
        its factor 1/2).
    balance
        Whether both classes of a channel weigh the same.
    channel_weights
        Relative weights of the channels, shape (c,), not negative; equal by default. Channels without any known target
        are left out of the mean.

    Returns
    -------
    loss
        float32 scalar; 0, with gradient 0, where nothing is known.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if not logits.shape == targets.shape == mask.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)}, targets {tuple(targets.shape)} and mask {tuple(mask.shape)} differ in shape"
        )
    predicted = logits.float()
    expected = targets.to(predicted.dtype)
    if kind == "bce":
        errors = functional.binary_cross_entropy_with_logits(predicted, expected, reduction="none")
    else:
        errors = (torch.sigmoid(predicted) - expected).square()
    voxels = (0, 2, 3, 4)
    known = mask.to(predicted.dtype)
    number = known.sum(voxels)
    if balance:
        ones, zeros = known * expected, known * (1 - expected)
        least = (RAREST * number).clamp(min=1)
        loss = (errors * ones).sum(voxels) / torch.maximum(ones.sum(voxels), least)
        loss = (loss + (errors * zeros).sum(voxels) / torch.maximum(zeros.sum(voxels), least)) / 2
    else:
        loss = (errors * known).sum(voxels) / number.clamp(min=1)
    weights = torch.ones_like(number) if channel_weights is None else channel_weights.to(number)
    weights = weights * (number > 0)
    return (loss * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
