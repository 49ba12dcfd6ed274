"""U-Net whose blocks and upsamplings are handed in.

Level 0 has the input's resolution. On the way down each level's *encoder* runs and its result is pooled by maximum; on the
way up the result of the level below is upsampled, joined by concatenation behind the encoder's result (the *skip*, cropped
to the same extents where padding is valid), and the level's *decoder* runs. The *head* is a 1×1×1 convolution. The output
are logits: whoever uses them applies the sigmoid or softmax, the loss in training and the predictor afterwards.

A *supervised* level is a lower one whose decoder has a head too, for the loss to compare with labels of that resolution.
These heads run while the network is trained and never in prediction.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sepvox.nets.architecture import Triple
from sepvox.nets.convolution import project

Block = Callable[[int], nn.Module]
Upsampling = Callable[[int, int, Triple], nn.Module]


class UNet(nn.Module):
    """(batch, channels, z, y, x) to logits (batch, channels_out, z, y, x).

    In training mode, where levels are supervised, the result is a list of logits instead: the output, then one of each
    supervised level, with that level's extents.

    Parameters
    ----------
    channels_out : int
        Channels of the output.
    widths : sequence of int
        Channels per level, one more than poolings.
    pooling : sequence of (int, int, int)
        Pooling factors z y x, from level 0 down.
    encoder, decoder : callable
        Make the block of a level from its number.
    upsampling : callable
        Makes what leads one level up, from the channels below, the channels above and the factors.
    supervised : tuple of int
        Lower levels with a head of their own, from the finest down.
    """

    def __init__(
        self,
        channels_out: int,
        widths: tuple[int, ...],
        pooling: tuple[Triple, ...],
        encoder: Block,
        decoder: Block,
        upsampling: Upsampling,
        supervised: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.supervised = supervised
        self.encoders = nn.ModuleList(map(encoder, range(len(widths))))
        self.upsamplings = nn.ModuleList(map(upsampling, widths[1:], widths[:-1], pooling))
        self.decoders = nn.ModuleList(map(decoder, range(len(pooling))))
        self.head = project(widths[0], channels_out)
        # Last, so that a seed gives the other weights the same values with and without them.
        self.lower_heads = nn.ModuleList(project(widths[level], channels_out) for level in supervised)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Run the network.

        Raises
        ------
        ValueError
            If a pooling does not divide its input's extents; `Geometry.admissible` gives the shapes that fit.
        """
        skips = []
        for encoder, factors in zip(self.encoders, self.pooling, strict=False):
            image = encoder(image)
            skips.append(image)
            image = _pool(image, factors)
        image = self.encoders[-1](image)
        lower: list[Tensor] = []
        heads = dict(zip(self.supervised, self.lower_heads, strict=True)) if self.training else {}
        for level in reversed(range(len(self.pooling))):
            image = self.upsamplings[level](image)
            image = self.decoders[level](torch.cat([_centre(skips[level], image), image], dim=1))
            if level in heads:
                lower.insert(0, heads[level](image))
        logits: Tensor = self.head(image)
        return [logits, *lower] if lower else logits


def _pool(image: Tensor, factors: Triple) -> Tensor:
    extents = tuple(image.shape[2:])
    if any(extent % factor for extent, factor in zip(extents, factors, strict=True)):
        raise ValueError(f"extents {extents} cannot be pooled by {factors}; the input's shape is not admissible")
    return functional.max_pool3d(image, factors)


def _centre(image: Tensor, like: Tensor) -> Tensor:
    """The middle of `image`, of the extents of `like`."""
    for axis in range(2, 5):
        extent = like.shape[axis]
        image = image.narrow(axis, (image.shape[axis] - extent) // 2, extent)
    return image
