"""Videos as a network sees them, and what it makes of them.

A *sample* is a video with its class. Networks see values in [0, 1]: bytes divided by 255.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepvox.errors import InputError
from sepvox.layout import Layout
from sepvox.studies.video_mnist.clips import Split
from sepvox.studies.video_mnist.store import read_labels, read_videos
from sepvox.studies.video_mnist.subsets import balanced

# What is looked at in one pass where nothing is learned: more at once is no quicker on a CPU.
TOGETHER = 20


@dataclass(frozen=True)
class Samples:
    """Videos and their classes, on the device that computes.

    Attributes
    ----------
    videos : uint8 (n, 30, 28, 28)
    labels : int64 (n,)
    """

    videos: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, order: NDArray[np.int64], size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Videos, float32 (k, 1, 30, 28, 28) in [0, 1], and their classes, (k,), `size` at a time and the rest."""
        for begin in range(0, len(order), size):
            where = torch.from_numpy(order[begin : begin + size]).to(self.labels.device)
            videos = self.videos[where].unsqueeze(1)
            # Channels last is quicker on a CPU. A single channel is in that order already, which torch does
            # not see by its strides unless they are made so.
            inputs = torch.empty_like(videos, dtype=torch.float32, memory_format=torch.channels_last_3d)
            yield inputs.copy_(videos).div_(255), self.labels[where]


def fixed_subset(layout: Layout, split: Split, count: int, seed: int, key: str) -> NDArray[np.int64]:
    """Indices, (count,), of a class-balanced subset of a stored split.

    Parameters
    ----------
    key : str
        Which setting asks for it, for messages.

    Raises
    ------
    InputError
        If a class has too few videos.
    StoreError
        If the store is missing, unfinished or damaged.
    """
    try:
        return balanced(read_labels(layout.videos(split)), count, seed)
    except InputError as error:
        raise InputError(f"{key}: {layout.videos(split)}: {error}") from None


def read_samples(layout: Layout, split: Split, indices: NDArray[np.int64] | None, device: torch.device) -> Samples:
    """Stored videos in the order of their indices, (n,); all of a split for None.

    Raises
    ------
    StoreError
        If the store is missing, unfinished or damaged.
    """
    labels = read_labels(layout.videos(split))
    chosen = np.arange(len(labels)) if indices is None else indices
    videos = torch.from_numpy(read_videos(layout.videos(split), chosen))
    return Samples(videos.to(device), torch.from_numpy(labels[chosen].astype(np.int64)).to(device))


def recognised(network: nn.Module, samples: Samples) -> NDArray[np.bool_]:
    """Whether each sample, (n,), is given its own class. The network must be materialised, and is set to evaluate."""
    network.eval()
    order = np.arange(len(samples))
    with torch.inference_mode():
        right = [network(videos).argmax(1) == labels for videos, labels in samples.batches(order, TOGETHER)]
    found: NDArray[np.bool_] = torch.cat(right).cpu().numpy()
    return found


def accuracy(network: nn.Module, samples: Samples) -> float:
    """Share of the samples that are recognised."""
    return float(recognised(network, samples).mean())
