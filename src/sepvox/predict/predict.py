"""predict: a prepared volume to affinities, block by block, on the CPU, one GPU or several.

Reading, forward passes and writing of different blocks overlap: one thread more than there are devices works on blocks,
and each takes a device only for its forward passes.
"""

import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import convert_conv3d_weight_memory_format
from tqdm import tqdm

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part, Triple, fitting_block, triple
from sepvox.blockwise import Blockwise
from sepvox.config import Experiment
from sepvox.errors import ConfigError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.geometry import Geometry, geometry
from sepvox.nets.model_config import resolved
from sepvox.nets.settings import NetworkSettings
from sepvox.ome_zarr import Spec
from sepvox.predict.settings import PredictSettings
from sepvox.predict.tiles import Forward, Tiler, Volume, to_uint8, torch_forward
from sepvox.prepare.volume import PreparedVolume, open_volume
from sepvox.symmetries import IDENTITY, mirrors, symmetries
from sepvox.versions import VERSIONS


@dataclass(frozen=True)
class _Job:
    """Everything about one model on one volume."""

    layout: Layout
    volume: PreparedVolume
    settings: PredictSettings
    network: NetworkSettings
    weights: Path
    net: Geometry
    store: Path
    spec: Spec
    step: Blockwise

    @property
    def channels(self) -> int:
        return len(self.network.offsets) if self.settings.long_range else 3


def _job(experiment: Experiment, model: str, name: str, results: Path) -> _Job:
    layout = Layout(results / experiment.experiment)
    volume = open_volume(layout, name)
    path = experiment.model_weights(results, model)
    config = path.parent / "config.json"
    network = (
        NetworkSettings.model_validate(markers.read_json(config)["network"])
        if experiment.train
        else resolved(experiment.network)
    )
    net = geometry(network)
    settings = experiment.predict
    if settings.mode == "exact":
        _check_exact(net, experiment, volume)
    block = fitting_block("predict.block", settings.block, [experiment.prepare.shard], volume.shape)
    offsets = network.offsets if settings.long_range else network.offsets[:3]
    spec = Spec(
        shape=volume.shape,
        dtype="uint8",
        geometry=volume.geometry,
        chunk=experiment.prepare.chunk,
        shard=experiment.prepare.shard,
        channels=tuple("affinity " + " ".join(str(step) for step in offset) for offset in offsets),
    )
    free = {"tile", "block", "slices", "device"}
    made = markers.fingerprint(
        "predict",
        VERSIONS["predict"],
        settings.model_dump(mode="json", exclude=free if settings.mode == "exact" else free - {"tile"}),
        experiment.prepare.model_dump(mode="json", include={"chunk", "shard"}),
        block,
        network.model_dump(mode="json"),
        markers.file_fingerprint(path),
        volume.fingerprint,
    )
    step = Blockwise("predict", Lattice(volume.shape, block), layout.done("predict", model, name, "x").parent, made)
    return _Job(layout, volume, settings, network, path, net, layout.affinities(model, name), spec, step)


def _check_exact(net: Geometry, experiment: Experiment, volume: PreparedVolume) -> None:
    if not net.exact_ok:
        raise ConfigError(
            f"predict.mode: exact is not possible: {net.reason}; use `mode: blend`, or norm none or batch"
        )
    for axis, halo, begin, end, size in zip(
        "zyx", net.halo, volume.region.begin, volume.region.end, volume.image.shape, strict=True
    ):
        if min(begin or halo, size - end or halo) < halo and experiment.prepare.context < halo:
            raise ConfigError(
                f"prepare.context: {experiment.prepare.context} is less than the network's halo of {halo} along {axis}; raise it to {halo}"
            )


def create(experiment: Experiment, model: str, volume: str, results: Path, restart: bool) -> None:
    """Lay out affinities.zarr."""
    job = _job(experiment, model, volume, results)
    job.step.create(job.store, lambda: ome_zarr.create(job.store, job.spec), restart)


def predict_slice(experiment: Experiment, model: str, volume: str, results: Path, part: Part) -> None:
    """Predict the blocks of a slice that are not done yet."""
    job = _job(experiment, model, volume, results)
    job.step.check_created()
    devices = _devices(job.settings.device)
    forwards: queue.Queue[Forward] = queue.Queue()
    for device in devices:
        forwards.put(_forward(job, device))
    array = ome_zarr.open_level(job.store, writable=True)
    tiler = _tiler(job)
    tiles = _TileSize(job.settings.tile or job.step.lattice.size)

    def work(box: Box) -> None:
        mask = job.volume.mask_box(box)
        if mask is not None and not mask.any():
            ome_zarr.write(array, box, np.zeros((job.channels, *box.shape), np.uint8))
            return
        predicted = to_uint8(_predict_box(job, tiler, tiles, box, forwards))
        if mask is not None:
            predicted *= mask
        ome_zarr.write(array, box, predicted)

    with ThreadPoolExecutor(len(devices) + 1) as threads:
        job.step.run(part, work, threads)


def finish(experiment: Experiment, model: str, volume: str, results: Path) -> None:
    """Write the metadata of affinities.zarr once every block is there."""
    job = _job(experiment, model, volume, results)
    offsets = job.network.offsets[: job.channels]
    described = {
        "offsets": [list(offset) for offset in offsets],
        "convention": "channel k at a voxel is the affinity to the voxel + offsets[k]; 255 is the same object",
        "weights": markers.file_fingerprint(job.weights),
        "fingerprint": job.step.fingerprint,
    }
    job.step.finish(lambda: ome_zarr.finish(job.store, job.spec, described))


def _tiler(job: _Job) -> Tiler:
    chosen = {
        "none": (IDENTITY,),
        "mirror": mirrors(),
        "symmetries": symmetries(job.volume.geometry.anisotropic),
    }[job.settings.augment]
    return Tiler(job.net, chosen, job.network.offsets[: job.channels])


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


def _predict_box(job: _Job, tiler: Tiler, tiles: _TileSize, box: Box, forwards: "queue.Queue[Forward]") -> Volume:
    def read(where: Box) -> Volume:
        return job.volume.image_box(where) * np.float32(2) - np.float32(1)

    while True:
        tile = tiles.size
        try:
            forward = _borrowing(forwards)
            if job.settings.mode == "exact":
                return tiler.exact(read, box, tile, forward)
            return tiler.blend(read, box, job.volume.shape, tile, job.settings.overlap, forward)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error) or not tiles.halve(tile, job.net.total_stride):
                raise
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


def _forward(job: _Job, device: torch.device) -> Forward:
    network = build(job.network)
    weights.load_into(network, job.weights)
    convert_conv3d_weight_memory_format(network.eval().to(device), torch.channels_last_3d)
    wanted = job.settings.precision
    fits = device.type == "cuda" and torch.cuda.is_bf16_supported() and job.settings.mode == "blend"
    autocast: Any = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=wanted == "bfloat16" or (wanted == "auto" and fits)
    )
    return torch_forward(network, device, autocast, job.channels)
