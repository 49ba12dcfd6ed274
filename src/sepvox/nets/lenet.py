"""LeNet-5 with 3D convolutions (Ras et al. 2019).

Two convolutions of 5×5×5, the first padded by 2 and the second not, each followed by ReLU and max pooling by 2, then three
linear layers of 120, 84 and one unit per class with ReLU between. A clip of 30×28×28 is 5×5×5 after the second pooling. With
3DTT convolutions t is the temporal axis, and each step has its own scale, rotation and translation. Weights begin as torch
has them, but for the base slices of 3DTT, which begin as unit normal.
"""

from collections import OrderedDict
from math import prod

from torch import nn

from sepvox.nets.classifiers import LeNet5
from sepvox.nets.tt import TTConv3d


def build_lenet5(net: LeNet5) -> nn.Sequential:
    """Build the network: (batch, *clip) to logits (batch, classes), the softmax being left to whoever uses them.

    Its input is what `net.clip` says; other extents do not fit its linear layers.
    """
    convolution = nn.Conv3d if net.block == "dense" else TTConv3d
    first, second = net.widths
    channels, *extents = net.clip
    # The second convolution has no padding, so 2 voxels are lost to each side.
    features = second * prod((extent // 2 - 4) // 2 for extent in extents)
    return nn.Sequential(
        OrderedDict(
            convolution1=convolution(channels, first, 5, padding=2),
            relu1=nn.ReLU(),
            pooling1=nn.MaxPool3d(2),
            convolution2=convolution(first, second, 5),
            relu2=nn.ReLU(),
            pooling2=nn.MaxPool3d(2),
            flatten=nn.Flatten(),
            linear1=nn.Linear(features, 120),
            relu3=nn.ReLU(),
            linear2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            linear3=nn.Linear(84, net.classes),
        )
    )
