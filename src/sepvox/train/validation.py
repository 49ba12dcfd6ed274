"""Validation: loss and Variation of Information of the centre crop of each validation volume."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sepvox.blocks import Box, Triple, triple
from sepvox.nets.geometry import Geometry
from sepvox.prepare.volume import PreparedVolume
from sepvox.score.contingency import contingency, relabel
from sepvox.score.metrics import variation_of_information
from sepvox.segment.lookup import lookup_tables
from sepvox.segment.merge_scores import merge_scores
from sepvox.segment.settings import SegmentSettings
from sepvox.segment.watershed import fragments_of_cell, waterz_thresholds
from sepvox.settings import Offset
from sepvox.train.patches import training_labels
from sepvox.train.targets import affinities, erode

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Crop:
    """A validation crop: image float32 (1, 1, z, y, x) with the halo, and what the network should say inside it."""

    image: torch.Tensor
    inside: tuple[slice, slice, slice]
    targets: torch.Tensor
    mask: torch.Tensor
    labels: NDArray[np.uint64]
    voxel_size: tuple[float, float, float]


def crop_of(
    volume: PreparedVolume,
    wanted: Triple,
    net: Geometry,
    offsets: Sequence[Offset],
    background: Literal["unknown", "boundary"],
    erode_labels: int,
) -> Crop:
    """The centre crop of a volume, at most `wanted` voxels, read with the network's halo.

    Targets are made like those of training; VI is of the labels as they are.
    """
    size = triple([min(w, n) for w, n in zip(wanted, volume.shape, strict=True)])
    begin = triple([(n - s) // 2 for n, s in zip(volume.shape, size, strict=True)])
    box = Box(begin, triple([b + s for b, s in zip(begin, size, strict=True)]))
    outer = triple([b - h for b, h in zip(begin, net.halo, strict=True)])
    shape = net.admissible(triple([s + 2 * h for s, h in zip(size, net.halo, strict=True)]))
    image = volume.image_box(Box(outer, triple([b + s for b, s in zip(outer, shape, strict=True)])))
    labels = volume.labels_box(box)
    targets, mask = affinities(erode(training_labels(volume, box, background), erode_labels), offsets)
    lead = net.halo if net.padding == "same" else (0, 0, 0)
    z, y, x = (slice(h, h + s) for h, s in zip(lead, size, strict=True))
    return Crop(
        image=torch.from_numpy(image[None, None] * 2 - 1),
        inside=(z, y, x),
        targets=torch.from_numpy(targets)[None],
        mask=torch.from_numpy(mask)[None],
        labels=labels,
        voxel_size=volume.geometry.voxel_size,
    )


def figures_of(
    network: nn.Module, crop: Crop, device: torch.device, loss: Loss, segment: SegmentSettings
) -> dict[str, float]:
    """Loss, and the best VI in bits over the thresholds, of one crop."""
    logits = network(crop.image.to(device, memory_format=torch.channels_last_3d)).float().cpu()
    logits = logits[:, :, *crop.inside]
    value = float(loss(logits, crop.targets, crop.mask))
    predicted = (torch.sigmoid(logits[0, :3]) * 255).round().to(torch.uint8).numpy()
    return {"loss": value, "voi": best_voi(predicted, crop.labels, crop.voxel_size, segment)}


def best_voi(
    predicted: NDArray[np.uint8], labels: NDArray[Any], voxel_size: tuple[float, float, float], segment: SegmentSettings
) -> float:
    """Least VI (split + merge, bits) over the merge thresholds of a small volume segmented as one cell.

    Parameters
    ----------
    predicted : uint8 (3, z, y, x)
    labels : integer (z, y, x), 0 is not scored
    """
    whole = Box.of(labels.shape)
    distribution = (
        waterz_thresholds(np.bincount(predicted.ravel(), minlength=256))
        if segment.fragments.method == "waterz"
        else None
    )
    fragments = fragments_of_cell(
        predicted, whole.slices, (0, 0, 0), triple(labels.shape), segment.fragments, None, voxel_size, distribution
    )
    ids, sizes = np.unique(fragments[fragments != 0], return_counts=True)
    edges, scores = merge_scores(predicted, fragments, ids, segment.agglomerate.scoring)
    tables = lookup_tables(ids, sizes, edges, scores, segment.agglomerate.thresholds, segment.minimum_size)
    counted = contingency(fragments, labels.astype(np.uint64))
    return min(sum(variation_of_information(relabel(counted, ids, table))) for table in tables)
