"""Exact tiles: a network applied to any box of a volume of any size, as if the whole volume were passed at once.

A box is predicted from itself and the halo, aligned to the network's total stride, so that the result equals one pass over
the whole volume, mirrored outward at its faces.

`forward` takes float32 (z, y, x) in [-1, 1] of an admissible shape and returns probabilities float32 (c, z, y, x).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sepvox.blocks import Box, Lattice, Triple, triple
from sepvox.nets.geometry import Geometry
from sepvox.settings import Offset
from sepvox.symmetries import Symmetry, apply, undo_on_affinities

Volume = NDArray[np.float32]
Forward = Callable[[Volume], Volume]
Read = Callable[[Box], Volume]


@dataclass(frozen=True)
class Tiler:
    """A network with what is needed to apply it in tiles.

    Attributes
    ----------
    net : Geometry
        Of the network.
    symmetries : symmetries over which the prediction is averaged; the identity alone for none.
    offsets : affinity offsets of the channels that `forward` returns.
    """

    net: Geometry
    symmetries: tuple[Symmetry, ...]
    offsets: tuple[Offset, ...]

    @property
    def margin(self) -> Triple:
        """Voxels predicted beyond a box: a mirrored affinity is stored at the partner's voxel."""
        if len(self.symmetries) == 1:
            return (0, 0, 0)
        reach = max(abs(step) for offset in self.offsets for step in offset)
        return triple([-(-reach // stride) * stride for stride in self.net.total_stride])

    def averaged(self, image: Volume, forward: Forward) -> Volume:
        """Mean prediction over the symmetries; image (z, y, x) to probabilities (c, z, y, x) of the output's shape."""
        total: Volume | None = None
        for symmetry in self.symmetries:
            predicted = self._cropped(forward(np.ascontiguousarray(apply(symmetry, image))), symmetry)
            if len(self.symmetries) > 1:
                predicted, _ = undo_on_affinities(symmetry, predicted, self.offsets)
            total = predicted if total is None else total + predicted
        assert total is not None
        return total / np.float32(len(self.symmetries))

    def _cropped(self, predicted: Volume, symmetry: Symmetry) -> Volume:
        if self.net.padding == "valid":
            return predicted
        halo = [self.net.halo[axis] for axis in symmetry.permutation]
        z, y, x = (slice(h, n - h) for h, n in zip(halo, predicted.shape[1:], strict=True))
        return predicted[:, z, y, x]

    def exact(self, read: Read, box: Box, tile: Triple, forward: Forward) -> Volume:
        """Probabilities (c, z, y, x) of a box, by tiles of at most `tile` voxels rounded up to the total stride."""
        stride = self.net.total_stride
        step = triple([max(s, t // s * s) for t, s in zip(tile, stride, strict=True)])
        begin = triple([b // s * s for b, s in zip(box.begin, stride, strict=True)])
        aligned = Box(begin, box.end)
        result = np.empty((len(self.offsets), *box.shape), np.float32)
        for cut in Lattice(aligned.shape, step):
            target = cut.shift(begin)
            inner = target.clip(box)
            result[:, *inner.inside(box).slices] = self._one(read, target, inner, forward)
        return result

    def _one(self, read: Read, target: Box, inner: Box, forward: Forward) -> Volume:
        """One tile whose begin is a multiple of the total stride, cropped to `inner`."""
        stride = self.net.total_stride
        end = triple([b + -(-n // s) * s for b, n, s in zip(target.begin, target.shape, stride, strict=True)])
        wanted = Box(target.begin, end).grow(self.margin)
        outer = wanted.grow(self.net.halo)
        shape = self.net.admissible(outer.shape)
        predicted = self.averaged(
            read(Box(outer.begin, triple([b + n for b, n in zip(outer.begin, shape, strict=True)]))), forward
        )
        return predicted[:, *inner.shift([-b for b in wanted.begin]).slices]


def to_uint8(probabilities: Volume) -> NDArray[np.uint8]:
    """Probabilities in [0, 1] as 0 to 255, rounded."""
    return np.rint(probabilities * 255).astype(np.uint8)


def torch_forward(network: torch.nn.Module, device: torch.device, autocast: torch.autocast, channels: int) -> Forward:
    """A `forward` that runs a torch network of one input channel and keeps its first `channels` outputs."""

    def forward(image: Volume) -> Volume:
        tensor = torch.from_numpy(image)[None, None].to(device, memory_format=torch.channels_last_3d)
        with torch.inference_mode(), autocast:
            logits = network(tensor)[0, :channels]
        found: Volume = torch.sigmoid(logits.float()).cpu().numpy()
        return found

    return forward
