"""predict: a prepared volume to affinities, block by block, on the CPU, one GPU or several.

Reading, forward passes and writing of different blocks overlap: one thread more than there are devices works on blocks,
and each takes a device only for its forward passes.
"""

import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import convert_conv3d_weight_memory_format
from tqdm import tqdm

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Part, Triple, triple
from sepvox.errors import ConfigError, StaleError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.tt import materialised
from sepvox.predict.job import PredictJob, predict_job
from sepvox.predict.settings import PredictSettings
from sepvox.predict.tiles import Forward, Tiler, Volume, to_uint8, torch_forward
from sepvox.symmetries import IDENTITY, Symmetry, mirrors, symmetries


def predict_slice(experiment: NeuronsExperiment, model: str, volume: str, results: Path, part: Part) -> None:
    """Predict the blocks of a slice that are not done yet."""
    job = predict_job(experiment, model, volume, results)
    job.step.check_created()
    devices = _devices(job.settings.device)
    if job.step.unfinished(part):
        _agree_on_precision(job, devices)
    forwards: queue.Queue[Forward] = queue.Queue()
    for device in devices:
        forwards.put(_forward(job, device))
    array = ome_zarr.open_level(job.store, writable=True)
    tiler = _tiler(job)
    tiles = _TileSize(job.settings.tile or job.step.lattice.size)

    def work(box: Box) -> None:
        mask = job.volume.mask_box(box)
        if mask is not None and not mask.any():
            ome_zarr.write(array, box, np.zeros((len(job.offsets), *box.shape), np.uint8))
            return
        predicted = to_uint8(_predict_box(job, tiler, tiles, box, forwards))
        if mask is not None:
            predicted *= mask
        ome_zarr.write(array, box, predicted)

    with ThreadPoolExecutor(len(devices) + 1) as threads:
        job.step.run(part, work, threads)


def _tiler(job: PredictJob) -> Tiler:
    chosen = {
        "none": (IDENTITY,),
        "mirror": mirrors(),
        "symmetries": symmetries(job.volume.geometry.anisotropic),
    }[job.settings.augment]
    # A turned tile must suit the network as it is: poolings may differ by axis where voxels do not.
    fits = (job.net.total_stride, job.net.halo)
    kept = tuple(s for s in chosen if (_turned(job.net.total_stride, s), _turned(job.net.halo, s)) == fits)
    return Tiler(job.net, kept, job.offsets)


def _turned(values: Triple, symmetry: Symmetry) -> Triple:
    return triple([values[axis] for axis in symmetry.permutation])


class _TileSize:
    """The tile in use; shared by the threads of a job, halved when memory runs out."""

    def __init__(self, size: Triple) -> None:
        self.size = size

    def halve(self, tried: Triple, least: Triple) -> bool:
        """Halve the longest axis unless another thread has; False when no axis can be halved."""
        if tried != self.size:
            return True
        axis = max(range(3), key=lambda a: tried[a] / least[a])
        smaller = list(tried)
        smaller[axis] = max(least[axis], tried[axis] // 2)
        self.size = triple(smaller)
        tqdm.write(f"predict: out of memory with tile {list(tried)}; going on with {list(self.size)}")
        return self.size != tried


def _predict_box(job: PredictJob, tiler: Tiler, tiles: _TileSize, box: Box, forwards: "queue.Queue[Forward]") -> Volume:
    def read(where: Box) -> Volume:
        return job.volume.image_box(where) * np.float32(2) - np.float32(1)

    while True:
        tile = tiles.size
        try:
            forward = _borrowing(forwards)
            if job.settings.mode == "exact":
                return tiler.exact(read, box, tile, forward)
            # Importing MONAI takes seconds, which exact prediction need not pay.
            from sepvox.predict.blend import blend

            return blend(tiler, read, box, job.volume.shape, tile, job.settings.overlap, forward)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            # In blend mode the tile is part of the method: halving it would mix two results in one store.
            if job.settings.mode == "blend" or not tiles.halve(tile, job.net.total_stride):
                raise ConfigError(
                    f"predict.tile: out of memory with {list(tile)}; give a smaller tile, or a machine with more memory"
                ) from None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _borrowing(forwards: "queue.Queue[Forward]") -> Forward:
    """A forward that waits for a free device for each pass."""

    def forward(image: Volume) -> Volume:
        one = forwards.get()
        try:
            return one(image)
        finally:
            forwards.put(one)

    return forward


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _devices(name: str) -> list[torch.device]:
    if name != "cpu" and torch.cuda.is_available():
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if name == "cuda":
        raise ConfigError("predict.device: cuda was asked for, but torch finds no CUDA device; use auto or cpu")
    return [torch.device("cpu")]


def _precision(settings: PredictSettings, device: torch.device) -> str:
    """What `auto` means on a device."""
    if settings.precision != "auto":
        return settings.precision
    fits = device.type == "cuda" and torch.cuda.is_bf16_supported() and settings.mode == "blend"
    return "bfloat16" if fits else "float32"


def _agree_on_precision(job: PredictJob, devices: list[torch.device]) -> None:
    """All blocks of a store have the precision of the first slice that began; `auto` may mean another elsewhere."""
    ours = {_precision(job.settings, device) for device in devices}
    theirs = markers.claim(job.step.done / "blocks" / "precision.json", min(ours))
    if ours != {theirs}:
        raise StaleError(
            f"{job.store}: its blocks are computed in {theirs}, but predict.precision: auto means {min(ours - {theirs})} on this device; use the device of the other blocks, or set predict.precision to predict afresh"
        )


def _forward(job: PredictJob, device: torch.device) -> Forward:
    # TF32 has 10 bits of mantissa: tiles would differ from the whole by more than rounding.
    torch.backends.cudnn.allow_tf32 = False
    network = build(job.network)
    weights.load_into(network, job.weights)
    convert_conv3d_weight_memory_format(materialised(network).eval().to(device), torch.channels_last_3d)
    autocast: Any = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=_precision(job.settings, device) == "bfloat16"
    )
    return torch_forward(network, device, autocast, len(job.offsets))
