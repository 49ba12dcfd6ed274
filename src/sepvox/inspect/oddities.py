"""What is odd about a data set: each oddity one line that names subject and file.

error    prepare refuses the file.
warning  the file can be used, but the result is likely to be wrong.
note     harmless, or true of the anatomy; worth knowing.

Most oddities are judged against the other subjects. *Unlike* in spacing is more than 20 % along some axis; numbers are
outliers by their modified z-score (`sepvox.inspect.outliers`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sepvox.inspect.measure import LABELS, ImageMeasures, Place, SubjectMeasures, misplaced
from sepvox.inspect.outliers import modified_z
from sepvox.prepare.grid import World
from sepvox.prepare.scans import SAME_GRID

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

SPACING_RATIO = 1.2
INTENSITY_Z = 6.0
INTENSITY_RATIO = 10.0
VOLUME_Z = 5.0
# Least MAD of foreground medians, as a part of the images' own contrast, and of the logarithm of volumes.
_CONTRAST_PART = 0.1
_LOG_VOLUME = 0.1
# A group of at most so many odd subjects is named one by one, a larger one by its first.
_NAMED = 3


@dataclass(frozen=True)
class Oddity:
    """One thing that is odd; `file` is a path, or empty where it is about the data set."""

    severity: Severity
    kind: str
    subject: str
    file: str
    text: str


@dataclass(frozen=True, eq=False)
class _File:
    """One scan that could be read."""

    subject: str
    kind: str
    path: str
    place: Place
    digest: str

    def odd(self, severity: Severity, kind: str, text: str) -> Oddity:
        return Oddity(severity, kind, self.subject, self.path, text)


def oddities_of(
    subjects: Sequence[SubjectMeasures], classes: Mapping[str, int], target: World | None = None
) -> tuple[Oddity, ...]:
    """Everything odd, the most severe first, then in the order of the subjects.

    Parameters
    ----------
    subjects : sequence of SubjectMeasures
    classes : mapping of str to int
        Declared values.
    target : three floats or None
        Spacing to which scans are resampled, if they are; other spacings are then harmless.
    """
    files = [file for subject in subjects for file in _files(subject)]
    images = [file for file in files if file.kind != LABELS]
    empty = {subject.name for subject in subjects if subject.labels is not None and not subject.labels.voxels}
    found = [
        *_refused(subjects),
        *_placed(subjects),
        *_stored(files),
        *_spacings(images, "note" if target else "warning"),
        *_orientations(images),
        # Empty label maps are told as empty, not as copies.
        *_duplicates([file for file in files if file.kind != LABELS or file.subject not in empty]),
        *_intensities(subjects),
        *_label_values(subjects, classes),
        *_volumes(subjects, classes),
    ]
    order = {subject.name: number for number, subject in enumerate(subjects)}
    return tuple(sorted(found, key=lambda o: (SEVERITIES.index(o.severity), order[o.subject], o.file)))


def _files(subject: SubjectMeasures) -> Iterator[_File]:
    for image in subject.images:
        yield _File(subject.name, image.modality, str(image.path), image.place, image.digest)
    if subject.labels is not None:
        yield _File(subject.name, LABELS, str(subject.labels.path), subject.labels.place, subject.labels.digest)


def _refused(subjects: Sequence[SubjectMeasures]) -> Iterator[Oddity]:
    for subject in subjects:
        for file in subject.refused:
            yield Oddity("error", "unusable", subject.name, str(file.path), f"{file.kind} {file.reason}")


def _placed(subjects: Sequence[SubjectMeasures]) -> Iterator[Oddity]:
    for subject in subjects:
        files = list(_files(subject))
        for file in files[1:]:
            reason = misplaced(file.place, files[0].place)
            if reason is not None:
                yield file.odd("error", "grid", f"{file.kind} {reason}")


def _stored(files: Sequence[_File]) -> Iterator[Oddity]:
    for file in files:
        place = file.place
        if not place.placed:
            text = f"{file.kind} has neither sform nor qform: its orientation is a guess, left and right may be swapped"
            yield file.odd("warning", "no form", text)
        if place.forms_apart is not None and place.forms_apart > SAME_GRID * min(place.spacing):
            text = (
                f"sform and qform of {file.kind} lie up to {place.forms_apart:.3g} mm apart; the sform is used here, "
                "other programs may use the qform"
            )
            yield file.odd("warning", "forms differ", text)
        if file.kind == LABELS and place.dtype.startswith("float"):
            yield file.odd("note", "float labels", f"labels are stored as {place.dtype}; all values are whole")


def _spacings(images: Sequence[_File], severity: Severity) -> Iterator[Oddity]:
    groups: list[list[_File]] = []
    for image in images:
        for group in groups:
            ratios = np.divide(image.place.spacing, group[0].place.spacing)
            if np.maximum(ratios, 1 / ratios).max() <= SPACING_RATIO:
                group.append(image)
                break
        else:
            groups.append([image])
    yield from _outside(groups, lambda file: f"voxels of {_mm(file.place.spacing)} mm", severity, "spacing")


def _orientations(images: Sequence[_File]) -> Iterator[Oddity]:
    groups: dict[str, list[_File]] = defaultdict(list)
    for image in images:
        groups[image.place.orientation].append(image)
    yield from _outside(list(groups.values()), lambda file: f"axes to {file.place.orientation}", "note", "orientation")


def _outside(
    groups: Sequence[list[_File]], has: Callable[[_File], str], severity: Severity, kind: str
) -> Iterator[Oddity]:
    """Files outside the largest group; where none holds more than half of the files, one line for all."""
    if len(groups) < 2:
        return
    largest, *others = sorted(groups, key=len, reverse=True)
    total = sum(map(len, groups))
    usual = f"{has(largest[0])} as {len(largest)} of {total} images"
    if 2 * len(largest) <= total:
        named = ", ".join(f"{has(group[0])} ({len(group)})" for group in (largest, *others)[:_NAMED])
        more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        yield others[0][0].odd(severity, kind, f"images come in {len(groups)} kinds: {named}{more}")
        return
    for group in others:
        if len(group) <= _NAMED:
            for file in group:
                yield file.odd(severity, kind, f"{file.kind} has {has(file)}, not {usual}")
        else:
            text = f"{len(group)} images, this the first, have {has(group[0])}, not {usual}"
            yield group[0].odd(severity, kind, text)


def _duplicates(files: Sequence[_File]) -> Iterator[Oddity]:
    first: dict[str, _File] = {}
    for file in files:
        other = first.setdefault(file.digest, file)
        if other is not file:
            whose = other.kind if other.subject == file.subject else f"{other.kind} of {other.subject}"
            yield file.odd("warning", "duplicate", f"{file.kind} has the same voxels as {whose}")


def _intensities(subjects: Sequence[SubjectMeasures]) -> Iterator[Oddity]:
    by_modality: dict[str, list[tuple[str, ImageMeasures]]] = defaultdict(list)
    for subject in subjects:
        for image in subject.images:
            by_modality[image.modality].append((subject.name, image))
    for modality, found in by_modality.items():
        contrasts = [image.percentiles[2] - image.percentiles[0] for _, image in found]
        medians = [image.percentiles[1] for _, image in found]
        usual, contrast = float(np.median(medians)), float(np.median(contrasts))
        scores = modified_z(medians, _CONTRAST_PART * contrast)
        ratios = [own / contrast if contrast and len(found) > 2 else 1.0 for own in contrasts]
        for above in (True, False):
            odd = [
                pair
                for pair, z, ratio in zip(found, scores, ratios, strict=True)
                if (
                    z > INTENSITY_Z or ratio > INTENSITY_RATIO
                    if above
                    else z < -INTENSITY_Z or ratio < 1 / INTENSITY_RATIO
                )
            ]
            yield from _unlike(odd, modality, usual)


def _unlike(odd: Sequence[tuple[str, ImageMeasures]], modality: str, usual: float) -> Iterator[Oddity]:
    """Images that are all brighter, or all darker than the others."""
    if len(odd) > _NAMED:
        medians = [image.percentiles[1] for _, image in odd]
        text = (
            f"{len(odd)} images, this the first, have foregrounds of {modality} with medians of {min(medians):.4g} to "
            f"{max(medians):.4g}, the median of all is {usual:.4g}"
        )
        yield Oddity("warning", "intensity", odd[0][0], str(odd[0][1].path), text)
        return
    for name, image in odd:
        low, median, high = image.percentiles
        text = (
            f"foreground of {modality} has the median {median:.4g} (0.5 to 99.5 %: {low:.4g} to {high:.4g}), "
            f"the median of all is {usual:.4g}"
        )
        yield Oddity("warning", "intensity", name, str(image.path), text)


def _label_values(subjects: Sequence[SubjectMeasures], classes: Mapping[str, int]) -> Iterator[Oddity]:
    labelled = [subject for subject in subjects if subject.labels is not None]
    owners = Counter(value for subject in labelled if subject.labels for value in subject.labels.voxels)
    for subject in subjects:
        if subject.unlabelled and labelled and subject.role != "apply":
            file = str(subject.images[0].path) if subject.images else ""
            yield Oddity("note", "no labels", subject.name, file, "no label map is named; it can only be applied to")
    for subject in labelled:
        assert subject.labels is not None
        file, voxels = str(subject.labels.path), subject.labels.voxels
        if not voxels:
            yield Oddity("warning", "empty labels", subject.name, file, "the label map is background alone")
            continue
        for value, count in voxels.items():
            alone = owners[value] == 1 and len(labelled) > 2
            only = ", in this subject alone" if alone else ""
            if value not in classes.values():
                text = f"labels hold the value {value} in {count} voxels, which is no declared class{only}"
                yield Oddity("error", "undeclared value", subject.name, file, text)
            elif alone:
                yield Oddity(
                    "warning",
                    "single value",
                    subject.name,
                    file,
                    f"labels hold {_class(value, classes)} in {count} voxels{only}",
                )
        for name, value in classes.items():
            if value not in voxels and owners[value] > 1:
                text = f"labels lack {name} ({value}), which {owners[value]} of {len(labelled)} subjects have"
                yield Oddity("note", "absent class", subject.name, file, text)
    for name, value in classes.items():
        if labelled and not owners[value]:
            text = f"no subject has {name} ({value}); it cannot be learnt"
            yield Oddity("warning", "unused class", labelled[0].name, "", text)


def _volumes(subjects: Sequence[SubjectMeasures], classes: Mapping[str, int]) -> Iterator[Oddity]:
    for name, value in classes.items():
        having = [s for s in subjects if s.labels is not None and value in s.labels.volumes]
        volumes = [s.labels.volumes[value] for s in having if s.labels is not None]
        # In logarithms: volumes of an organ vary by factors.
        for subject, volume, z in zip(having, volumes, modified_z(np.log(volumes).tolist(), _LOG_VOLUME), strict=True):
            if abs(z) > VOLUME_Z:
                assert subject.labels is not None
                text = f"{name} ({value}) has {volume:.4g} mm³, the median is {np.median(volumes):.4g} mm³"
                yield Oddity("warning", "volume", subject.name, str(subject.labels.path), text)


def _class(value: int, classes: Mapping[str, int]) -> str:
    return next(f"{name} ({value})" for name, own in classes.items() if own == value)


def _mm(spacing: World) -> str:
    return " x ".join(f"{edge:.3g}" for edge in spacing)
