"""What the files of one subject hold, measured.

A *scan* is an image of one modality or a label map. Its *place* is where its voxels lie in the world, in axes z y x of the
canonical grid whatever order the file has. A scan that prepare would not take is *refused*, with prepare's own reason, and
has no measures. *Foreground* are the voxels that prepare normalises by; *measured* those that are not 0.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import obliquity
from numpy.typing import NDArray

from sepvox.blocks import Triple
from sepvox.errors import InputError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.subject import Subject
from sepvox.prepare.grid import World, canonical_grid, sample_image
from sepvox.prepare.labels import read_labels
from sepvox.prepare.scans import SAME_GRID, Scan, read_scan
from sepvox.prepare.settings import ScanPrepareSettings
from sepvox.prepare.subject import normalisation_of
from sepvox.prepare.subjects import grid_of

LABELS = "labels"


@dataclass(frozen=True, eq=False)
class Place:
    """Where the voxels of a scan lie, and how the file stores them.

    Attributes
    ----------
    shape : three ints
        Voxels, z y x.
    spacing : three floats
        Edges of a voxel in millimetres, z y x.
    orientation : str
        Where the file's axes i j k run to, such as RAS.
    oblique : float
        Largest angle between an axis and the nearest axis of the world, in degrees.
    stored_shape, affine
        Native: i j k, and from there to world millimetres.
    dtype : str
        As stored.
    slope, inter : float
        Scaling of the stored values.
    forms_apart : float or None
        How far sform and qform place a corner apart, in millimetres; None where the file does not have both.
    placed : bool
        Whether the file has a sform or qform at all.
    """

    shape: Triple
    spacing: World
    orientation: str
    oblique: float
    stored_shape: Triple
    affine: NDArray[np.float64]
    dtype: str
    slope: float
    inter: float
    forms_apart: float | None
    placed: bool


@dataclass(frozen=True, eq=False)
class ImageMeasures:
    """Intensities of an image; `percentiles` are the 0.5th, 50th and 99.5th of the foreground.

    `measured` is the part of the voxels that are not 0, and `digest` a hash of the voxels on the canonical grid.
    """

    modality: str
    path: Path
    place: Place
    lowest: float
    highest: float
    percentiles: tuple[float, float, float]
    measured: float
    digest: str


@dataclass(frozen=True, eq=False)
class LabelMeasures:
    """Voxels and volume in mm³ of every value of a label map but 0."""

    path: Path
    place: Place
    voxels: Mapping[int, int]
    volumes: Mapping[int, float]
    digest: str


@dataclass(frozen=True)
class Refused:
    """A file that prepare would not take; `kind` is its modality, or `labels`."""

    kind: str
    path: Path
    reason: str


@dataclass(frozen=True, eq=False)
class SubjectMeasures:
    """One subject.

    Attributes
    ----------
    images : tuple of ImageMeasures
        Of the images that could be read.
    labels : LabelMeasures or None
    unlabelled : bool
        Whether no label map is named for the subject.
    refused : tuple of Refused
    prepared : (shape, spacing) or None
        Of the prepared grid, z y x; None where the images cannot be prepared.
    """

    name: str
    role: str | None
    images: tuple[ImageMeasures, ...]
    labels: LabelMeasures | None
    unlabelled: bool
    refused: tuple[Refused, ...]
    prepared: tuple[Triple, World] | None


def measure(experiment: ClassesExperiment, subject: Subject) -> SubjectMeasures:
    """Measure the files of a subject, one image after the other; those of a phantom are made first."""
    phantom = experiment.subjects.phantom
    if phantom is None:
        return _measure(experiment, subject)
    from sepvox.prepare.phantoms.head import head_phantom

    made = head_phantom(phantom, list(experiment.people).index(subject.name))
    with tempfile.TemporaryDirectory() as folder:
        paths = {kind: Path(folder, f"{kind}.nii") for kind in (*made.images, LABELS)}
        for kind, image in (made.images | {LABELS: made.labels}).items():
            nib.save(image, paths[kind])
        labels = paths.pop(LABELS)
        found = _measure(experiment, replace(subject, images=paths, labels=labels))
    # The files are gone: they are named as prepare names those that it makes.
    return replace(
        found,
        images=tuple(replace(image, path=Path(subject.name, image.path.name)) for image in found.images),
        labels=found.labels and replace(found.labels, path=Path(subject.name, found.labels.path.name)),
    )


def _measure(experiment: ClassesExperiment, subject: Subject) -> SubjectMeasures:
    scans: dict[str, Scan] = {}
    images: list[ImageMeasures] = []
    refused: list[Refused] = []
    for modality, path in subject.images.items():
        try:
            scans[modality] = read_scan(path, modality)
            images.append(_image(scans[modality], modality, experiment.prepare))
        except InputError as error:
            refused.append(_refused(error, modality, path))
    labels = None
    if subject.labels is not None:
        try:
            labels = _labels(read_labels(subject.labels, LABELS, None))
        except InputError as error:
            refused.append(_refused(error, LABELS, subject.labels))
    whole = not any(file.kind != LABELS for file in refused)
    prepared = None
    if whole and all(misplaced(image.place, images[0].place) is None for image in images):
        grid = grid_of(scans, experiment)
        prepared = grid.shape, grid.spacing
    return SubjectMeasures(
        subject.name, subject.role, tuple(images), labels, subject.labels is None, tuple(refused), prepared
    )


def _refused(error: InputError, kind: str, path: Path) -> Refused:
    return Refused(kind, path, str(error).removeprefix(f"{kind}: {path}: "))


def _image(scan: Scan, modality: str, settings: ScanPrepareSettings) -> ImageMeasures:
    canonical = _canonical(scan)
    percentiles = normalisation_of(canonical, settings)["percentiles"]
    return ImageMeasures(
        modality=modality,
        path=scan.path,
        place=_place(scan),
        lowest=float(canonical.min()),
        highest=float(canonical.max()),
        percentiles=(percentiles["0.5"], percentiles["50.0"], percentiles["99.5"]),
        measured=float(np.count_nonzero(canonical) / canonical.size),
        digest=_digest(canonical),
    )


def _labels(scan: Scan) -> LabelMeasures:
    canonical = _canonical(scan)
    values, counts = np.unique(canonical[canonical != 0], return_counts=True)
    voxels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    voxel = float(np.prod(scan.spacing))
    volumes = {value: count * voxel for value, count in voxels.items()}
    return LabelMeasures(scan.path, _place(scan), voxels, volumes, _digest(canonical))


def _canonical(scan: Scan) -> NDArray[Any]:
    return sample_image(scan.data, canonical_grid(scan.shape, scan.affine))


def _digest(voxels: NDArray[Any]) -> str:
    """A hash of shape and values; in float32, so that a copy of another type is still the same."""
    return hashlib.sha256(str(voxels.shape).encode() + voxels.astype(np.float32).tobytes()).hexdigest()[:32]


def _place(scan: Scan) -> Place:
    grid = canonical_grid(scan.shape, scan.affine)
    header = nib.load(scan.path).header
    slope, inter, apart, placed = 1.0, 0.0, None, True
    if isinstance(header, nib.Nifti1Header):
        given = header.get_slope_inter()
        slope, inter = (
            default if value is None else float(value) for default, value in zip((1.0, 0.0), given, strict=True)
        )
        sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
        placed = sform is not None or qform is not None
        if sform is not None and qform is not None:
            apart = corners_apart(scan.shape, sform, qform) * _millimetres(header)
    return Place(
        shape=grid.shape,
        spacing=grid.spacing,
        orientation="".join(nib.aff2axcodes(scan.affine)),
        oblique=float(np.degrees(obliquity(scan.affine).max())),
        stored_shape=scan.shape,
        affine=scan.affine,
        dtype=np.dtype(header.get_data_dtype()).name,
        slope=slope,
        inter=inter,
        forms_apart=apart,
        placed=placed,
    )


def _millimetres(header: Any) -> float:
    return {"meter": 1e3, "micron": 1e-3}.get(header.get_xyzt_units()[0], 1.0)


def corners_apart(shape: Triple, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Largest distance between where two affines (4, 4) place the same corner of a grid of `shape` i j k."""
    corners = np.ones((4, 8))
    corners[:3] = np.indices((2, 2, 2)).reshape(3, 8) * (np.asarray(shape)[:, None] - 1)
    return float(np.linalg.norm((one - other)[:3] @ corners, axis=0).max())


def misplaced(place: Place, reference: Place) -> str | None:
    """Why a scan is not on the grid of another one of its subject, as prepare judges it; None where it is."""
    if place.stored_shape != reference.stored_shape:
        return f"has {_times(place.stored_shape)} voxels, where the first image has {_times(reference.stored_shape)}"
    apart = corners_apart(place.stored_shape, place.affine, reference.affine)
    allowed = SAME_GRID * min(reference.spacing)
    if apart > allowed:
        return (
            f"lies up to {apart:.3g} mm from the grid of the first image; {allowed:.2g} mm are taken as the same grid"
        )
    return None


def _times(shape: Triple) -> str:
    return "x".join(map(str, shape))
