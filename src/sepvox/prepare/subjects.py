"""prepare for scans: each subject's images and label map to OME-Zarr on the canonical grid.

A subject is handled as a whole in memory, of which it takes about 30 bytes per voxel and modality. Subjects are
independent of each other: many run in one job, in several processes, and one that cannot be used is named.
"""

import gzip
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sepvox import blockwise, markers, ome_zarr, storage
from sepvox.blocks import Lattice, Part
from sepvox.errors import InputError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.subject import Subject
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.grid import Grid, canonical_grid, foreground_box, sample_image, sample_labels
from sepvox.prepare.labels import label_dtype, read_labels
from sepvox.prepare.scans import Scan, check_same_grid, read_scan
from sepvox.prepare.subject import normalisation_of, preparation_fingerprint
from sepvox.storage import Place
from sepvox.subjectwise import Subjectwise
from sepvox.world import Geometry

# Voxels of each class that are remembered per subject, for training to draw from.
REMEMBERED = 2000
# Beyond these factors a spacing is a mistake of units, whose grid would fill the memory or be a voxel.
FINER, COARSER = 1 / 32, 64


def prepare_subjects(experiment: ClassesExperiment, results: Path, part: Part, restart: bool = False) -> None:
    """Write image.zarr, and labels.zarr where there are labels, of the subjects of a part.

    Raises
    ------
    InputError
        If a scan is missing, damaged, or not on the grid of the others; nothing of that subject is left.
    """
    layout = experiment.layout(results)
    layout.note()
    step = prepare_step(experiment, layout)
    work = partial(_prepare, experiment, layout, step.fingerprints)
    with blockwise.processes(experiment.prepare.processes) as executor:
        step.run(part, work, executor, restart)


def prepare_step(experiment: ClassesExperiment, layout: Layout) -> Subjectwise:
    """The step over all subjects of the experiment."""
    fingerprints = {name: preparation_fingerprint(experiment, name) for name in experiment.people}

    def made(name: str) -> list[Place]:
        return [layout.image(name), layout.labels(name), layout.class_voxels(name)]

    return Subjectwise("prepare", layout.step("prepare"), fingerprints, made)


def _prepare(experiment: ClassesExperiment, layout: Layout, fingerprints: Mapping[str, str], name: str) -> None:
    subject = experiment.people[name]
    if experiment.subjects.phantom is not None:
        subject = _make_phantom(experiment, layout, name)
    try:
        scans = read_images(subject)
        labels = None
        if subject.labels is not None:
            what = f"subject {name}: labels"
            labels = read_labels(subject.labels, what, list(experiment.classes.values()))
            check_same_grid(labels, next(iter(scans.values())), what)
        _write(experiment, layout, name, fingerprints[name], scans, labels)
    except InputError:
        for path in (layout.image(name), layout.labels(name), layout.class_voxels(name)):
            storage.remove(path)
        raise


def read_images(subject: Subject) -> dict[str, Scan]:
    """The scans of a subject by modality, all on one grid.

    Raises
    ------
    InputError
        If one cannot be read, or lies on another grid than the first.
    """
    scans: dict[str, Scan] = {}
    for modality, path in subject.images.items():
        what = f"subject {subject.name}: {modality}"
        scans[modality] = read_scan(path, what)
        check_same_grid(scans[modality], next(iter(scans.values())), what)
    return scans


def grid_of(scans: dict[str, Scan], experiment: ClassesExperiment) -> Grid:
    """The prepared grid of a subject's scans."""
    first = next(iter(scans.values()))
    crop = None
    if experiment.prepare.crop:
        whole = canonical_grid(first.shape, first.affine)
        crop = foreground_box([sample_image(scan.data, whole) for scan in scans.values()])
    spacing = experiment.prepare.spacing
    native = canonical_grid(first.shape, first.affine).spacing
    if spacing is not None and not all(FINER < new / old < COARSER for new, old in zip(spacing, native, strict=True)):
        raise InputError(
            f"{first.path}: prepare.spacing {list(spacing)} for voxels of {' x '.join(f'{size:.3g}' for size in native)} mm (z y x): expected {FINER:g} to {COARSER:g} times their size; correct prepare.spacing, or voxel sizes and units in the header"
        )
    return canonical_grid(first.shape, first.affine, spacing, crop)


