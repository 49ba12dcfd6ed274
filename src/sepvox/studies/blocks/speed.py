"""How long networks take for a forward pass, side by side in one process.

Prediction as a whole also starts programs, writes stores, and computes halos that a small volume has more of; this is what
the networks themselves differ in.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import torch
from torch.nn.utils import convert_conv3d_weight_memory_format

from sepvox.experiments.base import Experiment
from sepvox.nets.build import build
from sepvox.nets.geometry import geometry
from sepvox.nets.model_config import read_network
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.tt import materialised

EDGE, REPEATS = 96, 3


def seconds_of_networks(experiment: Experiment, results: Path) -> dict[str, float]:
    """Seconds of a pass per million voxels of each network of an experiment that was trained, by its name."""
    networks = {
        str(run.entry): read_network(experiment.model_directory(results, model) / "config.json", model)
        for model, run in experiment.runs().items()
    }
    return seconds_per_million(networks)


def seconds_per_million(
    networks: Mapping[str, NetworkSettings], edge: int = EDGE, repeats: int = REPEATS
) -> dict[str, float]:
    """Median seconds of a pass per million voxels of output, by the network's name.

    Weights are random: they change no time. Networks take turns, so that what else the machine does meets all of them, and
    the first pass of each does not count. They run in float32, 3DTT with materialised kernels.

    Parameters
    ----------
    edge : int
        Voxels of the input along each axis; the next larger extent that the network takes.
    """
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ready = {}
    for name, settings in networks.items():
        network = materialised(build(settings)).eval().to(device)
        shape = geometry(settings).admissible((edge, edge, edge))
        ready[name] = convert_conv3d_weight_memory_format(network, torch.channels_last_3d), shape
    found: dict[str, list[float]] = {name: [] for name in networks}
    for repeat in range(repeats + 1):
        for name, (network, shape) in ready.items():
            image = torch.zeros((1, networks[name].in_channels, *shape), device=device).to(
                memory_format=torch.channels_last_3d
            )
            begin = time.monotonic()
            with torch.inference_mode():
                voxels = network(image)[0, 0].numel()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:
                found[name].append((time.monotonic() - begin) / voxels * 1e6)
    return {name: median(values) for name, values in found.items()}
