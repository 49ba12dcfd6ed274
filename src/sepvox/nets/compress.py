"""A dense U-Net as a parallel separable one: every 3×3×3 convolution becomes summed linear streams.

Each dense convolution is replaced by a P_mSC_1 block whose streams are those that `sepvox.nets.fit` finds for its kernel;
its bias or normalisation and its LeakyReLU follow the sum. All else is kept. A *budget* says how many terms a convolution
may have, words being those of `sepvox.nets.decompose`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from sepvox.errors import ConfigError
from sepvox.nets.architecture import Part
from sepvox.nets.build import build
from sepvox.nets.decompose import AXES, Decomposition
from sepvox.nets.fit import approximate
from sepvox.nets.pmsc import PmSC
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.unet import UNet


@dataclass(frozen=True)
class Budget:
    """At most `terms` terms per convolution, or as many as have `share` of its weights, but one at least.

    Exactly one of the two is given. A share of 2 is enough for every term of every convolution.

    Raises
    ------
    ConfigError
        If it is nothing, or both are given.
    """

    terms: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.terms is None) == (self.share is None):
            raise ConfigError(f"--terms {self.terms} and --share {self.share}: give one of them")
        if self.terms is not None and self.terms < 1:
            raise ConfigError(f"--terms {self.terms}: a convolution needs one term at least; give 1 or more")
        if self.share is not None and not 0 < self.share < float("inf"):
            raise ConfigError(f"--share {self.share:g}: is no share of weights; give a number above 0, such as 0.5")

    def of(self, convolution: nn.Conv3d) -> int:
        """Terms for a convolution with 3×3×3 kernels."""
        if self.terms is not None:
            return self.terms
        assert self.share is not None
        each = 9 * convolution.in_channels + 3 * convolution.out_channels
        return max(1, int(self.share * convolution.weight.numel()) // each)


@dataclass(frozen=True)
class CompressedConvolution:
    """One row of the report.

    Attributes
    ----------
    part, level, number
        Which convolution it is: the `number`-th, from 0, of a level's encoder or decoder.
    channels_in, channels_out : int
        Channels.
    terms : tuple of int
        Channels between the convolutions of each stream: z, y, x, as many as the network has streams.
    dense_weights, weights : int
        Weights before and after; biases are kept and not counted.
    error : float
        Frobenius norm of the difference between the streams' kernel and the dense one, relative to the latter's.
    """

    part: Part
    level: int
    number: int
    channels_in: int
    channels_out: int
    terms: tuple[int, ...]
    dense_weights: int
    weights: int
    error: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Compressed:
    """A network made of another one: its settings, with widths of all streams, itself, and a row per convolution."""

    settings: NetworkSettings
    network: UNet
    convolutions: tuple[CompressedConvolution, ...]


def check_dense(settings: NetworkSettings, what: str) -> None:
    """Refuse a network that is no U-Net of dense blocks; `what` names its weights, for the message.

    Raises
    ------
    ConfigError
        If it is another.
    """
    if settings.name != "unet":
        raise ConfigError(f"{what}: network {settings.name} is fixed by its paper; give weights of `name: unet`")
    if settings.block != "dense":
        raise ConfigError(
            f"{what}: the network has blocks {settings.block} and so no dense convolution; give weights of `block: dense`"
        )


def compress(dense: UNet, settings: NetworkSettings, budget: Budget, m: int = len(AXES)) -> Compressed:
    """Turn a dense U-Net into a parallel separable one.

    Parameters
    ----------
    dense : UNet
        The trained network.
    settings : NetworkSettings
        Its settings, with a dense block.
    budget : Budget
        How many terms a convolution may have.
    m : int
        Streams, 1 to 3: across z, then y, then x. Blocks may do without some of them.

    Raises
    ------
    ConfigError
        As `check_dense`.
    """
    check_dense(settings, "network")
    units = list(_units(dense))
    found = [_decomposed(unit.convolution, budget, m) for unit in units]
    widths = [_widths(decomposition, m) for decomposition in found]
    changed = {"block": "pmsc", "m": m, "n": 1, "merge": "sum", "linear_streams": True, "stream_widths": widths}
    new = NetworkSettings.model_validate(settings.model_dump() | changed)
    network = build(new)
    blocks = (block for level in (*network.encoders, *network.decoders) for block in level.children())
    for block, unit, decomposition in zip(blocks, units, found, strict=True):
        assert isinstance(block, PmSC)
        _fill(block, unit, decomposition)
    for name in ("upsamplings", "head", "lower_heads"):
        getattr(network, name).load_state_dict(getattr(dense, name).state_dict())
    return Compressed(new, network, tuple(map(_row, units, found, widths)))


@dataclass(frozen=True)
class _Unit:
    """One convolution of a dense network, where it is, and what follows it."""

    part: Part
    level: int
    number: int
    convolution: nn.Conv3d
    after: tuple[nn.Module, ...]


def _units(dense: UNet) -> Iterator[_Unit]:
    """Every unit, in the order of `stream_widths`."""
    parts: tuple[tuple[Part, nn.ModuleList], ...] = (("encoder", dense.encoders), ("decoder", dense.decoders))
    for part, levels in parts:
        for level, block in enumerate(levels):
            for number, unit in enumerate(block.children()):
                convolution, *after = unit.children()
                assert isinstance(convolution, nn.Conv3d)
                yield _Unit(part, level, number, convolution, tuple(after))


def _decomposed(convolution: nn.Conv3d, budget: Budget, m: int) -> Decomposition:
    return approximate(convolution.weight.detach().cpu().double().numpy(), budget.of(convolution), AXES[:m])


def _widths(decomposition: Decomposition, m: int) -> tuple[int, ...]:
    terms = {stream.axis: stream.terms for stream in decomposition.streams}
    return tuple(terms.get(axis, 0) for axis in AXES[:m])


def _fill(block: PmSC, unit: _Unit, decomposition: Decomposition) -> None:
    """Give a block the weights of the streams, and what follows the dense convolution."""
    convolutions = [layer for layer in block.streams.modules() if isinstance(layer, nn.Conv3d)]
    kernels = [kernel for stream in decomposition.streams for kernel in (stream.planes, stream.lines)]
    with torch.no_grad():
        for layer, kernel in zip(convolutions, kernels, strict=True):
            layer.weight.copy_(torch.from_numpy(kernel))
            if layer.bias is not None and unit.convolution.bias is not None:
                layer.bias.copy_(unit.convolution.bias)
    for after, before in zip(block.after.children(), unit.after, strict=True):
        after.load_state_dict(before.state_dict())


def _row(unit: _Unit, decomposition: Decomposition, widths: tuple[int, ...]) -> CompressedConvolution:
    return CompressedConvolution(
        part=unit.part,
        level=unit.level,
        number=unit.number,
        channels_in=unit.convolution.in_channels,
        channels_out=unit.convolution.out_channels,
        terms=widths,
        dense_weights=unit.convolution.weight.numel(),
        weights=sum(stream.planes.size + stream.lines.size for stream in decomposition.streams),
        error=decomposition.error,
    )
