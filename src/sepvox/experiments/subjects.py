"""Subjects of an MRI data set: who they are, where their scans lie, and which of them are trained on.

A *subject* is one head or crop with its images, one per *modality*, and, where there is one, its label map. Subjects of
one *group* (a person scanned twice, a site) are never torn apart by a split; subjects that share a person or a site with a
third one, in whichever columns, are of its group. The *role* of a subject says what it is used
for: train, validate, test or apply. Subjects come from a sample table, from file patterns, or from a phantom.
"""

import csv
import glob
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, get_args

from pydantic import Field, model_validator

from sepvox.errors import ConfigError
from sepvox.paths import expanded
from sepvox.prepare.phantoms.head_settings import HeadPhantomSettings
from sepvox.prepare.settings import Role
from sepvox.settings import Settings

PATTERN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# The part of a name that BIDS gives to the person, before what tells scans of one person apart.
PERSON = re.compile(r"sub-[A-Za-z0-9]+(?=_)|.+?(?=_ses-)")


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


@dataclass(frozen=True)
class Subject:
    """One subject.

    Attributes
    ----------
    images : mapping of modality to file
        Empty for a phantom, whose files prepare makes.
    labels : Path or None
        Label map on the grid of the images.
    group : str
        Subjects of a group stay together in every split; where no group is given the person that a BIDS name tells, or
        else the subject's own name.
    role : str or None
        As the table's column `split` says; None leaves it to the experiment's `split`.
    columns : mapping
        Further columns of the table.
    """

    name: str
    images: Mapping[str, Path]
    labels: Path | None
    group: str
    role: Role | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


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
    return _from_table(Path(settings.table), group_by)


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


def person_of(name: str) -> str:
    found = PERSON.match(name)
    return found[0] if found else name


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
        _check_name(name, key)
    return found


def _by_name(pattern: str) -> dict[str, Path]:
    head, *rest = (re.escape(part) for part in pattern.split("*"))
    expression = re.compile(head + "(?P<name>[^/]+?)" + "(?P=name)".join([rest[0], *rest[1:]]) + r"\Z")
    return {match["name"]: Path(path) for path in _globbed(pattern) if (match := expression.match(path))}


def _globbed(pattern: str) -> list[str]:
    """Files that the pattern matches, whatever each * stands for."""
    # Path.glob takes no absolute pattern.
    return sorted(glob.glob("*".join(glob.escape(part) for part in pattern.split("*"))))  # noqa: PTH207


def _check_name(name: str, where: str) -> None:
    if not PATTERN_NAME.fullmatch(name):
        raise ConfigError(
            f"{where}: {name!r} cannot be a subject's name, which becomes a folder's; use letters, digits, _ . and -"
        )


def _from_table(path: Path, group_by: str | None) -> list[Subject]:
    columns, rows = _cells(path)
    modalities = {
        column: column.removeprefix("image").removeprefix("_") or "image"
        for column in columns
        if column == "image" or column.startswith("image_")
    }
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    twice += [f"image_{name}" for name, count in Counter(modalities.values()).items() if count > 1]
    if twice:
        raise ConfigError(
            f"subjects.table: {path}: two columns are called {twice[0]}; give each column a name of its own"
        )
    if "subject" not in columns or not modalities:
        raise ConfigError(
            f"subjects.table: {path}: has the columns {', '.join(columns) or 'none'}; expected subject and image, or image_NAME for each modality"
        )
    known = {"subject", "labels", "split", *modalities}
    if group_by in known:
        raise ConfigError(f"split.group: {group_by} is what a subject is made of; name another column of {path}")
    if group_by is not None and group_by not in columns:
        raise ConfigError(f"split.group: {path} has no column {group_by}; it has {', '.join(columns)}")
    subjects = []
    for number, cells in rows:
        where = f"subjects.table: {path}, line {number}"
        if len(cells) != len(columns):
            raise ConfigError(f"{where}: has {len(cells)} cells, but the first line has {len(columns)}; correct it")
        row = dict(zip(columns, cells, strict=True))
        name = row["subject"]
        _check_name(name, where)
        for image, modality in modalities.items():
            if not row[image]:
                raise ConfigError(
                    f"{where}: subject {name} has no {modality}; give the file in column {image}, or leave the subject out"
                )
        role = row.get("split") or None
        if role is not None and role not in get_args(Role):
            raise ConfigError(f"{where}: split is {role!r}; expected train, validate, test, apply, or nothing")
        subjects.append(
            Subject(
                name=name,
                images={modality: path.parent / expanded(row[image], where) for image, modality in modalities.items()},
                labels=path.parent / expanded(row["labels"], where) if row.get("labels") else None,
                group=person_of(name),
                role=role,  # type: ignore[arg-type]
                columns={key: value for key, value in row.items() if key not in known},
            )
        )
    grouped = _grouped(subjects, [column for column in (group_by, "group") if column is not None])
    _check_table(grouped, path)
    return grouped


def _grouped(subjects: Sequence[Subject], columns: Sequence[str]) -> list[Subject]:
    """The subjects with the groups that the columns make: who shares a value in any of them, directly or through others.

    A group is called by the first value, of the first column, that one of its subjects has, and by the column too where
    another group has that value in another column.
    """
    titles = [*columns, "subject"]
    leader: dict[tuple[int, str], tuple[int, str]] = {}

    def led_by(key: tuple[int, str]) -> tuple[int, str]:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    keys = []
    for subject in subjects:
        given = [(rank, value) for rank, column in enumerate(columns) if (value := subject.columns.get(column))]
        keys.append(given or [(len(columns), subject.group)])
        for key in keys[-1]:
            first, second = sorted((led_by(key), led_by(keys[-1][0])))
            leader[second] = first
    leaders = [led_by(own[0]) for own in keys]
    shared = Counter(value for _, value in set(leaders))
    names = [value if shared[value] == 1 else f"{titles[rank]}={value}" for rank, value in leaders]
    return [replace(subject, group=name) for subject, name in zip(subjects, names, strict=True)]


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The first line, and the number and cells of every other line that is not empty; blanks around a cell are no part of it."""
    try:
        # Spreadsheets put a byte order mark before the first column.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise ConfigError(f"subjects.table: {path}: cannot be read ({error.strerror}); check the path") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"subjects.table: {path}: is no table ({error}); expected text in UTF-8, .csv with commas or .tsv with tabs"
        ) from None
    filled = [line for line in lines if any(line[1])]
    return (filled[0][1], filled[1:]) if filled else ([], [])


def _check_table(subjects: Sequence[Subject], path: Path) -> None:
    if not subjects:
        raise ConfigError(f"subjects.table: {path}: has no row; add one per subject")
    roles: dict[str, set[str]] = {}
    for subject in subjects:
        roles.setdefault(subject.name, set()).add(str(subject.role))
    for name, count in Counter(subject.name for subject in subjects).items():
        if count > 1:
            torn = f", in the splits {' and '.join(sorted(roles[name]))}" if len(roles[name]) > 1 else ""
            raise ConfigError(
                f"subjects.table: {path}: subject {name} stands in {count} lines{torn}; give each scan a name of its own, and scans of one person the same group"
            )
    by_group: dict[str, set[str]] = {}
    for subject in subjects:
        # Nothing is learned from or judged on a subject of role apply.
        if subject.role != "apply":
            by_group.setdefault(subject.group, set()).add(subject.role or "none (left to the configuration)")
    for group, found in by_group.items():
        if len(found) > 1:
            raise ConfigError(
                f"subjects.table: {path}: group {group} stands in the splits {' and '.join(sorted(found))}; put all of its subjects into one"
            )
