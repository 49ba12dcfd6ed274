"""A fingerprint as text and as JSON.

The text is one table per question: how large, how placed, how bright, which classes, what training would choose; then the
oddities, one line each. A *range* is written as median (least to most).
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from sepvox.inspect.fingerprint import DatasetFingerprint
from sepvox.inspect.measure import ImageMeasures, LabelMeasures, Place
from sepvox.inspect.oddities import SEVERITIES

WIDTH = 100
# Kinds of a property that are counted by name.
_NAMED = 6


def render(fingerprint: DatasetFingerprint) -> str:
    """The fingerprint as text, at most 100 characters wide but for the oddities."""
    images = [image for subject in fingerprint.subjects for image in subject.images]
    folder = _common_folder(fingerprint)
    parts = [
        _heading(fingerprint) + (f"\nfiles below {folder}" if folder else ""),
        _places(images),
        _intensities(fingerprint, images),
        _classes(fingerprint),
        *_plans(fingerprint),
        _oddities(fingerprint, folder),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(fingerprint: DatasetFingerprint) -> dict[str, Any]:
    """The fingerprint as plain dictionaries and lists: every subject with all its measures, oddities, plans."""
    return {
        "experiment": fingerprint.experiment,
        "modalities": list(fingerprint.modalities),
        "classes": dict(fingerprint.classes),
        "subjects": {
            subject.name: {
                "role": subject.role,
                "images": {image.modality: _image(image) for image in subject.images},
                "labels": None if subject.labels is None else _labels(subject.labels),
                "refused": [
                    {"kind": file.kind, "file": str(file.path), "reason": file.reason} for file in subject.refused
                ],
                "prepared": None
                if subject.prepared is None
                else {"shape": list(subject.prepared[0]), "spacing": list(subject.prepared[1])},
            }
            for subject in fingerprint.subjects
        },
        "oddities": [asdict(oddity) for oddity in fingerprint.oddities],
        "plans": {
            entry: {"refused": plan} if isinstance(plan, str) else asdict(plan)
            for entry, plan in fingerprint.plans.items()
        },
    }


def _image(image: ImageMeasures) -> dict[str, Any]:
    return {
        "file": str(image.path),
        **_place(image.place),
        "lowest": image.lowest,
        "highest": image.highest,
        "foreground_percentiles": dict(zip(("0.5", "50", "99.5"), image.percentiles, strict=True)),
        "not_zero": image.measured,
        "digest": image.digest,
    }


def _labels(labels: LabelMeasures) -> dict[str, Any]:
    values = {
        str(value): {"voxels": count, "volume_mm3": labels.volumes[value]} for value, count in labels.voxels.items()
    }
    return {"file": str(labels.path), **_place(labels.place), "values": values, "digest": labels.digest}


def _place(place: Place) -> dict[str, Any]:
    return {
        "shape": list(place.shape),
        "spacing_mm": list(place.spacing),
        "orientation": place.orientation,
        "oblique_degrees": place.oblique,
        "stored_shape": list(place.stored_shape),
        "affine": place.affine.tolist(),
        "dtype": place.dtype,
        "slope": place.slope,
        "inter": place.inter,
        "forms_apart_mm": place.forms_apart,
    }


def _heading(fingerprint: DatasetFingerprint) -> str:
    subjects = fingerprint.subjects
    kinds = [
        f"{sum(any(i.modality == m for i in s.images) for s in subjects)} with {m}" for m in fingerprint.modalities
    ]
    labelled = sum(subject.labels is not None for subject in subjects)
    return f"{fingerprint.experiment}: {len(subjects)} subjects, {', '.join(kinds)}, {labelled} with labels"


def _common_folder(fingerprint: DatasetFingerprint) -> str:
    paths = [str(image.path.parent) for subject in fingerprint.subjects for image in subject.images]
    paths += [str(file.path.parent) for subject in fingerprint.subjects for file in subject.refused]
    paths += [str(subject.labels.path.parent) for subject in fingerprint.subjects if subject.labels is not None]
    return os.path.commonpath(paths) if paths and all(Path(path).is_absolute() for path in paths) else ""


def _places(images: Sequence[ImageMeasures]) -> str:
    if not images:
        return ""
    places = [image.place for image in images]
    rows = [
        ("shape z y x", *(_range([place.shape[axis] for place in places]) for axis in range(3))),
        ("spacing z y x, mm", *(_range([place.spacing[axis] for place in places]) for axis in range(3))),
    ]
    scaled = sum((place.slope, place.inter) != (1.0, 0.0) for place in places)
    facts = [
        ("orientation", _counted(place.orientation for place in places)),
        ("oblique, degrees", _range([place.oblique for place in places])),
        ("stored as", _counted(place.dtype for place in places) + (f", {scaled} scaled" if scaled else "")),
    ]
    return _aligned([("images", "z", "y", "x"), *rows]) + "\n" + _aligned(facts, first=len("spacing z y x, mm"))


def _intensities(fingerprint: DatasetFingerprint, images: Sequence[ImageMeasures]) -> str:
    rows = []
    for modality in fingerprint.modalities:
        own = [image for image in images if image.modality == modality]
        if own:
            percentiles = [_range([image.percentiles[i] for image in own]) for i in range(3)]
            rows.append((modality, *percentiles, _range([100 * image.measured for image in own])))
    return _aligned([("foreground of", "0.5 %", "median", "99.5 %", "not 0, %"), *rows]) if rows else ""


def _classes(fingerprint: DatasetFingerprint) -> str:
    labels = [subject.labels for subject in fingerprint.subjects if subject.labels is not None]
    if not labels:
        return ""
    names = {value: name for name, value in fingerprint.classes.items()}
    found = sorted({value for own in labels for value in own.voxels} | set(names))
    rows: list[tuple[str, ...]] = [("class", "value", "subjects", "voxels", "volume, mm³")]
    for value in found:
        having = [own for own in labels if value in own.voxels]
        ranges = [_range([own.voxels[value] for own in having]), _range([own.volumes[value] for own in having])]
        rows.append((names.get(value, "(not declared)"), str(value), f"{len(having)}", *ranges))
    return _aligned(rows)


def _plans(fingerprint: DatasetFingerprint) -> list[str]:
    parts = []
    for entry, plan in fingerprint.plans.items():
        lines = [f"network {entry} would be refused: {plan}"] if isinstance(plan, str) else [f"plan of network {entry}"]
        lines += [] if isinstance(plan, str) else [f"  {reason}" for reason in plan.reasons]
        parts.append("\n".join(part for line in lines for part in wrap(line, WIDTH, subsequent_indent="    ")))
    return parts


def _oddities(fingerprint: DatasetFingerprint, folder: str) -> str:
    found = fingerprint.oddities
    if not found:
        return "oddities: none"
    counts = Counter(oddity.severity for oddity in found)
    kinds = ", ".join(f"{counts[s]} {s}{'s' * (counts[s] != 1)}" for s in SEVERITIES if counts[s])
    rows = [
        (
            oddity.severity,
            oddity.subject,
            os.path.relpath(oddity.file, folder) if folder and oddity.file else oddity.file or "-",
            oddity.text,
        )
        for oddity in found
    ]
    return f"oddities: {kinds}\n" + _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]], first: int = 0) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(widths[0], first)
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _range(values: Sequence[float]) -> str:
    if not values:
        return "-"
    least, middle, most = (_number(float(value)) for value in (min(values), np.median(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def _number(value: float) -> str:
    """Three digits or all that stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    more = f" and {len(counts) - _NAMED} others" if len(counts) > _NAMED else ""
    return ", ".join(f"{value} {count}" for value, count in counts[:_NAMED]) + more
