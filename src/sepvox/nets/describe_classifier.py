"""What a classifier of clips consists of, counted: parameters, multiply-accumulates per clip, and its layers.

As in `sepvox.nets.describe`, the network is built and run on torch's meta device. Receptive field, stride and halo are left
out: a classifier sees its whole clip, and nothing is tiled.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sepvox.nets.classifiers import LeNet5
from sepvox.nets.clip_networks import ClipNetwork
from sepvox.nets.lenet import build_lenet5
from sepvox.nets.macs import count_macs
from sepvox.nets.tt import TTConv3d
from sepvox.text_table import facts_and_table


@dataclass(frozen=True)
class LayerDescription:
    """One layer that has weights; its output is (channel, t, y, x), or (channel,) of a linear layer, which has no kernel."""

    name: str
    kind: str
    channels_in: int
    output: tuple[int, ...]
    kernel: str
    parameters: int
    macs_per_clip: int


@dataclass(frozen=True)
class ClassifierDescription:
    """A classifier in numbers; the clip is (channel, t, y, x)."""

    name: str
    parameters: int
    macs_per_clip: int
    clip: tuple[int, ...]
    classes: int
    layers: tuple[LayerDescription, ...]

    def as_json(self) -> dict[str, Any]:
        """The description as plain dictionaries and lists."""
        return asdict(self)


def describe_classifier(net: LeNet5 | ClipNetwork) -> ClassifierDescription:
    """Describe a classifier."""
    outputs: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[module] = tuple(output.shape[1:])

    with torch.device("meta"):
        network = _build(net).eval()
        for module in network.modules():
            module.register_forward_hook(note)
        macs = count_macs(network, torch.empty(1, *net.clip))
    layers = [(name, module) for name, module in network.named_modules() if module in macs]
    return ClassifierDescription(
        name=net.name,
        parameters=_parameters(network),
        macs_per_clip=sum(macs.values()),
        clip=net.clip,
        classes=net.classes,
        layers=tuple(_layer(name, module, outputs[module], macs[module]) for name, module in layers),
    )


def render_classifier(description: ClassifierDescription) -> str:
    """The description as text: facts, then one line per layer."""
    facts = [
        ("network", description.name),
        ("parameters", f"{description.parameters:,}"),
        ("MACs per clip", f"{description.macs_per_clip:,}"),
        ("clip", _times(description.clip)),
        ("classes", str(description.classes)),
    ]
    header = ("layer", "kind", "channels", "output", "parameters", "MACs", "kernel")
    rows = [
        (
            row.name,
            row.kind,
            f"{row.channels_in} > {row.output[0]}",
            _times(row.output),
            f"{row.parameters:,}",
            f"{row.macs_per_clip:,}",
            row.kernel,
        )
        for row in description.layers
    ]
    return facts_and_table(facts, header, rows)


def _build(net: LeNet5 | ClipNetwork) -> nn.Module:
    if isinstance(net, LeNet5):
        return build_lenet5(net)
    # MONAI takes seconds to import.
    from sepvox.nets.resnet3d import build_clip_network

    return build_clip_network(net)


def _layer(name: str, module: nn.Module, output: tuple[int, ...], macs: int) -> LayerDescription:
    if isinstance(module, nn.Linear):
        kind, channels_in, kernel = "linear", module.in_features, ""
    else:
        assert isinstance(module, nn.Conv3d | TTConv3d)
        kind = "3DTT convolution" if isinstance(module, TTConv3d) else "convolution"
        channels_in, kernel = module.in_channels, "x".join(map(str, module.kernel_size))
    return LayerDescription(name, kind, channels_in, output, kernel, _parameters(module), macs)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _times(extents: tuple[int, ...]) -> str:
    return " x ".join(map(str, extents))
