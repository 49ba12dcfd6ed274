"""Residual and densely connected 3D networks for clips, by name, as plain numbers: no tensors, no torch.

`resnet18`, `resnet34` and `resnet50` are the 3D ResNets of Hara et al. 2018 (CVPR): a convolution of 7×7×7 with stride 1 2
2 and max pooling, four stages of residual blocks, the mean of what is left, one linear layer. `densenet121` is DenseNet-121
(Huang et al. 2017) with 3D convolutions and the same first stride. As such their convolutions are dense; with `-pmsc-M-N` or `-tt` behind the name
those that look at more than one voxel are parallel separable ones, P_mSC_n (Gonda et al. 2018), or 3DTT (Ras et al. 2019).

A P_mSC_n stands for n consecutive convolutions of 3×3×3. With n = 1 each of them is replaced by itself, in every family.
With n = 2 both convolutions of a *basic* residual block (ResNet-18 and 34) are replaced by one P_mSC_2. A *bottleneck*
block (ResNet-50) and a dense layer have a single one, between convolutions of 1×1×1, so that n = 2 has no meaning there.
"""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from sepvox.errors import ConfigError

CLIP_NETWORK_NAMES: Final = ("resnet18", "resnet34", "resnet50", "densenet121")
"""Each of them also as NAME-pmsc-M-N and NAME-tt."""

# Largest n of each: how many convolutions of 3×3×3 follow each other in a block.
_LARGEST_N = MappingProxyType({"resnet18": 2, "resnet34": 2, "resnet50": 1, "densenet121": 1})
# Of which the three poolings between the dense blocks leave one voxel.
_LEAST_FRAMES, _LEAST_SIDE = 15, 29
_NAME = re.compile(rf"(?P<base>{'|'.join(CLIP_NETWORK_NAMES)})(?:-pmsc-(?P<m>\d+)-(?P<n>\d+)|(?P<tt>-tt))?")


@dataclass(frozen=True)
class ClipNetwork:
    """A network that classifies clips.

    Attributes
    ----------
    name : str
        Name by which it is asked for.
    base : {"resnet18", "resnet34", "resnet50", "densenet121"}
        The network, whatever its convolutions.
    block : {"dense", "pmsc", "tt"}
        What its convolutions are.
    m, n : int
        Streams, and convolutions that a P_mSC_n stands for; 1 for other blocks.
    width : int
        Filters of the first convolution, 64 as published; all others grow with it.
    clip : (int, int, int, int)
        Shape of a clip: channel, t, y, x.
    classes : int
        Logits.
    """

    name: str
    base: str
    block: Literal["dense", "pmsc", "tt"]
    m: int = 1
    n: int = 1
    width: int = 64
    clip: tuple[int, int, int, int] = (3, 16, 112, 112)
    classes: int = 101

    def __post_init__(self) -> None:
        least = self.growth if self.base == "densenet121" else self.width
        if least < self.m:
            raise ConfigError(
                f"network {self.name}: width {self.width} leaves {least} filters to {self.m} streams; each needs at least one"
            )
        frames, *sides = self.clip[1:]
        if self.base == "densenet121" and (frames < _LEAST_FRAMES or min(sides) < _LEAST_SIDE):
            raise ConfigError(
                f"network {self.name}: clips have {frames} frames of {sides[0]}x{sides[1]}, of which its poolings leave nothing; it needs at least {_LEAST_FRAMES} frames of {_LEAST_SIDE}x{_LEAST_SIDE}"
            )

    @property
    def growth(self) -> int:
        """Filters that each layer of a DenseNet adds: half the width, as published."""
        return max(1, self.width // 2)


def clip_network(name: str) -> ClipNetwork | None:
    """The network of this name for UCF-101: 16 frames of 112×112 in colour, 101 classes. None where there is no such.

    Raises
    ------
    ConfigError
        If the network has no such P_mSC_n.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    base = found["base"]
    if found["m"] is None:
        return ClipNetwork(name, base, "tt" if found["tt"] else "dense")
    m, n = int(found["m"]), int(found["n"])
    if not 1 <= m <= 3:
        raise ConfigError(f"network {name}: m is {m}; there are 1 to 3 streams, one per axis")
    if not 1 <= n <= _LARGEST_N[base]:
        why = "two consecutive convolutions" if _LARGEST_N[base] == 2 else "no two consecutive convolutions"
        raise ConfigError(
            f"network {name}: n is {n}, but the blocks of {base} have {why} of 3x3x3; use n {' or '.join(map(str, range(1, _LARGEST_N[base] + 1)))}"
        )
    return ClipNetwork(name, base, "pmsc", m, n)
