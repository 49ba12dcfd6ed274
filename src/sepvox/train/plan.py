"""The automatic choice of patch, pooling and batch from the images' shapes, their voxels' size, and the memory.

The rules are those of nnU-Net (Isensee et al. 2021, Nature Methods 18:203, supplementary note 2), with a memory estimate of
our own (`sepvox.nets.memory`):

1. The patch starts at the median shape of the images, but no larger than a cube in mm of as many voxels as 256³.
2. Poolings halve every axis that keeps at least 4 voxels. An axis whose voxels are at least twice as long as the shortest
   among these waits: coarse axes are pooled only after the others have reached their voxel size.
3. Every extent is raised to a multiple of its *stride*, the product of its poolings; images smaller than that are padded.
4. While a step on two patches does not fit the memory, the axis that has kept most of its starting extent loses one stride,
   and the poolings are planned anew. No axis is brought below 8 voxels, the least that can be halved by rule 2.
5. The batch grows while it fits, has no more than a twentieth of all voxels, and no more than `LARGEST_BATCH` patches.

What the user gives (patch, batch, the network's pooling) is taken as it is, and the rest follows from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Final

from sepvox.errors import ConfigError
from sepvox.nets.architecture import Triple, architecture
from sepvox.nets.geometry import geometry
from sepvox.nets.memory import training_bytes
from sepvox.nets.settings import NetworkSettings

Spacing = tuple[float, float, float]

LARGEST_BATCH: Final = 8
_LEAST_EXTENT: Final = 4
_LEAST_HALVED: Final = 2 * _LEAST_EXTENT
_LEAST_BATCH: Final = 2
_START_VOXELS: Final = 256**3
_GIB: Final = 1024**3


@dataclass(frozen=True)
class Plan:
    """What was chosen, and why.

    Attributes
    ----------
    patch : (int, int, int)
        Input of the network in voxels, z y x.
    pooling : tuple of (int, int, int)
        Pooling factors per level, z y x.
    depth : int
        Number of poolings.
    batch : int
        Patches per step.
    reasons : tuple of str
        One line per choice.
    """

    patch: Triple
    pooling: tuple[Triple, ...]
    depth: int
    batch: int
    reasons: tuple[str, ...]

    def network(self, settings: NetworkSettings) -> NetworkSettings:
        """The settings with the planned pooling; published networks stay as they are."""
        return settings if settings.name != "unet" else _pooled(settings, self.pooling)


def plan(
    shapes: Sequence[Triple],
    spacings: Sequence[Spacing],
    network: NetworkSettings,
    memory: int,
    *,
    patch: Triple | None = None,
    batch: int | None = None,
    value_bytes: int = 4,
) -> Plan:
    """Choose patch, pooling and batch.

    Parameters
    ----------
    shapes, spacings
        Voxels and voxel size in mm of every prepared image, z y x.
    network
        The network. Its pooling, where given, is kept, and so is a published network's; else at most `network.depth`
        poolings are planned.
    memory
        Bytes that a training step may take.
    patch, batch
        Given by the user; planned where None.
    value_bytes
        Bytes of an activation: 4 for float32, 2 for bfloat16.

    Raises
    ------
    ConfigError
        If the given patch cannot be pooled, or not even the smallest patch fits the memory.
    """
    middle = _median_shape(shapes)
    spacing = _median_spacing(spacings)
    fixed = _fixed_pooling(network)
    reasons = [f"images: {len(shapes)}, of median shape {_times(middle)} voxels and voxels of {_times(spacing)} mm"]

    def pooled(extents: Triple, exact: bool) -> tuple[Triple, ...]:
        return poolings(extents, spacing, network.depth, exact=exact) if fixed is None else fixed

    def needed(extents: Triple, pooling: tuple[Triple, ...], patches: int) -> int:
        return training_bytes(architecture(_pooled(network, pooling)), extents, patches, value_bytes)

    if patch is not None:
        pooling = pooled(patch, True)
        next_larger = geometry(_pooled(network, pooling)).admissible(patch)
        if next_larger != patch:
            raise ConfigError(
                f"train.patch: the network does not take {list(patch)}; the next larger patch that it takes is {list(next_larger)}"
            )
        reasons.append(f"patch {_times(patch)}: as given")
    else:
        patch, pooling, reason = _fitted(
            _start(middle, spacing), network, pooled, needed, batch or _LEAST_BATCH, memory
        )
        reasons.append(reason + _padding_reason(patch, shapes))
    reasons.append(_pooling_reason(pooling, patch, spacing, network.depth if fixed is None else None))
    if batch is not None:
        reasons.append(f"batch {batch}: as given")
    else:
        batch, reason = _grown(shapes, patch, lambda patches: needed(patch, pooling, patches), memory)
        reasons.append(reason)
    estimate = needed(patch, pooling, batch)
    verdict = "fits" if estimate <= memory else "is more than"
    reasons.append(f"memory: a training step takes about {_gib(estimate)}, which {verdict} the {_gib(memory)} allowed")
    if network.deep_supervision and not architecture(_pooled(network, pooling)).supervised:
        reasons.append(f"deep supervision: a network of depth {len(pooling)} has no level for it; from depth 3 it has")
    return Plan(patch, pooling, len(pooling), batch, tuple(reasons))


def poolings(extents: Triple, spacing: Spacing, deepest: int, *, exact: bool = False) -> tuple[Triple, ...]:
    """Poolings for a patch by rule 2, at least one and at most `deepest`.

    With `exact` an axis is halved only where its extent stays whole. Where no axis can be halved, all that have more than
    one voxel are, once.
    """
    lengths, strides = list(spacing), [1, 1, 1]
    found: list[Triple] = []
    while len(found) < deepest:
        able = [
            axis
            for axis in range(3)
            if extents[axis] >= _LEAST_HALVED * strides[axis] and not (exact and extents[axis] % (2 * strides[axis]))
        ]
        if not able:
            break
        shortest = min(lengths[axis] for axis in able)
        z, y, x = (2 if axis in able and lengths[axis] < 2 * shortest else 1 for axis in range(3))
        found.append((z, y, x))
        lengths = [length * factor for length, factor in zip(lengths, found[-1], strict=True)]
        strides = [stride * factor for stride, factor in zip(strides, found[-1], strict=True)]
    z, y, x = (2 if extent > 1 else 1 for extent in extents)
    return tuple(found) or ((z, y, x),)


def _fitted(
    start: Triple,
    network: NetworkSettings,
    pooled: Callable[[Triple, bool], tuple[Triple, ...]],
    needed: Callable[[Triple, tuple[Triple, ...], int], int],
    batch: int,
    memory: int,
) -> tuple[Triple, tuple[Triple, ...], str]:
    """The largest patch by rules 3 and 4, its poolings, and the reason."""
    extents = list(start)
    first = None
    while True:
        pooling = pooled(_triple(extents), False)
        where = geometry(_pooled(network, pooling))
        patch = where.admissible(_triple(extents))
        estimate = needed(patch, pooling, batch)
        first = first or (patch, estimate)
        if estimate <= memory:
            break
        shorter = [size - stride for size, stride in zip(patch, where.total_stride, strict=True)]
        # A patch of valid padding has a least size; there its extents stay as they are, and only then.
        able = [axis for axis in range(3) if min(_LEAST_HALVED, start[axis]) <= shorter[axis] < extents[axis]]
        if not able:
            raise ConfigError(
                f"memory: even patches of {_times(patch)} in batches of {batch} take about {_gib(estimate)}, more than the "
                f"{_gib(memory)} allowed; allow more, or lower network.width, network.depth or train.batch"
            )
        axis = max(able, key=lambda axis: patch[axis] / start[axis])
        extents[axis] = shorter[axis]
    strides = _times(where.total_stride)
    if patch == first[0]:
        return patch, pooling, f"patch {_times(patch)}: {_times(start)} raised to multiples of the strides {strides}"
    return (
        patch,
        pooling,
        f"patch {_times(patch)}: {batch} of {_times(first[0])} would take {_gib(first[1])}, so it was shrunk until they fit, "
        f"in steps of the strides, now {strides}",
    )


def _grown(shapes: Sequence[Triple], patch: Triple, needed: Callable[[int], int], memory: int) -> tuple[int, str]:
    """The batch by rule 5, and the reason."""
    share = sum(map(prod, shapes)) // (20 * prod(patch))
    most = max(_LEAST_BATCH, min(LARGEST_BATCH, share))
    batch = 1
    while batch < most and needed(batch + 1) <= memory:
        batch += 1
    if batch < most:
        return batch, f"batch {batch}: {batch + 1} patches would take {_gib(needed(batch + 1))}"
    if batch == LARGEST_BATCH:
        return batch, f"batch {batch}: the most that is taken"
    least = f", and {_LEAST_BATCH} are the least" if share < _LEAST_BATCH else ""
    return batch, f"batch {batch}: a twentieth of all voxels is {share} patches{least}"


def _start(middle: Triple, spacing: Spacing) -> Triple:
    """The median shape, within a cube in mm of `_START_VOXELS` voxels."""
    side = (_START_VOXELS * prod(spacing)) ** (1 / 3)
    return _triple([min(size, max(1, round(side / length))) for size, length in zip(middle, spacing, strict=True)])


def _fixed_pooling(network: NetworkSettings) -> tuple[Triple, ...] | None:
    return architecture(network).pooling if network.name != "unet" else network.pooling


def _pooled(network: NetworkSettings, pooling: tuple[Triple, ...]) -> NetworkSettings:
    if network.name != "unet":
        return network
    return NetworkSettings.model_validate(network.model_dump() | {"pooling": pooling, "depth": len(pooling)})


def _pooling_reason(pooling: tuple[Triple, ...], patch: Triple, spacing: Spacing, limit: int | None) -> str:
    """`limit` is None where the pooling was not planned."""
    what = f"pooling {', '.join(map(_times, pooling))}: "
    if limit is None:
        return what + "as the network has it"
    if max(patch) < _LEAST_HALVED:
        return f"{what}no axis has {_LEAST_HALVED} voxels to halve, but one pooling is the least"
    waiting = [
        f"; {axis} with voxels of {length:g} mm waits until the others have come to its size"
        for i, (axis, length) in enumerate(zip("zyx", spacing, strict=True))
        if pooling[0][i] == 1 and any(factors[i] > 1 for factors in pooling)
    ]
    return f"{what}axes are halved while they keep {_LEAST_EXTENT} voxels, at most {limit} times{''.join(waiting)}"


def _padding_reason(patch: Triple, shapes: Sequence[Triple]) -> str:
    smaller = sum(any(size < wanted for size, wanted in zip(shape, patch, strict=True)) for shape in shapes)
    return f"; {smaller} of {len(shapes)} images are smaller along some axis and are padded" if smaller else ""


def _median_shape(shapes: Sequence[Triple]) -> Triple:
    return _triple([round(median(axis)) for axis in zip(*shapes, strict=True)])


def _median_spacing(spacings: Sequence[Spacing]) -> Spacing:
    z, y, x = (median(axis) for axis in zip(*spacings, strict=True))
    return z, y, x


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = values
    return z, y, x


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _gib(size: int) -> str:
    return f"{size / _GIB:.3g} GiB"
