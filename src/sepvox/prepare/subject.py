"""A prepared subject as later steps see it: normalised boxes of all modalities, and class numbers.

A *class number* is the position of a class among the experiment's classes, counted from 1, in whatever values the label
map writes it; 0 is background, and -1, unknown, lies beyond the grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Triple, triple
from sepvox.errors import StaleError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.subject import Subject
from sepvox.layout import Layout
from sepvox.prepare.grid import Grid
from sepvox.prepare.settings import ScanPrepareSettings
from sepvox.versions import VERSIONS

UNKNOWN = -1


@dataclass(frozen=True)
class PreparedSubject:
    """Image and labels of one subject on the prepared grid; boxes are z, y, x.

    Attributes
    ----------
    image : zarr array (c, z, y, x)
        Intensities as prepared, one channel per modality.
    labels : zarr array (z, y, x) or None
        Values of the label map.
    values : tuple of int
        Value of each class, in the order of the class numbers.
    scales : list of (shift, factor)
        Normalisation of each channel: (intensity - shift) * factor.
    limits : list of (lowest, highest)
        Normalised intensities are clipped to these.
    grid : Grid
    header : dict
        Of the scan, as `sepvox.prepare.scans.Scan.header`.
    fingerprint : str
        Of what the subject was prepared from.
    """

    image: "zarr.Array[Any]"
    labels: "zarr.Array[Any] | None"
    values: tuple[int, ...]
    scales: Sequence[tuple[float, float]]
    limits: Sequence[tuple[float, float]]
    grid: Grid
    header: Mapping[str, Any]
    fingerprint: str

    @property
    def shape(self) -> Triple:
        return self.grid.shape

    @property
    def native_shape(self) -> Triple:
        """Voxels of the scan along its native axes i j k."""
        return triple(self.header["shape"][:3])

    def image_box(self, box: Box) -> NDArray[np.float32]:
        """Normalised intensities (c, z, y, x); beyond the grid those of the nearest voxel."""
        indices = [np.clip(np.arange(b, e), 0, n - 1) for b, e, n in zip(box.begin, box.end, self.shape, strict=True)]
        needed = Box(triple([int(i[0]) for i in indices]), triple([int(i[-1]) + 1 for i in indices]))
        block = ome_zarr.read(self.image, needed).astype(np.float32)
        for channel, (shift, factor), (lowest, highest) in zip(block, self.scales, self.limits, strict=True):
            channel -= np.float32(shift)
            channel *= np.float32(factor)
            np.clip(channel, lowest, highest, out=channel)
        if needed == box:
            return block
        z, y, x = (i - b for i, b in zip(indices, needed.begin, strict=True))
        return np.ascontiguousarray(block[:, z[:, None, None], y[:, None], x])

    def classes_box(self, box: Box) -> NDArray[np.int64]:
        """Class numbers (z, y, x); `UNKNOWN` beyond the grid."""
        assert self.labels is not None
        found = np.full(box.shape, UNKNOWN, np.int64)
        inside = box.clip(Box.of(self.shape))
        if inside.size:
            stored = ome_zarr.read(self.labels, inside)
            numbers = np.zeros(stored.shape, np.int64)
            for number, value in enumerate(self.values, start=1):
                numbers[stored == value] = number
            found[inside.inside(box).slices] = numbers
        return found


def open_subject(layout: Layout, subject: str, classes: Mapping[str, int]) -> PreparedSubject:
    """Open a prepared subject.

    Raises
    ------
    StoreError
        If it was not prepared.
    """
    attributes = ome_zarr.attributes(layout.image(subject))
    labels = layout.labels(subject)
    normalisation = attributes["normalisation"]
    return PreparedSubject(
        image=ome_zarr.open_level(layout.image(subject)),
        labels=ome_zarr.open_level(labels) if labels.exists() else None,
        values=tuple(classes.values()),
        scales=[(channel["shift"], channel["factor"]) for channel in normalisation],
        limits=[tuple(channel["limits"]) for channel in normalisation],
        grid=Grid.from_json(attributes["grid"]),
        header=attributes["source_header"],
        fingerprint=attributes["fingerprint"],
    )


def open_prepared(experiment: ClassesExperiment, layout: Layout, subject: str) -> PreparedSubject:
    """Open a subject of an experiment that was prepared from what the experiment says now.

    Raises
    ------
    StoreError
        If it was not prepared.
    StaleError
        If it was prepared from other files or with other settings. Scans that are gone by now cannot have changed.
    """
    check_prepared(experiment, layout, subject)
    return open_subject(layout, subject, experiment.classes)


def check_prepared(experiment: ClassesExperiment, layout: Layout, subject: str) -> str:
    """The fingerprint of a prepared subject; errors are those of `open_prepared`."""
    found = str(ome_zarr.attributes(layout.image(subject))["fingerprint"])
    there = all(path.exists() for path in _files(experiment.people[subject]))
    if there and found != preparation_fingerprint(experiment, subject):
        raise StaleError(
            f"{layout.image(subject)}: prepared from other files or with other settings than subject {subject} has now; run `sepvox prepare --restart`, or the workflow with `--forcerun prepare_subjects`"
        )
    return found


def preparation_fingerprint(experiment: ClassesExperiment, subject: str) -> str:
    """Of everything that a prepared subject depends on."""
    person = experiment.people[subject]
    phantom = experiment.subjects.phantom
    return markers.fingerprint(
        "prepare",
        VERSIONS["prepare"],
        experiment.prepare.model_dump(mode="json", exclude={"slices", "processes"}),
        experiment.classes,
        # How many subjects there are does not change any of them.
        None if phantom is None else (phantom.model_dump(mode="json", exclude={"subjects"}), subject),
        list(person.images),
        [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in _files(person) if path.exists()],
    )


def _files(person: Subject) -> list[Path]:
    return [*person.images.values(), *([person.labels] if person.labels else [])]


def normalisation_of(image: NDArray[Any], settings: ScanPrepareSettings) -> dict[str, Any]:
    """How the intensities of one channel (z, y, x) are normalised.

    Mean and standard deviation are those of the foreground without its darkest and brightest half percent, which a few
    bright voxels of vessels or fat would move. Normalised intensities are clipped to five standard deviations.

    Returns
    -------
    dict
        `shift`, `factor`, `limits`, and what they come from: `mean`, `std`, `percentiles` of the foreground.
    """
    values = _foreground(image, settings.foreground)
    low, middle, high = (float(v) for v in np.percentile(values, (0.5, 50.0, 99.5)))
    kept = values[(values >= low) & (values <= high)]
    mean, std = float(kept.mean(dtype=np.float64)), float(kept.std(dtype=np.float64))
    found = {"mean": mean, "std": std, "percentiles": {"0.5": low, "50.0": middle, "99.5": high}}
    # What a constant image varies by is rounding, whatever its unit.
    least = 1e-6 * max(abs(low), abs(high)) or 1.0
    if settings.normalisation == "zscore":
        return found | {"shift": mean, "factor": 1 / max(std, least), "limits": [-5.0, 5.0]}
    half = max(high - low, least) / 2
    return found | {"shift": low + half, "factor": 1 / half, "limits": [-1.0, 1.0]}


def _foreground(image: NDArray[Any], kind: str) -> NDArray[Any]:
    """The voxels that normalisation looks at; all of them where the rule leaves none."""
    found = image[image != 0]
    if kind == "otsu" and found.size and found.min() < found.max():
        # The brightest voxels would stretch the histogram until air and tissue share a bin.
        clipped = np.clip(ndimage.gaussian_filter(image.astype(np.float32), 1.0), *np.percentile(found, (0.5, 99.5)))
        found = image[clipped > threshold_otsu(clipped)]
    return found if found.size else image.ravel()
