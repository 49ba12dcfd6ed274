"""The target network and its students.

All take (batch, channels, z, y, x) and return the logits of three outputs (batch, 3, z / 2, y / 2, x / 2); the sigmoid is
left to whoever uses them. Convolutions are padded to keep the extents, and ReLU follows each but the last, in the students'
streams too. How the blocks of a student stand for the convolutions of the target is said in `settings`.
"""

from functools import partial
from typing import Final

import torch
from torch import nn

from sepvox.nets.architecture import stream_width
from sepvox.nets.convolution import Style, project, unit
from sepvox.nets.macs import count_macs
from sepvox.nets.pmsc import PmSC
from sepvox.studies.toy_approximation.settings import Student, ToyStudy
from sepvox.studies.toy_approximation.volumes import TARGET_WEIGHTS, calibration_volumes, weights_seed

OUTPUTS: Final = 3
SPREAD: Final = 2.0
# Without a slope for negative values the LeakyReLU is a ReLU.
STYLE: Final = Style(slope=0.0)


def build_student(study: ToyStudy, student: Student) -> nn.Sequential:
    """A student with fresh weights from torch's generator."""
    channels, width = study.noise.channels, study.width
    if student.m is None:
        return _dense(channels, width)
    block = partial(_block, student.m)
    if student.n == "*":
        return nn.Sequential(_chain(student.m, channels, width), project(width, OUTPUTS))
    before = [block(2, channels, width)] if student.n == "2" else [block(1, channels, width), block(1, width, width)]
    return nn.Sequential(*before, nn.MaxPool3d(2), block(1, width, width), project(width, OUTPUTS))


def target_network(study: ToyStudy) -> nn.Sequential:
    """The target, on the CPU; its weights follow from `target_seed` and are not trained.

    The last layer is scaled and shifted so that the logits of each output have mean 0 and standard deviation `SPREAD` over a
    few volumes of noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights_seed(TARGET_WEIGHTS, study.target_seed))
        network = _dense(study.noise.channels, study.width)
    network.requires_grad_(False)
    logits = network(torch.from_numpy(calibration_volumes(study)))
    std, mean = torch.std_mean(logits, dim=(0, 2, 3, 4))
    head = network[-1]
    assert isinstance(head, nn.Conv3d)
    assert head.bias is not None
    head.weight.mul_((SPREAD / std).reshape(-1, 1, 1, 1, 1))
    head.bias.copy_((head.bias - mean) * SPREAD / std)
    return network


def cost(study: ToyStudy, student: Student) -> tuple[int, int]:
    """Parameters of a student, and its multiply-accumulates for one volume."""
    with torch.device("meta"):
        network = build_student(study, student)
        macs = count_macs(network, torch.empty(1, study.noise.channels, *study.noise.shape))
    return sum(parameter.numel() for parameter in network.parameters()), sum(macs.values())


def _dense(channels: int, width: int) -> nn.Sequential:
    """The target's architecture."""
    return nn.Sequential(
        unit(channels, width, (3, 3, 3), STYLE),
        unit(width, width, (3, 3, 3), STYLE),
        nn.MaxPool3d(2),
        unit(width, width, (3, 3, 3), STYLE),
        project(width, OUTPUTS),
    )


def _block(m: int, n: int, channels_in: int, channels_out: int) -> PmSC:
    widths = (stream_width(channels_in, channels_out, m),) * m
    return PmSC(channels_in, channels_out, m, n, style=STYLE, widths=widths)


def _chain(m: int, channels: int, width: int) -> PmSC:
    """P_mSC_3 in place of the three convolutions, the pooling between the last two planes of each stream."""
    block = _block(m, 3, channels, width)
    for stream in block.streams:
        assert isinstance(stream, nn.Sequential)
        stream.insert(2, nn.MaxPool3d(2))
    return block
