"""The loss of class segmentation: soft Dice plus cross-entropy.

A *class* is an output channel; class 0 is background. A voxel is *unknown* where its label is `UNKNOWN`; it enters neither
term. *Deep supervision* gives logits of several resolutions; each is compared with the labels at its own.
"""

from collections.abc import Sequence
from typing import Final

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

UNKNOWN: Final = -1


class DiceCrossEntropy(nn.Module):
    """Sum of soft Dice loss (Milletari et al. 2016) and voxelwise cross-entropy, each with weight 1 (Isensee et al. 2021).

    With p the softmax of the logits and y the labels one-hot, both 0 at unknown voxels, the Dice loss of a class is
    ``1 - (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth)``, averaged over classes. The cross-entropy is averaged over
    known voxels; it and the gradient are 0 where nothing is known. Both are computed in float32, autocast or not.

    Parameters
    ----------
    background
        Whether the Dice loss averages over class 0 too. The cross-entropy always has it.
    batch
        Whether the Dice sums run over all patches of the batch at once, or over each patch and then averaged.
    smooth
        Keeps the quotient defined; a class absent from labels and prediction has loss 0.
    weights
        Of the Dice loss and of the cross-entropy.
    """

    def __init__(
        self,
        *,
        background: bool = False,
        batch: bool = False,
        smooth: float = 1e-5,
        weights: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        self._weights = weights
        self._dice = DiceLoss(include_background=background, batch=batch, smooth_nr=smooth, smooth_dr=smooth)

    def forward(self, logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the loss, a float32 scalar.

        Parameters
        ----------
        logits
            (b, c, z, y, x), c at least 2, any float dtype; or a list of these, the finest first, whose extents divide the
            labels'. Its losses weigh 1, 1/2, 1/4, …, scaled to a sum of 1.
        labels
            (b, z, y, x) int64, classes 0 to c - 1 or `UNKNOWN`. For coarser logits the voxel at the middle of each cell
            is taken; of an even number of voxels the second middle one.

        Raises
        ------
        ValueError
            If shapes do not fit, or there is a single class.
        """
        levels = [logits] if isinstance(logits, Tensor) else list(logits)
        weights = [0.5**level for level in range(len(levels))]
        losses = [
            weight / sum(weights) * self._single(each, _at_extents(labels, each.shape))
            for weight, each in zip(weights, levels, strict=True)
        ]
        return torch.stack(losses).sum()

    def _single(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = labels != UNKNOWN
        with torch.autocast(logits.device.type, enabled=False):
            logarithms = functional.log_softmax(logits.float(), dim=1)
            classes = torch.arange(logits.shape[1], device=labels.device).view(1, -1, 1, 1, 1)
            one_hot = (labels[:, None] == classes).float()
            dice: Tensor = self._dice(logarithms.exp() * known[:, None], one_hot)
            total = functional.nll_loss(logarithms, labels, ignore_index=UNKNOWN, reduction="sum")
            return self._weights[0] * dice + self._weights[1] * total / known.sum().clamp(min=1)


def _at_extents(labels: Tensor, wanted: torch.Size) -> Tensor:
    """The labels at the resolution of logits of shape `wanted`."""
    extents = tuple(labels.shape[1:])
    if labels.ndim != 4 or len(wanted) != 5 or wanted[0] != labels.shape[0] or wanted[1] < 2:
        raise ValueError(
            f"logits {tuple(wanted)} and labels {tuple(labels.shape)}: expected (b, c, z, y, x) with at least two classes "
            "and (b, z, y, x)"
        )
    if any(extent % want for extent, want in zip(extents, wanted[2:], strict=True)):
        raise ValueError(f"logits of extents {tuple(wanted[2:])} do not divide the labels' {extents}")
    z, y, x = (extent // want for extent, want in zip(extents, wanted[2:], strict=True))
    return labels[:, z // 2 :: z, y // 2 :: y, x // 2 :: x]
