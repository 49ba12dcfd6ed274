"""Trained networks for classes, loaded and applied together to one subject.

A subject is predicted in *blocks*, whole numbers of shards that take at most `BLOCK_BYTES`, so that memory does not depend
on the volume: most subjects are one block. Probabilities do not depend on the blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import convert_conv3d_weight_memory_format
from tqdm import tqdm

from sepvox import markers, ome_zarr, storage
from sepvox.blocks import Box, Lattice, Triple, triple
from sepvox.errors import ConfigError, InputError
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.tt import materialised
from sepvox.ome_zarr import Spec
from sepvox.predict.class_model import ClassModel, check_ensemble, common_tile
from sepvox.predict.class_tiles import Forward, Mirror, Volume, mirrors_along, passes_of, predict_box
from sepvox.predict.settings import ClassPredictSettings
from sepvox.prepare.settings import StoreSettings
from sepvox.prepare.subject import PreparedSubject
from sepvox.storage import Place
from sepvox.world import Geometry

BLOCK_BYTES: Final = 2**30
BACKGROUND: Final = "background"


@dataclass(frozen=True)
class Method:
    """Everything that probabilities depend on beside the image.

    Attributes
    ----------
    models : tuple of ClassModel
        Whose probabilities are averaged; one or more.
    tile, margin : three ints
        See `sepvox.predict.class_tiles`.
    overlap : float
    mirrors : tuple of tuples of axes
    """

    models: tuple[ClassModel, ...]
    tile: Triple
    margin: Triple
    overlap: float
    mirrors: tuple[Mirror, ...]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return (BACKGROUND, *self.models[0].classes)

    @property
    def fingerprint(self) -> str:
        return markers.fingerprint([model.fingerprint for model in self.models], self.tile, self.overlap, self.mirrors)


def method_of(models: Sequence[ClassModel], settings: ClassPredictSettings) -> Method:
    """How these networks are applied together."""
    check_ensemble(models)
    tile, margin = common_tile(models, settings.tile)
    mirrored = [all(axis) for axis in zip(*(model.mirror for model in models), strict=True)]
    mirrors = mirrors_along(mirrored) if settings.augment == "mirror" else ((),)
    return Method(tuple(models), tile, margin, settings.overlap, mirrors)


def load_forward(models: Sequence[ClassModel], settings: ClassPredictSettings) -> Forward:
    """A forward pass that returns the mean probabilities of the networks, on the device that the settings ask for.

    Raises
    ------
    ConfigError
        If there is no such device.
    InputError
        If weights do not fit their config.json.
    """
    device = _device(settings.device)
    # Else float32 would mean TF32, of 10 bits of mantissa.
    torch.backends.cudnn.allow_tf32 = False
    networks = []
    for model in models:
        network = build(model.network)
        weights.load_into(network, model.weights)
        ready = materialised(network).eval().to(device)
        networks.append(convert_conv3d_weight_memory_format(ready, torch.channels_last_3d))
    half = precision_of(settings) == "bfloat16"
    autocast: Any = torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)

    def forward(images: Volume) -> Volume:
        tensor = torch.from_numpy(images).to(device, memory_format=torch.channels_last_3d)
        with torch.inference_mode(), autocast:
            each = [torch.softmax(network(tensor).float(), dim=1) for network in networks]
        found: Volume = torch.stack(each).mean(dim=0).cpu().numpy()
        return found

    return forward


def precision_of(settings: ClassPredictSettings) -> str:
    """What `predict.precision` means on the device that the settings ask for: float32 or bfloat16."""
    if settings.precision != "auto":
        return settings.precision
    fits = _device(settings.device).type == "cuda" and torch.cuda.is_bf16_supported()
    return "bfloat16" if fits else "float32"


def predict_subject(
    subject: PreparedSubject, method: Method, forward: Forward, store: Place, layout: StoreSettings, fingerprint: str
) -> None:
    """Write the probabilities of one subject.

    Parameters
    ----------
    forward : see `load_forward`.
    store : Place
        probabilities.zarr, uint8 (class, z, y, x) on the prepared grid, 255 is certain; what was there is replaced.
    layout : StoreSettings
        Chunk and shard.
    fingerprint : str
        Of the result, for its attributes.
    """
    channels = method.channels
    z, y, x = (float(v) for v in (subject.grid.affine @ (0, 0, 0, 1))[2::-1])
    geometry = Geometry(subject.grid.spacing, (z, y, x), "millimeter")
    spec = Spec(subject.shape, "uint8", geometry, layout.chunk, layout.shard, channels)
    storage.remove(store)
    ome_zarr.create(store, spec)
    array = ome_zarr.open_level(store, writable=True)
    modalities = len(method.models[0].modalities)
    blocks = list(Lattice(subject.shape, block_of(subject.shape, layout.shard, len(channels), modalities)))
    passes = sum(passes_of(box, subject.shape, method.tile, method.overlap, method.mirrors) for box in blocks)
    with tqdm(total=passes, unit="pass", desc=store.parent.name, leave=False, mininterval=1, delay=2) as bar:

        def counted(images: Volume) -> Volume:
            found = forward(images)
            bar.update()
            return found

        for box in blocks:
            ome_zarr.write(array, box, _predict_block(subject, method, counted, box))
    described = {
        "classes": dict(method.models[0].classes),
        "weights": [markers.file_fingerprint(model.weights) for model in method.models],
        "tile": list(method.tile),
        "fingerprint": fingerprint,
    }
    ome_zarr.finish(store, spec, described)


def _predict_block(subject: PreparedSubject, method: Method, forward: Forward, box: Box) -> NDArray[np.uint8]:
    try:
        probabilities = predict_box(
            subject.image_box, box, subject.shape, method.tile, method.overlap, forward, method.mirrors, method.margin
        )
    except (MemoryError, RuntimeError) as error:
        # Halving the tile, which is part of the method, would mix two results in one experiment.
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise ConfigError(
                f"predict.tile: out of memory with {list(method.tile)}; give a smaller tile (--tile of `sepvox apply`), or a machine with more memory"
            ) from None
        raise
    if not np.isfinite(probabilities).all():
        files = ", ".join(str(model.weights) for model in method.models)
        raise InputError(
            f"{files}: probabilities are not numbers; the training diverged: train again at a lower train.learning_rate"
        )
    probabilities *= 255
    return np.rint(probabilities, out=probabilities).astype(np.uint8)


def block_of(shape: Triple, shard: Triple, channels: int, modalities: int) -> Triple:
    """The largest block that takes at most `BLOCK_BYTES`, by halving the longest axis; at least one shard."""
    # In float32 the sums, their weights and the image; in uint8 the result.
    voxel_bytes = 4 * (channels + 1 + modalities) + channels
    counts = [-(-n // s) for n, s in zip(shape, shard, strict=True)]

    def extents() -> Triple:
        return triple([c * s for c, s in zip(counts, shard, strict=True)])

    while prod(extents()) * voxel_bytes > BLOCK_BYTES and max(counts) > 1:
        axis = max((a for a in range(3) if counts[a] > 1), key=lambda a: counts[a] * shard[a])
        counts[axis] = -(-counts[axis] // 2)
    return extents()


def _device(name: str) -> torch.device:
    if name != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        raise ConfigError("predict.device: cuda was asked for, but torch finds no CUDA device; use auto or cpu")
    return torch.device("cpu")