def _write(
    experiment: ClassesExperiment, layout: Layout, name: str, made: str, scans: dict[str, Scan], labels: Scan | None
) -> None:
    grid = grid_of(scans, experiment)
    channels = [sample_image(scan.data, grid) for scan in scans.values()]
    dtypes = {channel.dtype for channel in channels}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
    image = np.stack([channel.astype(dtype, copy=False) for channel in channels])
    z, y, x = (float(v) for v in (grid.affine @ (0, 0, 0, 1))[2::-1])
    geometry = Geometry(grid.spacing, (z, y, x), "millimeter")
    prepare = experiment.prepare
    spec = partial(Spec, grid.shape, geometry=geometry, chunk=prepare.chunk, shard=prepare.shard, levels=prepare.levels)
    if labels is not None:
        values = list(experiment.classes.values())
        truth = sample_labels(labels.data, grid, values)
        _store(
            layout.labels(name),
            spec(dtype=label_dtype(values).name, labels=True),
            truth,
            {"classes": experiment.classes, "fingerprint": made},
        )
        _remember_voxels(layout.class_voxels(name), truth, values)
    normalisation = [normalisation_of(channel, prepare) for channel in image]
    windows = [
        (float(channel.min()), found["percentiles"]["0.5"], found["percentiles"]["99.5"], float(channel.max()))
        for channel, found in zip(image, normalisation, strict=True)
    ]
    attributes = {
        "modalities": list(scans),
        "normalisation": normalisation,
        "grid": grid.as_json(),
        "source_header": next(iter(scans.values())).header,
        "fingerprint": made,
    }
    _store(layout.image(name), spec(dtype=dtype.name, channels=tuple(scans)), image, attributes, windows)


def _store(
    path: Place,
    spec: Spec,
    values: NDArray[Any],
    attributes: dict[str, Any],
    windows: Sequence[tuple[float, float, float, float]] = (),
) -> None:
    ome_zarr.create(path, spec)
    array = ome_zarr.open_level(path, writable=True)
    for box in Lattice(spec.shape, spec.shard):
        ome_zarr.write(array, box, values[(..., *box.slices)])
    ome_zarr.finish(path, spec, attributes, windows)


def _remember_voxels(path: Path, truth: NDArray[Any], values: list[int]) -> None:
    """Some voxels of each class, drawn without replacement: `class1`, `class2`, … int32 (n, 3), z y x."""
    rng = np.random.default_rng(0)
    found: dict[str, NDArray[np.int32]] = {}
    for number, value in enumerate(values, start=1):
        voxels = np.argwhere(truth == value).astype(np.int32)
        found[f"class{number}"] = rng.permutation(voxels)[:REMEMBERED]
    with markers.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **found)  # type: ignore[arg-type]


def _make_phantom(experiment: ClassesExperiment, layout: Layout, name: str) -> Subject:
    """Write the scans of a phantom as files, as users have them, and point to these."""
    from sepvox.prepare.phantoms.head import head_phantom

    assert experiment.subjects.phantom is not None
    made = head_phantom(experiment.subjects.phantom, list(experiment.people).index(name))
    files = made.images | {"labels": made.labels}
    for key, image in files.items():
        path = layout.source(name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with markers.replacing(path) as temporary:
            temporary.write_bytes(_gzipped(image))
    return experiment.on_disk(layout, name)


def _gzipped(image: nib.Nifti1Image) -> bytes:
    return gzip.compress(image.to_bytes(), 6, mtime=0)
