"""Multiply-accumulates, counted and not computed.

A *MAC* is one multiplication with its addition. Those of convolutions and linear layers are counted; biases, activations,
normalisations and poolings are not, nor is the making of a 3DTT kernel, which prediction does once.
"""

from math import prod

import torch
from torch import Tensor, nn

from sepvox.nets.tt import TTConv3d

Counted = nn.Conv3d | nn.ConvTranspose3d | TTConv3d | nn.Linear


def count_macs(net: nn.Module, image: Tensor) -> dict[nn.Module, int]:
    """MACs of every counted layer of `net` in one forward pass over `image`, which may be on torch's meta device."""
    macs: dict[nn.Module, int] = {}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            macs[module] = module.weight.numel() * prod(output.shape[:-1])
        elif isinstance(module, nn.ConvTranspose3d):
            # Its weights meet every voxel that goes in, those of the others every voxel that comes out.
            macs[module] = module.weight.numel() * prod(inputs[0].shape[2:])
        elif isinstance(module, TTConv3d):
            macs[module] = module.in_channels * module.out_channels * prod((*module.kernel_size, *output.shape[2:]))
        elif isinstance(module, nn.Conv3d):
            macs[module] = module.weight.numel() * prod(output.shape[2:])

    handles = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, Counted)]
    with torch.no_grad():
        net(image)
    for handle in handles:
        handle.remove()
    return macs
