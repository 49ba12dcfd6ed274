"""Subjects of an MRI data set: from a sample table, from file patterns, or from a phantom."""

import glob
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from sepvox.errors import ConfigError
from sepvox.experiments.sample_table import read_table
from sepvox.experiments.subject import Subject, check_name, person_of
from sepvox.prepare.phantoms.head_settings import HeadPhantomSettings
from sepvox.settings import Settings


class SubjectsSettings(Settings):
    """Where subjects come from: one of table, images and phantom."""

    table: str | None = Field(
        None,
        description="Sample table, .csv or .tsv: columns subject, image (or image_NAME for each modality), labels, and optionally group, split and others; paths are relative to the table.",
    )
    images: dict[str, str] | None = Field(
        None,
        description="Pattern of image files per modality; every * stands for the same name, which is the subject's.",
    )
    labels: str | None = Field(None, description="Pattern of label files, with `images`.")
    phantom: HeadPhantomSettings | None = Field(None, description="Make the subjects instead of reading them.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("table", "images", "phantom") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of `table`, `images` and `phantom`")
        if self.labels is not None and self.images is None:
            raise ValueError("`labels` belongs to `images`; a table has a column for them")
        if self.images is not None and not self.images:
            raise ValueError('`images` names no modality; give a pattern for each, such as {T1w: "images/*.nii.gz"}')
        for pattern in [*(self.images or {}).values(), *([self.labels] if self.labels else [])]:
            if "*" not in pattern:
                raise ValueError(f"{pattern}: has no * that stands for the subject's name")
        return self


def read_subjects(settings: SubjectsSettings, group_by: str | None = None) -> list[Subject]:
    """The subjects in the order of the table, or by name.

    Parameters
    ----------
    group_by : str, optional
        Another column of the table that groups subjects, beside `group`.

    Raises
    ------
    ConfigError
        If the table cannot be used: missing columns or cells, a name twice, a group in two splits, no subject at all.
    """
    if settings.phantom is not None:
        return [_phantom(number) for number in range(settings.phantom.subjects)]
    if settings.images is not None:
        return _from_patterns(settings.images, settings.labels)
    assert settings.table is not None
    return read_table(Path(settings.table), group_by)


def _phantom(number: int) -> Subject:
    name = f"head-{number + 1:02d}"
    return Subject(name, {}, None, name)


def _from_patterns(images: Mapping[str, str], labels: str | None) -> list[Subject]:
    if labels is not None:
        _check_apart(images, labels)
    found = {modality: matches(pattern, f"subjects.images.{modality}") for modality, pattern in images.items()}
    truth = None if labels is None else matches(labels, "subjects.labels")
    names = sorted(set().union(*found.values()))
    subjects = []
    for name in names:
        for modality, files in found.items():
            if name not in files:
                raise ConfigError(
                    f"subjects.images.{modality}: subject {name} has no file {images[modality].replace('*', name)}; add it, or leave the subject out by a narrower pattern"
                )
        if truth is not None and name not in truth:
            raise ConfigError(
                f"subjects.labels: subject {name} has no file {str(labels).replace('*', name)}; add it, or list the subjects in a table with split apply for those without labels"
            )
        files_of = {modality: files[name] for modality, files in found.items()}
        subjects.append(Subject(name, files_of, None if truth is None else truth[name], person_of(name)))
    return subjects


def _check_apart(images: Mapping[str, str], labels: str) -> None:
    """Refuse a pattern of images that also matches label files of its subjects, or of any subject where it finds none."""
    truth = _by_name(labels)
    for modality, pattern in images.items():
        found = _by_name(pattern)
        files = set(found.values()) if found else set(map(Path, _globbed(pattern)))
        taken = sorted({truth[name] for name in found or truth if name in truth} & files)
        if taken:
            raise ConfigError(
                f"subjects.images.{modality}: {pattern} also matches the label file {taken[0]}; narrow it to what only images have, such as sub-*_{modality}.nii.gz, move the labels to a folder of their own, or list the files in a table (subjects.table)"
            )


def matches(pattern: str, key: str) -> dict[str, Path]:
    """Files by the text that every * of the pattern stands for; at least one."""
    found = _by_name(pattern)
    if not found:
        others = _globbed(pattern)
        differing = f" (of {others[0]} they differ)" if others else ""
        raise ConfigError(
            f"{key}: {pattern}: no file matches with the same name for every *{differing}; check folder and pattern, or list the files in a table (subjects.table), as where folders of sessions stand between"
        )
    for name in found:
        check_name(name, key)
    return found


def _by_name(pattern: str) -> dict[str, Path]:
    head, *rest = (re.escape(part) for part in pattern.split("*"))
    expression = re.compile(head + "(?P<name>[^/]+?)" + "(?P=name)".join([rest[0], *rest[1:]]) + r"\Z")
    return {match["name"]: Path(path) for path in _globbed(pattern) if (match := expression.match(path))}


def _globbed(pattern: str) -> list[str]:
    """Files that the pattern matches, whatever each * stands for."""
    # Path.glob takes no absolute pattern.
    return sorted(glob.glob("*".join(glob.escape(part) for part in pattern.split("*"))))  # noqa: PTH207
